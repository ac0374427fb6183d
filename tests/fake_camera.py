"""A camera, a mesh and a clock that do what a test tells them to."""

import threading
from collections.abc import Callable

import numpy as np

from agent.capture.camera_device import CameraFault
from agent.capture.frames import Sensor
from agent.capture.sensing import Indicator
from edge_models.facial import FaceObservation
from edge_models.raw import RawImage


class FakeClock:
    """Seconds that pass when somebody says so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now_s = 0.0

    def __call__(self) -> float:
        with self._lock:
            return self._now_s

    def passes(self, seconds: float) -> None:
        with self._lock:
            self._now_s += seconds


class FakeMesh:
    """Sees a face in every picture, keeps what it was shown, and knows which way is up."""

    def __init__(self, turns: int | None = 0, failure: Exception | None = None) -> None:
        self.turns = turns
        self.failure = failure
        self.shown: list[np.ndarray] = []
        self.first_pixels: list[int] = []

    def observe(self, image: RawImage) -> FaceObservation:
        if self.failure is not None:
            raise self.failure
        self.shown.append(image.pixels)
        self.first_pixels.append(int(image.pixels[0, 0, 0]))
        two, three = np.zeros(2, np.float32), np.zeros(3, np.float32)
        return FaceObservation(image.time_s, 1, np.zeros(52, np.float32), three, two, two, 0.5)

    def upright_turns(self, image: RawImage) -> int | None:
        return self.turns


draw = np.random.default_rng(0)


def lively() -> np.ndarray:
    return draw.integers(20, 256, (48, 64, 3), dtype=np.uint8)


class FakeCamera:
    """A camera at 30 pictures a second of fake time that does what each test tells it to."""

    frames_per_s, promised_s = 30.0, 0.0

    def __init__(self, clock: FakeClock, light: Indicator) -> None:
        self.clock, self.light = clock, light
        self.picture_now: Callable[[], np.ndarray | None] = lively
        self.works = self.present = True
        self.blocked = threading.Event()
        self.fault: CameraFault | None = None
        self.openings = self.closings = 0
        self.light_at_opening: list[bool] = []
        self.light_at_grab: set[bool] = set()
        self.light_at_closing: list[bool] = []

    def open(self) -> "FakeCamera":
        self.clock.passes(0.01)
        self.light_at_opening.append(Sensor.CAMERA in self.light.now)
        if self.fault is not None:
            raise self.fault
        self.openings += 1
        return self

    def grab(self) -> bool:
        self.light_at_grab.add(Sensor.CAMERA in self.light.now)
        self.clock.passes(1 / 30)
        threading.Event().wait(0.001)  # let the other thread look
        if self.blocked.is_set():
            self.clock.passes(1.0)
            return True  # nothing that can be decoded
        return self.works and self.present

    def next_time_s(self) -> float:
        raise AssertionError("a live camera has the stream's time")

    def picture(self, time_s: float) -> RawImage | None:
        pixels = None if self.blocked.is_set() else self.picture_now()
        return None if pixels is None else RawImage(pixels, time_s)

    def is_present(self) -> bool:
        return self.present

    def close(self) -> None:
        self.closings += 1
        self.light_at_closing.append(Sensor.CAMERA in self.light.now)
