"""A world with its own time, in which fake microphones speak, stall and vanish on schedule.

Whoever waits in it (`World.wait`) makes time pass: no thread, no sleep, the same every time.
"""

import heapq
import itertools
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from agent.capture.sound_device import BLOCK_S, OnBlock, OpenStream


class World:
    """Time, and what is to happen in it."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def clock(self) -> float:
        return self.now_s

    def at(self, moment_s: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment_s, next(self._order), event))

    def wait(self, condition: threading.Condition, timeout_s: float) -> bool:
        """Let time pass until the next event, or for `timeout_s`."""
        until_s = max(self.now_s + timeout_s, math.nextafter(self.now_s, math.inf))
        return self._pass(until_s, most=1)

    def sleep(self, duration_s: float) -> None:
        """Let time pass, with all that happens in it."""
        self._pass(self.now_s + duration_s, most=None)

    def _pass(self, until_s: float, most: int | None) -> bool:
        for _ in itertools.count() if most is None else range(most):
            if not self._events or self._events[0][0] > until_s:
                self.now_s = until_s
                return False
            moment_s, _, event = heapq.heappop(self._events)
            self.now_s = max(self.now_s, moment_s)
            event()
        return True


Act = Callable[["FakeMicrophone", OnBlock], None]


@dataclass
class FakeMicrophone:
    """A backend: each opening plays the next act (the last one again and again)."""

    world: World
    acts: list[Act]
    rate_hz: int = 16_000
    opening_s: float = 0.0
    plugged: bool = True
    opened_at_s: list[float] = field(default_factory=list)
    closed: int = 0
    said: list[np.ndarray] = field(default_factory=list)
    _open: int = 0

    def alive(self) -> bool:
        return self.plugged

    @contextmanager
    def opened(self, device: str, on_block: OnBlock) -> Iterator[OpenStream]:
        self.opened_at_s.append(self.world.now_s)
        self.plugged = True
        self.world.sleep(self.opening_s)
        self._open += 1
        this = self._open

        def while_open(samples: np.ndarray) -> None:
            if self._open == this:
                on_block(samples)
                samples.fill(-1)  # the driver uses its buffer again

        act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
        act(self, while_open)
        try:
            yield self
        finally:
            self._open += 1
            self.closed += 1


def speak(
    seconds: float,
    *,
    after_s: float = 0.0,
    silent: bool = False,
    crystal: float = 1.0,
    late_s: Callable[[int], float] = lambda number: 0.0,
) -> Act:
    """Give blocks of 100 ms, one when each is over; `crystal` is how fast the device's clock runs.

    The n-th sample of an opening has the value n % 30000 + 1.
    """

    def act(device: FakeMicrophone, on_block: OnBlock) -> None:
        size = round(device.rate_hz * BLOCK_S)
        moment_s = start_s = device.world.now_s + after_s
        for number in range(round(seconds / BLOCK_S)):
            values = np.arange(number * size, (number + 1) * size) % 30_000 + 1
            block = (values * (not silent)).astype(np.int16)

            def give(block: np.ndarray = block) -> None:
                device.said.append(block.copy())
                on_block(block)

            due_s = start_s + (number + 1) * BLOCK_S / crystal + late_s(number)
            moment_s = max(moment_s, due_s)  # a late block holds up those behind it
            device.world.at(moment_s, give)

    return act


def then(*acts: Act) -> Act:
    """All of it in one opening."""

    def act(device: FakeMicrophone, on_block: OnBlock) -> None:
        for each in acts:
            each(device, on_block)

    return act


def vanish(after_s: float) -> Act:
    """Be pulled out."""

    def act(device: FakeMicrophone, on_block: OnBlock) -> None:
        device.world.at(device.world.now_s + after_s, lambda: setattr(device, "plugged", False))

    return act


def fail(fault: Exception) -> Act:
    """Refuse to open."""

    def act(device: FakeMicrophone, on_block: OnBlock) -> None:
        raise fault

    return act
