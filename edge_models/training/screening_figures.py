"""What a threshold does at a stated prevalence: predictive values, ratios, and how far it carries.

Rules it upholds: intervals are over people; a threshold chosen on these people looks better here
than elsewhere, so beside it stands what thresholds of one half of them do to the other half.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import TooFewPeople
from edge_models.training.calibration import person_folds
from edge_models.training.intervals import over_people
from edge_models.training.metrics import RESAMPLES, Estimate
from edge_models.training.thresholds import (
    Aim,
    chosen_threshold,
    curve,
    net_benefit,
    npv,
    ppv,
)

Reals = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]
Words = npt.NDArray[np.str_]
Places = npt.NDArray[np.intp]

HALVINGS: Final = 100
EXCHANGES: Final = (0.05, 0.1, 0.2, 0.3)


@dataclass(frozen=True, slots=True)
class Screening:
    """Figures of "yes from `threshold` on" at a prevalence, with intervals over people.

    `screened_per_case`: people to screen for one who is so to be found, 1 / (prevalence ·
    sensitivity); `looked_at_per_case`: people told yes for each who is so, 1 / PPV. Likelihood
    ratios: how much an answer multiplies the odds.
    """

    threshold: float
    prevalence: float
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    ratio_yes: Estimate
    ratio_no: Estimate
    screened_per_case: Estimate
    looked_at_per_case: Estimate


def screening(
    scores: Reals,
    truth: Truth,
    people: Words,
    threshold: float,
    prevalence: float,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Screening:
    """Look at one threshold; scores on any rising scale, all arrays (N,)."""

    def figures(rows: Places) -> Reals:
        said, so = scores[rows] >= threshold, truth[rows]
        if not so.any() or so.all():
            return np.full(8, np.nan)
        yes, no = said[so].mean(), (~said[~so]).mean()
        right = ppv(yes, no, prevalence)
        return np.asarray(
            [
                yes,
                no,
                right,
                npv(yes, no, prevalence),
                _ratio(yes, 1 - no),
                _ratio(1 - yes, no),
                _ratio(1.0, prevalence * yes),
                _ratio(1.0, float(right)),
            ]
        )

    return Screening(threshold, prevalence, *over_people(figures, people, rng, resamples))


def _ratio(part: float, whole: float) -> float:
    if whole:
        return float(part / whole)
    return float("inf") if part else float("nan")


@dataclass(frozen=True, slots=True)
class Transfer:
    """Thresholds of one half of the people on the other half, over random halvings.

    Medians, with the middle 95 % of the halvings as interval; `missed_aim` is the share of
    halvings whose other half falls short of what was aimed at (about half of them is chance;
    NaN for Youden's, which aims at nothing stated).
    """

    threshold: Estimate
    sensitivity: Estimate
    specificity: Estimate
    missed_aim: float


def transferred(
    scores: Reals,
    truth: Truth,
    people: Words,
    aim: Aim,
    least: float,
    prevalence: float,
    rng: np.random.Generator,
    halvings: int = HALVINGS,
) -> Transfer:
    """Choose on a half, look at the other; halvings with a class missing are drawn again.

    Raises:
        TooFewPeople: fewer than two people of a class.
    """
    if min(len(np.unique(people[truth])), len(np.unique(people[~truth]))) < 2:
        raise TooFewPeople(
            "Halves need two people who are so, and two who are not.",
            "Give the scores of more people.",
        )
    seen: list[tuple[float, float, float, float]] = []
    while len(seen) < halvings:
        first = person_folds(people, 2, rng) == 0
        if any(not truth[half].any() or truth[half].all() for half in (first, ~first)):
            continue
        threshold = chosen_threshold(curve(scores[first], truth[first]), aim, least, prevalence)
        said, so = scores[~first] >= threshold, truth[~first]
        yes, no = float(said[so].mean()), float((~said[~so]).mean())
        reached = {
            Aim.SENSITIVITY: yes,
            Aim.SPECIFICITY: no,
            Aim.PPV: float(ppv(np.asarray(yes), np.asarray(no), prevalence)),
            Aim.NPV: float(npv(np.asarray(yes), np.asarray(no), prevalence)),
            Aim.YOUDEN: float("nan"),
        }[aim]
        seen.append((threshold, yes, no, reached))
    table = np.asarray(seen)
    low, middle, high = np.percentile(table[:, :3], [2.5, 50, 97.5], axis=0, method="nearest")
    threshold_, yes_, no_ = (
        Estimate(float(middle[k]), float(low[k]), float(high[k])) for k in range(3)
    )
    missed = float("nan") if aim is Aim.YOUDEN else float((~(table[:, 3] >= least)).mean())
    return Transfer(threshold_, yes_, no_, missed)


@dataclass(frozen=True, slots=True)
class Benefit:
    """Net benefit a person screened, where a closer look is worth it from `exchange` on."""

    exchange: float
    by_score: float
    of_everybody: float


def decision_curve(
    scores: Reals, truth: Truth, prevalence: float, exchanges: tuple[float, ...] = EXCHANGES
) -> tuple[Benefit, ...]:
    """Net benefit of the score, of a look at everybody, and (0) of a look at nobody.

    `scores` (N,) are probabilities at this very prevalence: an exchange is a threshold on them.
    """
    one, none = np.asarray(1.0), np.asarray(0.0)
    answers = []
    for exchange in exchanges:
        said = scores >= exchange
        yes, no = said[truth].mean(), (~said[~truth]).mean()
        answers.append(
            Benefit(
                exchange,
                float(net_benefit(yes, no, prevalence, exchange)),
                float(net_benefit(one, none, prevalence, exchange)),
            )
        )
    return tuple(answers)
