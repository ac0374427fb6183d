"""What sessions of people never met come to, for one task: right, calibrated, unclear, fair.

Rules it upholds: pooling and limits come from the other folds' people only; every figure has an
interval over people; figures of affect under equal priors, never of a diagnosis.

    tested = held_out_sessions(folds, windows=6, rng=rng)
    report = utility_report("distress", tested, {"sex": sex_of}, rng)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError, TooFewPeople
from edge_models.head import sigmoid
from edge_models.training.calibration import Affine, log_loss
from edge_models.training.calibration_error import (
    Brier,
    adaptive_calibration_error,
    brier,
    brier_score,
    calibration_line,
    class_weights,
    debiased_calibration_error,
)
from edge_models.training.conformal import (
    ERROR_RATE,
    Unanswered,
    answers_within,
    limits,
    unanswered,
)
from edge_models.training.fairness import LEAST_PEOPLE, Attribute, Decisions, fairness
from edge_models.training.intervals import over_people
from edge_models.training.metrics import (
    RESAMPLES,
    Estimate,
    auroc,
    balanced_accuracy,
    both_sides,
    calibration_error,
    macro_f1,
)
from edge_models.training.screening_figures import Screening, screening
from edge_models.training.session_calibration import SIZES, drawn_sessions, session_calibration
from edge_models.training.thresholds import PREVALENCES

Reals = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]
Words = npt.NDArray[np.str_]
Places = npt.NDArray[np.intp]

WINDOWS: Final = 6


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One task's windows by a model that never met their people; all (N,).

    `logits` float64, calibrated for single windows; `truth` bool; `people` words.
    """

    logits: Reals
    truth: Truth
    people: Words


@dataclass(frozen=True, slots=True)
class Fold:
    """People of an outer fold (`held`), and all others by folds inside them (`others`)."""

    others: Evidence
    held: Evidence


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """S sessions of people never met: calibrated `log_odds`, `truth`, `said`, `people`.

    `promised` is False where a fold had too few people for the error rate: it never answers.
    """

    log_odds: Reals
    truth: Truth
    said: npt.NDArray[np.int8]
    people: Words
    windows: int
    error_rate: float
    promised: bool


def held_out_sessions(
    folds: Iterable[Fold],
    rng: np.random.Generator,
    windows: int = WINDOWS,
    error_rate: float = ERROR_RATE,
) -> HeldOut:
    """Calibrate sessions on each fold's others, and answer those of the people held out.

    Raises:
        TooFewPeople: a fold's others have no sessions of both sides.
        ContractError: no fold, or nobody held out has as many windows.
    """
    parts: list[tuple[Reals, Truth, npt.NDArray[np.int8], Words]] = []
    promised = True
    for fold in folds:
        rest = fold.others
        drawn = {
            size: drawn_sessions(rest.logits, rest.truth, rest.people, size, rng)
            for size in sorted({*SIZES, windows})
        }
        line = session_calibration(tuple(drawn.values())).line(windows)
        held = drawn_sessions(fold.held.logits, fold.held.truth, fold.held.people, windows, rng)
        log_odds, learnt = line.of(held.mean), drawn[windows]
        said = np.full(len(held), -1, np.int8)
        try:
            found = limits(line.of(learnt.mean), learnt.truth, learnt.people, error_rate)
            said = answers_within(found, log_odds)
        except TooFewPeople:
            promised = False
        parts.append((log_odds, held.truth, said, held.people))
    if not any(len(part[0]) for part in parts):
        raise ContractError("Nobody held out has a session to test.")
    log_odds, truth, said, people = (np.concatenate(column) for column in zip(*parts, strict=True))
    return HeldOut(log_odds, truth, said, people, windows, error_rate, promised)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """How far scores are from what they promise; `left` is the line still to be applied."""

    error: Estimate
    adaptive_error: Estimate
    debiased_error: float
    brier_score: Estimate
    brier: Brier
    log_loss: Estimate
    left: Affine


@dataclass(frozen=True, slots=True)
class Utility:
    """One task's sessions of people never met."""

    task: str
    windows: int
    people: int
    sessions: int
    balanced_accuracy: Estimate
    macro_f1: Estimate
    auroc: Estimate
    calibration: Calibrated
    unanswered: Unanswered
    screening: tuple[Screening, ...]
    fairness: tuple[Attribute, ...]


def utility_report(
    task: str,
    tested: HeldOut,
    attributes: Mapping[str, Mapping[str, str]],
    rng: np.random.Generator,
    *,
    strata: Mapping[str, str] | None = None,
    prevalences: tuple[float, ...] = PREVALENCES,
    least_people: int = LEAST_PEOPLE,
    resamples: int = RESAMPLES,
) -> Utility:
    """Everything of one task. `attributes`: attribute → person → group ("" unknown).

    `strata`: person → the set that groups are dealt out anew within.

    Raises:
        ContractError: the sessions are all of one class.
    """
    log_odds, truth, people = tested.log_odds, tested.truth, tested.people
    if not both_sides(truth):
        raise ContractError("Figures need sessions of both classes.")
    scores = sigmoid(log_odds)
    decisions = Decisions(scores, truth, tested.said, people)

    def figures(rows: Places) -> Reals:
        s, t = scores[rows], truth[rows]
        if not both_sides(t):
            return np.full(7, np.nan)
        loss = log_loss(log_odds[rows], t, class_weights(t))
        firsts = (balanced_accuracy, macro_f1, auroc)
        errors = (calibration_error, adaptive_calibration_error, brier_score)
        return np.asarray([*(measure(s, t) for measure in (*firsts, *errors)), loss])

    right = over_people(figures, people, rng, resamples)
    return Utility(
        task=task,
        windows=tested.windows,
        people=len(np.unique(people)),
        sessions=len(truth),
        balanced_accuracy=right[0],
        macro_f1=right[1],
        auroc=right[2],
        calibration=Calibrated(
            error=right[3],
            adaptive_error=right[4],
            debiased_error=debiased_calibration_error(scores, truth, people),
            brier_score=right[5],
            brier=brier(scores, truth),
            log_loss=right[6],
            left=calibration_line(log_odds, truth),
        ),
        unanswered=unanswered(
            tested.said, truth, people, tested.error_rate, tested.promised, rng, resamples
        ),
        screening=tuple(
            screening(scores, truth, people, 0.5, prevalence, rng, resamples)
            for prevalence in prevalences
        ),
        fairness=fairness(
            decisions,
            {name: _of_people(people, group) for name, group in attributes.items()},
            rng,
            strata=None if strata is None else _of_people(people, strata),
            least_people=least_people,
            resamples=resamples,
        ),
    )


def _of_people(people: Words, group: Mapping[str, str]) -> Words:
    return np.asarray([group.get(str(person), "") for person in people])
