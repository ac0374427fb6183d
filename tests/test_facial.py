"""What a window's facial summary says of courses whose truth is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_models.blendshapes import BLENDSHAPE_NAMES
from edge_models.blinks import blinks_in
from edge_models.errors import ContractError
from edge_models.facial import FACIAL_NAMES, FaceObservation, FacialSummary, gaze_of, summarise

_BLINKS_AT_S = (1.03, 3.51, 5.22, 8.4)


def _shapes(**named: float) -> np.ndarray:
    shapes = np.zeros(len(BLENDSHAPE_NAMES), np.float32)
    for name, value in named.items():
        shapes[BLENDSHAPE_NAMES.index(name)] = value
    return shapes


def _closure(time_s: float, half_width_s: float = 0.15) -> float:
    """A blink as a triangle of depth 0.8 on an open level of 0.1."""
    nearest = min(abs(time_s - at) for at in _BLINKS_AT_S)
    return 0.1 + 0.8 * max(0.0, 1.0 - nearest / half_width_s)


def _seen(time_s: float, *, faces: int = 1, half_width_s: float = 0.15) -> FaceObservation:
    """A face that nods by 10 degrees at 0.5 Hz, smiles for the first half of 10 s and blinks."""
    shut = _closure(time_s, half_width_s)
    smile = 0.6 if time_s < 5.0 else 0.1
    jaw = 0.3 + 0.2 * np.sin(2 * np.pi * 0.8 * time_s)
    shapes = _shapes(
        eyeBlinkLeft=shut,
        eyeBlinkRight=shut,
        mouthSmileLeft=smile,
        mouthSmileRight=smile,
        jawOpen=jaw,
        eyeLookOutLeft=0.4,
        eyeLookInRight=0.4,
    )
    pitch = 10.0 * np.sin(2 * np.pi * 0.5 * time_s)
    return FaceObservation(
        time_s,
        faces,
        shapes,
        np.array([5.0, pitch, -2.0], np.float32),
        gaze_of(shapes),
        np.array([0.5, 0.5], np.float32),
        0.4,
    )


def _course(frames_per_s: float, seconds: float = 10.0, **kind: float) -> list[FaceObservation]:
    return [_seen(n / frames_per_s, **kind) for n in range(int(seconds * frames_per_s))]


def _value(summary: FacialSummary, name: str) -> float:
    assert summary.values is not None
    return float(summary.values[FACIAL_NAMES.index(name)])


def test_a_summary_has_one_finite_value_per_name() -> None:
    summary = summarise(_course(10), 0.0, 10.0)
    assert summary.values is not None
    assert summary.values.shape == (len(FACIAL_NAMES),) and summary.values.dtype == np.float32
    assert np.isfinite(summary.values).all() and len(set(FACIAL_NAMES)) == len(FACIAL_NAMES)


@pytest.mark.parametrize("frames_per_s", [10, 15, 25, 30])
def test_known_courses_are_measured_at_every_frame_rate(frames_per_s: float) -> None:
    summary = summarise(_course(frames_per_s), 0.0, 10.0)
    assert summary.face_s == pytest.approx(10.0, abs=0.11)
    assert _value(summary, "blink_rate_per_min") == pytest.approx(24.0, rel=0.02)
    # A triangle of half-width 0.15 s, 0.25 above its foot of depth 0.8, is 0.206 s wide.
    assert _value(summary, "blink_duration_s") == pytest.approx(0.206, abs=0.06)
    assert _value(summary, "smile_share") == pytest.approx(0.5, abs=0.02)
    assert _value(summary, "smile_mean") == pytest.approx(0.35, abs=0.02)
    assert _value(summary, "gaze_x_mean") == pytest.approx(0.4, abs=0.01)
    assert _value(summary, "head_yaw_mean_deg") == pytest.approx(5.0, abs=0.1)
    assert _value(summary, "head_pitch_range_deg") == pytest.approx(19.5, abs=0.8)
    # 10 degrees of amplitude at 0.5 Hz: 20 degrees a second on average.
    assert _value(summary, "head_movement_deg_per_s") == pytest.approx(19.5, abs=1.5)


def test_10_and_25_frames_a_second_say_about_the_same() -> None:
    slow, fast = (summarise(_course(rate), 0.0, 10.0).values for rate in (10, 25))
    assert slow is not None and fast is not None
    np.testing.assert_allclose(slow, fast, rtol=0.15, atol=0.06)


def test_short_blinks_are_missed_at_a_low_frame_rate_never_invented() -> None:
    fast = summarise(_course(100, half_width_s=0.06), 0.0, 10.0)
    slow = summarise(_course(5, half_width_s=0.06), 0.0, 10.0)
    assert _value(fast, "blink_rate_per_min") == pytest.approx(24.0, rel=0.01)
    assert _value(slow, "blink_rate_per_min") < 24.0


def test_a_long_closure_counts_as_closed_eyes_and_not_as_a_blink() -> None:
    times_s = np.arange(0, 10, 0.1)
    closure = np.where((times_s > 4) & (times_s < 6), 0.8, 0.1)
    blinks = blinks_in(times_s, closure, longest_hole_s=0.5)
    assert blinks.count == 0 and blinks.closed.mean() == pytest.approx(0.2, abs=0.02)


def test_noise_around_a_threshold_makes_no_blinks() -> None:
    noise = np.random.default_rng(3)
    times_s = np.arange(0, 60, 0.04)
    trembling = 0.1 + 0.25 + noise.normal(0, 0.02, len(times_s))  # an open level near the rise
    trembling[: len(times_s) // 2] = 0.1
    assert blinks_in(times_s, trembling, longest_hole_s=0.5).count <= 1


@given(st.lists(st.floats(0, 1), max_size=120), st.floats(0.01, 0.4))
def test_any_course_has_countable_blinks(closures: list[float], step_s: float) -> None:
    times_s = np.arange(len(closures)) * step_s
    blinks = blinks_in(times_s, np.array(closures), longest_hole_s=0.5)
    assert 0 <= blinks.count <= len(closures) and 0.0 <= blinks.mean_duration_s <= 0.7
    assert blinks.closed.shape == (len(closures),)


@pytest.mark.parametrize(
    ("company", "alone"),
    [
        ((), True),
        ((40,), True),  # one frame: a flicker
        ((40, 41, 42, 43), True),  # 0.4 s
        (range(40, 45), False),  # 0.5 s unbroken
        (range(10, 50, 5), True),  # eight flickers, 0.8 s
        (range(10, 60, 5), False),  # ten of them: 1.0 s in all
    ],
)
def test_a_second_face_beyond_a_flicker_means_not_alone(company: range, alone: bool) -> None:
    course = [_seen(n / 10, faces=2 if n in company else 1) for n in range(100)]
    assert summarise(course, 0.0, 10.0).alone is alone


def test_at_two_frames_a_second_one_frame_is_still_a_flicker() -> None:
    course = [_seen(n / 2, faces=2 if n == 7 else 1) for n in range(20)]
    assert summarise(course, 0.0, 10.0).alone is True


def test_without_a_camera_nobody_knows_whether_the_person_was_alone() -> None:
    assert summarise([], 0.0, 10.0).alone is None
    empty_room = summarise([FaceObservation(n / 10, 0) for n in range(100)], 0.0, 10.0)
    assert empty_room.alone is True and empty_room.values is None and empty_room.face_s == 0.0


def test_a_face_seen_too_briefly_has_no_values_but_its_time_counts() -> None:
    course = [_seen(n / 10) if n < 15 else FaceObservation(n / 10, 0) for n in range(100)]
    summary = summarise(course, 0.0, 10.0)
    assert summary.values is None and summary.face_s == pytest.approx(1.5)


def test_a_hole_in_the_track_is_not_seen_time_and_no_movement() -> None:
    before = [_seen(n / 10) for n in range(40)]
    summary = summarise([*before, *(_seen(8 + n / 10) for n in range(20))], 0.0, 10.0)
    assert summary.face_s == pytest.approx(6.4, abs=0.11)  # 0.4 s of grace at the hole's edge


def test_observations_outside_the_window_do_not_count() -> None:
    course = _course(10, 20.0)
    inside = summarise(course, 5.0, 15.0)
    assert inside.face_s == pytest.approx(10.0)
    same = summarise([seen for seen in course if 5.0 <= seen.time_s < 15.0], 5.0, 15.0)
    np.testing.assert_array_equal(inside.values, same.values)


@given(st.lists(st.tuples(st.floats(0.001, 3.0), st.integers(0, 2), st.floats(0, 1)), max_size=60))
def test_any_track_gives_a_summary_within_bounds(steps: list[tuple[float, int, float]]) -> None:
    time_s, course = 0.0, []
    for step_s, faces, level in steps:
        time_s += step_s
        shapes = np.full(52, level, np.float32)
        turned = np.full(3, 90 * level, np.float32)
        course.append(
            FaceObservation(time_s, faces, shapes, turned, gaze_of(shapes), shapes[:2], level)
            if faces
            else FaceObservation(time_s, 0)
        )
    summary = summarise(course, 0.0, 10.0)
    assert 0.0 <= summary.face_s <= 10.0 + 1e-9
    assert summary.values is None or np.isfinite(summary.values).all()


def test_gaze_points_to_the_persons_left_and_up() -> None:
    left_up = _shapes(eyeLookOutLeft=0.8, eyeLookInRight=0.8, eyeLookUpLeft=0.5, eyeLookUpRight=0.5)
    np.testing.assert_allclose(gaze_of(left_up), [0.8, 0.5], atol=1e-6)
    right_down = _shapes(
        eyeLookInLeft=0.6, eyeLookOutRight=0.6, eyeLookDownLeft=0.3, eyeLookDownRight=0.3
    )
    np.testing.assert_allclose(gaze_of(right_down), [-0.6, -0.3], atol=1e-6)


def test_an_incomplete_observation_can_not_exist() -> None:
    with pytest.raises(ContractError, match="complete"):
        FaceObservation(0.0, 1)
    with pytest.raises(ContractError, match="lengths"):
        FaceObservation(0.0, 1, *(np.zeros(7, np.float32) for _ in range(4)), 0.1)


def test_a_window_has_a_length_and_observations_have_an_order() -> None:
    with pytest.raises(ContractError, match="ends after"):
        summarise([], 1.0, 1.0)
    with pytest.raises(ContractError, match="order"):
        summarise([_seen(2.0), _seen(1.0)], 0.0, 10.0)
