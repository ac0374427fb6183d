"""Keeps native libraries' chatter off the terminal, and loses nothing else.

MediaPipe's C++ log and PortAudio's write to descriptor 2 before any setting of ours can reach them.
While such a library starts, descriptor 2 is a file in memory; afterwards every line that is not the
library's own chatter goes on to where it was meant to go. Several threads may be inside at once
(microphone and camera start together): the first one in puts the file there, the last one out
takes it away.
"""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_STDERR: Final = 2
_CHATTER: Final = re.compile(
    rb"[IWE]\d{4} \d\d:\d\d:"  # absl: severity, month and day, time
    rb"|WARNING: All log messages before absl"
    rb"|INFO: Created TensorFlow Lite"
    rb"|Expression '.*' failed in '.*pa_"  # PortAudio, for each rate that a device refuses
)


class _Hold:
    """Descriptor 2 while it is held back; one for the process, as there is one descriptor 2."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._terminal = self._held = -1

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                try:
                    self._terminal = os.dup(_STDERR)
                except OSError:  # started without a standard error: nothing to keep clean
                    self._terminal = -1
                else:
                    self._held = os.memfd_create("chatter")
                    os.dup2(self._held, _STDERR)
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside or self._terminal < 0:
                return
            os.dup2(self._terminal, _STDERR)
            os.lseek(self._held, 0, os.SEEK_SET)
            with os.fdopen(self._held, "rb") as lines, os.fdopen(self._terminal, "wb") as onward:
                onward.writelines(line for line in lines if not _CHATTER.match(line))


_hold: Final = _Hold()


@contextmanager
def native_chatter_held_back() -> Iterator[None]:
    """Inside, what native code says to the terminal is held; its known chatter is then dropped."""
    _hold.enter()
    try:
        yield
    finally:
        _hold.leave()
