"""How good the classifier is on people it never met: affect figures, nested over people.

Rules it upholds: for each outer fold the network, the population, the int8 ranges and the
calibration come from other people only; every figure stands beside a constant answer and beside
a network trained on shuffled labels; intervals are over people. Nothing is chosen by these
figures.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.assessment import TASKS
from edge_models.errors import TooFewPeople
from edge_models.head import sigmoid
from edge_models.session import Sessions
from edge_models.training.calibration import Platt, platt
from edge_models.training.encoder import task_weights
from edge_models.training.int8_model import Int8Model, trained
from edge_models.training.metrics import (
    Estimate,
    auroc,
    balanced_accuracy,
    both_sides,
    calibration_error,
    constant_macro_f1,
    estimated,
    macro_f1,
    pooled,
)
from edge_models.training.session_calibration import sessions_of
from edge_models.training.streams import (
    Kind,
    Places,
    Windows,
    file_order,
    passed,
    random_order,
)

SIX: Final = 6

LEAST_FOLDS: Final = 3
"""One is tested, one calibrates, and one is learnt from."""

Progress = Callable[[Sequence[int], str], Iterator[int]]


class Condition(StrEnum):
    """How the windows reach the classifier."""

    CLIPS = "clips, own baseline"
    CLIPS_IN_FILE_ORDER = "clips, own baseline, file order"
    STRANGERS = "clips, no baseline"
    LIVE = "joined windows of 10 s, own baseline"


@dataclass(frozen=True, slots=True)
class Affect:
    """Figures of one task in one group of people under one condition.

    `shuffled` is the balanced accuracy of a network trained on shuffled labels; `six` and
    `six_auroc` pool six windows of a person, and are None where nobody has six of both kinds.
    """

    task: str
    condition: Condition
    dataset: str
    group: str
    people: int
    windows: int
    balanced_accuracy: Estimate
    macro_f1: Estimate
    auroc: Estimate
    calibration_error: Estimate
    six: Estimate | None
    six_auroc: Estimate | None
    constant_macro_f1: float
    shuffled: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All figures, and the calibration that the shipped head and its sessions get."""

    figures: tuple[Affect, ...]
    platt: Platt
    sessions: Sessions


def evaluated(
    windows: Windows, seed: int, progress: Progress | None = None, epochs: int | None = None
) -> Evaluation:
    """Nested folds over people; then the calibration for a model of everybody.

    Raises:
        TooFewPeople: fewer than `LEAST_FOLDS` folds hold anybody.
    """
    told = progress or (lambda folds, _: iter(folds))
    folds = np.unique(windows.fold).tolist()
    if len(folds) < LEAST_FOLDS:
        raise TooFewPeople(
            f"{len(np.unique(windows.person))} people are too few to learn from and to test on.",
            f"Give recordings of at least {LEAST_FOLDS}.",
        )
    raw = _blank(windows)
    calibrated = _blank(windows)
    for fold in told(folds, "Testing on people it never met"):
        others, held = windows.at(windows.fold != fold), windows.fold == fold
        model = trained(others, seed, epochs)
        inner = _blank(others)
        for part in np.unique(others.fold):
            rest = others.at(others.fold != part)
            _test(trained(rest, seed, epochs), others, others.fold == part, inner, seed)
        here = _test(model, windows, held, raw, seed)
        correction = _calibration(others, inner)
        for condition, logits in here.items():
            calibrated[condition][held] = correction.of(logits[held])
    shuffled = _shuffled(windows, seed, told, epochs)
    rng = np.random.default_rng(seed)
    figures = tuple(_figures(windows, calibrated, shuffled, rng))
    platt = _calibration(windows, raw)
    shown = platt.of(raw[Condition.CLIPS])
    sessions = sessions_of(shown, windows.truth, windows.known, windows.person, rng)
    return Evaluation(figures, platt, sessions)


_Logits = dict[Condition, npt.NDArray[np.float64]]


def _blank(windows: Windows) -> _Logits:
    return {condition: np.full((len(windows), 3), np.nan) for condition in Condition}


def _test(
    model: Int8Model,
    windows: Windows,
    held: npt.NDArray[np.bool_],
    into: _Logits,
    seed: int,
) -> _Logits:
    """Score the held people's windows, in every condition, into the table of logits."""
    places, people = np.flatnonzero(held), windows.at(held)
    for condition in Condition:
        streams = _streams(people, condition, np.random.default_rng(seed))
        forgetting = 1.0 if condition is Condition.STRANGERS else 0.0
        heard = passed(people, model.population, streams, forgetting=forgetting)
        if len(heard.places):
            into[condition][places[heard.places]] = model.logits(model.embeddings(heard))
    return into


def _streams(windows: Windows, condition: Condition, rng: np.random.Generator) -> Iterator[Places]:
    if condition is Condition.LIVE:
        return random_order(windows, Kind.JOINED, rng)
    if condition is Condition.CLIPS:
        return random_order(windows, Kind.CLIP, rng)
    return file_order(windows, Kind.CLIP)


def _calibration(windows: Windows, logits: _Logits) -> Platt:
    """One calibration for clips and joined windows alike, both with their own baseline."""
    weights = task_weights(windows)
    chosen = (Condition.CLIPS, Condition.LIVE)
    rows = [np.isfinite(logits[condition][:, 0]) for condition in chosen]
    return platt(
        np.concatenate([logits[c][row] for c, row in zip(chosen, rows, strict=True)]),
        np.concatenate([windows.truth[row] for row in rows]),
        np.concatenate([weights[row] for row in rows]),
    )


def _shuffled(windows: Windows, seed: int, told: Progress, epochs: int | None) -> _Logits:
    """Logits of networks trained on emotions permuted among each person's windows.

    Each fold has its own shuffle: one wrong network can be right by luck, or wrong by it.
    """
    rng = np.random.default_rng(seed + 1)
    logits = _blank(windows)
    for fold in told(np.unique(windows.fold).tolist(), "Testing on shuffled labels"):
        wrong = with_shuffled_labels(windows, rng)
        model = trained(wrong.at(wrong.fold != fold), seed, epochs)
        _test(model, windows, windows.fold == fold, logits, seed)
    return logits


def with_shuffled_labels(windows: Windows, rng: np.random.Generator) -> Windows:
    """The same windows, labels permuted among each person's."""
    order = np.arange(len(windows))
    for person in np.unique(windows.person):
        own = np.flatnonzero(windows.person == person)
        order[own] = rng.permutation(own)
    columns = {name: getattr(windows, name) for name in windows.__slots__}
    for name in ("truth", "known", "emotion"):
        columns[name] = columns[name][order]
    return Windows(**columns)


def _figures(
    windows: Windows, calibrated: _Logits, shuffled: _Logits, rng: np.random.Generator
) -> Iterator[Affect]:
    for place, task in enumerate(TASKS):
        for dataset in np.unique(windows.dataset):
            everyone = (windows.dataset == dataset) & windows.known[:, place]
            for condition in Condition:
                groups = {"everyone": everyone}
                if condition is Condition.CLIPS:
                    for sex in np.unique(windows.sex[everyone]):
                        groups[str(sex)] = everyone & (windows.sex == sex)
                for group, rows in groups.items():
                    logits = calibrated[condition][:, place]
                    rows = rows & np.isfinite(logits)
                    if not both_sides(windows.truth[rows, place]):
                        continue
                    wrong = shuffled[condition][rows, place]
                    yield _figure(
                        (task, condition, str(dataset), group),
                        logits[rows],
                        windows.truth[rows, place],
                        windows.person[rows],
                        wrong,
                        rng,
                    )


def _figure(
    named: tuple[str, Condition, str, str],
    logits: npt.NDArray[np.float64],
    truth: npt.NDArray[np.bool_],
    people: npt.NDArray[np.str_],
    wrong: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> Affect:
    scores = sigmoid(logits)
    together = pooled(logits, truth, people, SIX, rng)
    several = both_sides(together.truth)
    six, six_auroc = (
        estimated(metric, together.scores, together.truth, together.people, rng)
        if several
        else None
        for metric in (balanced_accuracy, auroc)
    )
    return Affect(
        *named,
        people=len(np.unique(people)),
        windows=len(truth),
        balanced_accuracy=estimated(balanced_accuracy, scores, truth, people, rng),
        macro_f1=estimated(macro_f1, scores, truth, people, rng),
        auroc=estimated(auroc, scores, truth, people, rng),
        calibration_error=estimated(calibration_error, scores, truth, people, rng),
        six=six,
        six_auroc=six_auroc,
        constant_macro_f1=constant_macro_f1(truth),
        shuffled=balanced_accuracy(sigmoid(wrong), truth) if np.isfinite(wrong).all() else None,
    )
