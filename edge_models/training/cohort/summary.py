"""What came out of a draw, beside what is published: answers, what is missing, who is heard.

Rules it upholds: shares of people are of the first questionnaire, one a person; what was answered
stands beside what would have been, so that missing answers show.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_models.training.cohort.answers import LOW_FROM, WORRIED_FROM
from edge_models.training.cohort.people import Cohort
from edge_models.training.cohort.room import Heard


@dataclass(frozen=True, slots=True)
class Share:
    """A share of people: drawn, drawn among those who answered, and published ± `within` (95 %)."""

    text: str
    drawn: float
    answered: float
    published: float
    within: float


@dataclass(frozen=True, slots=True)
class Summary:
    """A cohort in numbers; shares are 0..1, `nan` where nothing is there to be counted.

    `silent_best` and `silent_worst` are shares of silent days in the quarter of people with the
    lowest and highest PHQ-9; `run_days` is the mean length of a silence; `sad_low` and `sad_well`
    the shares of sad windows of people with PHQ-9 >= 10 and of the others; `again` the correlation
    of the PHQ-9 with the one before.
    """

    people: int
    voices: int
    windows: int
    shares: tuple[Share, ...]
    again: float
    unanswered: float
    silent: float
    silent_best: float
    silent_worst: float
    run_days: float
    sad_low: float
    sad_well: float
    both: float
    other: float


def summarised(cohort: Cohort) -> Summary:
    """Count a cohort."""
    people = cohort.people
    low, gave = people.phq9[:, 0], people.answered[:, 0]
    order = np.argsort(people.phq9.mean(axis=1), kind="stable")
    quarter = max(len(people) // 4, 1)
    own = cohort.heard == Heard.OWN
    sad = cohort.voices.affect[cohort.place] == "sad"
    is_low = people.phq9[cohort.person, cohort.asked] >= LOW_FROM
    return Summary(
        people=len(people),
        voices=len(np.unique(people.speaker)),
        windows=len(cohort),
        shares=_shares(cohort, low >= LOW_FROM, people.gad7[:, 0] >= WORRIED_FROM, gave),
        again=_again(people.phq9.astype(float)),
        unanswered=1 - _mean(people.answered),
        silent=_mean(people.silent),
        silent_best=_mean(people.silent[order[:quarter]]),
        silent_worst=_mean(people.silent[order[-quarter:]]),
        run_days=_run_days(people.silent),
        sad_low=_mean(sad[own & is_low]),
        sad_well=_mean(sad[own & ~is_low]),
        both=_mean(cohort.heard == Heard.BOTH),
        other=_mean(cohort.heard == Heard.OTHER),
    )


def _shares(
    cohort: Cohort,
    low: npt.NDArray[np.bool_],
    worried: npt.NDArray[np.bool_],
    gave: npt.NDArray[np.bool_],
) -> tuple[Share, ...]:
    prior = cohort.prior
    either, both = low | worried, low & worried
    overlap = prior.both_of_either
    published_either = (prior.phq_from_10 + prior.gad_from_8) / (1 + overlap)
    rows = (
        ("PHQ-9 >= 10", low, np.ones_like(low), prior.phq_from_10, 1.0),
        ("GAD-7 >= 8", worried, np.ones_like(low), prior.gad_from_8, 1.0),
        ("either", either, np.ones_like(low), published_either, 1.0),
        ("both, of those with either", both, either, overlap, published_either),
    )
    return tuple(
        Share(
            text,
            _mean(is_so[among]),
            _mean(is_so[among & gave]),
            published,
            1.96 * math.sqrt(published * (1 - published) / (prior.people * counted)),
        )
        for text, is_so, among, published, counted in rows
    )


def _mean(values: npt.NDArray[np.bool_]) -> float:
    return float(values.mean()) if values.size else math.nan


def _again(phq9: npt.NDArray[np.float64]) -> float:
    if phq9.shape[1] < 2:
        return math.nan
    return float(np.corrcoef(phq9[:, :-1].ravel(), phq9[:, 1:].ravel())[0, 1])


def _run_days(silent: npt.NDArray[np.bool_]) -> float:
    starts = silent[:, 0].sum() + (silent[:, 1:] & ~silent[:, :-1]).sum()
    return float(silent.sum() / starts) if starts else math.nan
