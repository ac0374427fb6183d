"""Music from oscillators: five songs are too few to learn what music is.

Rules it upholds: nothing in it is a voice; every song differs in instrument, key, tempo and drums;
randomness is an argument.
"""

from dataclasses import dataclass

import numpy as np

from edge_models.raw import SAMPLE_RATE_HZ
from edge_models.training.gate_sounds import Sound
from edge_models.windows import HOP_SAMPLES

_MAJOR = np.array([0, 2, 4, 5, 7, 9, 11])


@dataclass(frozen=True, slots=True)
class Instrument:
    """How a note sounds: its harmonics or its modulation, its envelope, its sway."""

    harmonics: int
    fall: float
    modulation: float
    ratio: float
    decay_s: float
    rise_s: float
    vibrato: float
    tremolo: float

    def note(self, hz: float, samples: int) -> Sound:
        """One note of a length: float32 (samples,)."""
        time = np.arange(samples, dtype=np.float32) / SAMPLE_RATE_HZ
        phase = 2 * np.pi * hz * time + self.vibrato * hz / 5 * np.sin(2 * np.pi * 5 * time)
        shape = np.exp(-time / self.decay_s) * np.minimum(time / self.rise_s, 1)
        if self.modulation:  # a carrier whose brightness dies with the note
            sound = np.sin(phase + self.modulation * shape * np.sin(self.ratio * phase))
        else:
            sound = np.zeros(samples, np.float32)
            for harmonic in range(1, self.harmonics + 1):
                if hz * harmonic < SAMPLE_RATE_HZ / 2:
                    sound += np.sin(harmonic * phase) * np.float32(harmonic**-self.fall)
        sway = 1 + self.tremolo * np.sin(2 * np.pi * 6 * time)
        played: Sound = (sound * shape * sway).astype(np.float32)
        return played


def any_instrument(rng: np.random.Generator) -> Instrument:
    """A plucked, blown, bowed or electric instrument, by chance."""
    return Instrument(
        harmonics=int(rng.integers(1, 14)),
        fall=rng.uniform(0.5, 2),
        modulation=rng.uniform(0.5, 6) if rng.random() < 0.4 else 0.0,
        ratio=float(rng.choice([0.5, 1, 1, 2, 3, 1.41])),
        decay_s=np.exp(rng.uniform(np.log(0.08), np.log(3))),
        rise_s=np.exp(rng.uniform(np.log(0.002), np.log(0.15))),
        vibrato=rng.uniform(0, 0.012) if rng.random() < 0.4 else 0.0,
        tremolo=rng.uniform(0, 0.5) if rng.random() < 0.3 else 0.0,
    )


def synthetic_music(rows: int, rng: np.random.Generator) -> Sound:
    """A song of chords, a tune, a bass and drums, or some of them: float32 (rows·160,)."""
    size = rows * HOP_SAMPLES
    song = np.zeros(size, np.float32)
    beat = int(rng.uniform(0.12, 0.7) * SAMPLE_RATE_HZ)
    scale = _MAJOR + rng.integers(12)
    parts = [(any_instrument(rng), int(rng.integers(2, 6))) for _ in range(rng.integers(1, 4))]
    busy, drums = rng.uniform(0.4, 1), rng.random() < 0.6
    for onset in range(-beat * 2, size, beat):
        for instrument, octave in parts:
            if rng.random() > busy:
                continue
            root = int(rng.integers(7))
            length = beat * int(rng.integers(1, 5))
            for step in (0, 2, 4)[: int(rng.integers(1, 4))]:
                key = scale[(root + step) % 7] + 12 * octave
                _add(song, onset, instrument.note(8.18 * 2 ** (key / 12 + 1), length))
        if drums:
            for part in range(int(rng.integers(1, 3))):
                _add(song, onset + part * beat // 2, drum(rng))
    if rng.random() < 0.3:  # pressed loud, as records are
        song = np.tanh(song * rng.uniform(0.5, 3)).astype(np.float32)
    return song


def drum(rng: np.random.Generator) -> Sound:
    """One stroke: a kick that falls in pitch, or a hiss that dies."""
    time = np.arange(int(0.2 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    if rng.random() < 0.4:
        pitch = rng.uniform(40, 120) * time + rng.uniform(1, 6) * np.exp(-time * 40)
        hit = 2 * np.sin(2 * np.pi * pitch) * np.exp(-time * 18)
    else:
        hit = rng.standard_normal(len(time)) * np.exp(-time * rng.uniform(15, 120))
        if rng.random() < 0.5:  # a cymbal has no low tones
            hit = np.diff(hit, prepend=0)
    return np.asarray(hit * rng.uniform(0.2, 1.5), np.float32)


def _add(song: Sound, onset: int, piece: Sound) -> None:
    first, last = max(onset, 0), min(onset + len(piece), len(song))
    if last > first:
        song[first:last] += piece[first - onset : last - onset]
