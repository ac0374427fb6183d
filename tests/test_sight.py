"""What is made of single pictures, and how often they are taken."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.capture.camera_live import NewestPicture
from agent.capture.frames import GapReason
from agent.capture.looked import SightLog
from agent.capture.pace import Backoff, Pace, Sampler
from agent.capture.sight import Orientation, Sight
from edge_models.errors import ContractError
from edge_models.facial import FaceObservation
from edge_models.raw import RawImage
from tests.fake_camera import FakeMesh, lively


def test_the_newest_picture_takes_the_place_of_an_older_which_is_wiped_and_counted() -> None:
    slot, old, new = NewestPicture(), RawImage(lively(), 0.0), RawImage(lively(), 0.1)
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
        return orientation.ask(mesh, RawImage(lively(), time_s))

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
    sight.look(RawImage(lively(), 0.0))
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
