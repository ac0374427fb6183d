"""Server optimisers beside their papers, and the price of a tree beside counting its nodes."""

import doctest
import itertools
import random
from fractions import Fraction

import numpy as np
import pytest

from edge_models.errors import ContractError
from sync.coordinator import clipping, optimisers
from sync.coordinator.optimisers import dp_ftrl, fed_adam, fed_avg, tail_mean
from sync.coordinator.tree import Tree, TreeNoise, squared_moves

TOO_LITTLE = Fraction(1, 10**6)


def _noise(sigma2: Fraction = TOO_LITTLE, rounds: int = 8, participations: int = 1) -> TreeNoise:
    draw = random.Random(7).randrange
    return TreeNoise(rounds, participations, 1, sigma2, draw)


@pytest.mark.parametrize("module", [optimisers, clipping])
def test_the_toy_runs_are_true(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


def test_adam_is_kingmas_and_reddis() -> None:
    """By hand: the first step is rate · sign, whatever the size, for a small tau."""
    optimiser = fed_adam(0.1, tau=1e-9)
    state = optimiser.apply(optimiser.init(np.zeros(3)), np.asarray([5.0, -0.01, 0.0]))
    assert np.allclose(state.point, [0.1, -0.1, 0.0])
    state = optimiser.apply(state, np.asarray([5.0, 0.03, 0.0]))
    first, second = 0.9 * 0.1 * -0.01 + 0.1 * 0.03, 0.99 * 0.01 * 0.0001 + 0.01 * 0.0009
    step = 0.1 * (first / 0.19) / np.sqrt(second / (1 - 0.99**2))
    assert state.point[1] == pytest.approx(-0.1 + step)


@pytest.mark.parametrize(
    "make", [lambda: fed_avg(0.0), lambda: fed_avg(1.0, 1.0), lambda: fed_adam(0.1, tau=0.0),
             lambda: tail_mean(fed_avg(1.0), 0), lambda: dp_ftrl(1.0, _noise(), 0.0)]
)  # fmt: skip
def test_numbers_outside_their_domain_are_refused(make: object) -> None:
    with pytest.raises(ContractError):
        make()  # type: ignore[operator]


def test_an_update_of_another_size_is_refused() -> None:
    for optimiser in (fed_avg(1.0), fed_adam(0.1)):
        with pytest.raises(ContractError):
            optimiser.apply(optimiser.init(np.zeros(2)), np.zeros(3))


def test_without_noise_ftrl_is_averaging_with_momentum() -> None:
    plain, led = fed_avg(0.5, 0.9), dp_ftrl(0.5, _noise(), unit=0.01, momentum=0.9)
    one, two = plain.init(np.ones(2)), led.init(np.ones(2))
    for step in range(20):
        total = np.asarray([step - 5, 3 * step])
        one = plain.apply(one, 0.01 * total.astype(np.float64))
        two = led.apply(two, total)
    assert np.allclose(one.point, two.point)


def test_the_running_sum_has_the_noise_of_its_complete_nodes() -> None:
    """After t rounds: as many nodes as t has ones in binary; over two trees both remain."""
    sigma2 = Fraction(100)
    tree, noise = Tree.empty(4), _noise(sigma2, rounds=8)
    for number in range(1, 9):
        tree = tree.grown(noise)
        assert len(tree.nodes) == number.bit_count()
        assert sum(rounds for rounds, _ in tree.nodes) == number
    assert not tree.carried(noise).any()  # the next round begins a new tree
    spread = []
    for seed in range(150):
        draw = TreeNoise(8, 1, 1, sigma2, random.Random(seed).randrange)
        optimiser = dp_ftrl(1.0, draw, unit=1.0)
        state = optimiser.init(np.zeros(4))
        for _ in range(15):  # one whole tree (1 node) and 7 rounds (3 nodes)
            state = optimiser.apply(state, np.zeros(4, np.int64))
        spread += state.point.tolist()
    assert np.var(spread) == pytest.approx(400, rel=0.25)  # false alarm: one in 40,000


def _counted(rounds: int, places: tuple[int, ...]) -> int:
    """Squared moves of all complete nodes of a tree, counted one by one."""
    total, size = 0, 1
    while size <= rounds:
        for start in range(0, rounds - size + 1, size):
            total += sum(start <= place < start + size for place in places) ** 2
        size *= 2
    return total


@pytest.mark.parametrize("rounds", [1, 2, 5, 8, 11])
@pytest.mark.parametrize("apart", [1, 2, 3])
def test_no_way_of_taking_part_costs_more_than_the_price(rounds: int, apart: int) -> None:
    for participations in range(1, 5):
        worst = 0
        for places in itertools.combinations(range(rounds), min(participations, rounds)):
            if all(b - a >= apart for a, b in itertools.pairwise(places)):
                worst = max(worst, _counted(rounds, places))
        price = squared_moves(rounds, participations, apart)
        assert worst <= price
        if apart == 1 and rounds in (1, 2, 8):
            assert worst == price


def test_once_in_a_tree_costs_its_levels_and_always_costs_twice_the_square() -> None:
    assert squared_moves(16, 1) == 5
    assert squared_moves(15, 1) == 4
    assert squared_moves(64, 64) == 64 * 127


def test_a_tree_costs_what_it_was_bought_for() -> None:
    rho = Fraction(1, 8)
    noise = TreeNoise.costing(rho, 1024**2, lambda n: 0, rounds=16, participations=2)
    assert noise.rho(1024**2) == rho
    assert noise.rho(1024**2, trees=3) == 3 * rho
    with pytest.raises(ContractError):
        TreeNoise.costing(Fraction(0), 1, lambda n: 0, rounds=1, participations=1)
