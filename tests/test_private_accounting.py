"""Accounting: known values, a closed form, and noise that is neither too little nor too much."""

import math

import pytest
from dp_accounting import NeighboringRelation, dp_event
from dp_accounting.pld import PLDAccountant
from scipy.stats import norm

from edge_models.errors import ContractError
from edge_models.training.private_accounting import Schedule, calibrated, spent

DELTA = 1e-6


def delta_of_gaussian(epsilon: float, multiplier: float, steps: int) -> float:
    """Balle, Wang 2018, Theorem 8: exact for Gaussian noise on everybody, composed."""
    mu = math.sqrt(steps) / multiplier
    first = norm.cdf(mu / 2 - epsilon / mu)
    return float(first - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu))


@pytest.mark.parametrize(("multiplier", "steps"), [(4.0, 1), (5.0, 10), (20.0, 60)])
def test_with_everybody_in_every_step_epsilon_is_the_closed_form(
    multiplier: float, steps: int
) -> None:
    told = spent(Schedule(steps, 1.0), multiplier, DELTA)
    assert delta_of_gaussian(told.epsilon, multiplier, steps) <= DELTA
    assert delta_of_gaussian(told.epsilon - 0.002, multiplier, steps) > DELTA
    assert told.epsilon < told.epsilon_rdp < 1.25 * told.epsilon


def test_a_sampled_training_costs_what_a_finer_accountant_says() -> None:
    told = spent(Schedule(100, 0.25), 4.0, DELTA)
    step = dp_event.PoissonSampledDpEvent(0.25, dp_event.GaussianDpEvent(4.0))
    fine = PLDAccountant(
        NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=1e-4
    ).compose(dp_event.SelfComposedDpEvent(step, 100))
    assert 0 <= told.epsilon - fine.get_epsilon(DELTA) < 0.002


def test_sampling_and_noise_lower_epsilon_and_steps_raise_it() -> None:
    here = spent(Schedule(40, 0.5), 4.0, DELTA).epsilon
    assert spent(Schedule(40, 0.25), 4.0, DELTA).epsilon < here
    assert spent(Schedule(40, 0.5), 5.0, DELTA).epsilon < here
    assert spent(Schedule(50, 0.5), 4.0, DELTA).epsilon > here
    assert spent(Schedule(40, 0.5), 4.0, 1e-5).epsilon < here


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 8.0])
def test_noise_is_the_least_that_keeps_to_epsilon(epsilon: float) -> None:
    schedule = Schedule(60, 0.5)
    told = calibrated(schedule, epsilon, DELTA)
    assert 0.99 * epsilon < told.epsilon <= epsilon
    assert spent(schedule, 0.998 * told.noise_multiplier, DELTA).epsilon > epsilon


def test_the_claim_names_unit_neighbours_accountant_and_both_figures() -> None:
    told = calibrated(Schedule(60, 0.5), 2.0, DELTA).statement
    for word in ("each person", "one person added or removed", "dp-accounting 0.", "PLD", "Renyi"):
        assert word in told
    assert "(2, 1e-06)" in told


@pytest.mark.parametrize(("multiplier", "delta"), [(0.0, 1e-6), (math.inf, 1e-6), (1.0, 0.0)])
def test_what_is_not_private_has_no_figure(multiplier: float, delta: float) -> None:
    with pytest.raises(ContractError):
        spent(Schedule(10, 0.5), multiplier, delta)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, 1000.0, math.inf, math.nan])
def test_noise_is_not_sized_for_no_epsilon(epsilon: float) -> None:
    with pytest.raises(ContractError):
        calibrated(Schedule(10, 0.5), epsilon, DELTA)


@pytest.mark.parametrize(("steps", "sampling"), [(0, 0.5), (10, 0.0), (10, 1.1)])
def test_a_schedule_has_steps_and_a_probability(steps: int, sampling: float) -> None:
    with pytest.raises(ContractError):
        Schedule(steps, sampling)
