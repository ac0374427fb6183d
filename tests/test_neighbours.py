"""Neighbourhoods: their bounds recomputed exactly, and a graph that holds under the worst luck."""

import hashlib
import random
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from edge_models.errors import ContractError
from sync.secure_sum.neighbours import (
    COMPLETE_UP_TO,
    colluding,
    conspiring,
    members_needed,
    neighbourhood,
    neighbours_of,
    ring,
)

SIZES = [201, 202, 203, 210, 233, 256, 300, 377, 500, 999, 1000, 1001, 2000, 4096, 10_000, 65_536]


def chance_of_at_least(members: int, marked: int, drawn: int, found: int) -> Fraction:
    """Exactly: `found` or more of `drawn` others are among the `marked` of members - 1."""
    others = members - 1
    ways = sum(
        comb(marked, hit) * comb(others - marked, drawn - hit)
        for hit in range(max(found, 0), min(marked, drawn) + 1)
    )
    return Fraction(ways, comb(others, drawn))


@pytest.mark.parametrize("members", [size for size in SIZES if size <= 2000])
def test_each_bound_holds_exactly(members: int) -> None:
    hood = neighbourhood(members)
    secret = Fraction(1, 2**40 * members)
    passing = chance_of_at_least(members, colluding(members), hood.degree, hood.threshold - 1)
    assert passing < secret
    both = 2 * hood.threshold - hood.degree - 1
    assert both > 0  # without any conspirators nobody can open both kinds of share
    assert chance_of_at_least(members, conspiring(members), hood.degree, both) < secret
    alive = -(-members * 7 // 10)
    short = 1 - chance_of_at_least(members, alive - 1, hood.degree, hood.threshold)
    assert short <= Fraction(1, 2**10 * (members - alive))


@pytest.mark.parametrize("members", SIZES)
def test_each_bound_holds_by_scipy(members: int) -> None:
    hood = neighbourhood(members)
    secret = 2.0**-40 / members
    others, dead = members - 1, members * 3 // 10
    assert hypergeom(others, colluding(members), hood.degree).sf(hood.threshold - 2) < secret
    both = 2 * hood.threshold - hood.degree - 1
    assert hypergeom(others, conspiring(members), hood.degree).sf(both - 1) < secret
    live = hypergeom(others, others - dead, hood.degree)
    assert live.cdf(hood.threshold - 1) <= 2.0**-10 / dead * (1 + 1e-9)


def test_the_degree_grows_with_the_logarithm_of_the_cohort() -> None:
    degrees = [neighbourhood(1000 * 2**doubled).degree for doubled in range(7)]
    steps = np.diff(degrees)
    assert degrees == sorted(degrees)
    assert steps.max() < 80 and degrees[-1] < 2 * degrees[0]


@pytest.mark.parametrize("members", range(3, COMPLETE_UP_TO + 1))
def test_two_groups_of_a_small_cohort_can_not_both_open(members: int) -> None:
    """With every colluder in both groups, two openings need 2t of n + c; the live reach t."""
    hood = neighbourhood(members)
    assert hood.is_complete and hood.degree == members - 1
    assert members + colluding(members) < 2 * hood.threshold
    assert colluding(members) < hood.threshold - 1
    if members >= 14:
        assert members_needed(members, 3) >= hood.threshold
    assert 3 * colluding(members) < members


def test_the_last_complete_cohort_and_the_first_sparse_one() -> None:
    assert neighbourhood(200).is_complete
    assert not neighbourhood(201).is_complete
    assert neighbourhood(201).degree % 2 == 0


@pytest.mark.parametrize("members", [0, 1, 2])
def test_fewer_than_three_have_no_neighbourhood(members: int) -> None:
    with pytest.raises(ContractError):
        neighbourhood(members)


def test_the_needed_members_are_seven_tenths_rounded_up_and_at_least_k() -> None:
    assert [members_needed(n, 20) for n in (20, 28, 29, 100, 101)] == [20, 20, 21, 70, 71]
    assert all(
        members_needed(n, 3) == max(3, -int(Fraction(-7 * n, 10) // 1)) for n in range(3, 500)
    )


def ring_of(members: int, seed: int = 0) -> tuple[int, ...]:
    return ring(hashlib.sha256(str(seed).encode()).digest(), bytes(32), members)


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 3000), st.binary(min_size=32, max_size=32))
def test_a_ring_is_a_permutation(members: int, seed: bytes) -> None:
    assert sorted(ring(seed, bytes(32), members)) == list(range(members))


def test_another_seed_or_roster_seats_everybody_elsewhere() -> None:
    usual = ring_of(1000)
    for other in (ring_of(1000, seed=1), ring(bytes(32), b"\1" * 32, 1000)):
        same = sum(one == two for one, two in zip(usual, other, strict=True))
        assert same < 12  # one is expected; by chance with probability below 10^-9


@pytest.mark.parametrize("members", [3, 20, 200, 201, 202, 401])
def test_neighbours_are_mutual_rising_and_never_oneself(members: int) -> None:
    hood, order = neighbourhood(members), ring_of(members)
    near = [set(neighbours_of(place, order, hood.degree)) for place in range(members)]
    for place in range(members):
        listed = neighbours_of(place, order, hood.degree)
        assert list(listed) == sorted(listed) and len(near[place]) == hood.degree == len(listed)
        assert place not in near[place]
        assert all(place in near[other] for other in near[place])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("members", [201, 300, 1000])
def test_the_honest_who_live_stay_connected(members: int, seed: int) -> None:
    """A third colludes and 30 % die, by chance: what is left is one piece, with no bridge.

    Two runs of half a degree without an honest survivor would cut the ring: (0.54)^53 each.
    """
    hood, order = neighbourhood(members), ring_of(members, seed)
    draw = random.Random(seed)
    gone = set(draw.sample(range(members), colluding(members)))
    gone |= set(draw.sample(range(members), members * 3 // 10))
    left = set(range(members)) - gone
    reached, edge = set(), {min(left)}
    while edge:
        reached |= edge
        edge = {
            other for place in edge for other in neighbours_of(place, order, hood.degree)
        } & left - reached
    assert reached == left
