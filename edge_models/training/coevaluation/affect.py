"""Affect at one level: sessions of six windows of people never met, calibrated by others.

Rules it upholds: a session's calibration comes from other people than the tested, by models that
had not met *them*; each figure stands beside a constant answer and models of shuffled labels;
people of a set that holds no such label are not asked.

Sessions, calibration, abstention and gaps are those of `utility`; a bundle's log-odds are
calibrated already, and its sessions are their plain mean.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edge_models.assessment import TASKS
from edge_models.errors import TooFewPeople
from edge_models.head import sigmoid
from edge_models.training.coevaluation.figure import Figure
from edge_models.training.coevaluation.schema import Affect, Gap
from edge_models.training.coevaluation.tested import Tested
from edge_models.training.levels import EMBEDDING, Reals
from edge_models.training.metrics import (
    RESAMPLES,
    balanced_accuracy,
    both_sides,
    constant_macro_f1,
    estimated,
)
from edge_models.training.session_calibration import drawn_sessions
from edge_models.training.streams import Windows
from edge_models.training.utility import (
    WINDOWS,
    Evidence,
    Fold,
    HeldOut,
    Utility,
    held_out_sessions,
    utility_report,
)

ALL = "all"
_MEASURE = "balanced accuracy"


def affect_figures(
    level: str,
    plans: Sequence[Tested],
    within: Sequence[Tested],
    windows: Windows,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> tuple[Affect, ...]:
    """All tasks and sets of one level over one setting's plans.

    `within` are the plans whose people calibrate. Without any the log-odds are taken as they are.
    """
    made = []
    for task in range(len(TASKS)):
        if level not in plans[0].logits:
            return ()
        try:
            sessions = _sessions(level, task, plans, within, windows, rng)
        except TooFewPeople:
            continue
        own = {str(p): str(d) for p, d in zip(windows.person, windows.dataset, strict=True)}
        dataset = np.asarray([own[str(person)] for person in sessions.people])
        named = {ALL: np.ones(len(dataset), bool)}
        named.update({str(one): dataset == one for one in np.unique(dataset)})
        for name, rows in named.items():
            if both_sides(sessions.truth[rows]):
                own_sessions = _of(sessions, rows)
                made.append(
                    _figures(level, task, name, own_sessions, plans, windows, rng, resamples)
                )
    return tuple(made)


def evidence(
    level: str, task: int, tested: Tested, windows: Windows, people: npt.NDArray[np.bool_]
) -> Evidence:
    """What the first pass said of one task of the chosen people's windows, bool (N,)."""
    table = tested.tables[0]
    chosen = (people & windows.known[:, task])[table.places]
    places = table.places[chosen]
    return Evidence(
        tested.logits[level][chosen, task], windows.truth[places, task], windows.person[places]
    )


def _sessions(
    level: str,
    task: int,
    plans: Sequence[Tested],
    within: Sequence[Tested],
    windows: Windows,
    rng: np.random.Generator,
) -> HeldOut:
    if not within:
        return _as_they_are(
            _together(evidence(level, task, one, windows, one.plan.tested) for one in plans), rng
        )
    folds = [
        Fold(
            others=_together(
                evidence(level, task, other, windows, other.plan.tested & one.plan.known)
                for other in within
            ),
            held=evidence(level, task, one, windows, one.plan.tested),
        )
        for one in plans
    ]
    told = [fold for fold in folds if len(fold.held.truth)]
    if not told:
        raise TooFewPeople(f"Nobody's {TASKS[task]} is known.", "Give a set that holds some.")
    return held_out_sessions(told, rng)


def _as_they_are(told: Evidence, rng: np.random.Generator) -> HeldOut:
    drawn = drawn_sessions(told.logits, told.truth, told.people, WINDOWS, rng)
    if not both_sides(drawn.truth):
        raise TooFewPeople("No one has six windows of each side.", "Give more recordings.")
    silent = np.full(len(drawn), -1, np.int8)
    return HeldOut(drawn.mean, drawn.truth, silent, drawn.people, WINDOWS, 0.1, False)


def _together(parts: Iterator[Evidence]) -> Evidence:
    told = list(parts)
    return Evidence(
        np.concatenate([one.logits for one in told]),
        np.concatenate([one.truth for one in told]),
        np.concatenate([one.people for one in told]),
    )


def _of(sessions: HeldOut, rows: npt.NDArray[np.bool_]) -> HeldOut:
    return replace(
        sessions,
        log_odds=sessions.log_odds[rows],
        truth=sessions.truth[rows],
        said=sessions.said[rows],
        people=sessions.people[rows],
    )


def _figures(
    level: str,
    task: int,
    dataset: str,
    sessions: HeldOut,
    plans: Sequence[Tested],
    windows: Windows,
    rng: np.random.Generator,
    resamples: int,
) -> Affect:
    everyone = np.isin(windows.person, np.unique(sessions.people))
    groups = _groups(windows) if (level, dataset) == (EMBEDDING, ALL) else {}
    sets = dict(zip(windows.person.tolist(), windows.dataset.tolist(), strict=True))
    found = utility_report(
        TASKS[task],
        sessions,
        groups,
        rng,
        strata=sets if groups else None,
        prevalences=(),
        resamples=resamples,
    )
    alone = _together(
        evidence(level, task, one, windows, one.plan.tested & everyone) for one in plans
    )
    answered = found.unanswered if sessions.promised else None
    return Affect(
        task=TASKS[task],
        dataset=dataset,
        windows=WINDOWS,
        people=found.people,
        balanced_accuracy=Figure.of(found.balanced_accuracy),
        macro_f1=Figure.of(found.macro_f1),
        auroc=Figure.of(found.auroc),
        calibration_error=Figure.of(found.calibration.error),
        one_window=Figure.of(
            estimated(
                balanced_accuracy,
                sigmoid(alone.logits),
                alone.truth,
                alone.people,
                rng,
                resamples,
            )
        ),
        constant_macro_f1=constant_macro_f1(sessions.truth),
        shuffled=_shuffled(task, plans, windows, everyone, rng) if level == EMBEDDING else None,
        error_rate=None if answered is None else answered.error_rate,
        abstained=None if answered is None else Figure.of(answered.abstained),
        missed=None if answered is None else Figure.of(answered.missed),
        false_alarms=None if answered is None else Figure.of(answered.false_alarms),
        gaps=tuple(_gaps(found)),
    )


def _groups(windows: Windows) -> dict[str, dict[str, str]]:
    return {
        name: dict(zip(windows.person.tolist(), getattr(windows, name).tolist(), strict=True))
        for name in ("sex", "age_band", "language")
    }


def _gaps(found: Utility) -> Iterator[Gap]:
    for attribute in found.fairness:
        for gap in attribute.gaps:
            if gap.measure == _MEASURE:
                yield Gap(
                    attribute=attribute.name,
                    lowest=gap.lowest,
                    highest=gap.highest,
                    largest=Figure.of(gap.largest),
                    by_chance_95=gap.by_chance_95,
                    confounded=attribute.confounded,
                )


def _shuffled(
    task: int,
    plans: Sequence[Tested],
    windows: Windows,
    everyone: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> float | None:
    """Balanced accuracy of sessions of models of shuffled labels, at their plain mean."""
    wrong = [replace(one, logits={EMBEDDING: _or_nan(one)}) for one in plans]
    told = _together(
        evidence(EMBEDDING, task, one, windows, one.plan.tested & everyone) for one in wrong
    )
    if not np.isfinite(told.logits).all():
        return None
    drawn = drawn_sessions(told.logits, told.truth, told.people, WINDOWS, rng)
    return balanced_accuracy(sigmoid(drawn.mean), drawn.truth)


def _or_nan(one: Tested) -> Reals:
    nothing = np.full_like(one.logits[EMBEDDING], np.nan)
    return nothing if one.shuffled is None else one.shuffled
