"""The cohort's estimate: unbiased, with an interval that covers what it says, and plain words."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from dp_accounting import dp_event, pld
from hypothesis import given
from hypothesis import strategies as some

from edge_models.errors import ContractError
from sync.coordinator.accounting import Spent, spent_after
from sync.coordinator.estimate import (
    CohortEstimate,
    TooFew,
    discrete_gaussian_variance,
    estimate,
    half_width,
    in_words,
    noise_of,
    projected,
)
from sync.messages import Histogram
from sync.policy import parse_policy

MOOD = Histogram("mood", "How was it?", ("low", "middle", "high"))
USE = Histogram("use", "How long?", ("short", "long"))
BOTH = (MOOD, USE)
POLICY = parse_policy(
    b'{"name":"weekly","version":1,"rho_per_report":"1/8","rho_budget":"3/2","delta":1e-6,'
    b'"period_days":7}'
)
SIGMA2 = Fraction(48)  # six histograms at rho 1/8


def draws(sigma2: float, shape: tuple[int, ...], seed: int) -> npt.NDArray[np.int64]:
    """Discrete Gaussian noise from its definition, for simulation only."""
    reach = math.ceil(12 * math.sqrt(sigma2))
    support = np.arange(-reach, reach + 1)
    mass = np.exp(-(support.astype(np.float64) ** 2) / (2 * sigma2))
    return np.random.default_rng(seed).choice(support, size=shape, p=mass / mass.sum())


def made(totals: Sequence[int], reports: int, **changes: object) -> CohortEstimate:
    settings: dict[str, object] = {"sigma2": SIGMA2, "histograms": BOTH, "minimum": 5} | changes
    result = estimate(totals, reports, **settings)  # type: ignore[arg-type]
    assert isinstance(result, CohortEstimate)
    return result


@pytest.mark.parametrize(("people", "sigma2"), [(24, 48), (400, 48), (24, 2)])
def test_the_estimate_is_unbiased_and_its_interval_covers_95_in_100(
    people: int, sigma2: int
) -> None:
    """False-alarm rate under 1e-4 a run: 4.5 standard errors for five means and one share."""
    trials = 3000
    truth = np.array([people - people // 3 - 1, people // 3, 1, people // 2, people - people // 2])
    noise = sum(draws(sigma2, (trials, 5), seed) for seed in range(people))
    sums = truth + np.asarray(noise)
    results = [made(row.tolist(), people, sigma2=Fraction(sigma2)) for row in sums]
    cells = [[bin for part in result.histograms for bin in part.bins] for result in results]
    values = np.array([[bin.people for bin in row] for row in cells])
    standard_error = math.sqrt(people * sigma2 / trials)
    assert np.abs(values.mean(axis=0) - truth).max() < 4.5 * standard_error
    covered = np.array(
        [
            [bin.low <= real <= bin.high for bin, real in zip(row, truth, strict=True)]
            for row in cells
        ]
    )
    at_least = 0.95
    step = 1 / math.sqrt(2 * math.pi * people * sigma2)  # one whole person more on each side
    spread = 4.5 * math.sqrt(0.95 * 0.05 / covered.size)
    assert at_least - spread < covered.mean() < at_least + 2 * step + spread


def test_the_numbers_of_a_bin_agree_with_each_other() -> None:
    result = made([30, -4, 2, 20, 4], 20)
    first = result.histograms[0].bins[0]
    half = result.noise.half_width_people
    assert (first.people, first.low, first.high) == (30, 30 - half, 30 + half)
    assert first.share == pytest.approx(1.5)
    assert (first.share_low, first.share_high) == (first.low / 20, first.high / 20)
    assert [part.name for part in result.histograms] == ["mood", "use"]
    assert [bin.answer for bin in result.histograms[1].bins] == ["short", "long"]
    assert [bin.people for bin in result.histograms[1].bins] == [20, 4]


@pytest.mark.parametrize("variance", [0.05, 0.7, 3.0, 48.0, 48.0 * 24, 999_999.0])
def test_the_half_width_is_the_smallest_that_holds_95_in_100(variance: float) -> None:
    reach = np.arange(-math.ceil(14 * math.sqrt(variance)) - 1, math.ceil(14 * variance**0.5) + 2)
    mass = np.exp(-(reach.astype(np.float64) ** 2) / (2 * variance))
    mass /= mass.sum()
    half = half_width(variance)
    assert mass[np.abs(reach) <= half].sum() >= 0.95
    assert mass[np.abs(reach) < half].sum() < 0.95


def test_a_very_large_cohort_uses_the_normal_quantile() -> None:
    assert half_width(1_000_001.0) == math.ceil(1.959963984540054 * math.sqrt(1_000_001.0))


@pytest.mark.parametrize("sigma2", [Fraction(1, 3), Fraction(1), Fraction(48)])
def test_the_variance_is_that_of_the_drawn_noise(sigma2: Fraction) -> None:
    sample = draws(float(sigma2), (200_000,), seed=7)
    ours = discrete_gaussian_variance(sigma2)
    assert ours <= float(sigma2) + 1e-12  # Source: Canonne et al. 2020, Corollary 9
    fourth = float(np.mean(sample.astype(np.float64) ** 4))
    assert abs(sample.var() - ours) < 4.5 * math.sqrt((fourth - ours**2) / sample.size)


@given(
    values=some.lists(some.integers(-2000, 2000), min_size=1, max_size=9),
    total=some.integers(1, 1500),
)
def test_the_projection_is_the_nearest_possible_histogram(values: list[int], total: int) -> None:
    nearest = projected(values, total)
    assert min(nearest) >= 0
    assert sum(nearest) == pytest.approx(total)
    # Nearest in a convex set: no corner of it lies on the values' side of the answer.
    away = [value - near for value, near in zip(values, nearest, strict=True)]
    reached = sum(step * near for step, near in zip(away, nearest, strict=True))
    slack = 1e-6 * (1 + max(map(abs, values))) * total
    assert all(step * total - reached <= slack for step in away)


def test_a_possible_histogram_is_its_own_projection() -> None:
    assert projected([3, 0, 9], 12) == pytest.approx((3, 0, 9))


def test_too_few_reports_give_no_numbers() -> None:
    few = estimate([1, 2, 3, 4, 5], 4, sigma2=SIGMA2, histograms=BOTH, minimum=5)
    assert few == TooFew(4, 5)
    assert in_words(few) == (
        "4 reports so far; numbers are shown from 5 reports on, so that no figure is about one "
        "person."
    )
    assert "1 report so far" in in_words(TooFew(1, 5))


def test_no_reports_give_no_numbers_even_without_a_minimum() -> None:
    assert estimate([0] * 5, 0, sigma2=SIGMA2, histograms=BOTH, minimum=0) == TooFew(0, 1)


def test_a_sum_of_another_length_is_our_bug() -> None:
    with pytest.raises(ContractError, match="5 cells, not 4"):
        estimate([1, 2, 3, 4], 9, sigma2=SIGMA2, histograms=BOTH, minimum=5)


def test_noise_beyond_the_cohort_is_said_plainly() -> None:
    words = in_words(made([24, 0, 0, 12, 12], 24))
    assert words == (
        "With 24 people the privacy noise in each bar is ±67 people (279 percentage points), more "
        "than the cohort itself: nothing here can be told from noise. About 18,440 people are "
        "needed for ±10 points."
    )


def test_the_words_follow_the_size_of_the_noise() -> None:
    middling = in_words(made([900, 50, 50, 500, 500], 1000))
    assert "±429 people (43 percentage points): only larger differences" in middling
    large = in_words(made([40_000, 0, 0, 20_000, 20_000], 40_000))
    assert large.endswith("(7 percentage points): larger differences can be told from noise.")
    pooled = in_words(made([24, 0, 0, 12, 12], 24), pooled=True)
    assert "With 24 reports" in pooled
    assert "people" not in pooled


def test_ten_points_are_reached_at_the_stated_number_and_not_much_earlier() -> None:
    needed = noise_of(SIGMA2, 24).people_for_ten_points
    assert noise_of(SIGMA2, needed).half_width_points == pytest.approx(10, abs=0.01)
    assert noise_of(SIGMA2, needed // 2).half_width_points > 13


@pytest.mark.parametrize("reports", [1, 4, 12])
def test_the_tight_epsilon_is_that_of_the_gaussian_and_below_the_closed_form(reports: int) -> None:
    spent = spent_after(reports, POLICY)
    assert POLICY.sigma2 == SIGMA2
    oracle = pld.PLDAccountant().compose(
        dp_event.GaussianDpEvent(math.sqrt(48) / math.sqrt(12)), reports
    )
    assert spent.rho == reports / 8
    assert spent.epsilon == pytest.approx(
        spent.rho + 2 * math.sqrt(spent.rho * math.log(1e6)), rel=1e-12
    )
    assert spent.epsilon_pld < spent.epsilon
    assert spent.epsilon_pld == pytest.approx(oracle.get_epsilon(1e-6), rel=0.005)


def test_nobody_who_sent_nothing_has_spent_anything() -> None:
    assert spent_after(0, POLICY) == Spent(0, 0, 0)
