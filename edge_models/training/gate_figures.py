"""How well a gate finds near speech: precision, recall and F1 by SNR and by kind of noise.

Rules it upholds: people and noise recordings were in no training; every detector hears the same
mixtures; rows are pooled, so a long pause weighs as much as long speech.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_models.raw import RawAudio
from edge_models.speech_gate import SpeechGate, votes
from edge_models.training.gate_mixtures import Mixture, mixed, near_speech, noise_of
from edge_models.training.gate_sounds import Mask, NoiseKind, Sound, Sounds
from edge_models.windows import windows_of

SNRS_DB: Final = (20, 10, 5, 0)
MIXTURE_ROWS: Final = 2_000

Detector = Callable[[Sound], Mask]
"""Sound float32 (n,) to speech bool (n // 160,)."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Test mixtures of one kind of noise at one ratio; `snr_db` None: noise and no speech."""

    kind: NoiseKind
    snr_db: int | None
    mixtures: tuple[Mixture, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """Rows that were hit, missed, falsely alarmed and rightly rejected."""

    hits: int = 0
    misses: int = 0
    alarms: int = 0
    rejections: int = 0

    def __add__(self, other: "Counted") -> "Counted":
        return Counted(
            self.hits + other.hits,
            self.misses + other.misses,
            self.alarms + other.alarms,
            self.rejections + other.rejections,
        )

    @property
    def precision(self) -> float:
        """Share of the rows called speech that are."""
        return self.hits / max(self.hits + self.alarms, 1)

    @property
    def recall(self) -> float:
        """Share of the rows of speech that were found."""
        return self.hits / max(self.hits + self.misses, 1)

    @property
    def f1(self) -> float:
        """Harmonic mean of the two."""
        return 2 * self.hits / max(2 * self.hits + self.misses + self.alarms, 1)

    @property
    def alarm_rate(self) -> float:
        """Share of the rows without speech that were called speech."""
        return self.alarms / max(self.alarms + self.rejections, 1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one detector did in one condition."""

    detector: str
    kind: NoiseKind
    snr_db: int | None
    counted: Counted


def conditions_of(sounds: Sounds, each: int, seed: int) -> tuple[Condition, ...]:
    """Test mixtures of 20 s, `each` for every kind and ratio, and noise without speech."""
    rng = np.random.default_rng(seed)
    found = []
    for kind in NoiseKind:
        if kind is not NoiseKind.BABBLE and not sounds.of_kind(kind):
            continue
        for snr_db in (*SNRS_DB, None):
            made = []
            for _ in range(each):
                speech = near_speech(sounds, MIXTURE_ROWS, rng)
                if snr_db is None:
                    speech = Mixture(np.zeros_like(speech.sound), np.zeros_like(speech.truth))
                noise = noise_of(sounds, kind, MIXTURE_ROWS, rng)
                mixture = mixed(speech, noise, 0 if snr_db is None else snr_db)
                level = np.float32(10 ** (rng.uniform(-30, -3) / 20) / np.abs(mixture.sound).max())
                made.append(Mixture(mixture.sound * level, mixture.truth))
            found.append(Condition(kind, snr_db, tuple(made)))
    return tuple(found)


def outcomes_of(
    detectors: Mapping[str, Detector], conditions: Sequence[Condition]
) -> tuple[Outcome, ...]:
    """Run every detector on every mixture."""
    return tuple(
        Outcome(
            name,
            condition.kind,
            condition.snr_db,
            sum(
                (counted(detect(made.sound), made.truth) for made in condition.mixtures),
                start=Counted(),
            ),
        )
        for condition in conditions
        for name, detect in detectors.items()
    )


def counted(heard: Mask, truth: Mask) -> Counted:
    """Compare decisions with the truth, row by row."""
    return Counted(
        int(np.sum(heard & truth)),
        int(np.sum(~heard & truth)),
        int(np.sum(heard & ~truth)),
        int(np.sum(~heard & ~truth)),
    )


def pooled(
    outcomes: Sequence[Outcome],
    detector: str,
    snrs_db: Sequence[int | None] = SNRS_DB,
    kinds: Sequence[NoiseKind] = tuple(NoiseKind),
) -> Counted:
    """The rows of several conditions together."""
    return sum(
        (
            outcome.counted
            for outcome in outcomes
            if outcome.detector == detector and outcome.snr_db in snrs_db and outcome.kind in kinds
        ),
        start=Counted(),
    )


def through(gate: SpeechGate) -> Detector:
    """The gate as the agent uses it: on the stream's ten-second windows."""

    def detect(sound: Sound) -> Mask:
        block = RawAudio(sound.copy(), 0)
        return np.concatenate([gate.speech(window) for window in windows_of([block])])

    return detect


def bare(mode: int, frame_rows: int = 3) -> Detector:
    """webrtcvad alone, on the whole stream."""

    def detect(sound: Sound) -> Mask:
        return votes(sound, mode, frame_rows) > 0

    return detect
