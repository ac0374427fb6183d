"""The "sensing" light: a context manager around a device being open, and nothing else.

Rule it upholds: the light is on exactly while a microphone or camera is open, whatever happens
inside; if it can't be lit, nothing is opened. Who shows it (page, terminal, a lamp on the board)
asks or listens here.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from agent.capture.frames import Sensor
from agent.errors import DeviceError, SettingError

Listener = Callable[[frozenset[Sensor]], None]


class Indicator:
    """Which sensors are open at this moment; safe to use from several threads."""

    def __init__(self, *listeners: Listener) -> None:
        self._open: Counter[Sensor] = Counter()
        # Held while listeners are told, so that the last thing they hear is the truth.
        self._lock = threading.RLock()
        self._listeners = listeners

    @property
    def now(self) -> frozenset[Sensor]:
        """The sensors that are open."""
        with self._lock:
            return frozenset(self._open)

    @contextmanager
    def sensing(self, sensor: Sensor) -> Iterator[None]:
        """Hold the light on for a sensor while its device is open.

        Raises:
            DeviceError: a listener (the lamp) can't show it, so the body is not run.
        """
        try:
            self._change(sensor, +1)
            yield
        finally:
            self._change(sensor, -1)

    def _change(self, sensor: Sensor, step: int) -> None:
        with self._lock, ExitStack() as told:
            self._open[sensor] += step
            if not self._open[sensor]:
                del self._open[sensor]
            now = frozenset(self._open)
            for listener in reversed(self._listeners):  # an exit stack runs the last one first
                told.callback(listener, now)  # each is told, even after another has failed


class Lamp:
    """A listener that drives an LED of the board through its sysfs brightness file."""

    def __init__(self, brightness: Path) -> None:
        """Try the lamp once, so that a wrong path is told at the start.

        Raises:
            SettingError: the file can't be written.
        """
        self._brightness = brightness
        try:
            self._write("0")
        except OSError as fault:
            raise SettingError(
                f"The lamp '{brightness}' can't be driven: {fault.strerror}.",
                "Name a file such as /sys/class/leds/ACT/brightness that the agent may write.",
            ) from fault

    def __call__(self, now: frozenset[Sensor]) -> None:
        """Light while anything senses.

        Raises:
            DeviceError: the lamp went away.
        """
        try:
            self._write("1" if now else "0")
        except OSError as fault:
            raise DeviceError(
                f"The lamp '{self._brightness}' can't be driven any more: {fault.strerror}.",
                "Without its lamp nothing is sensed: repair it, or take it out of the settings.",
            ) from fault

    def _write(self, value: str) -> None:
        with self._brightness.open("r+", encoding="ascii") as lamp:  # never makes a new file
            lamp.write(value)
