"""What a sensor yields: raw stretches, and named gaps where there are none.

A stream is a generator of `RawAudio` (or `RawImage`) and `Gap`. A gap is data, not an
exception: the pipeline stores it, the person sees it, the weekly report counts its reason.
"""

from dataclasses import dataclass
from enum import StrEnum

from edge_models.errors import ContractError


class Sensor(StrEnum):
    """The two things that sense."""

    MICROPHONE = "microphone"
    CAMERA = "camera"


class GapReason(StrEnum):
    """Why a sensor gave nothing, in the words that the pages and the report use."""

    ABSENT = "absent"  # no such device
    BUSY = "busy"  # another program holds it
    UNPLUGGED = "unplugged"  # it went away while open
    STALLED = "stalled"  # open, but delivers nothing
    SILENT = "silent"  # delivers, but only digital silence (or black pictures)
    OVERRUN = "overrun"  # we were too slow: frames were dropped, and counted
    PAUSED = "paused"  # the person said so
    UNREADABLE = "unreadable"  # a recording that can't be decoded any further


@dataclass(frozen=True, slots=True)
class Gap:
    """From `start_s` to `end_s` of the stream, `sensor` gave nothing usable, for `reason`.

    `detail` is a sentence for the person: what was noticed and what helps.
    """

    sensor: Sensor
    reason: GapReason
    start_s: float
    end_s: float
    detail: str = ""

    def __post_init__(self) -> None:
        if self.end_s < self.start_s:
            raise ContractError("A gap ends after it starts.")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class TurnedOff:
    """Its owner turned `sensor` off: time passed up to `end_s` of the stream, and that is all."""

    sensor: Sensor
    end_s: float
