"""When failures are too many to be chance: false halts, misses, and one flaky board."""

import math
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from sync.coordinator.halting import (
    FALSE_HALT,
    FOUND,
    devices_needed,
    evidence,
    found_among,
    halted_within,
    is_trouble,
    rings_for,
)

TOLERATED = st.sampled_from([0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2])


@given(TOLERATED)
def test_one_failure_alone_halts_nothing(tolerated: float) -> None:
    assert not is_trouble(0, 0, tolerated)
    for well in (0, 1, 5, 500):
        assert not is_trouble(1, well, tolerated)


@pytest.mark.parametrize(
    ("answered", "fewest"), [(2, 2), (5, 2), (10, 3), (20, 3), (50, 5), (100, 8), (150, 10)]
)
def test_so_many_failures_halt_at_a_tolerated_two_per_cent(answered: int, fewest: int) -> None:
    halting = [k for k in range(answered + 1) if is_trouble(k, answered - k, 0.02)]
    assert halting == list(range(fewest, answered + 1))


@given(st.integers(0, 400), st.integers(0, 400), TOLERATED)
def test_more_failures_never_look_better(failures: int, well: int, tolerated: float) -> None:
    now = evidence(failures, well, tolerated)
    assert evidence(failures + 1, well, tolerated) >= now >= 0
    assert not is_trouble(0, well, tolerated)


def test_evidence_of_any_size_is_a_number() -> None:
    assert evidence(20_000, 0, 0.001) == math.inf
    assert evidence(0, 20_000, 0.02) < 1e-100


@given(
    st.integers(0, 60), st.integers(0, 2000), TOLERATED, st.floats(0, 1),
)  # fmt: skip
def test_the_next_device_adds_nothing_on_average_at_the_tolerated_rate_or_below(
    failures: int, well: int, tolerated: float, share: float
) -> None:
    """That makes the ratio a supermartingale, and Ville's inequality the bound of false halts."""
    rate = share * tolerated
    now = evidence(failures, well, tolerated)
    if 1e-200 < now < 1e200:
        later = rate * evidence(failures + 1, well, tolerated) + (1 - rate) * evidence(
            failures, well + 1, tolerated
        )
        assert later <= now * (1 + 1e-9)
        if share == 1:
            assert later == pytest.approx(now)


@pytest.mark.parametrize("tolerated", [0.005, 0.02, 0.1])
def test_false_halts_are_as_rare_as_said_however_many_devices(tolerated: float) -> None:
    assert halted_within(3000, tolerated, tolerated) <= FALSE_HALT
    assert halted_within(3000, tolerated / 4, tolerated) <= 0.002


def test_the_stated_figures_are_those_of_the_test() -> None:
    for rate, figure in {0.02: 0.028, 0.005: 0.0007}.items():
        assert halted_within(500, rate, 0.02) == pytest.approx(figure, abs=0.0006)
    for (devices, rate), missed in {(100, 0.1): 0.206, (200, 0.1): 0.008, (10, 0.3): 0.383}.items():
        assert 1 - found_among(devices, rate, 0.02) == pytest.approx(missed, abs=0.0006)
    assert halted_within(0, 0.5, 0.02) == 0


def test_the_exact_probability_is_that_of_simulated_devices() -> None:
    """4000 fleets of 60; off by 4.5 standard errors once in 150,000 right codes."""
    fleets, devices, rate = 4000, 60, 0.1
    failed = np.random.default_rng(4).random((fleets, devices)) < rate
    halted = sum(
        any(
            is_trouble(failures, seen - failures, 0.02)
            for seen, failures in enumerate(accumulate(map(int, row)), 1)
        )
        for row in failed
    )
    exact = halted_within(devices, rate, 0.02)
    error = math.sqrt(exact * (1 - exact) / fleets)
    assert abs(halted / fleets - exact) < 4.5 * error


def test_looking_after_each_device_costs_less_than_looking_once_pretends() -> None:
    """A binomial test of the same error, looked at after each device, would halt far too often."""
    rate, devices = 0.02, 500
    fewest = [int(binom.isf(FALSE_HALT, n, rate)) + 1 for n in range(1, devices + 1)]
    failed = np.random.default_rng(5).random((1000, devices)) < rate
    naive = (failed.cumsum(axis=1) >= np.array(fewest)).any(axis=1).mean()
    assert naive > 3 * FALSE_HALT >= FALSE_HALT >= halted_within(devices, rate, rate)


@pytest.mark.parametrize("tolerated", [0.005, 0.01, 0.02, 0.05, 0.1])
def test_a_first_ring_of_the_needed_size_finds_trouble(tolerated: float) -> None:
    needed = devices_needed(tolerated)
    for devices in range(needed, needed + needed // 4):
        assert found_among(devices, 5 * tolerated, tolerated) >= FOUND
    assert found_among(needed - 1, 5 * tolerated, tolerated) < FOUND


@pytest.mark.parametrize(("devices", "rate"), [(10, 0.3), (100, 0.1), (200, 0.1), (1, 0.9)])
def test_what_a_ring_misses_is_what_the_binomial_says(devices: int, rate: float) -> None:
    fewest = [k for k in range(devices + 1) if is_trouble(k, devices - k, 0.02)]
    missed = binom.cdf(fewest[0] - 1, devices, rate) if fewest else 1.0
    assert 1 - found_among(devices, rate, 0.02) == pytest.approx(missed, abs=1e-9)
    assert found_among(devices, rate, 0.02) <= halted_within(devices, rate, 0.02) + 1e-9


@given(st.integers(0, 100_000), TOLERATED)
def test_rings_rise_to_everybody(everybody: int, tolerated: float) -> None:
    rings = rings_for(everybody, tolerated)
    assert list(rings) == sorted(set(rings)) and rings[-1] == 1000 and 10 <= rings[0] <= 500
    if rings[0] < 500:
        assert everybody * rings[0] / 1000 >= devices_needed(tolerated) - 1e-6


def test_the_usual_rings_are_those_of_a_large_study() -> None:
    assert rings_for(20_000, 0.02) == (10, 100, 500, 1000)
    assert rings_for(500, 0.02) == (370, 1000)
    assert rings_for(60, 0.02) == (500, 1000)
