"""Limits that keep a stated error rate over people; no answer where it can't be promised."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_models.errors import ContractError, TooFewPeople
from edge_models.session import answered
from edge_models.training.conformal import answers_within, limits, people_needed, unanswered
from tests.speaking_people import speaking_people


@pytest.mark.parametrize(("rate", "needed"), [(0.1, 9), (0.2, 4), (0.05, 19), (0.15, 6)])
def test_so_many_people_promise_so_small_a_rate(rate: float, needed: int) -> None:
    assert people_needed(rate) == needed
    assert int(np.ceil((needed + 1) * (1 - rate) - 1e-9)) <= needed  # split conformal's own rule
    assert int(np.ceil(needed * (1 - rate) - 1e-9)) > needed - 1
    logits, truth, people = speaking_people(np.random.default_rng(1), needed, each=2)
    limits(logits, truth, people, rate)
    fewer = people != people[0]
    with pytest.raises(TooFewPeople, match=rf"from {needed - 1} people .* {needed} are needed"):
        limits(logits[fewer], truth[fewer], people[fewer], rate)


def test_one_session_a_person_is_split_conformal() -> None:
    rng = np.random.default_rng(2)
    log_odds, truth = rng.normal(0, 1, 80), np.arange(80) < 39
    found = limits(log_odds, truth, np.arange(80).astype(str), 0.1)
    assert found.no_below == np.sort(log_odds[truth])[3]  # the 36th of 39 from above
    assert found.yes_above == np.sort(log_odds[~truth])[37]  # ceil(42 · 0.9) = 38th of 41


def test_the_error_rate_is_kept_over_people_and_would_not_be_over_sessions() -> None:
    kept, as_if_sessions = [], []
    for seed in range(600):
        rng = np.random.default_rng(seed)
        logits, truth, people = speaking_people(rng, 12, each=20, own=2.0, window=0.3)
        logits = logits - np.where(truth, 2.0, -2.0)  # classes alike: both limits are needed
        met, new = people < "p0011", people == "p0011"
        for names, errors in ((people, kept), (np.arange(len(people)).astype(str), as_if_sessions)):
            found = limits(logits[met], truth[met], names[met], 0.1)
            said = answers_within(found, logits[new])
            errors.append([(said[truth[new]] == 0).mean(), (said[~truth[new]] == 1).mean()])
    error, spread = np.mean(kept, axis=0), np.std(kept, axis=0) / np.sqrt(600)
    assert (error <= 0.1 + 3 * spread).all()
    assert (error >= 0.01).all()  # and not by never answering
    assert (np.mean(as_if_sessions, axis=0) > error).all()
    assert np.mean(as_if_sessions) > 0.11


def test_people_with_many_sessions_weigh_no_more() -> None:
    rng = np.random.default_rng(3)
    few = np.repeat(np.arange(19), 2)
    many = np.full(1_000, 19)
    person = np.concatenate([few, many])
    log_odds = np.concatenate([rng.normal(-3, 0.1, 38), rng.normal(-9, 0.1, 1_000)])
    others = np.repeat(np.arange(20), 2)
    found = limits(
        np.concatenate([log_odds, np.full(40, 9.0)]),
        np.concatenate([np.ones(len(person), bool), np.zeros(40, bool)]),
        np.concatenate([person, others]).astype(str),
        0.1,
    )
    assert -4 < found.no_below < -2  # one strange person in twenty is within one in ten


@given(
    seed=st.integers(0, 10_000),
    rate=st.floats(0.1, 0.4),
    own=st.floats(0, 3),
    window=st.floats(0.01, 3),
)
def test_limits_are_in_order_and_answers_follow_them(
    seed: int, rate: float, own: float, window: float
) -> None:
    logits, truth, people = speaking_people(np.random.default_rng(seed), 9, 2, own, window)
    found = limits(logits, truth, people, rate)
    assert found.no_below <= found.yes_above
    said = answers_within(found, logits)
    assert (logits[said == 0] < found.no_below).all() and (
        logits[said == 1] >= found.yes_above
    ).all()
    assert found.no_below <= 0 <= found.yes_above  # nothing against what the log-odds say
    elsewhere = limits(4 * logits, truth, people, rate)
    assert (answers_within(elsewhere, 4 * logits) == said).all()


def test_classes_far_apart_leave_nothing_unclear() -> None:
    log_odds = np.concatenate([np.full(20, 5.0), np.full(20, -5.0)])
    truth = np.arange(40) < 20
    people = np.tile(np.arange(20), 2).astype(str)
    found = limits(log_odds, truth, people, 0.1)
    assert found.no_below == found.yes_above == 0
    assert answered(np.asarray([-0.1, 0.0, 0.1]), 0.0, 0.0).tolist() == [0, 1, 1]


def test_shares_are_of_people() -> None:
    truth = np.asarray([True] * 4 + [False] * 2)
    people = np.asarray(["a", "a", "a", "b", "a", "b"])
    said = np.asarray([0, 0, 0, 1, -1, 0], np.int8)
    one = unanswered(said, truth, people, 0.1, True, np.random.default_rng(4), 20)
    assert one.missed.value == pytest.approx(0.5)  # of two people, though of three in four sessions
    assert one.false_alarms.value == 0
    assert one.abstained.value == pytest.approx(0.25)
    assert one.wrong_if_answered.value == pytest.approx(1 / 3)


@pytest.mark.parametrize("rate", [0.0, 0.5, -1.0, float("nan")])
def test_a_rate_that_is_none_is_our_bug(rate: float) -> None:
    with pytest.raises(ContractError):
        people_needed(rate)
