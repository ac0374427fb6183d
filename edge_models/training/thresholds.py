"""Thresholds for a stated prevalence, and what each of them would do to a hundred people.

Rules it upholds: how common a state is among those who were recorded says nothing of how common
it is elsewhere, so a prevalence is stated, never taken from the data; sensitivity and specificity
carry over only as far as those who are so sound the same in both places (label shift); a threshold
chosen on people is judged on other people.

A screening result sorts people for a closer look; it is never a diagnosis.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError
from edge_models.head import sigmoid

Reals = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]

PREVALENCES: Final = (0.05, 0.1, 0.2)
_LONGEST_SEARCH: Final = 1_000
_SETTLED: Final = 1e-10
_ROUNDING: Final = 1e-12


def odds(probability: float) -> float:
    """Probability / (1 - probability).

    Raises:
        ContractError: not strictly between 0 and 1.
    """
    if not 0 < probability < 1:
        raise ContractError("A prevalence lies between 0 and 1.")
    return probability / (1 - probability)


def at_prevalence(log_odds: Reals, told: float, wanted: float = 0.5) -> Reals:
    """Log-odds that were calibrated at a prevalence of `told`, at a prevalence of `wanted`.

    Source: Elkan, IJCAI 2001, theorem 2; Saerens, Latinne, Decaestecker, Neural Computation
    14(1), 2002, equation 2.4.

    Raises:
        ContractError: a prevalence is not strictly between 0 and 1.
    """
    return np.asarray(log_odds + np.log(odds(wanted) / odds(told)))


def likely_prevalence(log_odds: Reals, told: float = 0.5) -> float:
    """How common a state is among unlabelled people, whose log-odds are calibrated at `told`.

    The likeliest prevalence; 0 or 1 where the scores all say so.

    Source: Saerens, Latinne, Decaestecker 2002, equation 2.9 (expectation, maximisation).
    """
    prevalence = told
    for _ in range(_LONGEST_SEARCH):
        if not _SETTLED < prevalence < 1 - _SETTLED:
            break
        renewed = float(sigmoid(at_prevalence(log_odds, told, prevalence)).mean())
        settled = abs(renewed - prevalence) < _SETTLED
        prevalence = renewed
        if settled:
            break
    return prevalence


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Sensitivity and specificity of "yes from this threshold on", for each one that differs.

    `thresholds` rise; the last is over every score. All float64 (T,).
    """

    thresholds: Reals
    sensitivity: Reals
    specificity: Reals


def curve(scores: Reals, truth: Truth) -> Curve:
    """Every threshold that these scores (N,) tell apart; any rising scale.

    Raises:
        ContractError: a class is missing.
    """
    if not truth.any() or truth.all():
        raise ContractError("Thresholds need people who are so and people who are not.")
    values, inverse = np.unique(scores, return_inverse=True)
    yes = np.bincount(inverse[truth], minlength=len(values))
    no = np.bincount(inverse[~truth], minlength=len(values))
    missed, cleared = (np.concatenate([[0], np.cumsum(each)]) for each in (yes, no))
    return Curve(np.concatenate([values, [np.inf]]), 1 - missed / yes.sum(), cleared / no.sum())


class Aim(StrEnum):
    """What a threshold is chosen for; all but Youden's need a `least`."""

    SENSITIVITY = "sensitivity"
    SPECIFICITY = "specificity"
    YOUDEN = "youden"
    PPV = "ppv"
    NPV = "npv"


def chosen_threshold(scores: Curve, aim: Aim, least: float, prevalence: float) -> float:
    """The threshold that reaches `least` of what is aimed at and loses least of the other side.

    Sensitivity: the highest specificity with at least so much; specificity, PPV: the highest
    sensitivity; NPV: the highest specificity; Youden: the largest sum of both. NaN where no
    threshold reaches it.

    Source: Youden, Cancer 3(1), 1950.
    """
    yes, no = scores.sensitivity, scores.specificity
    reached, best = _AIMS[aim](yes, no, prevalence)
    if aim is not Aim.YOUDEN:
        best = np.where(reached >= least - _ROUNDING, best, -np.inf)
    place = int(np.argmax(best))
    return float(scores.thresholds[place]) if best[place] > -np.inf else float("nan")


def ppv(sensitivity: Reals, specificity: Reals, prevalence: float) -> Reals:
    """The share that is so among those who are told yes (Bayes); NaN where nobody is."""
    so, not_so = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    return _share(so, so + not_so)


def npv(sensitivity: Reals, specificity: Reals, prevalence: float) -> Reals:
    """The share that is not so among those who are told no (Bayes); NaN where nobody is."""
    clear, missed = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return _share(clear, clear + missed)


def net_benefit(
    sensitivity: Reals, specificity: Reals, prevalence: float, exchange: float
) -> Reals:
    """True positives a person screened, less false ones at a price of `exchange` : 1 - `exchange`.

    `exchange` is the probability from which on a closer look is worth it. To look at everybody
    is sensitivity 1 and specificity 0; at nobody, the other way round (a benefit of 0).

    Source: Vickers and Elkin, Medical Decision Making 26(6), 2006.
    """
    paid = odds(exchange) * (1 - specificity) * (1 - prevalence)
    return np.asarray(sensitivity * prevalence - paid)


def _share(part: Reals, whole: Reals) -> Reals:
    told = np.asarray(whole) > 0
    return np.asarray(np.where(told, part / np.where(told, whole, 1.0), np.nan))


_Told = Callable[[Reals, Reals, float], tuple[Reals, Reals]]
_AIMS: Final[dict[Aim, _Told]] = {
    Aim.SENSITIVITY: lambda yes, no, _: (yes, no),
    Aim.SPECIFICITY: lambda yes, no, _: (no, yes),
    Aim.YOUDEN: lambda yes, no, _: (yes, yes + no),
    Aim.PPV: lambda yes, no, prevalence: (ppv(yes, no, prevalence), yes),
    Aim.NPV: lambda yes, no, prevalence: (npv(yes, no, prevalence), no),
}
