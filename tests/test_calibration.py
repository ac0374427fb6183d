"""Ways to calibrate, and the choice among them by people left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss as sklearn_log_loss

from edge_models.errors import TooFewPeople
from edge_models.head import sigmoid
from edge_models.training.calibration import (
    FITS,
    affine,
    chosen,
    isotonic,
    log_loss,
    person_folds,
    temperature,
)
from edge_models.training.calibration_error import class_weights
from tests.speaking_people import speaking_people


def test_temperature_is_logistic_regression_without_an_intercept() -> None:
    logits, truth, _ = speaking_people(np.random.default_rng(1), 60)
    weights = class_weights(truth) * len(truth)
    oracle = LogisticRegression(C=1e9, fit_intercept=False, tol=1e-10)
    oracle.fit(3 * logits[:, None], truth, sample_weight=weights)
    found = temperature(3 * logits, truth, weights)
    assert found.slope == pytest.approx(oracle.coef_[0, 0], rel=1e-4)
    assert found.shift == 0


def test_isotonic_is_scikit_learns_within_what_so_many_can_say() -> None:
    logits, truth, _ = speaking_people(np.random.default_rng(2), 20)
    weights = class_weights(truth) * len(truth)
    most = (truth.sum() + 1) / (truth.sum() + 2)  # as many of each class
    oracle = IsotonicRegression(y_min=1 - most, y_max=most, out_of_bounds="clip")
    oracle.fit(logits, truth, sample_weight=weights)
    rows = np.linspace(-9, 9, 200)
    said = sigmoid(isotonic(logits, truth, weights).of(rows))
    assert said == pytest.approx(oracle.predict(rows))
    assert said.min() > 0 and said.max() == pytest.approx(most)


def test_the_loss_is_scikit_learns() -> None:
    logits, truth, _ = speaking_people(np.random.default_rng(3), 5)
    weights = np.random.default_rng(4).random(len(truth))
    expected = sklearn_log_loss(truth, sigmoid(logits), sample_weight=weights)
    assert log_loss(logits, truth, weights) == pytest.approx(expected)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(list(FITS)), scale=st.floats(0.01, 100))
def test_a_higher_logit_is_never_believed_less(seed: int, name: str, scale: float) -> None:
    rng = np.random.default_rng(seed)
    logits, truth, _ = speaking_people(rng, 4, each=3)
    way = FITS[name](scale * logits, truth, class_weights(truth))
    said = way.of(np.sort(rng.normal(0, 5 * scale, 50)))
    assert np.isfinite(said).all()
    assert (np.diff(said) >= 0).all()


@pytest.mark.parametrize(
    ("slope", "shift", "right"),
    [(3.0, 0.0, "temperature"), (2.0, 4.0, "platt"), (1.0, 0.0, "none")],
)
def test_what_is_wrong_with_the_scores_is_what_is_mended(
    slope: float, shift: float, right: str
) -> None:
    rng = np.random.default_rng(5)
    logits, truth, people = speaking_people(rng, 150)
    weights = class_weights(truth) * len(truth)
    choice = chosen(slope * logits + shift, truth, weights, people, rng)
    losses = dict(choice.losses)
    assert losses[choice.name] == min(losses.values())
    assert losses[right] == pytest.approx(losses[choice.name], abs=2e-3)
    said = choice.calibrator.of(slope * logits + shift)
    assert log_loss(said, truth, weights) == pytest.approx(
        log_loss(logits, truth, weights), abs=0.01
    )


def test_isotonic_wins_where_nothing_else_has_the_form() -> None:
    rng = np.random.default_rng(6)
    logits, truth, people = speaking_people(rng, 150)
    bent = np.where(logits > 0, np.minimum(logits, 0.5) * 8, logits)
    assert chosen(bent, truth, class_weights(truth), people, rng).name == "isotonic"


def test_the_choice_never_fits_on_whom_it_judges() -> None:
    rng = np.random.default_rng(7)
    logits, truth, people = speaking_people(rng, 10, each=4)
    seen: list[int] = []

    def counting(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> object:
        seen.append(len(x))
        return affine(x, y, w)

    chosen(logits, truth, class_weights(truth), people, rng, fits={"one": counting}, folds=5)
    assert seen == [8 * 8] * 5 + [10 * 8]  # eight of ten people at a time, at last everybody


def test_folds_are_of_people() -> None:
    people = np.asarray(["a", "b", "a", "c", "d", "b"])
    fold = person_folds(people, 2, np.random.default_rng(8))
    assert fold[0] == fold[2] and fold[1] == fold[5]
    assert sorted(np.bincount([fold[0], fold[1], fold[3], fold[4]])) == [2, 2]
    with pytest.raises(TooFewPeople, match="nobody is left"):
        person_folds(np.asarray(["a", "a"]), 5, np.random.default_rng(8))
