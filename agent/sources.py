"""Where sound and pictures come from: devices, or recordings through the same code.

--microphone default | NAME | off | FILE… | FOLDER        --camera off | 0 | /dev/video0 | FILE
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from agent.capture.frames import Gap, Sensor, TurnedOff
from agent.capture.microphone import Microphone
from agent.capture.recorded import recorded
from agent.capture.sensing import Indicator
from agent.errors import SettingError
from agent.pipeline import FaceTrack
from edge_models.errors import RecordingError
from edge_models.raw import RawAudio
from edge_models.recordings import duration_s

OFF: Final = "off"
_STEP_S: Final = 10.0
_SOUND: Final = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au"}
Pace = Literal["fast", "real"]
Stream = Iterator[RawAudio | Gap | TurnedOff]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What senses: a device's name, files, or neither for each sensor that is off.

    `microphone` and `camera` are a device (str, int or a device node), recordings, or None.
    """

    microphone: str | tuple[Path, ...] | None
    camera: int | Path | None
    frames_per_s: float
    pace: Pace

    @property
    def live(self) -> bool:
        """Whether time is the wall clock's, because a device is among them."""
        return isinstance(self.microphone, str) or self._camera_is_live

    @property
    def _camera_is_live(self) -> bool:
        return self.camera is not None and not _is_file(self.camera)

    @property
    def recorded_s(self) -> float:
        """How long the recordings are, as far as they can be read; 0 for devices."""
        if self.live:
            return 0.0
        if isinstance(self.microphone, tuple):
            return sum(_duration_or_nothing(path) for path in self.microphone)
        return _video_s(self.camera) if isinstance(self.camera, Path) else 0.0


def choose(microphone: Sequence[str], camera: str, *, frames_per_s: float, pace: Pace) -> Chosen:
    """Understand the words of the settings or the command line.

    Raises:
        SettingError: nothing senses, a file is missing, or a live camera meets fast recordings.
    """
    sound = _microphone(microphone)
    eye = _camera(camera)
    if sound is None and eye is None:
        raise SettingError(
            "Microphone and camera are both off: there is nothing to screen.",
            "Turn one of them on in the settings.",
        )
    chosen = Chosen(sound, eye, frames_per_s, pace)
    if isinstance(sound, tuple) and eye is not None and not _is_file(eye) and pace == "fast":
        raise SettingError(
            "A live camera can't keep up with recordings that are read fast.",
            "Add --pace real, or give a video file as --camera.",
        )
    return chosen


@contextmanager
def open_sources(
    chosen: Chosen, *, indicator: Indicator, stop: threading.Event
) -> Iterator[tuple[Stream, FaceTrack | None]]:
    """The stream of sound and gaps, and the faces beside it, until `stop` is set.

    Raises:
        RecordingError: the camera's recording can't be opened.
    """
    started_s = time.monotonic()

    def since_start_s() -> float:
        return time.monotonic() - started_s

    with ExitStack() as stack:
        faces: FaceTrack | None = None
        if chosen.camera is not None:
            from agent.capture.camera import face_track  # OpenCV and MediaPipe: only with a camera

            track = face_track(
                chosen.camera,
                frames_per_s=chosen.frames_per_s,
                indicator=indicator,
                clock=since_start_s,
                live=not _is_file(chosen.camera),
            )
            stack.enter_context(track)
            faces = track
        yield _sound(chosen, indicator, stop, stack, started_s), faces


def _sound(
    chosen: Chosen,
    indicator: Indicator,
    stop: threading.Event,
    stack: ExitStack,
    started_s: float,
) -> Stream:
    if isinstance(chosen.microphone, tuple):
        return recorded(chosen.microphone, indicator=indicator, pace=chosen.pace, stop=stop)
    if chosen.microphone is None:
        return _turned_off(chosen, stop, lambda: time.monotonic() - started_s)
    from agent.capture.portaudio import PortAudio  # loads PortAudio: only where a device is used

    microphone = stack.enter_context(
        Microphone(chosen.microphone, backend=PortAudio(), indicator=indicator, begins_s=started_s)
    )

    def end_with_the_rest() -> None:
        stop.wait()
        microphone.stop()

    threading.Thread(target=end_with_the_rest, name="stop", daemon=True).start()
    stack.callback(stop.set)
    return microphone.blocks()


def _turned_off(chosen: Chosen, stop: threading.Event, clock: Callable[[], float]) -> Stream:
    """The stream of a microphone that its owner turned off: it only tells time to the camera."""
    end_s = float("inf") if chosen.live else chosen.recorded_s
    start_s = 0.0
    while start_s < end_s and not stop.is_set():
        until_s = min(start_s + _STEP_S, end_s)
        if chosen.live:
            stop.wait(max(0.0, until_s - clock()))
        yield TurnedOff(Sensor.MICROPHONE, until_s)
        start_s = until_s


def _microphone(words: Sequence[str]) -> str | tuple[Path, ...] | None:
    if len(words) == 1 and words[0] == OFF:
        return None
    paths = [Path(word) for word in words]
    if len(paths) == 1 and not paths[0].exists() and paths[0].suffix.lower() not in _SOUND:
        return words[0]
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(f for f in path.rglob("*") if f.suffix.lower() in _SOUND)
        elif path.exists():
            files.append(path)
        else:
            raise SettingError(f"There is no recording '{path}'.", "Check the name.")
    if not files:
        raise SettingError(
            f"There are no recordings in '{words[0]}'.",
            f"Name a folder with files ending in {', '.join(sorted(_SOUND))}.",
        )
    return tuple(files)


def _camera(word: str) -> int | Path | None:
    if word == OFF:
        return None
    if word.isdecimal():
        return int(word)
    path = Path(word)
    if not path.exists():
        raise SettingError(
            f"There is no camera or video '{word}'.", "Give a number, a video file, or 'off'."
        )
    return path


def _is_file(source: int | Path) -> bool:
    return isinstance(source, Path) and source.is_file()


def _duration_or_nothing(path: Path) -> float:
    try:
        return duration_s(path)
    except RecordingError:
        return 0.0  # it will be a gap with its reason when its turn comes


def _video_s(path: Path) -> float:
    from agent.capture.camera import open_recording

    device = open_recording(path)
    try:
        return device.promised_s
    finally:
        device.close()
