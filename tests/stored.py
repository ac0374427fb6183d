"""Records as the device makes them, and a device with its store, for the tests that need one."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np

from agent.capture.frames import GapReason, Sensor
from agent.keys import STORE_FILE
from agent.records import GapRecord, WindowRecord
from agent.store import Store
from edge_models.assessment import Abstention, Assessment, Scores
from edge_models.manifest import Thresholds
from sync.policy import Policy

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)  # a Tuesday, in 2026-W48
LAST_MONDAY = datetime(2026, 11, 16, tzinfo=UTC)  # the start of 2026-W47
KEY = bytes(range(32))
THRESHOLDS = Thresholds(
    minimum_speech_s=3.0, minimum_speech_short_s=0.5, middle_from=0.4, high_from=0.7
)
POLICY = Policy(
    name="weekly-1",
    version=1,
    rho_per_report=Fraction(1, 8),
    rho_budget=Fraction(3, 2),
    delta=1e-6,
    period_days=7,
)


def scored(
    started_at: datetime, sadness: float = 0.2, fear: float = 0.1, speech_s: float = 6.0
) -> WindowRecord:
    """A described and scored window with a face in it."""
    rng = np.random.default_rng(round(started_at.timestamp()))
    summary, facial, embedding = (rng.normal(size=n).astype(np.float32) for n in (88, 20, 24))
    scores = Scores(sadness, fear, max(sadness, fear))
    assessment = Assessment(scores, None)
    return WindowRecord(
        started_at,
        10.0,
        speech_s,
        8.0,
        True,
        summary,
        facial,
        embedding,
        assessment,
        "affect-1",
        7,
        "affect-1-0123456789abcdef",
    )


def abstained(
    started_at: datetime, why: Abstention = Abstention.TOO_LITTLE_SPEECH, speech_s: float = 1.0
) -> WindowRecord:
    """A window that was not described."""
    assessment = Assessment(None, why)
    return WindowRecord(
        started_at, 10.0, speech_s, 0.0, None, None, None, None, assessment, "affect-1"
    )


def gap(
    started_at: datetime,
    reason: GapReason = GapReason.UNPLUGGED,
    duration_s: float = 60.0,
    sensor: Sensor = Sensor.MICROPHONE,
    detail: str = "Plug the microphone in again.",
) -> GapRecord:
    """A gap with a sentence for the person."""
    return GapRecord(started_at, duration_s, sensor, reason, detail)


def fill_week(store: Store, monday: datetime, days: int = 7, a_day: int = 12) -> None:
    """A week of talking: `a_day` scored windows on each of `days` days."""
    for day in range(days):
        for place in range(a_day):
            moment = monday + timedelta(days=day, hours=9 + place // 4, minutes=7 * (place % 4))
            wave = 0.25 + 0.2 * ((3 * day + place) % 5) / 4
            store.add_window(scored(moment, sadness=wave, fear=wave / 2))
        store.add_window(abstained(monday + timedelta(days=day, hours=13)))


@dataclass(frozen=True)
class Device:
    """A state folder with a store in it."""

    folder: Path
    key: bytes = KEY

    @property
    def path(self) -> Path:
        """The store's file."""
        return self.folder / STORE_FILE

    def store(self) -> Store:
        """A fresh connection, as each thread has its own."""
        return Store(self.path, self.key)
