"""When to say nothing: two limits for a task that keep a stated error rate over people.

Rules it upholds: the person is what is exchangeable, not the session or the clip; the rate holds
for each class by itself, however common it is; where too few people were heard to promise it, it
is refused, and said how many are needed.

What is promised: of a person from the same population, heard with a model that was not trained
on the people given here, a session that is so is answered "no" with probability at most
`error_rate`, and one that is not is answered "yes" with at most as much: marginally over people,
so some person may fare worse. Limits from cross-validated logits promise it approximately (each
fold has a model of its own). It says nothing of the error among the sessions that were answered.

Source: Lee, Barber, Willett, "Distribution-free inference with hierarchical data", 2023
(arXiv 2306.06342), hierarchical conformal prediction: each person weighs 1 / (K + 1), shared
among the person's sessions, and 1 / (K + 1) lies at infinity; class by class as in Vovk,
Machine Learning 92, 2013 (Mondrian).
"""

from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError, TooFewPeople
from edge_models.session import Answers, answered
from edge_models.training.intervals import over_people
from edge_models.training.metrics import RESAMPLES, Estimate

Reals = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]
Words = npt.NDArray[np.str_]
Places = npt.NDArray[np.intp]

ERROR_RATE: Final = 0.1
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Limits:
    """No under `no_below`, yes over `yes_above` (log-odds), between them no answer.

    `people_no` and `people_yes`: how many people each class was heard of.
    """

    no_below: float
    yes_above: float
    error_rate: float
    people_no: int
    people_yes: int


def people_needed(error_rate: float) -> int:
    """The fewest people of a class that can promise an error rate.

    Raises:
        ContractError: the rate is not between 0 and 0.5.
    """
    if not 0 < error_rate < 0.5:
        raise ContractError("An error rate lies between 0 and 0.5.")
    return ceil((1 - error_rate) / error_rate - _ROUNDING)


def limits(log_odds: Reals, truth: Truth, people: Words, error_rate: float = ERROR_RATE) -> Limits:
    """The limits that keep the error rate for each class; all arrays (S,), a row a session.

    `log_odds` are calibrated under equal priors: nothing is answered against what they say, so
    0 always lies within the limits, which can only make errors rarer. Where the classes lie far
    apart both limits are 0, and nothing is unclear.

    Raises:
        TooFewPeople: a class was heard of fewer people than `people_needed`.
        ContractError: the rate is not between 0 and 0.5.
    """
    yes_from = -_reached(-log_odds[truth], people[truth], error_rate, "are so")
    no_to = _reached(log_odds[~truth], people[~truth], error_rate, "are not")
    return Limits(
        no_below=min(yes_from, 0.0),
        yes_above=max(no_to, 0.0),
        error_rate=error_rate,
        people_no=len(np.unique(people[~truth])),
        people_yes=len(np.unique(people[truth])),
    )


def _reached(strangeness: Reals, people: Words, error_rate: float, who: str) -> float:
    """What the next person's strangeness exceeds with probability at most `error_rate`."""
    names, person, sessions = np.unique(people, return_inverse=True, return_counts=True)
    if len(names) < (needed := people_needed(error_rate)):
        raise TooFewPeople(
            f"An error rate of {error_rate:g} can't be promised from {len(names)} people who "
            f"{who}: {needed} are needed.",
            "Give the scores of more people, or state a larger error rate.",
        )
    order = np.argsort(strangeness, kind="stable")
    weights = 1 / ((len(names) + 1) * sessions[person[order]])
    place = np.searchsorted(np.cumsum(weights), 1 - error_rate - _ROUNDING)
    return float(strangeness[order][min(int(place), len(order) - 1)])


def answers_within(limits_: Limits, log_odds: Reals) -> Answers:
    """1 yes, 0 no, -1 none, as the device answers."""
    return answered(log_odds, limits_.no_below, limits_.yes_above)


@dataclass(frozen=True, slots=True)
class Unanswered:
    """What limits did to sessions of people whom they were not made from.

    `error_rate` was promised for both `missed` (of those that are so, the share answered no) and
    `false_alarms` (of those that are not, the share answered yes); `abstained` is the share
    without an answer and `wrong_if_answered` the share wrong among answers, both classes weighing
    the same. Each person weighs the same within a class. Not `promised`: for some of these
    people too few others were heard, and nothing was answered.
    """

    error_rate: float
    promised: bool
    missed: Estimate
    false_alarms: Estimate
    abstained: Estimate
    wrong_if_answered: Estimate


def unanswered(
    said: Answers,
    truth: Truth,
    people: Words,
    error_rate: float,
    promised: bool,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Unanswered:
    """Look at answers (1 yes, 0 no, -1 none), with intervals over people; all arrays (S,).

    NaN where there is nobody, or no answer, to take a share of.
    """
    weights = person_weights(truth, people)

    def figures(rows: Places) -> Reals:
        return _shares(said[rows], truth[rows], weights[rows])

    return Unanswered(error_rate, promised, *over_people(figures, people, rng, resamples))


def person_weights(truth: Truth, people: Words) -> Reals:
    """Weights (S,) under which each person weighs the same within a class, whatever is heard."""
    weights = np.empty(len(truth))
    for side in (True, False):
        own = truth == side
        _, person, sessions = np.unique(people[own], return_inverse=True, return_counts=True)
        weights[own] = 1 / sessions[person]
    return weights


def _shares(said: Answers, truth: Truth, weights: Reals) -> Reals:
    """Missed, false alarms, abstained, wrong if answered."""
    balanced = weights.copy()
    for side in (True, False):
        balanced[truth == side] /= max(float(weights[truth == side].sum()), _ROUNDING)

    def share(rows: Truth, among: Truth) -> float:
        whole = float(balanced[among].sum())
        return float(balanced[rows & among].sum()) / whole if whole else float("nan")

    unclear, everyone = said < 0, np.ones(len(truth), bool)
    return np.asarray(
        [
            share(said == 0, truth),
            share(said == 1, ~truth),
            share(unclear, everyone),
            share(~unclear & (said != truth), ~unclear),
        ]
    )
