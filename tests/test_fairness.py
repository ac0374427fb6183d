"""Gaps between groups: found where they are, no larger than chance where they are not."""

import numpy as np
import pytest

from edge_models.errors import ContractError
from edge_models.head import sigmoid
from edge_models.training.fairness import MEASURES, Attribute, Decisions, Gap, fairness
from tests.speaking_people import speaking_people


def decisions(rng: np.random.Generator, people: int = 24, worse: float = 0.0) -> Decisions:
    """Everybody's; the second half of the people is heard worse by `worse` log-odds if so."""
    logits, truth, names = speaking_people(rng, people, each=6)
    second = names >= f"p{people // 2:04d}"
    logits = logits - worse * (second & truth)
    said = np.where(np.abs(logits) < 0.3, -1, logits > 0).astype(np.int8)
    return Decisions(sigmoid(logits), truth, said, names)


def halves(one: Decisions) -> np.ndarray:
    names = np.unique(one.people)
    return np.where(one.people >= names[len(names) // 2], "second", "first")


def gap(attribute: Attribute, measure: str) -> Gap:
    return next(one for one in attribute.gaps if one.measure == measure)


def test_a_gap_that_is_there_is_larger_than_chance() -> None:
    rng = np.random.default_rng(1)
    one = decisions(rng, worse=1.2)
    (sex,) = fairness(one, {"sex": halves(one)}, rng, resamples=200)
    found = gap(sex, "sensitivity")
    assert found.largest.value > found.by_chance_95 > found.by_chance
    assert found.p < 0.02 and found.largest.low > 0
    assert (found.lowest, found.highest) == ("second", "first")
    assert gap(sex, "specificity").p > 0.05


def test_a_gap_of_chance_is_called_one_as_often_as_stated() -> None:
    called = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        one = decisions(rng, people=14)
        (sex,) = fairness(one, {"sex": halves(one)}, rng, resamples=39)
        called += gap(sex, "balanced accuracy").p <= 0.1
    assert called <= 11  # 4 are expected of 40; more than 11 come once in a thousand


def test_a_small_group_is_named_and_never_dropped() -> None:
    rng = np.random.default_rng(2)
    one = decisions(rng, people=12)
    words = np.where(one.people < "p0002", "few", np.where(one.people < "p0007", "some", ""))
    (age,) = fairness(one, {"age band": words}, rng, resamples=20)
    assert [(g.name, g.people, g.figures is None) for g in age.groups] == [
        ("few", 2, True),
        ("some", 5, False),
        ("unknown", 5, False),
    ]
    assert {g.lowest for g in age.gaps} | {g.highest for g in age.gaps} <= {"some", "unknown"}


def test_a_group_needs_people_of_both_classes() -> None:
    rng = np.random.default_rng(3)
    one = decisions(rng, people=12)
    first = one.people < "p0006"
    kept = ~first | one.truth  # of the first half nobody is heard who is not so
    (sex,) = fairness(one.at(kept), {"sex": halves(one)[kept]}, rng, resamples=20)
    assert (sex.groups[0].people_yes, sex.groups[0].people_no) == (6, 0)
    assert sex.groups[0].figures is None and sex.gaps == ()


def test_pairs_of_attributes_are_looked_at() -> None:
    rng = np.random.default_rng(4)
    one = decisions(rng, people=24)
    odd = np.asarray(["odd" if int(name[1:]) % 2 else "even" for name in one.people])
    found = fairness(one, {"sex": halves(one), "language": odd}, rng, resamples=20)
    assert [each.name for each in found] == ["sex", "language", "sex × language"]
    assert found[2].groups[0].name == "first × even"
    assert all(len(each.gaps) == len(MEASURES) for each in found)


def test_groups_are_dealt_out_anew_within_a_stratum_only() -> None:
    rng = np.random.default_rng(5)
    one = decisions(rng, people=48, worse=2.5)
    sets = halves(one)  # the second set is heard worse, and holds most of the "old"
    number = np.asarray([int(name[1:]) for name in one.people])
    words = np.where((number % 4 == 0) == (number < 24), "old", "young")
    alone, within = (
        fairness(one, {"age": words}, np.random.default_rng(6), strata=strata, resamples=99)[0]
        for strata in (None, sets)
    )
    assert gap(alone, "sensitivity").p < 0.05  # the set's, taken for the group's
    assert gap(within, "sensitivity").p > 0.05
    assert not within.confounded


def test_a_group_that_is_a_set_is_called_confounded() -> None:
    rng = np.random.default_rng(7)
    one = decisions(rng, worse=2.0)
    words = halves(one)
    (language,) = fairness(one, {"language": words}, rng, strata=words, resamples=99)
    assert language.confounded
    assert gap(language, "sensitivity").p < 0.05


def test_a_person_in_two_groups_is_our_bug() -> None:
    rng = np.random.default_rng(6)
    one = decisions(rng, people=12)
    words = np.where(np.arange(len(one)) % 2, "a", "b")
    with pytest.raises(ContractError, match="one group"):
        fairness(one, {"sex": words}, rng)
