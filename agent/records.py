"""What the device remembers: features, scores, gaps and answers, never sound or pictures.

These are the values that `store` encrypts, `tally` counts and the person's page shows.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from agent.capture.frames import GapReason, Sensor
from edge_models.assessment import Assessment
from edge_models.errors import ContractError

PHQ8_ITEMS: Final = 8
GAD7_ITEMS: Final = 7
MOST_PER_ITEM: Final = 3


def _must_be_utc(moment: datetime) -> None:
    if moment.utcoffset() is None or moment.utcoffset():
        raise ContractError("Times in records are aware and in UTC.")


@dataclass(frozen=True, slots=True, eq=False)
class WindowRecord:
    """One described window.

    `alone` is None when no camera looked. `summary` float32 (88,), `facial` float32 (F,) and
    `embedding` float32 (E,) are None when the window was not described. `speech_s` and
    `face_s` count seconds in which speech was heard and a face was seen. `bundle` and `serial` say
    what screened it (serial 0: what the installation came with), `space` where its embedding lies
    (`edge_models.bundle.Bundle.space`; empty in records that are older than that).
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
    serial: int = 0
    space: str = ""

    def __post_init__(self) -> None:
        _must_be_utc(self.started_at)


@dataclass(frozen=True, slots=True)
class OwnBaseline:
    """What is usual for a person as bytes (`own.Own`), and by whose measure (`Bundle.hearing`)."""

    hearing: str
    content: bytes = field(repr=False)


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


@dataclass(frozen=True, slots=True)
class CheckIn:
    """The answers, 0 to 3 each, to the eight items of the PHQ-8 and the seven of the GAD-7."""

    started_at: datetime
    phq8: tuple[int, ...]
    gad7: tuple[int, ...]

    def __post_init__(self) -> None:
        _must_be_utc(self.started_at)
        if len(self.phq8) != PHQ8_ITEMS or len(self.gad7) != GAD7_ITEMS:
            raise ContractError("A check-in answers eight items and seven.")
        if not all(type(one) is int and 0 <= one <= MOST_PER_ITEM for one in self.phq8 + self.gad7):
            raise ContractError("An item is answered 0, 1, 2 or 3.")

    @property
    def phq8_sum(self) -> int:
        """0 to 24."""
        return sum(self.phq8)

    @property
    def gad7_sum(self) -> int:
        """0 to 21."""
        return sum(self.gad7)
