"""The personal baseline: causal, shrunk to the population, finite, and the same after a restart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_models.baseline import (
    LONGEST_MEMORY,
    MEAN_WEIGHT,
    OUTLIER_SPREADS,
    SPREAD_WEIGHT,
    Z_BOUND,
    Baseline,
    Population,
)
from edge_models.errors import ContractError

F = 5
POPULATION = Population(
    median=np.array([0, 10, -3, 100, 0.5], np.float32),
    spread=np.array([1, 2, 0.1, 50, 1e-3], np.float32),
    mean=np.array([0, 0.1, -0.2, 0, 0.05], np.float32),
    deviation=np.array([1, 1.1, 0.9, 1.4, 1], np.float32),
)
numbers = st.floats(-(2.0**100), 2.0**100, width=32)
summaries = arrays(np.float32, F, elements=numbers)


def heard(windows: list[np.ndarray]) -> Baseline:
    baseline = Baseline.empty(POPULATION)
    for window in windows:
        baseline = baseline.including(window)
    return baseline


def usual(rng: np.random.Generator, offset: float = 0.0) -> np.ndarray:
    drawn = POPULATION.median + POPULATION.spread * (offset + rng.normal(0, 0.5, F))
    return drawn.astype(np.float32)


def test_a_stranger_is_measured_against_the_population() -> None:
    window = usual(np.random.default_rng(1))
    expected = (POPULATION.scaled(window) - POPULATION.mean) / POPULATION.deviation
    assert np.allclose(Baseline.empty(POPULATION).normalised(window), expected, atol=1e-6)


@given(st.lists(summaries, max_size=12), summaries)
def test_every_finite_window_gives_finite_bounded_scores(
    windows: list[np.ndarray], last: np.ndarray
) -> None:
    z = heard(windows).normalised(last)
    assert z.dtype == np.float32 and z.shape == (F,)
    assert np.isfinite(z).all() and (np.abs(z) <= Z_BOUND).all()


@given(st.lists(summaries, min_size=1, max_size=6), summaries)
def test_a_window_takes_no_part_in_its_own_normalisation(
    windows: list[np.ndarray], last: np.ndarray
) -> None:
    before = heard(windows)
    first = before.normalised(last)
    before.including(last)
    assert np.array_equal(before.normalised(last), first)


@given(st.lists(summaries, min_size=2, max_size=8), st.randoms())
def test_the_order_of_earlier_windows_does_not_matter(windows: list[np.ndarray], chance) -> None:
    other = list(windows)
    chance.shuffle(other)
    one, two = heard(windows), heard(other)
    assert np.allclose(one.mean, two.mean, atol=1e-9)
    assert np.allclose(one.squares, two.squares, atol=1e-7)


def test_the_mean_and_spread_are_shrunk_as_stated() -> None:
    rng = np.random.default_rng(2)
    windows = [usual(rng, 0.7) for _ in range(9)]
    scaled = np.stack([POPULATION.scaled(window) for window in windows])
    mean = (MEAN_WEIGHT * POPULATION.mean + scaled.sum(axis=0)) / (MEAN_WEIGHT + 9)
    squares = SPREAD_WEIGHT * POPULATION.deviation.astype(float) ** 2
    squares = squares + ((scaled - scaled.mean(axis=0)) ** 2).sum(axis=0)
    last = usual(rng)
    expected = (POPULATION.scaled(last) - mean) / np.sqrt(squares / (SPREAD_WEIGHT + 9))
    assert np.allclose(heard(windows).normalised(last), expected, atol=1e-5)


def test_a_persons_usual_voice_becomes_zero_in_time() -> None:
    rng = np.random.default_rng(3)
    unusual = [usual(rng, 2.0) for _ in range(60)]
    typical = (POPULATION.median + 2.0 * POPULATION.spread).astype(np.float32)
    distance = [np.abs(heard(unusual[:n]).normalised(typical)).max() for n in (0, 4, 60)]
    assert distance[0] > 1.3 and distance[0] > distance[1] > distance[2]
    assert distance[2] < 0.6


def test_old_windows_fade_once_memory_is_full() -> None:
    rng = np.random.default_rng(4)
    baseline = heard([usual(rng, -1.0) for _ in range(int(LONGEST_MEMORY))])
    assert baseline.windows == LONGEST_MEMORY
    for _ in range(2 * int(LONGEST_MEMORY)):
        baseline = baseline.including(usual(rng, 1.0))
    assert baseline.windows == LONGEST_MEMORY
    assert (baseline.mean > 0.6).all()
    assert np.isfinite(baseline.squares).all() and (baseline.squares > 0).all()


def test_an_outlier_counts_as_no_further_than_its_bound() -> None:
    wild = np.full(F, 3e30, np.float32)
    assert np.array_equal(POPULATION.scaled(wild), np.full(F, OUTLIER_SPREADS))


@given(st.lists(summaries, max_size=6), summaries)
def test_a_baseline_survives_a_restart_exactly(windows: list[np.ndarray], last: np.ndarray) -> None:
    baseline = heard(windows)
    again = Baseline.from_bytes(baseline.to_bytes(), POPULATION)
    assert np.array_equal(again.normalised(last), baseline.normalised(last))
    assert again.to_bytes() == baseline.to_bytes()


@settings(max_examples=200)
@given(st.binary(max_size=140))
def test_any_bytes_are_a_baseline_or_refused(raw: bytes) -> None:
    try:
        baseline = Baseline.from_bytes(raw, POPULATION)
    except ContractError:
        return
    assert np.isfinite(baseline.normalised(usual(np.random.default_rng(0)))).all()


@given(st.integers(0, 23 + 16 * F), st.integers(1, 255))
def test_a_flipped_byte_never_gives_numbers_that_are_not_finite(place: int, flip: int) -> None:
    raw = bytearray(heard([usual(np.random.default_rng(5))]).to_bytes())
    raw[place % len(raw)] ^= flip
    try:
        baseline = Baseline.from_bytes(bytes(raw), POPULATION)
    except ContractError:
        return
    assert np.isfinite(baseline.normalised(usual(np.random.default_rng(0)))).all()


@pytest.mark.parametrize("fault", ["length", "nan", "inf"])
def test_a_window_that_is_not_whole_is_refused(fault: str) -> None:
    window = usual(np.random.default_rng(6))
    if fault == "length":
        window = window[:-1]
    else:
        window[2] = float(fault)
    with pytest.raises(ContractError):
        Baseline.empty(POPULATION).normalised(window)
    with pytest.raises(ContractError):
        Baseline.empty(POPULATION).including(window)


def test_a_population_is_drawn_robustly() -> None:
    rng = np.random.default_rng(7)
    table = rng.normal(3, 2, (4000, 2)).astype(np.float32)
    table[::100, 1] = 1e9  # a coefficient of variation around zero
    population = Population.of(table)
    assert np.allclose(population.median, 3, atol=0.2)
    assert np.allclose(population.spread, 2, atol=0.2)
    assert (population.deviation < 1.5).all()


def test_a_functional_that_never_changes_gets_a_positive_spread() -> None:
    population = Population.of(np.full((8, 3), 4.0, np.float32))
    z = Baseline.empty(population).normalised(np.array([4, 5, -1e9], np.float32))
    assert z[0] == 0 and np.isfinite(z).all()


def test_a_population_of_nobody_is_refused() -> None:
    for table in (np.zeros((1, 3)), np.full((4, 3), np.nan), np.zeros(5)):
        with pytest.raises(ContractError):
            Population.of(table.astype(np.float32))
