"""Calibration errors: known answers, scikit-learn's, and the bias that is taken off."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from edge_models.head import sigmoid
from edge_models.training.calibration_error import (
    adaptive_calibration_error,
    brier,
    brier_score,
    calibration_line,
    class_weights,
    debiased_calibration_error,
    equal_mass,
)
from tests.speaking_people import speaking_people


def test_brier_is_scikit_learns_with_both_classes_weighing_the_same() -> None:
    logits, truth, _ = speaking_people(np.random.default_rng(1), 9)
    scores, keep = sigmoid(logits), np.arange(len(truth)) % 3 > 0
    scores, truth = scores[keep | truth], truth[keep | truth]
    expected = brier_score_loss(truth, scores, sample_weight=class_weights(truth))
    assert brier_score(scores, truth) == pytest.approx(expected)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_the_parts_of_brier_sum_up_exactly(rows: list[tuple[float, bool]]) -> None:
    scores, truth = np.asarray([row[0] for row in rows]), np.asarray([row[1] for row in rows])
    one = brier(scores, truth)
    assert one.score == pytest.approx(
        one.reliability - one.resolution + one.uncertainty + one.within, abs=1e-9
    )
    assert min(one.reliability, one.resolution, one.uncertainty) >= 0


@given(st.lists(st.sampled_from(np.linspace(0, 1, 7).tolist()), min_size=1, max_size=80))
def test_bins_of_equal_weight_rise_and_keep_equal_scores_together(rows: list[float]) -> None:
    scores = np.sort(np.asarray(rows))
    bins = equal_mass(scores, np.ones(len(scores)))
    assert (np.diff(bins) >= 0).all() and bins.min() >= 0 and bins.max() <= 9
    assert all(len(set(bins[scores == value])) == 1 for value in set(rows))


def test_bins_of_equal_weight_weigh_the_same() -> None:
    scores = np.random.default_rng(2).random(1_000) ** 4
    assert np.bincount(equal_mass(scores, np.ones(1_000))).tolist() == [100] * 10


def test_a_known_gap_is_found() -> None:
    truth = np.arange(1_000) < 500
    people = np.arange(1_000).astype(str)
    scores = np.where(np.arange(1_000) % 10 < 8, truth, ~truth) * 0.98 + 0.01  # right in 0.8
    assert adaptive_calibration_error(scores, truth) == pytest.approx(0.19, abs=1e-9)
    assert debiased_calibration_error(scores, truth, people) == pytest.approx(0.19, abs=0.005)


def test_what_chance_adds_is_taken_off_with_people_as_the_unit() -> None:
    plain, debiased, as_if_clips = [], [], []
    for seed in range(60):
        logits, truth, people = speaking_people(np.random.default_rng(seed), 25)
        scores, rows = sigmoid(logits), np.arange(len(truth)).astype(str)
        plain.append(adaptive_calibration_error(scores, truth) ** 2)
        debiased.append(debiased_calibration_error(scores, truth, people) ** 2)
        as_if_clips.append(debiased_calibration_error(scores, truth, rows) ** 2)
    assert np.mean(debiased) < np.mean(as_if_clips) < np.mean(plain)
    assert np.mean(debiased) < 0.5 * np.mean(plain)


def test_the_line_left_to_apply_undoes_what_was_done() -> None:
    logits, truth, _ = speaking_people(np.random.default_rng(3), 400)
    assert calibration_line(logits, truth).slope == pytest.approx(1, abs=0.05)
    line = calibration_line(2 * logits + 1, truth)
    assert line.slope == pytest.approx(0.5, abs=0.03)
    assert line.shift == pytest.approx(-0.5, abs=0.05)


def test_a_missing_class_weighs_nothing() -> None:
    assert class_weights(np.asarray([True, True])).tolist() == [0.5, 0.5]
    assert class_weights(np.asarray([True, True, False])).tolist() == [0.25, 0.25, 0.5]
