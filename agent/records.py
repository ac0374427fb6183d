"""What the device remembers of a window or a gap: features and scores, never sound or pictures.

These are the values that `store` encrypts, `tally` counts and the person's page shows.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from agent.frames import GapReason, Sensor
from edge_models.assessment import Assessment
from edge_models.errors import ContractError


def _must_be_utc(moment: datetime) -> None:
    if moment.utcoffset() is None or moment.utcoffset():
        raise ContractError("Times in records are aware and in UTC.")


@dataclass(frozen=True, slots=True, eq=False)
class WindowRecord:
    """One described window.

    `alone` is None when no camera looked. `summary` float32 (88,), `facial` float32 (F,) and
    `embedding` float32 (E,) are None when the window was not described. `speech_s` and
    `face_s` count seconds in which speech was heard and a face was seen.
    """

    started_at: datetime
    duration_s: float
    speech_s: float
    face_s: float
    alone: bool | None
    summary: npt.NDArray[np.float32] | None
    facial: npt.NDArray[np.float32] | None
    embedding: npt.NDArray[np.float32] | None
    assessment: Assessment
    bundle: str

    def __post_init__(self) -> None:
        _must_be_utc(self.started_at)


@dataclass(frozen=True, slots=True)
class GapRecord:
    """A stretch in which a sensor gave nothing usable, and why."""

    started_at: datetime
    duration_s: float
    sensor: Sensor
    reason: GapReason
    detail: str

    def __post_init__(self) -> None:
        _must_be_utc(self.started_at)
