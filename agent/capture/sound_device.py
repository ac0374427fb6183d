"""What listening needs of a microphone, and how a microphone says that it can't be used.

Place in the life of a frame: the border between `agent.capture.portaudio`, which knows PyAudio, and
`agent.capture.microphone`, which doesn't.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from agent.capture.frames import GapReason
from agent.errors import DeviceError

BLOCK_S: Final = 0.1
"""A device calls back with each 100 ms of sound; at 20 ms, waking up costs 1 % of a core."""

OnBlock = Callable[[npt.NDArray[np.int16]], None]
"""Takes mono int16 (n,) in the device's own thread; must copy it, and must not wait."""


class MicrophoneFault(DeviceError):
    """A microphone that gives nothing; `reason` is what the gap will say."""

    def __init__(self, reason: GapReason, cause: str, remedy: str) -> None:
        super().__init__(cause, remedy)
        self.reason = reason


class OpenStream(Protocol):
    """A microphone that is open and calls back with each block."""

    @property
    def rate_hz(self) -> int:
        """The rate that it was opened at."""
        ...

    def alive(self) -> bool:
        """False once the device has gone away."""
        ...


class Backend(Protocol):
    """What opens microphones: PortAudio on a device, a fake in tests."""

    def opened(self, device: str, on_block: OnBlock) -> AbstractContextManager[OpenStream]:
        """Open a device; its blocks reach `on_block` until the context is left.

        Raises:
            MicrophoneFault: it can't be opened.
        """
        ...
