"""What watching needs of a camera, and how a camera says that it can't be used.

Place in the life of a frame: the border between `camera`, which knows OpenCV, and the two ways of
watching, `camera_live` and `camera_recorded`, which don't.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from agent.capture.frames import GapReason
from agent.capture.sight import Mesh
from agent.errors import DeviceError
from edge_models.raw import RawImage


class CameraFault(DeviceError):
    """A camera that gives nothing; `reason` is what the gap will say."""

    def __init__(self, reason: GapReason, cause: str, remedy: str) -> None:
        super().__init__(cause, remedy)
        self.reason = reason


class Device(Protocol):
    """An open camera, or a recording of one."""

    @property
    def frames_per_s(self) -> float:
        """Its nominal rate."""
        ...

    @property
    def promised_s(self) -> float:
        """How long a recording says it is; 0 when it does not say."""
        ...

    def grab(self) -> bool:
        """Wait for the next picture, without decoding it; False when there is none."""
        ...

    def next_time_s(self) -> float:
        """Where in the recording the picture just grabbed stands; it never goes back."""
        ...

    def picture(self, time_s: float) -> RawImage | None:
        """The picture just grabbed, as one taken at `time_s`; None if it can't be decoded."""
        ...

    def is_present(self) -> bool:
        """Whether the device is still plugged in."""
        ...

    def close(self) -> None:
        """Let the device go."""
        ...


OpenDevice = Callable[[], Device]
MakeMesh = Callable[[], AbstractContextManager[Mesh]]
