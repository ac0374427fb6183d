"""Everything that a table of scores says of thresholds: calibration, aims, prevalences, groups.

Rules it upholds: scores are calibrated on other people than those that the calibration is judged
on, and how is chosen by folds inside them; thresholds are judged on the other half; intervals
are over people.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import TooFewPeople
from edge_models.head import sigmoid
from edge_models.session import Answers
from edge_models.training.calibration import chosen, log_loss, person_folds
from edge_models.training.calibration_error import class_weights, debiased_calibration_error
from edge_models.training.conformal import (
    ERROR_RATE,
    Unanswered,
    answers_within,
    limits,
    unanswered,
)
from edge_models.training.fairness import Attribute, Decisions, fairness
from edge_models.training.intervals import over_people
from edge_models.training.metrics import (
    RESAMPLES,
    Estimate,
    auroc,
    both_sides,
    calibration_error,
)
from edge_models.training.score_table import ScoreTable
from edge_models.training.screening_figures import (
    Benefit,
    Screening,
    Transfer,
    decision_curve,
    screening,
    transferred,
)
from edge_models.training.thresholds import (
    Aim,
    at_prevalence,
    chosen_threshold,
    curve,
)

Reals = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

FOLDS: Final = 5


@dataclass(frozen=True, slots=True)
class Wish:
    """What a threshold shall reach; `least` counts for nothing where the aim is Youden's."""

    aim: Aim
    least: float = float("nan")


@dataclass(frozen=True, slots=True)
class Believed:
    """Scores as probabilities under equal priors: error, its debiased form, log-loss in nats."""

    error: Estimate
    debiased_error: float
    log_loss: Estimate


@dataclass(frozen=True, slots=True)
class Threshold:
    """One wish at one prevalence.

    `probability`: what a calibrated score at the threshold says at this prevalence. `here`: on
    the people it was chosen on; `elsewhere`: from half to half. None: no threshold reaches it.
    """

    wish: Wish
    prevalence: float
    probability: float
    here: Screening | None
    elsewhere: Transfer | None


@dataclass(frozen=True, slots=True)
class Report:
    """`way` of calibrating was chosen over people; `as_given` and `calibrated` compare."""

    people: int
    scores: int
    positives: int
    skipped: int
    auroc: Estimate
    way: str
    as_given: Believed
    calibrated: Believed
    thresholds: tuple[Threshold, ...]
    benefits: tuple[tuple[float, tuple[Benefit, ...]], ...]
    unanswered: Unanswered
    groups: tuple[Attribute, ...]


def thresholds_report(
    table: ScoreTable,
    wishes: tuple[Wish, ...],
    prevalences: tuple[float, ...],
    rng: np.random.Generator,
    error_rate: float = ERROR_RATE,
    resamples: int = RESAMPLES,
) -> Report:
    """Look at a table of scores from all sides.

    Raises:
        TooFewPeople: fewer than two people of a class, or than are needed for folds.
        ContractError: a prevalence is not strictly between 0 and 1, or the error rate not
            between 0 and 0.5.
    """
    weights = class_weights(table.truth) * len(table.truth)
    whole = chosen(table.log_odds, table.truth, weights, table.people, rng)
    calibrated, said, promised = _by_others(table, error_rate, rng)
    thresholds = []
    for wish in wishes:
        for prevalence in prevalences:
            found = chosen_threshold(
                curve(table.log_odds, table.truth), wish.aim, wish.least, prevalence
            )
            means = at_prevalence(whole.calibrator.of(np.asarray([found])), 0.5, prevalence)
            thresholds.append(_threshold(table, wish, prevalence, found, means, rng, resamples))
    (ranked,) = over_people(
        lambda rows: np.asarray([_or_nan(table.log_odds[rows], table.truth[rows])]),
        table.people,
        rng,
        resamples,
    )
    return Report(
        people=len(np.unique(table.people)),
        scores=len(table.truth),
        positives=int(table.truth.sum()),
        skipped=table.skipped,
        auroc=ranked,
        way=whole.name,
        as_given=_believed(table.log_odds, table, rng, resamples),
        calibrated=_believed(calibrated, table, rng, resamples),
        thresholds=tuple(thresholds),
        benefits=tuple(
            (prevalence, decision_curve(_at(calibrated, prevalence), table.truth, prevalence))
            for prevalence in prevalences
        ),
        unanswered=unanswered(
            said, table.truth, table.people, error_rate, promised, rng, resamples
        ),
        groups=fairness(
            Decisions(sigmoid(calibrated), table.truth, said, table.people),
            table.groups,
            rng,
            resamples=resamples,
        ),
    )


def _or_nan(log_odds: Reals, truth: npt.NDArray[np.bool_]) -> float:
    return auroc(log_odds, truth) if both_sides(truth) else float("nan")


def _at(log_odds: Reals, prevalence: float) -> Reals:
    return sigmoid(at_prevalence(log_odds, 0.5, prevalence))


def _by_others(
    table: ScoreTable, error_rate: float, rng: np.random.Generator
) -> tuple[Reals, Answers, bool]:
    """Calibrated log-odds (N,) and answers (N,), each by the people of the other folds.

    The last: whether each fold's others were enough for the error rate.
    """
    fold, promised = person_folds(table.people, FOLDS, rng), True
    log_odds, said = np.empty(len(table.truth)), np.full(len(table.truth), -1, np.int8)
    for one in np.unique(fold):
        rest, held = fold != one, fold == one
        known, truth, people = table.log_odds[rest], table.truth[rest], table.people[rest]
        way = chosen(known, truth, class_weights(truth) * len(truth), people, rng)
        log_odds[held] = way.calibrator.of(table.log_odds[held])
        try:
            found = limits(way.calibrator.of(known), truth, people, error_rate)
            said[held] = answers_within(found, log_odds[held])
        except TooFewPeople:
            promised = False
    return log_odds, said, promised


def _believed(
    log_odds: Reals, table: ScoreTable, rng: np.random.Generator, resamples: int
) -> Believed:
    scores = sigmoid(log_odds)

    def figures(rows: Places) -> Reals:
        truth = table.truth[rows]
        if not both_sides(truth):
            return np.full(2, np.nan)
        loss = log_loss(log_odds[rows], truth, class_weights(truth))
        return np.asarray([calibration_error(scores[rows], truth), loss])

    error, loss = over_people(figures, table.people, rng, resamples)
    debiased = debiased_calibration_error(scores, table.truth, table.people)
    return Believed(error, debiased, loss)


def _threshold(
    table: ScoreTable,
    wish: Wish,
    prevalence: float,
    found: float,
    means: Reals,
    rng: np.random.Generator,
    resamples: int,
) -> Threshold:
    if not np.isfinite(found):
        return Threshold(wish, prevalence, float("nan"), None, None)
    # Chosen on log-odds, told on the scale that the table came in.
    on_scale = float(table.scores[table.log_odds == found].min())
    return Threshold(
        wish,
        prevalence,
        float(sigmoid(means)[0]),
        screening(table.scores, table.truth, table.people, on_scale, prevalence, rng, resamples),
        transferred(table.scores, table.truth, table.people, wish.aim, wish.least, prevalence, rng),
    )
