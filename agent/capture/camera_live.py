"""Watches a live camera from two threads: one takes pictures, one looks at the newest.

Rules it upholds: pictures are dropped, never queued, and the dropped are counted; the
sensing light is lit exactly while the device is open; a camera that is absent, busy, gone or
stuck is named, and opened again after a pause that doubles up to half a minute.

    thread "camera"  open → grab → (due?) decode → slot      blocks in the driver
    thread "sight"   slot → look → wipe → log                never blocks for long

Place in the life of a frame: camera → **here** → sight → log → facial summary.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from agent.capture.camera_device import CameraFault, Device, MakeMesh, OpenDevice
from agent.capture.frames import GapReason, Sensor
from agent.capture.looked import Looked, SightLog
from agent.capture.pace import Backoff, Pace, Sampler
from agent.capture.sensing import Indicator
from agent.capture.sight import FROZEN_AFTER_S, Sight
from edge_models.errors import Explained
from edge_models.raw import RawImage

FIRST_RETRY_S: Final = 0.5
LONGEST_RETRY_S: Final = 30.0
STALLED_AFTER_S: Final = 3.0
"""So long an open camera may give no picture before it is a gap."""

_LISTEN_S: Final = 0.25  # how often a waiting thread looks up
_JOIN_S: Final = 2.0  # a driver may hold its thread for longer: that thread is left to it


class NewestPicture:
    """A slot for one picture: a newer one takes the place of an older, which is wiped."""

    def __init__(self) -> None:
        self._filled = threading.Condition()
        self._picture: RawImage | None = None
        self.dropped = 0

    def put(self, picture: RawImage) -> None:
        """Leave a picture, counting the one that nobody came for."""
        with self._filled:
            if self._picture is not None:
                self._picture.wipe()
                self.dropped += 1
            self._picture = picture
            self._filled.notify()

    def take(self, timeout_s: float) -> RawImage | None:
        """The newest picture, or None if none came in time."""
        with self._filled:
            if self._picture is None:
                self._filled.wait(timeout_s)
            picture, self._picture = self._picture, None
            return picture

    def wipe(self) -> None:
        """Overwrite what is left."""
        with self._filled:
            if self._picture is not None:
                self._picture.wipe()
                self._picture = None


class LiveTrack:
    """A context manager: inside, the camera is watched."""

    def __init__(
        self,
        open_device: OpenDevice,
        *,
        make_mesh: MakeMesh,
        pace: Pace,
        indicator: Indicator,
        clock: Callable[[], float],
        stopwatch: Callable[[], float] = time.perf_counter,
        backoff: Backoff | None = None,
        stalled_after_s: float = STALLED_AFTER_S,
        frozen_after_s: float = FROZEN_AFTER_S,
    ) -> None:
        self._open_device = open_device
        self._make_mesh = make_mesh
        self._pace = pace
        self._indicator = indicator
        self._clock = clock
        self._stopwatch = stopwatch
        self._backoff = backoff or Backoff(FIRST_RETRY_S, LONGEST_RETRY_S)
        self._stalled_after_s = stalled_after_s
        self._frozen_after_s = frozen_after_s
        self._log = SightLog()
        self._slot = NewestPicture()
        self._stop = threading.Event()
        self._reopen = threading.Event()
        self._well = threading.Event()  # a usable picture came since the camera was opened
        self._opened_s: float | None = None
        self._ever_came = False
        self._failure: Explained | None = None
        self._held = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            mesh = starting.enter_context(self._make_mesh())
            sight = Sight(mesh, self._log, frozen_after_s=self._frozen_after_s)
            threads = [
                threading.Thread(target=self._take_pictures, name="camera", daemon=True),
                threading.Thread(target=self._look, args=(sight,), name="sight", daemon=True),
            ]
            for thread in threads:
                thread.start()
                starting.callback(thread.join, _JOIN_S)
            starting.callback(self._stop.set)
            self._held = starting.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._held.close()
        self._slot.wipe()

    def between(self, start_s: float, end_s: float) -> Looked:
        """What was seen from `start_s` to `end_s`; ask in order of time.

        Raises:
            ModelError: the mesh failed; the camera is not watched any more.
        """
        if self._failure is not None:
            raise self._failure
        return self._log.between(start_s, end_s, self._slot.dropped)

    def _take_pictures(self) -> None:
        failing_since_s = self._clock()
        while not self._stop.is_set():
            self._well.clear()
            try:
                for _ in self._pictures_of_one_opening():
                    failing_since_s = self._clock()
            except CameraFault as fault:
                # What went away stays "unplugged" until it is back, however often we look.
                gone = self._ever_came and fault.reason is GapReason.ABSENT
                reason = GapReason.UNPLUGGED if gone else fault.reason
                self._log.saw_nothing(reason, failing_since_s, str(fault))
            if self._well.is_set():
                self._backoff.reset()
            self._stop.wait(self._backoff.pause_s())

    def _pictures_of_one_opening(self) -> Iterator[None]:
        """Open the camera and fill the slot until it fails or is to be opened again."""
        device = self._open_device()
        self._reopen.clear()
        with self._indicator.sensing(Sensor.CAMERA):
            try:
                self._opened_s = self._clock()
                yield from self._pictures(device)
            finally:
                self._opened_s = None
                device.close()

    def _pictures(self, device: Device) -> Iterator[None]:
        sampler = Sampler()
        while not self._stop.is_set() and not self._reopen.is_set():
            if not device.grab():
                raise _fault_of(device, self._ever_came)
            self._ever_came = True
            now_s = self._clock()
            if sampler.is_due(now_s, self._pace.interval_s):
                picture = device.picture(now_s)
                if picture is not None:
                    self._slot.put(picture)
                    yield

    def _look(self, sight: Sight) -> None:
        last_s = self._clock()
        while not self._stop.is_set():
            picture = self._slot.take(_LISTEN_S)
            if picture is None:
                self._note_stall(last_s)
                continue
            last_s = picture.time_s
            started = self._stopwatch()
            try:
                usable = sight.look(picture)
            except Explained as failure:
                self._failure = failure  # told to whoever asks next
                self._stop.set()
                return
            self._pace.took(self._stopwatch() - started)
            (self._well if usable else self._reopen).set()

    def _note_stall(self, last_s: float) -> None:
        opened_s = self._opened_s
        if opened_s is None:
            return  # the other thread names why it is not open
        since_s = max(last_s, opened_s)
        if self._clock() - since_s >= self._stalled_after_s:
            self._log.saw_nothing(GapReason.STALLED, since_s, _STALLED_DETAIL)
            self._reopen.set()


_STALLED_DETAIL: Final = (
    "The camera is open but gives no pictures. It is opened again; if that does not help, "
    "unplug it and plug it in again."
)


def _fault_of(device: Device, ever_came: bool) -> CameraFault:
    """Why a grab failed: gone, never ours, or stuck."""
    if not device.is_present():
        return CameraFault(
            GapReason.UNPLUGGED, "The camera was unplugged.", "Plug it in; it will be noticed."
        )
    if not ever_came:
        return CameraFault(
            GapReason.BUSY,
            "The camera opens but gives no picture: another program may hold it.",
            "Close that program; the camera is tried again by itself.",
        )
    return CameraFault(
        GapReason.STALLED,
        "The camera stopped giving pictures.",
        "It is opened again; if that does not help, unplug it and plug it in again.",
    )
