"""Watching a camera: what goes wrong is named, what is seen is kept, no picture is."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.camera import OpenCvDevice, face_track, open_camera, open_recording
from agent.camera_device import CameraFault
from agent.camera_live import LiveTrack, NewestPicture
from agent.camera_recorded import RecordedTrack
from agent.errors import SettingError
from agent.frames import Gap, GapReason, Sensor
from agent.looked import SightLog
from agent.pace import Backoff, Pace, Sampler
from agent.sensing import Indicator
from agent.sight import Orientation, Sight
from edge_models.errors import ContractError, RecordingError
from edge_models.facial import FaceObservation, summarise
from edge_models.raw import RawImage

pytestmark = pytest.mark.xdist_group("face")


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


_draw = np.random.default_rng(0)


def _lively() -> np.ndarray:
    return _draw.integers(20, 256, (48, 64, 3), dtype=np.uint8)


class FakeCamera:
    """A camera at 30 pictures a second of fake time that does what each test tells it to."""

    frames_per_s, promised_s = 30.0, 0.0

    def __init__(self, clock: FakeClock, light: Indicator) -> None:
        self.clock, self.light = clock, light
        self.picture_now: Callable[[], np.ndarray | None] = _lively
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


def _until(holds: Callable[[], bool]) -> None:
    """Wait, at most ten seconds, until something holds."""
    for _ in range(2_000):
        if holds():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not come to hold within ten seconds")


class Watched:
    """A fake camera that is being watched, and all that has been seen of it."""

    def __init__(self, mesh: FakeMesh) -> None:
        self.clock, self.light, self.mesh = FakeClock(), Indicator(), mesh
        self.camera = FakeCamera(self.clock, self.light)
        self.track = LiveTrack(
            self.camera.open,
            make_mesh=lambda: nullcontext(mesh),
            pace=Pace(10.0),
            indicator=self.light,
            clock=self.clock,
            stopwatch=lambda: 0.0,
            backoff=Backoff(0.001, 0.004),
        )

    @property
    def gaps(self) -> tuple[Gap, ...]:
        return self.track.between(0.0, self.clock()).gaps

    @property
    def seen(self) -> int:
        return len(self.track.between(0.0, self.clock()).observations)

    def sees_more(self) -> None:
        before = self.seen
        _until(lambda: self.seen > before + 2)

    def names(self, reason: GapReason) -> None:
        _until(lambda: any(gap.reason is reason for gap in self.gaps))


@contextmanager
def _watching(
    mesh: FakeMesh | None = None, fault: CameraFault | None = None, works: bool = True
) -> Iterator[Watched]:
    watched = Watched(mesh or FakeMesh())
    watched.camera.fault, watched.camera.works = fault, works
    with watched.track:
        yield watched


def test_a_working_camera_is_seen_and_leaves_no_gap() -> None:
    with _watching() as watched:
        _until(lambda: watched.seen > 20)
        assert watched.gaps == ()
        times_s = [seen.time_s for seen in watched.track.between(0, 1e9).observations]
    assert times_s == sorted(times_s)
    assert np.median(np.diff(times_s)) == pytest.approx(0.1, abs=0.04)  # 10 of 30 a second


def test_the_light_is_lit_exactly_while_the_camera_is_open() -> None:
    with _watching() as watched:
        watched.sees_more()
        watched.camera.present = False
        watched.names(GapReason.UNPLUGGED)
        watched.camera.present = True
        watched.sees_more()
        camera, light = watched.camera, watched.light
    assert camera.openings == camera.closings >= 2
    assert not any(camera.light_at_opening) and all(camera.light_at_closing)
    assert camera.light_at_grab == {True} and light.now == frozenset()


def test_every_picture_is_overwritten_after_it_was_looked_at() -> None:
    with _watching() as watched:
        _until(lambda: watched.seen > 5)
    assert len(watched.mesh.shown) > 5 and all(watched.mesh.first_pixels)
    assert not any(pixels.any() for pixels in watched.mesh.shown)


@pytest.mark.parametrize("reason", [GapReason.ABSENT, GapReason.BUSY])
def test_a_camera_that_cannot_be_opened_is_named_and_tried_again(reason: GapReason) -> None:
    with _watching(fault=CameraFault(reason, "Cause.", "Remedy.")) as watched:
        watched.names(reason)
        _until(lambda: len(watched.camera.light_at_opening) > 3)
        watched.camera.fault = None
        watched.sees_more()
        (gap,) = watched.gaps
        assert gap.sensor is Sensor.CAMERA and gap.detail == "Cause. Remedy."
        assert gap.end_s <= watched.track.between(0, 1e9).observations[0].time_s + 1e-9


def test_an_unplugged_camera_stays_unplugged_until_it_is_back() -> None:
    with _watching() as watched:
        watched.sees_more()
        watched.camera.present = False
        watched.camera.fault = CameraFault(GapReason.ABSENT, "There is none.", "Plug it in.")
        tries = len(watched.camera.light_at_opening)
        _until(lambda: len(watched.camera.light_at_opening) > tries + 3)
        watched.camera.present, watched.camera.fault = True, None
        watched.sees_more()
        assert [gap.reason for gap in watched.gaps] == [GapReason.UNPLUGGED]


def test_a_camera_that_opens_but_never_gives_a_picture_is_busy() -> None:
    with _watching(works=False) as watched:
        watched.names(GapReason.BUSY)


def test_a_camera_that_stops_giving_pictures_has_stalled() -> None:
    with _watching() as watched:
        watched.sees_more()
        watched.camera.works = False
        watched.names(GapReason.STALLED)
        watched.camera.works = True
        watched.sees_more()


def test_a_camera_that_gives_nothing_decodable_has_stalled_and_is_opened_again() -> None:
    with _watching() as watched:
        watched.sees_more()
        watched.camera.blocked.set()
        watched.names(GapReason.STALLED)
        _until(lambda: watched.camera.openings > 1)
        watched.camera.blocked.clear()
        watched.sees_more()


def test_a_frozen_camera_has_stalled_and_is_opened_again() -> None:
    with _watching() as watched:
        watched.sees_more()
        still = _lively()
        watched.camera.picture_now = still.copy
        watched.names(GapReason.STALLED)
        _until(lambda: watched.camera.openings > 2)
        watched.camera.picture_now = _lively
        watched.sees_more()
        (gap,) = watched.gaps
        assert gap.duration_s > 2.0 and "same picture" in gap.detail


@pytest.mark.parametrize("level", [0, 7, 128])
def test_a_black_or_blank_camera_is_silent_until_it_shows_something(level: int) -> None:
    with _watching() as watched:
        watched.sees_more()
        watched.camera.picture_now = lambda: np.full((48, 64, 3), level, np.uint8)
        watched.names(GapReason.SILENT)
        watched.camera.picture_now = _lively
        watched.sees_more()
        (gap,) = watched.gaps
        assert "cover" in gap.detail and not any(
            gap.start_s <= seen.time_s < gap.end_s
            for seen in watched.track.between(0, 1e9).observations
        )


def test_frames_of_changing_size_are_all_looked_at() -> None:
    sizes = _draw.integers(1, 90, (1_000, 2))
    with _watching() as watched:
        turn = iter(range(10**9))
        watched.camera.picture_now = lambda: _draw.integers(
            20, 256, (*sizes[next(turn) % 1_000], 3), dtype=np.uint8
        )
        _until(lambda: len({pixels.shape for pixels in watched.mesh.shown}) > 10)


def test_a_failing_mesh_is_told_to_whoever_asks() -> None:
    with _watching(FakeMesh(failure=ContractError("The mesh failed."))) as watched:

        def told() -> bool:
            try:
                return watched.seen < 0
            except ContractError as failure:
                return "The mesh failed" in str(failure)

        _until(told)


def test_the_newest_picture_takes_the_place_of_an_older_which_is_wiped_and_counted() -> None:
    slot, old, new = NewestPicture(), RawImage(_lively(), 0.0), RawImage(_lively(), 0.1)
    slot.put(old)
    slot.put(new)
    assert slot.dropped == 1 and not old.pixels.any()
    assert slot.take(0.0) is new and slot.take(0.0) is None
    slot.put(new)
    slot.wipe()
    assert not new.pixels.any() and slot.take(0.0) is None


def test_the_pace_yields_to_a_slow_machine_and_recovers() -> None:
    pace = Pace(10.0, slowest_per_s=2.0, share=0.25)
    assert pace.interval_s == pytest.approx(0.1)
    for _ in range(50):
        pace.took(0.05)
    assert pace.interval_s == pytest.approx(0.2, rel=0.01)
    for _ in range(50):
        pace.took(5.0)
    assert pace.interval_s == 0.5
    for _ in range(100):
        pace.took(0.004)
    assert pace.interval_s == pytest.approx(0.1)


def test_pauses_double_to_a_bound_and_begin_again_after_success() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.pause_s() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert backoff.pause_s() == 0.5


@pytest.mark.parametrize("wrong", [{"frames_per_s": 0}, {"frames_per_s": 5, "share": 2}])
def test_a_pace_is_positive(wrong: dict[str, float]) -> None:
    with pytest.raises(ContractError):
        Pace(**wrong)


@given(st.floats(1, 60), st.floats(1, 30))
def test_a_sampler_never_picks_more_than_wished(source_per_s: float, wished_per_s: float) -> None:
    sampler = Sampler()
    picked = sum(sampler.is_due(n / source_per_s, 1 / wished_per_s) for n in range(600))
    assert picked <= 600 / source_per_s * wished_per_s + 2
    assert picked >= 0.5 * min(600, 600 / source_per_s * wished_per_s) - 2


def test_a_camera_that_hangs_sideways_is_turned_once_and_a_passing_doubt_changes_nothing() -> None:
    mesh, orientation = FakeMesh(turns=1), Orientation()

    def ask(time_s: float) -> int:
        orientation.saw_face(time_s)
        return orientation.ask(mesh, RawImage(_lively(), time_s))

    assert ask(0.0) == 1
    mesh.turns = 3
    assert ask(10.5) == 1
    mesh.turns = 1
    assert ask(11.0) == 1
    mesh.turns = 3
    assert [ask(t) for t in (30.0, 30.6, 31.2)] == [1, 1, 3]
    mesh.turns = None
    assert ask(60.0) == 3


def test_a_turned_picture_is_shown_upright() -> None:
    mesh = FakeMesh(turns=1)
    sight = Sight(mesh, SightLog(), frozen_after_s=None)
    sight.look(RawImage(_lively(), 0.0))
    assert mesh.shown[0].shape == (64, 48, 3)
    assert not mesh.shown[0].any()


@given(
    st.lists(st.tuples(st.floats(0.01, 5.0), st.sampled_from(["face", *GapReason])), max_size=40),
    st.floats(0, 40),
    st.floats(0.2, 20),
)
def test_gaps_lie_within_what_was_asked_and_never_overlap(events, start_s, length_s) -> None:
    log, now_s = SightLog(), 0.0
    for step_s, event in events:
        now_s += step_s
        if event == "face":
            log.saw(FaceObservation(now_s, 0))
        else:
            log.saw_nothing(event, now_s, "")
    looked = log.between(start_s, start_s + length_s)
    edges = [(gap.start_s, gap.end_s) for gap in looked.gaps]
    assert all(start_s <= a <= b <= start_s + length_s for a, b in edges)
    assert all(b <= c for (_, b), (c, _) in pairwise(edges))
    assert all(start_s <= seen.time_s < start_s + length_s for seen in looked.observations)


class FakeCapture:
    """OpenCV's capture, giving one frame for ever."""

    def __init__(self, frame: object, decoded: bool = True) -> None:
        self.frame, self.decoded = frame, decoded

    def grab(self) -> bool:
        return True

    def retrieve(self) -> tuple[bool, object]:
        return self.decoded, self.frame

    def get(self, key: int) -> float:
        return float("nan")

    def release(self) -> None:
        pass


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


@pytest.mark.parametrize("capture", [FakeCapture(None), FakeCapture(_lively(), decoded=False)])
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


def test_a_recording_that_breaks_off_is_unreadable_from_there(
    recordings: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = bytearray((recordings / "clips" / "pyfeat_single_face.mp4").read_bytes())
    content[80_000:120_000] = bytes(40_000)
    (tmp_path / "broken.mp4").write_bytes(content)
    with _face_track(tmp_path / "broken.mp4") as track:
        looked = track.between(0.0, 2.3)
    assert GapReason.UNREADABLE in {gap.reason for gap in looked.gaps}
    assert capfd.readouterr().err == ""


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
