"""Metrics against scikit-learn, and intervals that know what a person is."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from edge_models.head import sigmoid
from edge_models.training.calibration import Platt, platt
from edge_models.training.metrics import (
    auroc,
    balanced_accuracy,
    calibration_error,
    constant_macro_f1,
    estimated,
    macro_f1,
    pooled,
)


def some(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(count) < 0.3
    scores = np.round(sigmoid(rng.normal(0, 1, count) + 1.5 * truth - 0.5), 2)  # with ties
    return scores, truth


@pytest.mark.parametrize("seed", range(4))
def test_metrics_are_scikit_learns(seed: int) -> None:
    scores, truth = some(seed)
    said = scores >= 0.5
    assert balanced_accuracy(scores, truth) == pytest.approx(balanced_accuracy_score(truth, said))
    assert macro_f1(scores, truth) == pytest.approx(f1_score(truth, said, average="macro"))
    assert auroc(scores, truth) == pytest.approx(roc_auc_score(truth, scores))
    constant = f1_score(truth, np.zeros_like(truth), average="macro")
    assert constant_macro_f1(truth) == pytest.approx(constant)


def test_scores_that_mean_what_they_say_have_little_calibration_error() -> None:
    rng = np.random.default_rng(5)
    scores = rng.random(40_000)
    truth = rng.random(40_000) < scores
    assert calibration_error(scores, truth) < 0.02
    assert calibration_error(np.clip(scores * 3 - 1, 0, 1), truth) > 0.1
    assert calibration_error(np.full(100, 0.5), np.arange(100) < 10) == pytest.approx(0)


def test_an_interval_over_people_is_wider_than_one_over_clips_would_be() -> None:
    rng = np.random.default_rng(6)
    people = np.repeat([f"p{n}" for n in range(8)], 100)
    truth = rng.random(800) < 0.5
    skill = np.repeat(rng.uniform(-1, 4, 8), 100)
    scores = sigmoid(rng.normal(0, 1, 800) + skill * (truth - 0.5))
    by_person = estimated(balanced_accuracy, scores, truth, people, rng)
    by_clip = estimated(balanced_accuracy, scores, truth, np.arange(800).astype(str), rng)
    assert by_person.low < by_person.value < by_person.high
    assert by_person.high - by_person.low > 1.5 * (by_clip.high - by_clip.low)


def test_pooling_takes_windows_of_one_person_and_truth_and_no_one_with_too_few() -> None:
    rng = np.random.default_rng(7)
    people = np.array(["a"] * 12 + ["b"] * 8)
    truth = np.array([True] * 6 + [False] * 6 + [True] * 3 + [False] * 5)
    logits = np.where(truth, 1.0, -1.0)
    together = pooled(logits, truth, people, 6, rng, draws=3)
    assert set(together.people) == {"a"} and len(together.truth) == 6
    assert np.allclose(together.scores, sigmoid(np.where(together.truth, 1.0, -1.0)))


def test_pooling_windows_makes_decisions_surer() -> None:
    rng = np.random.default_rng(8)
    people = np.repeat([f"p{n}" for n in range(10)], 60)
    truth = np.tile(np.arange(60) < 30, 10)
    logits = rng.normal(0, 1, 600) + truth - 0.5
    together = pooled(logits, truth, people, 6, rng)
    alone = balanced_accuracy(sigmoid(logits), truth)
    assert balanced_accuracy(together.scores, together.truth) > alone + 0.1


def test_calibration_is_scikit_learns_logistic_regression() -> None:
    rng = np.random.default_rng(9)
    truth = rng.random((4_000, 3)) < 0.25
    logits = 2.5 * (rng.normal(0, 1, (4_000, 3)) + 1.2 * truth) - 3
    weights = np.where(truth, 0.5 / truth.mean(), 0.5 / (~truth).mean()).astype(np.float32)
    fit = platt(logits, truth, weights)
    for task in range(3):
        oracle = LogisticRegression(C=1e6).fit(
            logits[:, [task]], truth[:, task], sample_weight=weights[:, task]
        )
        assert fit.slopes[task] == pytest.approx(oracle.coef_[0, 0], abs=0.01)
        assert fit.shifts[task] == pytest.approx(oracle.intercept_[0], abs=0.02)
    assert calibration_error(sigmoid(fit.of(logits)[:, 0]), truth[:, 0]) < 0.03


def test_calibration_ignores_what_is_unknown_and_stays_finite_on_separable_scores() -> None:
    logits = np.array([[-3.0, 0, 5], [3.0, 0, -5]] * 20)
    truth = np.array([[False] * 3, [True] * 3] * 20)
    weights = np.ones((40, 3), np.float32)
    weights[:, 1] = 0
    fit = platt(logits, truth, weights)
    assert fit.slopes[1] == 1 and fit.shifts[1] == 0
    assert np.isfinite([*fit.slopes, *fit.shifts]).all()
    assert fit.slopes[2] > 0  # never turns a score upside down
    assert isinstance(fit, Platt)
