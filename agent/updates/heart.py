"""The agent's sign of life to its launcher, which ends a release on probation that gives none.

Rules it upholds: a beat comes from the loop that does the work, never from a thread of its own,
which would go on beating while the work hangs; a beat never waits and never fails.

In the life of a release: `launch` → **running agent** → kept, or given up.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, MutableMapping
from typing import TypeVar

from agent.updates.launch import BEAT_VARIABLE

Item = TypeVar("Item")


class Heart:
    """Beats into the launcher's pipe; without a launcher (a checkout, a test) it beats for none."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Take the pipe out of the environment, so that no child of ours gets hold of it."""
        said = environment.pop(BEAT_VARIABLE, "")
        self._pipe = int(said) if said.isdecimal() else -1
        try:
            os.set_inheritable(self._pipe, False)
            os.set_blocking(self._pipe, False)
        except OSError:
            self._pipe = -1

    def beat(self) -> None:
        """Say that the work goes on; every few seconds is often enough."""
        if self._pipe >= 0:
            with contextlib.suppress(OSError):  # the launcher has not looked yet, or is gone
                os.write(self._pipe, b".")

    def beating(self, stream: Iterable[Item]) -> Iterator[Item]:
        """The same items, with a beat before the first, and whenever the next one is asked for."""
        self.beat()
        for item in stream:
            yield item
            self.beat()
