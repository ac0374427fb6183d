"""Can a claimed identity be checked? Error rates of verification, over people.

Rules it upholds: thresholds are common to all people and galleries; an equal error rate hides what
happens where false claims must be rare, so acceptance at 1 % and 0.1 % stands beside it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.training.identity.figures import (
    RESAMPLES,
    Reals,
    Told,
    figure_over_people,
)
from edge_models.training.metrics import Estimate

MOST_THRESHOLDS: Final = 2_000


def equal_error_rate(own: Reals, others: Reals) -> float:
    """Where as many true claims are refused as false ones accepted; 0.5 is ideal privacy.

    Source: ISO/IEC 19795-1:2021, detection error trade-off, both error rates linearly between
    observed thresholds.
    """
    return _crossing(*_curve(own, others))


def _crossing(accepted: Reals, right: Reals) -> float:
    missed = 1 - right
    place = int(np.argmax(accepted >= missed))
    if place == 0:
        return float(missed[0])
    before, after = (missed - accepted)[place - 1], (missed - accepted)[place]
    share = before / (before - after)
    return float(missed[place - 1] + share * (missed[place] - missed[place - 1]))


def accepted_at(own: Reals, others: Reals, false_rate: float) -> float:
    """The share of true claims accepted where at most `false_rate` of false ones are."""
    accepted, right = _curve(own, others)
    return float(right[accepted <= false_rate].max())


def _curve(own: Reals, others: Reals) -> tuple[Reals, Reals]:
    """False and true acceptance rates at every threshold, from none to all accepted."""
    thresholds = np.unique(np.concatenate([own, others]))[::-1]
    ranked_own, ranked_others = np.sort(own), np.sort(others)
    right = (len(own) - np.searchsorted(ranked_own, thresholds)) / len(own)
    wrong = (len(others) - np.searchsorted(ranked_others, thresholds)) / len(others)
    return np.concatenate([[0.0], wrong]), np.concatenate([[0.0], right])


def verified(
    told: Told, figure: Callable[[Reals, Reals], float], rng: np.random.Generator
) -> Estimate:
    """A verification figure (such as `equal_error_rate`) with its interval over people."""

    def of(some: npt.NDArray[np.intp]) -> float:
        own = np.concatenate([told.own[place] for place in some])
        return figure(own, np.concatenate([told.others[place] for place in some]))

    return figure_over_people(of, len(told), rng)


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether a claimed identity can be checked, with intervals over people."""

    equal_error_rate: Estimate
    at_1_percent: Estimate
    at_01_percent: Estimate


def verification(told: Told, rng: np.random.Generator) -> Verification:
    """All verification figures at once, from counts at the true claims' scores (at most 2,000)."""
    scores = np.unique(np.concatenate(told.own))[::-1]
    if len(scores) > MOST_THRESHOLDS:
        scores = scores[np.linspace(0, len(scores) - 1, MOST_THRESHOLDS).astype(int)]
    right, wrong = (
        np.stack([len(one) - np.searchsorted(np.sort(one), scores) for one in claims])
        for claims in (told.own, told.others)
    )
    asked, others = (np.asarray([len(one) for one in c]) for c in (told.own, told.others))

    def figures(some: npt.NDArray[np.intp]) -> tuple[float, float, float]:
        weight = np.bincount(some, minlength=len(told)).astype(np.float64)
        accepted = np.concatenate([[0.0], weight @ wrong / (weight @ others), [1.0]])
        true = np.concatenate([[0.0], weight @ right / (weight @ asked), [1.0]])
        strict, stricter = (float(true[accepted <= rate].max()) for rate in (0.01, 0.001))
        return _crossing(accepted, true), strict, stricter

    drawn = [figures(rng.integers(len(told), size=len(told))) for _ in range(RESAMPLES)]
    whole = figures(np.arange(len(told)))
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return Verification(
        *(Estimate(w, float(a), float(b)) for w, a, b in zip(whole, low, high, strict=True))
    )
