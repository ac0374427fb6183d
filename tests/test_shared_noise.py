"""Noise inside the sum: as private as its price, exactly distributed, and never wrapping.

The statistical tests have fixed seeds, so they pass or fail for good. Drawn afresh, each would
raise a false alarm once in a thousand runs (`FALSE_ALARM`).
"""

import ast
import inspect
import math
import random
import secrets
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

import sync.shared_noise
from edge_models.errors import ContractError
from sync.errors import PolicyError
from sync.messages import HISTOGRAMS
from sync.policy import squared_sensitivity as of_a_report
from sync.release import Counts
from sync.secure_sum.neighbours import members_needed
from sync.shared_noise import (
    LEAST_SHARE,
    NEIGHBOURS,
    Neighbours,
    SharedNoise,
    cost,
    honest,
    noise_bound,
    noise_for,
    noise_share,
    noised,
    scale_for,
    signed,
    squared_sensitivity,
    unscaled,
    within_clip,
)

FALSE_ALARM = 1e-3
REPORT = squared_sensitivity(len(HISTOGRAMS), Neighbours.COUNTS_REPLACED)


def planned(cohort: int = 20, most: int = 20, rho: Fraction = Fraction(1, 8)) -> SharedNoise:
    scale = scale_for(
        squared_sensitivity=REPORT, squared_clip=len(HISTOGRAMS), rho=rho, length=50,
        minimum=20, most=most,
    )  # fmt: skip
    return noise_for(
        squared_sensitivity=REPORT, rho=rho, scale=scale, length=50, minimum=20, cohort=cohort
    )


def share_of(share_sigma2: Fraction, members: int, length: int = 1) -> SharedNoise:
    return SharedNoise(length, 1, members, members, share_sigma2)


# The law of the sum, computed.


def log_pmf(sigma2: float, reach: int) -> np.ndarray:
    x = np.arange(-reach, reach + 1, dtype=float)
    weights = -x * x / (2 * sigma2)
    return weights - special.logsumexp(weights)


def log_pmf_of_sum(share_sigma2: float, members: int, reach: int) -> np.ndarray:
    """By convolution, in logarithms, so that the far tails are right, too."""
    one = log_pmf(share_sigma2, reach)
    total = one
    for _ in range(members - 1):
        padded = np.pad(total, reach, constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
        total = special.logsumexp(windows + one, axis=1)  # `one` is symmetric
    return total


def renyi(law: np.ndarray, shift: int, order: float) -> float:
    """Renyi divergence of a law on whole numbers from itself, shifted (Mironov 2017, Def. 3)."""
    moved, still = (law[:-shift], law[shift:]) if shift else (law, law)
    return float(special.logsumexp(order * moved + (1 - order) * still)) / (order - 1)


ORDERS = (1.5, 2.0, 3.0, 8.0, 24.0, 64.0)


@pytest.mark.parametrize("share_sigma2", ["1", "3/2", "8"])
@pytest.mark.parametrize("members", [2, 3, 7])
@pytest.mark.parametrize("shift", [1, 2, 5])
def test_a_sum_is_as_private_as_its_rho_says(share_sigma2: str, members: int, shift: int) -> None:
    parameter = Fraction(share_sigma2)
    law = log_pmf_of_sum(float(parameter), members, 64 * shift + 160)
    rho = float(cost(share_of(parameter, members), shift * shift))
    for order in ORDERS:
        exact = renyi(law, shift, order)
        assert exact <= order * rho * (1 + 1e-9)
        assert exact > 0.98 * order * shift * shift / (2 * members * float(parameter))


@pytest.mark.parametrize("members", [2, 3, 7])
def test_the_ratio_to_a_central_gaussian_varies_by_less_than_half_of_tau(members: int) -> None:
    for share_sigma2 in (1.0, 1.25):
        law = log_pmf_of_sum(share_sigma2, members, 60)[20:-20]
        ratio = law - log_pmf(members * share_sigma2, 60)[20:-20]
        tau = 10 * sum(
            math.exp(-2 * math.pi**2 * share_sigma2 * k / (k + 1)) for k in range(1, members)
        )
        assert np.ptp(ratio) <= tau / 2
        assert members > 2 or np.ptp(ratio) > 0.35 * tau  # for two, the bound is nearly reached


def test_the_check_would_notice_a_bound_without_the_tau_term() -> None:
    law = log_pmf_of_sum(0.25, 2, 200)
    assert renyi(law, 1, 1.5) > 1.5 * 1 / (2 * 2 * 0.25) * 1.01


@given(
    st.fractions(Fraction(1, 1000), 4, max_denominator=1000),
    st.integers(1, 2**40),
    st.integers(0, 20),
    st.integers(1, 2**14),
    st.integers(20, 5000),
)
def test_the_stated_rho_holds_exactly_and_is_not_wasted(
    rho: Fraction, apart: int, power: int, length: int, cohort: int
) -> None:
    try:
        noise = noise_for(
            squared_sensitivity=apart, rho=rho, scale=2**power, length=length,
            minimum=20, cohort=cohort,
        )  # fmt: skip
    except PolicyError:
        assert apart * 4**power / (2 * rho * honest(cohort, 20)) < LEAST_SHARE
        return
    assert noise.share_sigma2 >= LEAST_SHARE
    assert Fraction(99, 100) * rho < cost(noise, apart) <= rho


@given(st.integers(20, 10**6), st.integers(20, 1000))
def test_fewer_than_a_third_collude_and_none_of_them_drops_out(cohort: int, minimum: int) -> None:
    if cohort < minimum:
        with pytest.raises(ContractError):
            honest(cohort, minimum)
        return
    needed = members_needed(cohort, minimum)
    assert max(minimum, 0.7 * cohort) <= needed <= cohort
    worst = needed - honest(cohort, minimum)  # the most that collude
    assert 3 * worst < cohort <= 3 * (worst + 1)
    assert honest(cohort, minimum) > needed // 3


# Sensitivity.


def test_a_report_is_charged_as_its_policy_says() -> None:
    assert of_a_report() == REPORT
    first = Counts.of({histogram.name: 0 for histogram in HISTOGRAMS})
    within_clip(first.cells, len(HISTOGRAMS))
    assert NEIGHBOURS["report"] is Neighbours.COUNTS_REPLACED


@given(
    st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=8),
    st.sampled_from(Neighbours),
)
def test_no_neighbours_are_further_apart_than_the_sensitivity(
    pairs: list[tuple[int, int]], neighbours: Neighbours
) -> None:
    one, other = ([pair[side] for pair in pairs] for side in (0, 1))
    if neighbours is Neighbours.COUNTS_REPLACED:
        one, other = [abs(x) for x in one], [abs(x) for x in other]
    if neighbours is Neighbours.LEFT_OUT:
        other = [0] * len(one)
    clip = max(1, sum(x * x for x in one), sum(x * x for x in other))
    within_clip(one, clip)
    apart = sum((x - y) ** 2 for x, y in zip(one, other, strict=True))
    assert apart <= squared_sensitivity(clip, neighbours)


def test_a_vector_beyond_its_clip_is_our_own_fault() -> None:
    within_clip([3, -4], 25)
    with pytest.raises(ContractError):
        within_clip([3, -4], 24)


# What is drawn.


def p_value(drawn: Counter[int], sigma2: float) -> float:
    """Chi-square against the discrete Gaussian, values pooled until 25 are expected."""
    reach = 12 * math.ceil(math.sqrt(sigma2)) + 3
    expected = np.exp(log_pmf(sigma2, reach)) * drawn.total()
    edges, mass = [0], 0.0
    for place, each in enumerate(expected, 1):
        mass += each
        if mass >= 25:
            edges.append(place)
            mass = 0.0
    edges[-1] = len(expected)
    seen = np.array([drawn[x] for x in range(-reach, reach + 1)])
    groups = list(pairwise(edges))
    counted = [seen[a:b].sum() for a, b in groups]
    wanted = np.array([expected[a:b].sum() for a, b in groups])
    return float(stats.chisquare(counted, wanted * sum(counted) / wanted.sum()).pvalue)


def test_a_share_follows_the_exact_discrete_gaussian() -> None:
    noise, chance = planned(), random.Random("shares")
    drawn = Counter(x for _ in range(400) for x in noise_share(noise, chance.randrange))
    assert p_value(drawn, float(noise.share_sigma2)) > FALSE_ALARM


def sums(noise: SharedNoise, members: int, rounds: int, seed: str) -> list[int]:
    chance = random.Random(seed)
    return [
        int(total)
        for _ in range(rounds)
        for total in np.sum([noise_share(noise, chance.randrange) for _ in range(members)], axis=0)
    ]


def test_a_sum_of_shares_is_distributed_as_central_noise() -> None:
    noise = planned()
    drawn = Counter(sums(noise, noise.honest, 120, "sum"))
    central = noise.honest * float(noise.share_sigma2)
    assert p_value(drawn, central) > FALSE_ALARM
    assert p_value(drawn, 1.15 * central) < FALSE_ALARM  # and another sigma would be noticed
    # And by computation: the two laws are the same to within rounding, far below any test's reach.
    law = np.exp(log_pmf_of_sum(float(noise.share_sigma2), 6, 150))
    assert 0.5 * np.abs(law - np.exp(log_pmf(6 * float(noise.share_sigma2), 150))).sum() < 1e-12


@pytest.mark.parametrize(("cohort", "members"), [(20, 20), (40, 28), (40, 40)])
def test_the_sums_variance_is_that_of_who_was_in_it_and_never_too_little(
    cohort: int, members: int
) -> None:
    noise = planned(cohort, most=40)
    drawn = np.array(sums(noise, members, 60, f"variance {cohort} {members}"))
    promised = float(noise.sum_sigma2(members)) * noise.scale**2
    square = float((drawn**2).sum()) / promised  # chi-square, with one degree for each number
    assert stats.chi2.cdf(square, len(drawn)) > FALSE_ALARM / 2
    assert stats.chi2.sf(square, len(drawn)) > FALSE_ALARM / 2
    assert members >= noise.members and promised > noise.honest * noise.share_sigma2
    assert noise.honest_sigma2 >= Fraction(REPORT, 2) / Fraction(1, 8)  # what the price asks for


def test_the_devices_own_randomness_gives_noise_of_both_signs() -> None:
    drawn = noise_share(planned(), secrets.randbelow)
    assert min(drawn) < 0 < max(drawn)  # misses once in 2^45


# Whole numbers mod 2^32.


@settings(max_examples=200)
@given(
    st.integers(1, 2**44),
    st.sampled_from(Neighbours),
    st.fractions(Fraction(1, 10_000), 2, max_denominator=10_000),
    st.integers(1, 2**14),
    st.integers(20, 4000),
)
def test_a_sum_never_wraps_or_there_is_no_round(
    clip: int, neighbours: Neighbours, rho: Fraction, length: int, most: int
) -> None:
    apart = squared_sensitivity(clip, neighbours)
    try:
        scale = scale_for(
            squared_sensitivity=apart, squared_clip=clip, rho=rho, length=length,
            minimum=20, most=most,
        )  # fmt: skip
    except PolicyError as refusal:
        assert refusal.remedy
        return
    assert scale & (scale - 1) == 0
    for cohort in {20, min(28, most), most}:
        noise = noise_for(
            squared_sensitivity=apart, rho=rho, scale=scale, length=length,
            minimum=20, cohort=cohort,
        )  # fmt: skip
        for members in (noise.members, cohort):
            reach = members * math.isqrt(clip) * scale
            reach += noise_bound(length, members * noise.share_sigma2)
            assert reach < 2**31
            extremes = np.array([reach, -reach]) % 2**32
            assert signed(extremes.astype(np.uint32)).tolist() == [reach, -reach]


@pytest.mark.parametrize("length", [1, 64, 2**14])
def test_noise_exceeds_its_bound_in_less_than_one_of_2_to_the_64_rounds(length: int) -> None:
    for sigma2 in (Fraction(8), Fraction(1000), Fraction(10**6)):
        beyond = noise_bound(length, sigma2) / math.sqrt(sigma2)
        log_chance = math.log(2 * length) + stats.norm.logsf(beyond)  # as good as Gaussian there
        assert -90 * math.log(2) < log_chance < -64 * math.log(2)


def test_noised_vectors_add_up_to_the_sum_and_its_noise() -> None:
    noise, chance = planned(), random.Random("vectors")
    vectors = [[chance.randrange(-3, 4) for _ in range(noise.length)] for _ in range(20)]
    total, plain = np.zeros(noise.length, np.uint32), np.zeros(noise.length, np.int64)
    for place, vector in enumerate(vectors):
        masked = noised(vector, noise, random.Random(place).randrange)
        share = noise_share(noise, random.Random(place).randrange)
        assert masked.dtype == np.uint32
        assert (signed(masked) == np.array(vector) * noise.scale + share).all()
        total += masked
        plain += np.array(vector) * noise.scale + share
    assert (signed(total) == plain).all()
    assert (unscaled(total, noise.scale) * noise.scale == plain).all()
    with pytest.raises(ContractError):
        noised([0] * 49, noise, chance.randrange)
    with pytest.raises(ContractError):
        signed(total.astype(np.int64))  # type: ignore[arg-type]


def test_a_share_too_coarse_for_the_bound_is_refused_with_the_remedy() -> None:
    with pytest.raises(PolicyError) as refusal:
        noise_for(
            squared_sensitivity=REPORT, rho=Fraction(1, 8), scale=1, length=50,
            minimum=20, cohort=100,
        )  # fmt: skip
    assert "scale" in refusal.value.remedy


def test_the_noise_is_never_touched_by_floating_point() -> None:
    tree = ast.parse(inspect.getsource(sync.shared_noise))
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert not [value for value in constants if isinstance(value, float)]
