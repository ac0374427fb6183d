"""Opening cameras and recordings, and watching real and damaged recordings."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.capture.camera import OpenCvDevice, face_track, open_camera, open_recording
from agent.capture.camera_device import CameraFault
from agent.capture.camera_live import LiveTrack
from agent.capture.camera_recorded import RecordedTrack
from agent.capture.frames import GapReason, Sensor
from agent.capture.sensing import Indicator
from agent.errors import SettingError
from edge_models.errors import RecordingError
from edge_models.facial import summarise
from tests.fake_camera import FakeClock, FakeMesh, lively

pytestmark = pytest.mark.xdist_group("face")


class FakeCapture:
    """OpenCV's capture, giving one frame for ever."""

    def __init__(self, frame: object, decoded: bool = True) -> None:
        self.frame, self.decoded = frame, decoded

    def grab(self) -> bool:
        return True

    def retrieve(self, image: object) -> tuple[bool, object]:
        return self.decoded, self.frame

    def get(self, key: int) -> float:
        return float("nan")

    def release(self) -> None:
        pass


def test_the_drivers_copy_is_wiped_and_filled_again() -> None:
    class Reusing(FakeCapture):
        def retrieve(self, image: object) -> tuple[bool, object]:
            assert image is None or (image is self.frame and not self.frame.any())
            self.frame[:] = 7
            return True, self.frame

    device = OpenCvDevice(Reusing(np.zeros((48, 64, 3), np.uint8)))
    for _ in range(2):
        assert (device.picture(0.0).pixels == 7).all()


@pytest.mark.parametrize(
    ("shape", "dtype", "becomes"),
    [
        ((480, 640, 3), np.uint8, (480, 640, 3)),
        ((480, 640), np.uint8, (480, 640, 3)),
        ((480, 640, 1), np.uint8, (480, 640, 3)),
        ((480, 640, 4), np.uint8, (480, 640, 3)),
        ((480, 640, 3), np.uint16, (480, 640, 3)),
        ((4320, 7680, 3), np.uint8, (360, 640, 3)),
        ((5000, 1, 3), np.uint8, (640, 1, 3)),
        ((1, 1, 3), np.uint8, (1, 1, 3)),
        ((0, 640, 3), np.uint8, None),
        ((480, 640, 2), np.uint8, None),
        ((480, 640, 3), np.float32, None),
        ((640,), np.uint8, None),
        ((2, 3, 4, 3), np.uint8, None),
    ],
)
def test_any_frame_becomes_a_small_rgb_picture_or_none(shape, dtype, becomes) -> None:
    frame = np.full(shape, 200, dtype)
    picture = OpenCvDevice(FakeCapture(frame)).picture(1.0)
    assert (None if picture is None else picture.pixels.shape) == becomes
    assert not frame.any()  # the driver's copy is overwritten
    assert picture is None or picture.pixels.dtype == np.uint8


@pytest.mark.parametrize("capture", [FakeCapture(None), FakeCapture(lively(), decoded=False)])
def test_a_frame_that_cannot_be_decoded_is_no_picture(capture: FakeCapture) -> None:
    assert OpenCvDevice(capture).picture(0.0) is None


def test_colours_are_red_green_blue() -> None:
    blue = np.zeros((4, 4, 3), np.uint8)
    blue[..., 0] = 255  # OpenCV's order is blue, green, red
    picture = OpenCvDevice(FakeCapture(blue)).picture(0.0)
    assert picture is not None and picture.pixels[0, 0].tolist() == [0, 0, 255]


def test_an_absent_camera_a_forbidden_one_and_one_that_is_none_are_told_apart(
    tmp_path: Path,
) -> None:
    with pytest.raises(CameraFault, match="no camera") as absent:
        open_camera(tmp_path / "video9")
    assert absent.value.reason is GapReason.ABSENT
    (tmp_path / "video8").write_bytes(b"not a camera")
    with pytest.raises(CameraFault, match="another program") as busy:
        open_camera(tmp_path / "video8")
    assert busy.value.reason is GapReason.BUSY


def test_a_file_is_no_live_camera(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"")
    with pytest.raises(SettingError, match="not a live camera"):
        _face_track(tmp_path / "clip.mp4", live=True)


def _face_track(
    source: Path, *, live: bool = False, frames_per_s: float = 10.0
) -> LiveTrack | RecordedTrack:
    return face_track(
        source, frames_per_s=frames_per_s, indicator=Indicator(), clock=FakeClock(), live=live
    )


@pytest.mark.parametrize("content", [None, b"", b"\x00" * 5000, b"RIFF____AVI LIST" + b"x" * 99])
def test_a_recording_that_cannot_be_opened_is_told_with_a_remedy_and_quietly(
    tmp_path: Path, content: bytes | None, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecordingError, match="clip") as told:
        open_recording(path)
    assert told.value.remedy
    assert capfd.readouterr().err == ""


@pytest.fixture(scope="module")
def talking(recordings: Path) -> Path:
    return sorted((recordings / "clips" / "grid").glob("*.mpg"))[0]


def _rewritten(source: Path, to: Path, change: Callable[[int, np.ndarray], np.ndarray]) -> Path:
    """A lossless copy of a clip with every picture changed."""
    capture, writer = cv2.VideoCapture(str(source)), None
    count = 0
    while (answer := capture.read())[0]:
        frame = np.ascontiguousarray(change(count, answer[1]))
        if writer is None:
            height, width, _ = frame.shape
            code = cv2.VideoWriter_fourcc(*"FFV1")
            writer = cv2.VideoWriter(str(to), code, 25.0, (width, height))
        writer.write(frame)
        count += 1
    assert writer is not None
    writer.release()
    return to


def test_a_recording_says_the_same_however_the_questions_are_cut(talking: Path) -> None:
    answers = []
    for cuts in ([0, 10], [0, 0.33, 0.34, 1.7, 2.0, 10]):
        with _face_track(talking) as track:
            looked = [track.between(a, b) for a, b in pairwise(cuts)]
        seen = [seen for part in looked for seen in part.observations]
        answers.append(
            (
                [observation.time_s for observation in seen],
                np.array([observation.blendshapes for observation in seen]),
                {gap.reason for part in looked for gap in part.gaps},
            )
        )
    (times_s, shapes, gaps), (times_again_s, shapes_again, gaps_again) = answers
    assert times_s == times_again_s and len(times_s) == 30
    np.testing.assert_array_equal(shapes, shapes_again)
    assert gaps == gaps_again == {GapReason.ABSENT}  # the clip ends after 3 of the 10 seconds


def test_two_people_in_a_recording_are_not_alone(recordings: Path) -> None:
    with _face_track(recordings / "clips" / "intel_head_female-and-male.gif") as track:
        pair = track.between(0.0, 5.0)
    with _face_track(recordings / "clips" / "intel_head_female.gif") as track:
        one = track.between(0.0, 2.0)
    assert summarise(pair.observations, 0.0, 5.0).alone is False
    assert summarise(one.observations, 0.0, 2.0).alone is True


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_recording_says_what_the_upright_one_says(
    talking: Path, tmp_path: Path, turns: int
) -> None:
    turned = _rewritten(talking, tmp_path / "t.avi", lambda _, frame: np.rot90(frame, turns))
    upright = _rewritten(talking, tmp_path / "u.avi", lambda _, frame: frame)
    seen = []
    for path in (upright, turned):
        with _face_track(path) as track:
            seen.append(track.between(0.0, 3.0).observations)
    for one, other in zip(*seen, strict=True):
        np.testing.assert_array_equal(one.head_deg, other.head_deg)


def test_a_black_stretch_of_a_recording_is_a_silent_gap(talking: Path, tmp_path: Path) -> None:
    covered = _rewritten(
        talking, tmp_path / "c.avi", lambda n, frame: frame * 0 if n < 60 else frame
    )
    with _face_track(covered) as track:
        looked = track.between(0.0, 3.0)
    (gap,) = looked.gaps
    assert gap.reason is GapReason.SILENT and gap.start_s == 0.0
    assert gap.end_s == pytest.approx(2.4, abs=0.11) and len(looked.observations) == 6


BROKEN = """
import sys
from pathlib import Path
from agent.capture.frames import GapReason
from tests.test_camera import _face_track

with _face_track(Path(sys.argv[1])) as track:
    looked = track.between(0.0, 2.3)
assert GapReason.UNREADABLE in {gap.reason for gap in looked.gaps}, looked.gaps
"""


def test_a_recording_that_breaks_off_is_unreadable_from_there_and_nothing_chatters(
    recordings: Path, tmp_path: Path
) -> None:
    """In a process of its own: OpenCV asks once how loud it may be, and other tests ask first."""
    content = bytearray((recordings / "clips" / "pyfeat_single_face.mp4").read_bytes())
    content[80_000:120_000] = bytes(40_000)
    (tmp_path / "broken.mp4").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, str(tmp_path / "broken.mp4")],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_recording_gives_observations_and_gaps_or_is_refused(
    talking: Path, tmp_path: Path, seed: int
) -> None:
    damage = np.random.default_rng(seed)
    content = bytearray(talking.read_bytes())
    for place in damage.integers(0, len(content), 10 ** (seed // 2 + 1)):
        content[place] = int(damage.integers(256))
    (tmp_path / "damaged.mpg").write_bytes(content[: damage.integers(100, len(content))])
    light = Indicator()
    with_mesh: Callable[[], AbstractContextManager[FakeMesh]] = lambda: nullcontext(FakeMesh())  # noqa: E731
    track = RecordedTrack(
        lambda: open_recording(tmp_path / "damaged.mpg"),
        make_mesh=with_mesh,
        frames_per_s=10.0,
        indicator=light,
    )
    try:
        with track:
            assert light.now == {Sensor.CAMERA}
            looked = track.between(0.0, 10.0)
            assert len(looked.observations) <= 101 and looked.gaps
    except RecordingError as refused:
        assert refused.remedy
    assert light.now == frozenset()
