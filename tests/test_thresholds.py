"""Thresholds and prior shift: known answers, scikit-learn's curve, and Bayes by counting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from edge_models.errors import ContractError
from edge_models.head import sigmoid
from edge_models.training.thresholds import (
    Aim,
    at_prevalence,
    chosen_threshold,
    curve,
    likely_prevalence,
    net_benefit,
    npv,
    ppv,
)

SCORES = np.asarray([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
TRUTH = np.asarray([0, 0, 0, 1, 0, 1, 1, 1], bool)


def test_the_curve_is_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(300) < 0.4
    scores = np.round(rng.normal(0, 1, 300) + truth, 1)
    found = curve(scores, truth)
    fpr, tpr, thresholds = roc_curve(truth, scores, drop_intermediate=False)
    assert found.thresholds[::-1].tolist() == thresholds.tolist()
    assert found.sensitivity[::-1] == pytest.approx(tpr)
    assert found.specificity[::-1] == pytest.approx(1 - fpr)


@pytest.mark.parametrize(
    ("aim", "least", "expected"),
    [
        (Aim.YOUDEN, float("nan"), 0.4),  # 1 + 0.75; from 0.6 on it is 0.75 + 1, and 0.4 is first
        (Aim.SENSITIVITY, 1.0, 0.4),
        (Aim.SENSITIVITY, 0.7, 0.6),
        (Aim.SPECIFICITY, 0.8, 0.6),
        (Aim.SPECIFICITY, 0.75, 0.4),
        (Aim.PPV, 0.9, 0.6),
        (Aim.NPV, 0.9, 0.6),
    ],
)
def test_a_threshold_reaches_its_aim_and_loses_least(
    aim: Aim, least: float, expected: float
) -> None:
    assert chosen_threshold(curve(SCORES, TRUTH), aim, least, prevalence=0.2) == expected


def test_an_aim_out_of_reach_has_no_threshold() -> None:
    hopeless = curve(SCORES, ~TRUTH)
    assert np.isnan(chosen_threshold(hopeless, Aim.PPV, 0.9, prevalence=0.05))


@pytest.mark.parametrize("truth", [np.zeros(8, bool), np.ones(8, bool)])
def test_one_class_has_no_curve(truth: np.ndarray) -> None:
    with pytest.raises(ContractError):
        curve(SCORES, truth)


@given(
    st.lists(st.tuples(st.floats(-9, 9), st.booleans()), min_size=2, max_size=50),
    st.sampled_from([Aim.SENSITIVITY, Aim.SPECIFICITY]),
    st.floats(0.01, 0.99),
)
def test_what_was_aimed_at_is_reached_on_the_people_it_was_chosen_on(
    rows: list[tuple[float, bool]], aim: Aim, least: float
) -> None:
    scores, truth = np.asarray([row[0] for row in rows]), np.asarray([row[1] for row in rows])
    if not truth.any() or truth.all():
        return
    said = scores >= chosen_threshold(curve(scores, truth), aim, least, 0.1)
    reached = said[truth].mean() if aim is Aim.SENSITIVITY else (~said[~truth]).mean()
    assert reached >= least - 1e-9


def test_predictive_values_are_what_counting_a_thousand_gives() -> None:
    # 100 of 1,000 are so; 80 of them told yes, and 90 of the 900 others
    assert float(ppv(np.asarray(0.8), np.asarray(0.9), 0.1)) == pytest.approx(80 / 170)
    assert float(npv(np.asarray(0.8), np.asarray(0.9), 0.1)) == pytest.approx(810 / 830)
    assert np.isnan(ppv(np.asarray(0.0), np.asarray(1.0), 0.1))


def test_net_benefit_is_vickers_and_elkins() -> None:
    one = net_benefit(np.asarray(0.8), np.asarray(0.9), 0.1, 0.2)
    assert float(one) == pytest.approx(80 / 1000 - 90 / 1000 * 0.2 / 0.8)
    everybody = net_benefit(np.asarray(1.0), np.asarray(0.0), 0.1, 0.1)
    assert float(everybody) == pytest.approx(0)  # worth it from the prevalence on: no difference


@given(st.floats(-20, 20), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_prior_shift_there_and_back_changes_nothing(
    log_odds: float, told: float, wanted: float
) -> None:
    there = at_prevalence(np.asarray([log_odds]), told, wanted)
    assert at_prevalence(there, wanted, told) == pytest.approx([log_odds], abs=1e-9)
    assert (there > log_odds) == (wanted > told) or abs(wanted - told) < 1e-9


def normal_people(rng: np.random.Generator, count: int, prevalence: float) -> tuple:
    truth = rng.random(count) < prevalence
    return rng.normal(0, 2, count) + np.where(truth, 2.0, -2.0), truth  # equal-prior log-odds


def test_shifted_scores_are_calibrated_at_the_other_prevalence() -> None:
    log_odds, truth = normal_people(np.random.default_rng(2), 40_000, 0.1)
    scores = sigmoid(at_prevalence(log_odds, 0.5, 0.1))
    for low in (0.0, 0.1, 0.3, 0.6):
        rows = (scores >= low) & (scores < low + 0.3)
        assert scores[rows].mean() == pytest.approx(truth[rows].mean(), abs=0.03)


@pytest.mark.parametrize("prevalence", [0.03, 0.1, 0.5, 0.9])
def test_the_prevalence_is_found_without_labels(prevalence: float) -> None:
    log_odds, _ = normal_people(np.random.default_rng(3), 20_000, prevalence)
    assert likely_prevalence(log_odds) == pytest.approx(prevalence, abs=0.015)
    shifted = at_prevalence(log_odds, 0.5, 0.2)
    assert likely_prevalence(shifted, 0.2) == pytest.approx(prevalence, abs=0.015)


def test_nobody_is_so_where_no_score_says_so() -> None:
    assert likely_prevalence(np.full(50, -3.0)) < 1e-6


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, float("nan")])
def test_a_prevalence_that_is_none_is_our_bug(bad: float) -> None:
    with pytest.raises(ContractError):
        at_prevalence(np.zeros(1), bad)
