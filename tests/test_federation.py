"""A federated head on a simulated cohort: as good as central, at its price, and hard to spoil.

Made-up voices, so that it runs anywhere; the figures on real recordings are the bench's.
"""

from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from edge_models.bundle import shipped_bundle
from edge_models.training.cohort import made_up_voices, simulated_cohort
from sync.coordinator.accounting import composed
from sync.coordinator.gate import Rule
from sync.coordinator.optimisers import fed_adam, tail_mean
from sync.coordinator.suspicion import examined
from sync.federated.layout import Layout
from sync.shared_noise import squared_sensitivity
from tests.federation import (
    CLIP,
    NEIGHBOURS,
    RHO_CANARY,
    RHO_ROUND,
    ROUNDS,
    TRAINING,
    People,
    Trained,
    central,
    federated,
    judged,
    noise_of,
    quality,
)
from tests.poisoners import boosted, hostile_among, label_flip, sign_flip, sybils

BUNDLE = shipped_bundle()
FRAME = BUNDLE.frame.along(BUNDLE.head)
START = FRAME.point(BUNDLE.head)
PEOPLE = 300
DELTA = 1e-6
RULE = Rule(hostile=0.02)


@cache
def _world(seed: int) -> tuple[People, People, Trained]:
    """People to train with, others with other voices to test on, and the federated head."""
    train, test = made_up_voices(BUNDLE, seed).parted(seed)
    people = People.of(simulated_cohort(train, PEOPLE, seed), FRAME)
    others = People.of(simulated_cohort(test, 800, seed + 1000, questionnaires=1), FRAME)
    return people, others, federated(START, people, FRAME, seed=seed)


def _balanced(point: np.ndarray, others: People) -> float:
    return float(quality(point, others, FRAME).balanced.mean())


def _auroc(point: np.ndarray, others: People) -> float:
    return float(quality(point, others, FRAME).auroc.mean())


def test_the_federated_head_is_within_three_points_of_the_central_one() -> None:
    """Mean AUROC of three cohorts, against a central head that is tuned on the test people.

    Balanced accuracy at 0.5 hangs on three noisy biases: with made-up voices it is 4.6 points
    behind over twelve cohorts, from 0.7 to 10, so three of them say little.
    """
    behind, ahead = [], []
    for seed in range(3):
        people, others, trained = _world(seed)
        best = max(_auroc(central(people, FRAME, r), others) for r in (1e-4, 1e-3, 1e-2))
        behind.append(best - _auroc(trained.point, others))
        ahead.append(_balanced(trained.point, others) - _balanced(START, others))
    assert np.mean(behind) <= 0.03
    assert np.mean(ahead) > 0.05  # the published head does not know what a session is


def test_the_price_is_below_four_and_the_devices_bound_is_never_below_the_accountants() -> None:
    prices = [RHO_ROUND] * ROUNDS + [RHO_CANARY]
    whole = composed(prices, DELTA)
    assert whole.rho == Fraction(1, 4)
    assert whole.epsilon_pld <= whole.epsilon_rdp <= whole.epsilon <= 4.0
    for some in range(1, len(prices) + 1):
        part = composed(prices[:some], DELTA)
        assert part.epsilon_pld <= part.epsilon_rdp <= part.epsilon
    assert composed([], DELTA).epsilon == 0.0


def test_a_third_may_drop_out_of_every_round() -> None:
    people, others, trained = _world(0)
    partly = federated(START, people, FRAME, seed=9, dropout=0.3)
    assert _auroc(partly.point, others) >= _auroc(trained.point, others) - 0.05


def test_shares_drawn_one_by_one_do_as_well_as_their_sum() -> None:
    people, others, _ = _world(1)
    few = People(people.sessions[:40])
    one_by_one = federated(START, few, FRAME, seed=3, rounds=2, rho=Fraction(1), shares=True)
    assert np.isfinite(one_by_one.point).all()
    assert _balanced(one_by_one.point, others) > 0.5


def test_adam_and_a_moving_clip_learn_too() -> None:
    people, others, _ = _world(2)
    adam = federated(
        START, people, FRAME, seed=4, optimiser=tail_mean(fed_adam(0.1), 8), adaptive=0.95
    )  # type: ignore[arg-type]
    assert _balanced(adam.point, others) > _balanced(START, others) + 0.03
    assert adam.clip.value != CLIP


def test_the_devices_let_the_better_head_through_and_keep_the_worse_one_out() -> None:
    """Better than knowing nothing; the shipped head's successor of 300 people is too close to it.

    (Its gain here is 0.006 to 0.016, which two hostile devices in a hundred could fake; the bench
    says how often real voices get through.)
    """
    knows_nothing = np.zeros_like(START)
    let_through = 0
    for seed in range(3):
        people, _, trained = _world(seed)
        for price, again in ((RHO_CANARY, 0), (Fraction(1), 1)):
            for current in (START, knows_nothing):
                worse = judged(
                    current, trained.point, people, FRAME, seed=seed, rule=RULE, rho=price
                )
                assert not worse.publish
            better = judged(
                trained.point, knows_nothing, people, FRAME, seed=seed, rule=RULE, rho=price
            )
            let_through += again and better.publish
    assert let_through >= 2


def test_a_tenth_of_hostile_devices_within_the_clip_do_little() -> None:
    people, others, trained = _world(0)
    honest = _balanced(federated(trained.point, people, FRAME, seed=8).point, others)
    for recruit in (sign_flip, label_flip(FRAME, TRAINING, CLIP), sybils(trained.point)):
        hostile = hostile_among(people.sessions, 0.1, recruit, 1)
        spoilt = federated(trained.point, people, FRAME, seed=8, hostile=hostile)
        assert _balanced(spoilt.point, others) >= honest - 0.12


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_a_boosted_update_spoils_a_candidate_that_is_never_published(share: float) -> None:
    people, others, trained = _world(0)
    hostile = hostile_among(people.sessions, share, boosted(sybils(trained.point), 100), 1)
    spoilt = federated(trained.point, people, FRAME, seed=8, hostile=hostile)
    assert _balanced(spoilt.point, others) < 0.5
    verdict = judged(
        spoilt.point, trained.point, people, FRAME, seed=2, rule=RULE, lying=frozenset(hostile)
    )
    assert not verdict.publish
    layout = Layout(FRAME.size)
    apart = squared_sensitivity(layout.squared_clip, NEIGHBOURS["head"])
    sigma2 = float(noise_of(apart, layout.length, RHO_ROUND, PEOPLE).sum_sigma2(PEOPLE))
    found = [examined(s, layout, members=PEOPLE, sigma2=sigma2).suspicion for s in spoilt.sums]
    assert all(found) == (share > 0.01)  # three of 300, a hundredfold: as long as 300 honest ones
