"""Trying again: after a fault, and after longer and longer pauses while it stays.

Rules it upholds: each fault is told, none is swallowed; only faults that explain themselves are
tried again, a bug ends it; a stop is heard during a pause; no two devices pause equally long, so a
broker that comes back is not met by all of them at once.

In the life of a report: how the coordinator goes on listening when its broker restarts.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from typing import Final

from edge_models.errors import Explained

FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_GRAIN: Final = 1000
_log: Final = logging.getLogger(__name__)


def say_in_log(fault: Explained) -> None:
    """Tell a fault in the log: cause and remedy, which never carry sensed data."""
    _log.warning("%s", fault)


def keep_trying(
    attempt: Callable[[], None],
    stop: threading.Event,
    *,
    on_fault: Callable[[Explained], None] = say_in_log,
    first_pause_s: float = FIRST_PAUSE_S,
) -> None:
    """Attempt, and attempt again after each `Explained`, until `stop` is set.

    The pause doubles while attempts fail sooner than it is long, up to a minute; each is cut by up
    to a half, by chance.
    """
    pause_s = first_pause_s
    while not stop.is_set():
        since = time.monotonic()
        try:
            attempt()
        except Explained as fault:
            on_fault(fault)
        if time.monotonic() - since > pause_s:
            pause_s = first_pause_s
        stop.wait(pause_s * (1 - secrets.randbelow(_GRAIN) / (2 * _GRAIN)))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
