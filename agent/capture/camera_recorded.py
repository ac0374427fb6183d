"""Watches a recording: its pictures in order, as far as the stream has come, and no further.

Rules it upholds: the same recording gives the same observations however the questions are cut;
what a live camera does to a picture is done here too; a damaged or finished recording is a
gap with its reason.

Place in the life of a frame: camera (a file) → **here** → sight → log → facial summary.
"""

from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from agent.capture.camera_device import Device, MakeMesh, OpenDevice
from agent.capture.frames import GapReason, Sensor
from agent.capture.looked import Looked, SightLog
from agent.capture.pace import Sampler
from agent.capture.sensing import Indicator
from agent.capture.sight import Sight
from edge_models.errors import ContractError

_HOLE_S: Final = 1.0  # between two pictures: a damaged stretch
_WHOLE: Final = 0.95  # of the promised length: containers round it

_ENDED: Final = "The recording of the camera is over. Give a longer one to see the rest."
_DAMAGED: Final = "A part of the camera's recording can't be decoded. Check or copy the file again."


class RecordedTrack:
    """A context manager around an open recording; `between` reads on as needed."""

    def __init__(
        self,
        open_device: OpenDevice,
        *,
        make_mesh: MakeMesh,
        frames_per_s: float,
        indicator: Indicator,
    ) -> None:
        self._open_device = open_device
        self._make_mesh = make_mesh
        self._interval_s = 1.0 / frames_per_s
        self._indicator = indicator
        self._held = ExitStack()
        self._log = SightLog()
        self._sampler = Sampler()
        self._sight: Sight | None = None
        self._device: Device | None = None
        self._grabbed_s: float | None = None  # a picture that is grabbed but not yet looked at
        self._last_s = 0.0

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            mesh = opening.enter_context(self._make_mesh())
            device = self._open_device()
            opening.enter_context(self._indicator.sensing(Sensor.CAMERA))
            opening.callback(device.close)  # closed before the light goes out
            self._sight = Sight(mesh, self._log, frozen_after_s=None)
            self._device = device
            self._grab(device)
            self._held = opening.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._held.close()
        self._device = None

    def between(self, start_s: float, end_s: float) -> Looked:
        """What was seen from `start_s` to `end_s`; ask in order of time.

        Raises:
            ContractError: the recording is not open.
        """
        if self._device is None or self._sight is None:
            raise ContractError("A recording is watched inside its context.")
        while self._grabbed_s is not None and self._grabbed_s < end_s:
            time_s = self._grabbed_s
            if self._sampler.is_due(time_s, self._interval_s):
                picture = self._device.picture(time_s)
                if picture is not None:
                    self._sight.look(picture)
            self._grab(self._device)
        return self._log.between(start_s, end_s)

    def _grab(self, device: Device) -> None:
        if device.grab():
            self._grabbed_s = device.next_time_s()
            if self._grabbed_s - self._last_s > _HOLE_S:
                self._log.saw_nothing(GapReason.UNREADABLE, self._last_s, _DAMAGED)
            self._last_s = self._grabbed_s
            return
        self._grabbed_s = None
        end_s = self._last_s + 1.0 / device.frames_per_s
        if end_s < _WHOLE * device.promised_s:
            self._log.saw_nothing(GapReason.UNREADABLE, end_s, _DAMAGED)
        else:
            self._log.saw_nothing(GapReason.ABSENT, end_s, _ENDED)
