"""Watching a live camera: what goes wrong is named, what is seen is kept, no picture is."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest

from agent.capture.camera_device import CameraFault
from agent.capture.camera_live import LiveTrack
from agent.capture.frames import Gap, GapReason, Sensor
from agent.capture.pace import Backoff, Pace
from agent.capture.sensing import Indicator
from edge_models.errors import ContractError
from tests.fake_camera import FakeCamera, FakeClock, FakeMesh, draw, lively


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
        still = lively()
        watched.camera.picture_now = still.copy
        watched.names(GapReason.STALLED)
        _until(lambda: watched.camera.openings > 2)
        watched.camera.picture_now = lively
        watched.sees_more()
        (gap,) = watched.gaps
        assert gap.duration_s > 2.0 and "same picture" in gap.detail


@pytest.mark.parametrize("level", [0, 7, 128])
def test_a_black_or_blank_camera_is_silent_until_it_shows_something(level: int) -> None:
    with _watching() as watched:
        watched.sees_more()
        watched.camera.picture_now = lambda: np.full((48, 64, 3), level, np.uint8)
        watched.names(GapReason.SILENT)
        watched.camera.picture_now = lively
        watched.sees_more()
        (gap,) = watched.gaps
        assert "cover" in gap.detail and not any(
            gap.start_s <= seen.time_s < gap.end_s
            for seen in watched.track.between(0, 1e9).observations
        )


def test_frames_of_changing_size_are_all_looked_at() -> None:
    sizes = draw.integers(1, 90, (1_000, 2))
    with _watching() as watched:
        turn = iter(range(10**9))
        watched.camera.picture_now = lambda: draw.integers(
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
