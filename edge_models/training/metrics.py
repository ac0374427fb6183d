"""Balanced metrics of scores, and their intervals over people.

Rules it upholds: both classes weigh the same in every metric but macro-F1, which is defined on
the classes as they are; an interval resamples people, never clips.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Scored = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]
Metric = Callable[[Scored, Truth], float]

BINS: Final = 10
RESAMPLES: Final = 400


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval over people."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def balanced_accuracy(scores: Scored, truth: Truth) -> float:
    """Mean of sensitivity and specificity at 0.5."""
    said = scores >= 0.5
    return float(0.5 * (said[truth].mean() + (~said[~truth]).mean()))


def macro_f1(scores: Scored, truth: Truth) -> float:
    """Mean F1 of the two classes at 0.5."""
    return _macro_f1_of(scores >= 0.5, truth)


def constant_macro_f1(truth: Truth) -> float:
    """Macro-F1 of always saying the commoner class."""
    return _macro_f1_of(np.full_like(truth, 2 * truth.sum() >= len(truth)), truth)


def _macro_f1_of(said: Truth, truth: Truth) -> float:
    each = []
    for side in (True, False):
        hits = np.count_nonzero((said == side) & (truth == side))
        each.append(2 * hits / max(np.count_nonzero(said == side) + (truth == side).sum(), 1))
    return float(np.mean(each))


def auroc(scores: Scored, truth: Truth) -> float:
    """Chance that a positive scores above a negative, ties counted half.

    Source: Hanley and McNeil, Radiology 143(1), 1982: the Wilcoxon statistic.
    """
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - 0.5 * (counts - 1))[inverse]
    positives = int(truth.sum())
    negatives = len(truth) - positives
    above = ranks[truth].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def calibration_error(scores: Scored, truth: Truth) -> float:
    """Expected calibration error in ten equal bins, both classes weighing the same.

    Source: Naeini, Cooper, Hauskrecht, AAAI 2015, with class weights.
    """
    weights = np.where(truth, 0.5 / truth.sum(), 0.5 / (~truth).sum())
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights * (scores - truth), BINS)
    return float(np.abs(gaps).sum())


def estimated(
    metric: Metric,
    scores: Scored,
    truth: Truth,
    people: npt.NDArray[np.str_],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Estimate:
    """A metric with its percentile bootstrap interval over people.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    rows = [np.flatnonzero(people == person) for person in np.unique(people)]
    drawn: list[float] = []
    while len(drawn) < resamples:
        chosen = np.concatenate([rows[place] for place in rng.integers(len(rows), size=len(rows))])
        if truth[chosen].any() and not truth[chosen].all():
            drawn.append(metric(scores[chosen], truth[chosen]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(metric(scores, truth), float(low), float(high))


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """Decisions over several windows of one person and one truth."""

    scores: Scored
    truth: Truth
    people: npt.NDArray[np.str_]


def pooled(
    logits: Scored,
    truth: Truth,
    people: npt.NDArray[np.str_],
    windows: int,
    rng: np.random.Generator,
    draws: int = 20,
) -> Pooled:
    """Mean log-odds of `windows` random windows of a person with the same truth, as scores."""
    scores: list[float] = []
    sides: list[bool] = []
    owners: list[str] = []
    for person in np.unique(people):
        for side in (True, False):
            own = np.flatnonzero((people == person) & (truth == side))
            if len(own) < windows:
                continue
            for _ in range(draws):
                mean = float(logits[rng.choice(own, windows, replace=False)].mean())
                scores.append(0.5 * (1 + np.tanh(0.5 * mean)))
                sides.append(side)
                owners.append(str(person))
    return Pooled(np.asarray(scores), np.asarray(sides, bool), np.asarray(owners))


def both_sides(truth: Truth | Sequence[bool]) -> bool:
    """Whether a metric has something to compare."""
    row = np.asarray(truth, bool)
    return bool(row.any() and not row.all())
