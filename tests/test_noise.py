"""Noise: exactly the discrete Gaussian, in whole numbers.

The statistical tests have fixed seeds, so they pass or fail for good. Drawn afresh, each would
raise a false alarm once in a thousand runs (`FALSE_ALARM`).
"""

import ast
import inspect
import math
import random
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import sync.noise
from edge_models.errors import ContractError
from sync.noise import discrete_gaussian, discrete_laplace, exp_of_minus

FALSE_ALARM = 1e-3
DRAWS = 20_000


def weights(log_weight: Callable[[int], float], reach: int) -> dict[int, float]:
    found = {x: math.exp(log_weight(x)) for x in range(-reach, reach + 1)}
    whole = math.fsum(found.values())
    return {x: weight / whole for x, weight in found.items()}


def p_value(drawn: Counter[int], truth: dict[int, float]) -> float:
    """Chi-square, neighbouring values pooled until 25 are expected in each group."""
    draws = drawn.total()
    seen, expected = [0.0], [0.0]
    for x in sorted(truth):
        seen[-1] += drawn[x]
        expected[-1] += draws * truth[x]
        if expected[-1] >= 25:
            seen.append(0.0)
            expected.append(0.0)
    last_seen, last_expected = seen.pop(), expected.pop()
    seen[-1] += last_seen + draws - sum(seen) - last_seen  # whatever fell outside, too
    expected[-1] += last_expected
    if len(seen) == 1:
        return 1.0
    return float(stats.chisquare(seen, [e * draws / sum(expected) for e in expected]).pvalue)


@pytest.mark.parametrize(
    "sigma2",
    ["1/50", "1/8", "1/2", "1", "7/3", "48", "48/7", "1000", "123457/7"],
)
def test_samples_follow_the_exact_discrete_gaussian(sigma2: str) -> None:
    parameter = Fraction(sigma2)
    chance = random.Random(f"gaussian {sigma2}")
    drawn = Counter(discrete_gaussian(parameter, chance.randrange) for _ in range(DRAWS))
    reach = 12 * math.ceil(math.sqrt(parameter)) + 3
    truth = weights(lambda x: -(x * x) / (2 * float(parameter)), reach)
    assert p_value(drawn, truth) > FALSE_ALARM


@pytest.mark.parametrize("scale", [1, 2, 7, 50])
def test_samples_follow_the_exact_discrete_laplace(scale: int) -> None:
    chance = random.Random(f"laplace {scale}")
    drawn = Counter(discrete_laplace(scale, chance.randrange) for _ in range(DRAWS))
    assert p_value(drawn, weights(lambda x: -abs(x) / scale, 40 * scale)) > FALSE_ALARM


def test_the_chi_square_would_notice_a_sigma_that_is_off_by_three_percent() -> None:
    chance = random.Random("planted")
    drawn = Counter(discrete_gaussian(Fraction(48), chance.randrange) for _ in range(2 * DRAWS))
    wrong = weights(lambda x: -(x * x) / (2 * 48 * 1.03**2), 90)
    assert p_value(drawn, wrong) < FALSE_ALARM


def every_outcome(
    decide: Callable[[Callable[[int], int]], bool], smallest: Fraction
) -> Iterator[tuple[Fraction, bool]]:
    """Every answer with its exact probability, following all of chance's choices in turn.

    Branches rarer than `smallest` are left out.
    """
    pending: list[tuple[tuple[int, ...], Fraction]] = [((), Fraction(1))]
    while pending:
        path, mass = pending.pop()
        taken = iter(path)

        def scripted(n: int, taken: Iterator[int] = taken) -> int:
            for choice in taken:
                return choice
            raise StopIteration(n)

        try:
            yield mass, decide(scripted)
        except StopIteration as asked:
            share = mass / asked.value
            if share >= smallest:
                pending += [((*path, choice), share) for choice in range(asked.value)]


@pytest.mark.parametrize("gamma", ["0", "1/3", "1/2", "1", "3/2"])
def test_the_coin_for_exp_of_minus_gamma_is_exact(gamma: str) -> None:
    parameter = Fraction(gamma)
    true = false = Fraction(0)
    for mass, answer in every_outcome(
        lambda randbelow: exp_of_minus(parameter, randbelow), Fraction(1, 20_000)
    ):
        if answer:
            true += mass
        else:
            false += mass
    assert true <= math.exp(-parameter) + 1e-12
    assert false <= 1 - math.exp(-parameter) + 1e-12
    assert true + false > Fraction(98, 100)  # what was left out is rarer than that


@settings(max_examples=60)
@given(
    st.fractions(Fraction(1, 1000), 10**6, max_denominator=10**6),
    st.integers(0, 2**32),
)
def test_a_sample_is_a_whole_number_made_of_whole_numbers(sigma2: Fraction, seed: int) -> None:
    chance = random.Random(seed)

    def randbelow(n: int) -> int:
        assert type(n) is int and n > 0
        return chance.randrange(n)

    assert type(discrete_gaussian(sigma2, randbelow)) is int


def test_noise_beyond_the_precision_of_floats_keeps_its_last_digit() -> None:
    chance = random.Random("huge")
    drawn = [discrete_gaussian(Fraction(10**40), chance.randrange) for _ in range(1000)]
    odd = sum(x % 2 for x in drawn)  # a float this large is always even
    assert stats.binomtest(odd, len(drawn)).pvalue > FALSE_ALARM
    assert stats.kstest([x / 1e20 for x in drawn], "norm").pvalue > FALSE_ALARM


def test_the_sampler_holds_no_floating_point() -> None:
    tree = ast.parse(inspect.getsource(sync.noise))
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert not [value for value in constants if isinstance(value, float)]
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert used <= {"isqrt", "floor", "numerator", "denominator"}
    assert "float" not in names


def test_the_devices_own_randomness_gives_noise_of_both_signs() -> None:
    drawn = [discrete_gaussian(Fraction(48), secrets.randbelow) for _ in range(200)]
    assert min(drawn) < 0 < max(drawn)  # misses once in 2^190


@pytest.mark.parametrize("sigma2", ["0", "-1"])
def test_a_sigma_squared_that_is_not_positive_is_refused(sigma2: str) -> None:
    with pytest.raises(ContractError):
        discrete_gaussian(Fraction(sigma2), secrets.randbelow)
    with pytest.raises(ContractError):
        discrete_laplace(int(sigma2), secrets.randbelow)


def test_a_negative_exponent_is_refused() -> None:
    with pytest.raises(ContractError):
        exp_of_minus(Fraction(-1, 2), secrets.randbelow)
