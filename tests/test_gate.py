"""The canary and its gate: votes are bounded, and a worse head is not published."""

import numpy as np
import pytest

from edge_models.errors import ContractError
from edge_models.frame import Frame
from sync.coordinator.gate import Rule, decide
from sync.errors import ProtocolError
from sync.federated.canary import LENGTH, MOST_GAIN, SQUARED_CLIP, vote
from sync.federated.layout import UNITS
from sync.federated.sessions import Sessions
from sync.federated.update import Training
from tests.federation import RHO_CANARY, noise_of, random_below, summed

FRAME = Frame(np.zeros(1), 1.0, np.eye(1))
TRAINING = Training(shares=(0.5, 0.5, 0.5))
NOBODY = Sessions(np.zeros((0, 1)), np.zeros((0, 3), bool))
MEMBERS = 300
NOISE = noise_of(2 * SQUARED_CLIP, LENGTH, RHO_CANARY, MEMBERS)
SIGMA2 = float(NOISE.sum_sigma2(MEMBERS))


def _verdicts(gains: np.ndarray, rule: Rule, times: int = 400) -> int:
    """How often a head is published when people's gains (nats) are drawn from these."""
    chance, draw = np.random.default_rng(5), random_below(5)
    published = 0
    for _ in range(times):
        drawn = np.rint(np.clip(chance.choice(gains, MEMBERS) / MOST_GAIN, -1, 1) * UNITS)
        votes = np.stack([np.maximum(drawn, 0), np.maximum(-drawn, 0)], axis=1).astype(np.int64)
        total = summed(list(votes), NOISE, draw)
        published += decide(total, members=MEMBERS, sigma2=SIGMA2, rule=rule).publish
    return published


def test_a_vote_says_by_how_much_and_stays_within_its_bound() -> None:
    sessions = Sessions(np.ones((1, 1)), np.ones((1, 3), bool))
    worse, better = np.tile([0.0, 0.0], 3), np.tile([0.0, 0.2], 3)
    up, down = vote(better, worse, sessions, FRAME, TRAINING).tolist()
    gain = np.log(2) - np.log1p(np.exp(-0.2))
    assert up == round(gain / MOST_GAIN * UNITS)
    assert down == 0
    assert vote(worse, better, sessions, FRAME, TRAINING).tolist() == [0, up]
    far = np.tile([0.0, 50.0], 3)
    assert vote(far, worse, sessions, FRAME, TRAINING).tolist() == [UNITS, 0]
    assert vote(better, worse, NOBODY, FRAME, TRAINING).tolist() == [0, 0]
    assert vote(worse, worse, sessions, FRAME, TRAINING).tolist() == [0, 0]


@pytest.mark.parametrize(
    "gains",
    [
        np.asarray([0.0]),
        np.asarray([0.05, -0.05]),
        np.asarray([0.01] * 9 + [-0.09]),  # nine in ten gain a little, one loses it all
        np.asarray([-0.01] * 9 + [0.09]),
        np.asarray([1.0, -1.0]),
        np.asarray([-0.02, 0.01]),
    ],
)
def test_a_head_that_is_no_better_is_published_no_more_than_was_said(gains: np.ndarray) -> None:
    """At an error rate of 5 %: 400 trials pass 37 with a chance of 0.0003."""
    assert _verdicts(gains, Rule(error_rate=0.05)) <= 37


def test_a_better_head_is_published() -> None:
    assert _verdicts(np.asarray([0.15, 0.02, -0.01]), Rule(error_rate=0.05), 100) >= 90


def test_hostile_votes_within_their_share_do_not_carry_a_worse_head() -> None:
    gains = np.asarray([-0.001] * 95 + [MOST_GAIN] * 5)
    assert _verdicts(gains, Rule(hostile=0.0)) > 40  # a defence that isn't needed is none
    assert _verdicts(gains, Rule(hostile=0.05)) <= 37


def test_what_the_gate_cannot_see_is_one_vote_as_large_as_a_hundred() -> None:
    """As sync/poisoning.md says: under masks nothing makes a rebuilt device keep its bound."""
    votes = [np.asarray([0, UNITS // 20], np.int64)] * (MEMBERS - 1)
    votes.append(np.asarray([100 * UNITS, 0], np.int64))
    total = summed(votes, NOISE, random_below(1))
    assert decide(total, members=MEMBERS, sigma2=SIGMA2, rule=Rule(hostile=0.02)).publish


def test_the_bound_tightens_with_people_and_loosens_with_noise() -> None:
    def at_least(members: int, sigma2: float) -> float:
        total = np.asarray([members * UNITS // 2, 0], np.uint32)
        return decide(total, members=members, sigma2=sigma2, rule=Rule()).at_least

    assert at_least(1000, 1e8) > at_least(300, 1e8) > at_least(300, 1e9)


@pytest.mark.parametrize("total", [(MEMBERS * UNITS * 3, 0), (0, -MEMBERS * UNITS), (2**30, 2**30)])
def test_a_sum_that_votes_cannot_have_is_the_other_sides_fault(total: tuple[int, int]) -> None:
    opened = np.asarray(total, np.int64).astype(np.uint32)
    with pytest.raises(ProtocolError, match="not one that votes can have"):
        decide(opened, members=MEMBERS, sigma2=1e8, rule=Rule())


@pytest.mark.parametrize(
    "rule", [{"margin": 1.0}, {"hostile": -0.1}, {"error_rate": 0.0}, {"error_rate": 0.6}]
)
def test_a_rule_outside_its_domain_cannot_exist(rule: dict[str, float]) -> None:
    with pytest.raises(ContractError):
        Rule(**rule)
    with pytest.raises(ContractError):
        decide(np.zeros(3, np.uint32), members=1, sigma2=1.0, rule=Rule())
