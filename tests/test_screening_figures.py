"""What a threshold does, by hand; and how far it carries."""

import numpy as np
import pytest

from edge_models.errors import TooFewPeople
from edge_models.training.metrics import Estimate
from edge_models.training.screening_figures import decision_curve, screening, transferred
from edge_models.training.thresholds import Aim


def ten(rng: np.random.Generator, count: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    truth = np.arange(count) < count // 2
    return rng.normal(0, 1, count) + 1.5 * truth, truth, np.arange(count).astype(str)


def test_figures_are_what_counting_gives() -> None:
    truth = np.arange(20) < 10
    scores = np.where(np.isin(np.arange(20), [0, 1, 10]), ~truth, truth).astype(float)
    one = screening(scores, truth, np.arange(20).astype(str), 0.5, 0.1, np.random.default_rng(1))
    assert (one.sensitivity.value, one.specificity.value) == pytest.approx((0.8, 0.9))
    assert one.ppv.value == pytest.approx(0.08 / 0.17)
    assert one.ratio_yes.value == pytest.approx(8)
    assert one.ratio_no.value == pytest.approx(0.2 / 0.9)
    assert one.screened_per_case.value == pytest.approx(12.5)
    assert one.looked_at_per_case.value == pytest.approx(0.17 / 0.08)
    assert one.sensitivity.low < 0.8 < one.sensitivity.high


def test_no_false_alarm_is_an_infinite_ratio_not_a_failure() -> None:
    truth = np.arange(8) < 4
    people = np.arange(8).astype(str)
    one = screening(truth.astype(float), truth, people, 0.5, 0.1, np.random.default_rng(2))
    assert one.ratio_yes == Estimate(np.inf, np.inf, np.inf)
    assert one.ratio_no.value == 0 and one.ppv.value == 1


def test_a_threshold_chosen_on_a_half_falls_short_on_the_other_about_half_of_the_time() -> None:
    rng = np.random.default_rng(3)
    scores, truth, people = ten(rng)
    one = transferred(scores, truth, people, Aim.SENSITIVITY, 0.8, 0.1, rng)
    assert 0.3 < one.missed_aim < 0.7
    assert one.sensitivity.low < 0.8 < one.sensitivity.high
    youden = transferred(scores, truth, people, Aim.YOUDEN, float("nan"), 0.1, rng)
    assert np.isnan(youden.missed_aim) and 0.6 < youden.specificity.value < 0.9


def test_luck_on_one_half_does_not_carry_to_the_other() -> None:
    rng = np.random.default_rng(4)
    truth, people = np.arange(60) < 30, np.arange(60).astype(str)
    one = transferred(rng.random(60), truth, people, Aim.YOUDEN, float("nan"), 0.1, rng)
    assert one.sensitivity.value + one.specificity.value < 1.1  # scores of pure noise


def test_halves_need_two_people_of_each_class() -> None:
    truth = np.asarray([True, False, False, False])
    people = np.asarray(["a", "b", "c", "d"])
    with pytest.raises(TooFewPeople):
        transferred(np.arange(4.0), truth, people, Aim.YOUDEN, 0, 0.1, np.random.default_rng(5))


def test_a_good_score_is_worth_more_than_a_look_at_everybody_or_nobody() -> None:
    scores, truth, _ = ten(np.random.default_rng(6), 4_000)
    probability = 1 / (1 + np.exp(-(1.5 * scores - 1.125 + np.log(0.1 / 0.9))))
    for one in decision_curve(probability, truth, 0.1):
        assert one.by_score > max(0.0, one.of_everybody)
