"""Opens cameras and recordings of them, and makes small RGB pictures out of what they give.

Rules it upholds: OpenCV is named only here; whatever a driver delivers (grey, 16 bit, four
channels, huge, another size each time) becomes one kind of picture or none; the driver's own
copy is overwritten; a camera that can't be used is named by a reason and told with a remedy.

Place in the life of a frame: **camera** → face mesh → facial summary. Here begins the life of
pixels; it ends in `agent.capture.sight`.
"""

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from agent.capture.camera_device import CameraFault
from agent.capture.camera_live import LiveTrack
from agent.capture.camera_recorded import RecordedTrack
from agent.capture.frames import GapReason
from agent.capture.pace import Pace
from agent.capture.sensing import Indicator
from agent.errors import SettingError
from edge_models.errors import RecordingError
from edge_models.face_mesh import FaceMesh
from edge_models.raw import RawImage

LONGEST_SIDE: Final = 640
"""Pixels: enough for the eyelids of a face at arm's length; larger pictures are reduced."""

_WIDTH, _HEIGHT = 640, 480  # asked of a live camera, which may give another size
_NOMINAL_PER_S: Final = 25.0  # where a recording does not say


class Capture(Protocol):
    """The part of `cv2.VideoCapture` that is used."""

    def grab(self) -> bool:
        """Wait for the next picture, without decoding it."""
        ...

    def retrieve(self, image: Any) -> tuple[bool, Any]:
        """Decode the picture that was grabbed, into `image` where it fits."""
        ...

    def get(self, key: int) -> float:
        """A property."""
        ...

    def release(self) -> None:
        """Close it."""
        ...


class OpenCvDevice:
    """An open camera, or a recording of one."""

    def __init__(self, capture: Capture, present: Callable[[], bool] = lambda: True) -> None:
        self._capture = capture
        self._cv2 = _quiet_cv2()
        self.is_present = present
        self._time_s = -1.0
        self._frame: Any = None  # wiped, and used again: a fresh one costs more than its decoding

    @property
    def frames_per_s(self) -> float:
        """What the device says of its rate, if that is believable; else 25."""
        rate = self._capture.get(self._cv2.CAP_PROP_FPS)
        return rate if 0.5 <= rate <= 250.0 else _NOMINAL_PER_S

    @property
    def promised_s(self) -> float:
        """How long a recording says it is, in seconds; 0 when it does not say."""
        return max(0.0, self._capture.get(self._cv2.CAP_PROP_FRAME_COUNT)) / self.frames_per_s

    def grab(self) -> bool:
        """Wait for the next picture; False when there is none."""
        try:
            return bool(self._capture.grab())
        except self._cv2.error:  # some drivers throw where others answer False
            return False

    def next_time_s(self) -> float:
        """Where in the recording the picture just grabbed stands; it never goes back."""
        at_s = self._capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1000.0
        if not self._time_s < at_s < float("inf"):
            at_s = self._time_s + 1.0 / self.frames_per_s if self._time_s >= 0.0 else 0.0
        self._time_s = at_s
        return at_s

    def picture(self, time_s: float) -> RawImage | None:
        """The picture just grabbed, as one taken at `time_s`; None if it can't be decoded."""
        try:
            decoded, frame = self._capture.retrieve(self._frame)
        except self._cv2.error:
            return None
        if not decoded or not isinstance(frame, np.ndarray):
            return None
        try:
            pixels = self._small_rgb(frame)
        finally:
            _wipe(frame)
        self._frame = frame
        return None if pixels is None else RawImage(pixels, time_s)

    def close(self) -> None:
        """Let the device go."""
        self._capture.release()

    def _small_rgb(self, frame: npt.NDArray[Any]) -> npt.NDArray[np.uint8] | None:
        cv2 = self._cv2
        channels = 1 if frame.ndim == 2 else frame.shape[-1]
        to_rgb = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
        if frame.size == 0 or frame.ndim not in (2, 3) or channels not in to_rgb:
            return None
        if frame.dtype not in (np.uint8, np.uint16):
            return None
        longest = max(frame.shape[:2])
        if longest <= LONGEST_SIDE and frame.dtype == np.uint8:
            straight: npt.NDArray[np.uint8] = cv2.cvtColor(frame, to_rgb[channels])
            return straight
        height, width = (
            max(1, side * LONGEST_SIDE // max(longest, LONGEST_SIDE)) for side in frame.shape[:2]
        )
        small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        eight_bit = (small >> 8).astype(np.uint8) if small.dtype == np.uint16 else small
        rgb: npt.NDArray[np.uint8] = cv2.cvtColor(eight_bit, to_rgb[channels])
        _wipe(small)
        _wipe(eight_bit)
        return rgb


def _wipe(frame: npt.NDArray[Any]) -> None:
    if frame.flags.writeable:
        frame.fill(0)


def open_camera(source: int | Path) -> OpenCvDevice:
    """Open a live camera, by number or device node.

    Raises:
        CameraFault: it is absent, or another program holds it.
    """
    node = Path(f"/dev/video{source}") if isinstance(source, int) else source
    if not node.exists():
        raise CameraFault(
            GapReason.ABSENT, f"There is no camera {node.name}.", "Plug it in; it will be noticed."
        )
    if not os.access(node, os.R_OK | os.W_OK):
        raise CameraFault(
            GapReason.ABSENT,
            f"This user may not use the camera {node.name}.",
            "Add the user to the group 'video', and log in again.",
        )
    cv2 = _quiet_cv2()
    capture = cv2.VideoCapture(source if isinstance(source, int) else str(source), cv2.CAP_V4L2)
    if not capture.isOpened():
        capture.release()
        raise CameraFault(
            GapReason.BUSY,
            f"The camera {node.name} can't be opened: another program holds it.",
            "Close that program; the camera is tried again by itself.",
        )
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, _WIDTH)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, _HEIGHT)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest picture, not a queue of old ones
    return OpenCvDevice(capture, node.exists)


def open_recording(path: Path) -> OpenCvDevice:
    """Open a recording of a camera.

    Raises:
        RecordingError: it is not there, or holds no picture that can be decoded.
    """
    if not path.is_file():
        raise RecordingError(
            f"There is no recording {path.name}.", "Give the path of a video file, such as .mp4."
        )
    cv2 = _quiet_cv2()
    # An absolute path can't be taken for an address, and one thread decodes the same everywhere.
    capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not capture.isOpened():
        capture.release()
        raise RecordingError(
            f"No picture can be decoded from {path.name}.",
            "Give a video file that a player can show (mp4, mpg, avi, mjpeg, gif).",
        )
    return OpenCvDevice(capture)


def face_track(
    source: int | Path,
    *,
    frames_per_s: float,
    indicator: Indicator,
    clock: Callable[[], float],
    live: bool,
) -> LiveTrack | RecordedTrack:
    """Watch a live camera (a number or a device node), or a recording of one, for faces.

    `clock` tells the seconds since the start of the stream; a recording has its own time.

    Raises:
        SettingError: a file was given as a live camera.
        RecordingError: the recording can't be opened (when the context is entered).
    """
    if live:
        if isinstance(source, Path) and source.is_file():
            raise SettingError(
                "A video file is not a live camera.", "Give it as a recording, with --camera FILE."
            )
        return LiveTrack(
            lambda: open_camera(source),
            make_mesh=FaceMesh,
            pace=Pace(frames_per_s),
            indicator=indicator,
            clock=clock,
        )
    path = source if isinstance(source, Path) else Path(str(source))
    return RecordedTrack(
        lambda: open_recording(path),
        make_mesh=FaceMesh,
        frames_per_s=frames_per_s,
        indicator=indicator,
    )


def _quiet_cv2() -> ModuleType:
    """OpenCV, loaded when first needed, with its and FFmpeg's messages off and one thread."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    import cv2

    cv2.setLogLevel(0)  # silent
    cv2.setNumThreads(1)
    module: ModuleType = cv2
    return module
