"""Tells each kind of fault once a minute: a log is no place to be filled by a stranger.

In the life of a round: where what makes no sense, and what a disk or a broker refuses, is told.
"""

import threading
from collections.abc import Callable
from typing import Final

from edge_models.errors import Explained

_EVERY_S: Final = 60.0
_MOST_TOLD: Final = 64


class OnceAMinute:
    """Passes a fault on unless one with the same cause was told within the minute; any thread."""

    def __init__(self, tell: Callable[[Explained], None], clock: Callable[[], float]) -> None:
        self._tell = tell
        self._clock = clock
        self._lock = threading.Lock()  # guards what follows
        self._told: dict[str, float] = {}

    def __call__(self, fault: Explained) -> None:
        """Tell it, or not."""
        now = self._clock()
        with self._lock:
            if now - self._told.get(fault.cause, -_EVERY_S) < _EVERY_S:
                return
            while len(self._told) >= _MOST_TOLD:
                del self._told[next(iter(self._told))]
            self._told.pop(fault.cause, None)
            self._told[fault.cause] = now
        self._tell(fault)
