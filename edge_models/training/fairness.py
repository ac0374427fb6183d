"""Gaps between groups of people, beside the gap that chance alone gives.

Rules it upholds: a group's size is its number of people; a group too small to be looked at is
named, never dropped; the largest of several gaps is large by luck, so it stands beside what it
comes to when the groups are dealt out anew among the same people.

Source: for permutation over people Good, Permutation, Parametric and Bootstrap Tests of
Hypotheses, 2005, chapter 3; p counts the observed gap itself (Phipson and Smyth 2010).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError
from edge_models.training.intervals import draws_of_people, over_people, rows_of_people
from edge_models.training.metrics import (
    RESAMPLES,
    Estimate,
    auroc,
    balanced_accuracy,
    calibration_error,
)

Reals = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]
Words = npt.NDArray[np.str_]
Places = npt.NDArray[np.intp]

LEAST_PEOPLE: Final = 5
UNKNOWN: Final = "unknown"
BOTH: Final = " × "


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """S decisions of one task: `scores` float64 (S,) in 0..1, `truth` bool (S,), `people` (S,).

    `said` int8 (S,): 1 yes, 0 no, -1 no answer, as the conformal rule has it.
    """

    scores: Reals
    truth: Truth
    said: npt.NDArray[np.int8]
    people: Words

    def __len__(self) -> int:
        return len(self.scores)

    def at(self, rows: Places | Truth) -> "Decisions":
        """Some of the decisions."""
        return Decisions(self.scores[rows], self.truth[rows], self.said[rows], self.people[rows])


Measure = Callable[[Decisions], float]

MEASURES: Final[tuple[tuple[str, Measure], ...]] = (
    ("sensitivity", lambda one: float((one.scores[one.truth] >= 0.5).mean())),
    ("specificity", lambda one: float((one.scores[~one.truth] < 0.5).mean())),
    ("balanced accuracy", lambda one: balanced_accuracy(one.scores, one.truth)),
    ("AUROC", lambda one: auroc(one.scores, one.truth)),
    ("calibration error", lambda one: calibration_error(one.scores, one.truth)),
    ("abstention", lambda one: float((one.said < 0).mean())),
)
"""The first two at 0.5 over every decision, answered or not."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group's people, how many of them were heard in each class, and its figures.

    `figures` has one for each of `MEASURES`; None: too few people.
    """

    name: str
    people: int
    people_yes: int
    people_no: int
    figures: tuple[Estimate, ...] | None


@dataclass(frozen=True, slots=True)
class Gap:
    """The largest difference of a measure between two groups, with its interval over people.

    `by_chance` and `by_chance_95` are the median and the 95th percentile of the largest gap among
    the same people with the groups dealt out anew; `p` is how often chance gives as much.
    """

    measure: str
    largest: Estimate
    lowest: str
    highest: str
    by_chance: float
    by_chance_95: float
    p: float


@dataclass(frozen=True, slots=True)
class Attribute:
    """Groups by one attribute, or by two (`sex × language`); no gaps where one group is left.

    `confounded`: each stratum holds one group, so a gap between groups can't be told from one
    between strata; chance is then what dealing out over everybody gives.
    """

    name: str
    groups: tuple[Group, ...]
    gaps: tuple[Gap, ...]
    confounded: bool


def fairness(
    decisions: Decisions,
    attributes: Mapping[str, Words],
    rng: np.random.Generator,
    *,
    strata: Words | None = None,
    least_people: int = LEAST_PEOPLE,
    resamples: int = RESAMPLES,
) -> tuple[Attribute, ...]:
    """Every attribute and every pair of them, in this order; all arrays (S,).

    A group needs `least_people` people in each class. `strata` (a set of recordings, say) are
    kept apart when groups are dealt out anew.

    Raises:
        ContractError: a person is in two groups of one attribute.
    """
    return tuple(
        _attribute(name, decisions, _named(words, decisions), rng, strata, least_people, resamples)
        for name, words in _with_pairs(attributes)
    )


def _with_pairs(attributes: Mapping[str, Words]) -> Iterator[tuple[str, Words]]:
    yield from attributes.items()
    for (one, words), (other, others) in combinations(attributes.items(), 2):
        both = [f"{a or UNKNOWN}{BOTH}{b or UNKNOWN}" for a, b in zip(words, others, strict=True)]
        yield f"{one}{BOTH}{other}", np.asarray(both)


def _named(words: Words, decisions: Decisions) -> Words:
    for own in rows_of_people(decisions.people):
        if (words[own] != words[own[0]]).any():
            raise ContractError("A person is in one group of each attribute.")
    return np.where(words == "", UNKNOWN, words)


def _attribute(
    name: str,
    decisions: Decisions,
    words: Words,
    rng: np.random.Generator,
    strata: Words | None,
    least_people: int,
    resamples: int,
) -> Attribute:
    groups: list[Group] = []
    for group in np.unique(words):
        own = decisions.at(words == group)
        yes, no = (len(np.unique(own.people[own.truth == side])) for side in (True, False))
        figures = None
        if min(yes, no) >= least_people:
            figures = over_people(_measured(own), own.people, rng, resamples)
        groups.append(Group(str(group), len(np.unique(own.people)), yes, no, figures))
    names = [one.name for one in groups if one.figures is not None]
    gaps: tuple[Gap, ...] = ()
    rows = np.isin(words, names)
    kept = None if strata is None else strata[rows]
    confounded = kept is not None and _confounded(words[rows], kept)
    if len(names) > 1:
        within = None if confounded else kept
        gaps = _gaps(decisions.at(rows), words[rows], names, rng, within, resamples)
    return Attribute(name, tuple(groups), gaps, confounded)


def _confounded(words: Words, strata: Words) -> bool:
    return all(len(np.unique(words[strata == one])) == 1 for one in np.unique(strata))


def _measured(decisions: Decisions) -> Callable[[Places], Reals]:
    def measured(rows: Places) -> Reals:
        one = decisions.at(rows)
        if not one.truth.any() or one.truth.all():
            return np.full(len(MEASURES), np.nan)
        return np.asarray([measure(one) for _, measure in MEASURES])

    return measured


def _gaps(
    decisions: Decisions,
    words: Words,
    names: Sequence[str],
    rng: np.random.Generator,
    strata: Words | None,
    resamples: int,
) -> tuple[Gap, ...]:
    measured = _measured(decisions)

    def figures(group: Words, rows: Places) -> Reals:
        return np.asarray([measured(rows[group[rows] == name]) for name in names])

    everyone = np.arange(len(decisions))
    here = figures(words, everyone)
    drawn = [
        _spread(figures(words, rows))
        for rows in draws_of_people(decisions.people, rng, resamples, strata=words)
    ]
    dealt = [
        _spread(figures(_dealt(words, decisions.people, strata, rng), everyone))
        for _ in range(resamples)
    ]
    largest, low_high = _spread(here), np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    usual, rare = np.nanpercentile(dealt, [50, 95], axis=0)
    as_much = (np.asarray(dealt) >= largest - 1e-12).sum(axis=0)
    return tuple(
        Gap(
            measure=measure,
            largest=Estimate(float(largest[k]), float(low_high[0, k]), float(low_high[1, k])),
            lowest=names[int(np.argmin(here[:, k]))],
            highest=names[int(np.argmax(here[:, k]))],
            by_chance=float(usual[k]),
            by_chance_95=float(rare[k]),
            p=float((1 + as_much[k]) / (1 + resamples)),
        )
        for k, (measure, _) in enumerate(MEASURES)
    )


def _spread(figures: Reals) -> Reals:
    """The largest less the smallest over groups; of a draw that lost a class in a group, NaN."""
    return np.asarray(figures.max(axis=0) - figures.min(axis=0))


def _dealt(words: Words, people: Words, strata: Words | None, rng: np.random.Generator) -> Words:
    """The same groups for other people: labels permuted over people, within each stratum."""
    _, firsts, person = np.unique(people, return_index=True, return_inverse=True)
    label = words[firsts]
    stratum = np.zeros(len(firsts), int) if strata is None else strata[firsts]
    for one in np.unique(stratum):
        own = np.flatnonzero(stratum == one)
        label[own] = label[rng.permutation(own)]
    return np.asarray(label[person])
