"""Mixtures that teach and test the gate: near speech among music, babble, clatter, ambience.

Rules it upholds: near speech is speech; babble (four speakers or more, none near) is not, like
music and clatter; the signal-to-noise ratio is active speech power over mean noise power;
randomness is an argument, so the same seed gives the same mixtures.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.raw import SAMPLE_RATE_HZ
from edge_models.training.gate_sounds import Mask, Noise, NoiseKind, Sound, Sounds
from edge_models.windows import HOP_SAMPLES

_PAUSE_S: Final = (0.3, 2.0)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Sound float32 (rows·160,) and where near speech is active in it, bool (rows,)."""

    sound: Sound
    truth: Mask


def near_speech(sounds: Sounds, rows: int, rng: np.random.Generator) -> Mixture:
    """Utterances of one person after another with pauses between them, clean.

    Each is set to a common active level; pauses are digital silence.
    """
    sound = np.zeros(rows * HOP_SAMPLES, np.float32)
    truth = np.zeros(rows, np.bool_)
    corpora = sorted({utterance.corpus for utterance in sounds.utterances})
    corpus = corpora[rng.integers(len(corpora))]
    each = [utterance for utterance in sounds.utterances if utterance.corpus == corpus]
    person = each[rng.integers(len(each))].person
    each = [utterance for utterance in each if utterance.person == person]
    row = int(rng.uniform(0, _PAUSE_S[1]) * 100)
    while row < rows:
        utterance = each[rng.integers(len(each))]
        start = 0
        if len(utterance.truth) > 600:  # a long clip starts anywhere
            start = int(rng.integers(len(utterance.truth) - 400))
        size = min(len(utterance.truth) - start, rows - row)
        piece = utterance.sound[start * HOP_SAMPLES : (start + size) * HOP_SAMPLES]
        active = utterance.truth[start : start + size]
        scale = 0.05 / (level_of(as_float(utterance.sound), utterance.truth) + 1e-9)
        sound[row * HOP_SAMPLES : (row + size) * HOP_SAMPLES] = as_float(piece) * scale
        truth[row : row + size] = active
        row += size + int(rng.uniform(*_PAUSE_S) * 100)
    return Mixture(sound, truth)


def mixed(speech: Mixture, noise: Sound, snr_db: float) -> Mixture:
    """Speech over noise at a ratio of active speech power to mean noise power.

    Where there is no speech the noise is heard alone, at the level speech would have set.
    """
    wanted = (level_of(speech.sound, speech.truth) or 0.05) * 10 ** (-snr_db / 20)
    heard = float(np.sqrt(np.mean(np.square(noise, dtype=np.float64))))
    return Mixture(speech.sound + noise * np.float32(wanted / (heard + 1e-9)), speech.truth)


def level_of(sound: Sound, active: Mask) -> float:
    """Root mean square of the active rows; 0 where none is."""
    if not active.any():
        return 0.0
    rows = sound[: len(active) * HOP_SAMPLES].reshape(len(active), HOP_SAMPLES)[active]
    return float(np.sqrt(np.mean(np.square(rows, dtype=np.float64))))


def noise_of(sounds: Sounds, kind: NoiseKind, rows: int, rng: np.random.Generator) -> Sound:
    """A stretch of one kind of noise from the split's recordings: float32 (rows·160,)."""
    if kind is NoiseKind.BABBLE and (not sounds.of_kind(kind) or rng.random() < 0.8):
        return babble(sounds, rows, rng)
    choices = sounds.of_kind(kind)
    noise = looped(choices[rng.integers(len(choices))], rows, rng)
    if kind is NoiseKind.CLATTER and rng.random() < 0.5:  # clatter rarely comes alone
        other = looped(choices[rng.integers(len(choices))], rows, rng)
        noise = noise + other * np.float32(rng.uniform(0.2, 1))
    return noise


def looped(noise: Noise, rows: int, rng: np.random.Generator) -> Sound:
    """A stretch of a noise recording from a random place, repeated if it is short."""
    size = rows * HOP_SAMPLES
    start = int(rng.integers(len(noise.sound)))
    times = -(-(start + size) // len(noise.sound))
    return as_float(np.tile(noise.sound, times)[start : start + size])


def babble(sounds: Sounds, rows: int, rng: np.random.Generator) -> Sound:
    """Four to eight speakers of the split talking at once, none nearer than the others."""
    size = rows * HOP_SAMPLES
    total = np.zeros(size, np.float32)
    for _ in range(int(rng.integers(4, 9))):
        voice = np.zeros(0, np.int16)
        while len(voice) < size:
            utterance = sounds.utterances[rng.integers(len(sounds.utterances))]
            scale = 3000 / (level_of(as_float(utterance.sound), utterance.truth) * 32768 + 1)
            piece = np.clip(utterance.sound * scale, -32768, 32767).astype(np.int16)
            voice = np.concatenate([voice, np.roll(piece, int(rng.integers(len(piece))))])
        total += as_float(voice[:size]) * np.float32(rng.uniform(0.7, 1.3))
    return total


def as_float(pcm: npt.NDArray[np.int16]) -> Sound:
    """16-bit samples in -1..1."""
    return pcm.astype(np.float32) / np.float32(32768)


def in_room(dry: Sound, rng: np.random.Generator) -> Sound:
    """The sound in a synthetic room: direct path and an exponentially dying tail of noise."""
    seconds = rng.uniform(0.1, 0.6)
    place = np.arange(int(seconds * SAMPLE_RATE_HZ))
    tail = rng.standard_normal(len(place)) * np.exp(-6.9 * place / len(place))
    tail *= rng.uniform(0.1, 0.8) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return _convolved(dry, tail)


def _convolved(dry: Sound, response: npt.NDArray[np.float64]) -> Sound:
    size = 1 << (len(dry) + len(response) - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(response, size), size)
    return wet[: len(dry)].astype(np.float32)


def through_a_line(sound: Sound, rng: np.random.Generator) -> Sound:
    """The sound band-limited and tilted, as by a small microphone or a telephone."""
    spectrum = np.fft.rfft(sound)
    hz = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE_HZ)
    low, high = rng.uniform(20, 300), rng.uniform(3000, 7900)
    gain = 1 / (1 + (low / (hz + 1)) ** 6) / (1 + (hz / high) ** 12)
    gain *= (np.maximum(hz, 50) / 1000) ** rng.uniform(-0.3, 0.3)
    return np.fft.irfft(spectrum * gain, len(sound)).astype(np.float32)


def at_another_speed(sound: Sound, rows: int, rng: np.random.Generator) -> Sound:
    """A stretch of `rows` rows of a longer sound, played up to a third slower or faster.

    Few noise recordings are at hand: another speed is another pitch, size and tempo.
    """
    size = rows * HOP_SAMPLES
    fastest = len(sound) / size
    places = np.arange(size) * rng.uniform(1 / fastest, fastest * 0.999)
    return np.interp(places, np.arange(len(sound)), sound).astype(np.float32)


def captured(sound: Sound, rng: np.random.Generator) -> Sound:
    """The sound as a device may hand it over: any level, an offset, a hiss, clipping, 16 bits."""
    peak = float(np.max(np.abs(sound))) + 1e-9
    taken = sound * np.float32(10 ** (rng.uniform(-40, 0) / 20) / peak)
    if rng.random() < 0.1:  # overdriven
        taken = np.clip(taken * 4, -rng.uniform(0.3, 1), 1)
    if rng.random() < 0.5:
        taken = taken + rng.standard_normal(len(sound)) * 10 ** (rng.uniform(-90, -65) / 20)
    if rng.random() < 0.2:
        taken = taken + rng.uniform(-0.05, 0.05)
    pcm: npt.NDArray[np.int16] = np.rint(np.clip(taken, -1, 1) * 32767).astype(np.int16)
    return as_float(pcm)


def synthetic_noise(rows: int, rng: np.random.Generator) -> Sound:
    """Coloured noise that swells, hum, beeps or knocks."""
    size = rows * HOP_SAMPLES
    spectrum = np.fft.rfft(rng.standard_normal(size))
    hz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ)
    noise = np.fft.irfft(spectrum * np.maximum(hz, 30) ** rng.uniform(-1.2, 0.5), size)
    noise /= noise.std() + 1e-9
    time = np.arange(size) / SAMPLE_RATE_HZ
    if rng.random() < 0.5:
        noise *= 1 + rng.uniform(0, 1) * np.sin(2 * np.pi * rng.uniform(0.1, 8) * time)
    if rng.random() < 0.3:
        noise += rng.uniform(0.3, 3) * np.sign(
            np.sin(2 * np.pi * rng.choice([50, 60, 100, 120]) * time)
        )
    if rng.random() < 0.4:
        for _ in range(int(rng.integers(1, 12))):
            length = int(rng.uniform(0.01, 0.5) * SAMPLE_RATE_HZ)
            place = np.arange(length) / SAMPLE_RATE_HZ
            beep = np.sin(2 * np.pi * rng.uniform(150, 4000) * place)
            if rng.random() < 0.5:
                beep = rng.standard_normal(length) * np.exp(-place * rng.uniform(10, 100))
            start = int(rng.integers(max(size - length, 1)))
            noise[start : start + length] += rng.uniform(1, 10) * beep[: size - start]
    return noise.astype(np.float32)
