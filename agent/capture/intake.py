"""The bounded queue between a microphone's callback and whoever listens.

Rules it upholds: the callback never waits for the listener; a block that doesn't fit is dropped and
counted (the next one's `position` shows the hole); what was never taken is overwritten.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError

Wait = Callable[[threading.Condition, float], bool]
"""Waits on a condition that is held, for at most so many seconds: a fake in tests."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Mono int16 (n,); `position` counts the samples that the device gave before it.

    `arrived_s` is when the callback brought it, by the clock of the stream.
    """

    samples: npt.NDArray[np.int16] = field(repr=False)
    position: int
    arrived_s: float

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise ContractError("Raw sound never leaves the process: it can't be pickled or copied.")


class Stopped(Exception):
    """The listener was asked to stop: nothing more will come."""


class Intake:
    """Filled by a device's thread, emptied by one listener, stopped by any thread."""

    def __init__(
        self,
        most_blocks: int,
        clock: Callable[[], float],
        wait: Wait = threading.Condition.wait,
    ) -> None:
        self._most_blocks = most_blocks
        self._clock = clock
        self._wait = wait
        self._changed = threading.Condition()
        self._blocks: deque[Block] = deque()
        self._given = 0
        self._stopped = False

    def put(self, samples: npt.NDArray[np.int16]) -> None:
        """Copy a block in, or drop it if there is no room."""
        with self._changed:
            if len(self._blocks) < self._most_blocks and not self._stopped:
                self._blocks.append(Block(samples.copy(), self._given, self._clock()))
                self._changed.notify()
            self._given += len(samples)

    def take(self, timeout_s: float) -> Block:
        """The oldest block; waits for one if there is none.

        Raises:
            TimeoutError: none came in time.
            Stopped: the stream is to end.
        """
        until_s = self._clock() + timeout_s
        with self._changed:
            while not self._stopped:
                if self._blocks:
                    return self._blocks.popleft()
                left_s = until_s - self._clock()
                if left_s <= 0:
                    raise TimeoutError
                self._wait(self._changed, left_s)
        raise Stopped

    def pause(self, pause_s: float) -> None:
        """Wait that long, or until stopped."""
        until_s = self._clock() + pause_s
        with self._changed:
            while not self._stopped and (left_s := until_s - self._clock()) > 0:
                self._wait(self._changed, left_s)

    def restart(self) -> None:
        """Overwrite what was never taken: another device begins, at position 0."""
        with self._changed:
            for block in self._blocks:
                block.samples.fill(0)
            self._blocks.clear()
            self._given = 0

    @property
    def stopped(self) -> bool:
        """Whether the stream is to end."""
        with self._changed:
            return self._stopped

    def stop(self) -> None:
        """Wake whoever waits: the stream is to end."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
