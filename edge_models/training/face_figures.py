"""The figures of a face evaluation: what each level tells of expressions, and of people."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.training.face_levels import Level
from edge_models.training.face_utility import Utility
from edge_models.training.identity import (
    Told,
    accepted_at,
    chance,
    equal_error_rate,
    reduction,
    top1,
    verified,
    worst_decile,
)
from edge_models.training.metrics import Estimate

Reals = npt.NDArray[np.float64]

FALSE_RATE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Privacy:
    """How well a gallery is told apart at a level by questions of `windows` windows.

    `reduction` is R against the first level of the gallery; `worst_decile` the top-1 of the
    tenth of people most often named, `worst_decile_chance` the same under permuted identities.
    """

    gallery: str
    windows: int
    people: int
    top1: Estimate
    chance: Estimate
    reduction: Estimate
    equal_error_rate: Estimate
    accepted_at_1_percent: Estimate
    worst_decile: float
    worst_decile_chance: float
    attackers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verification:
    """One photograph against one other of people unmet; `top1` is within galleries of ten."""

    people: int
    equal_error_rate: Estimate
    accepted_at_1_percent: Estimate
    top1: Estimate
    one_in_n: float
    measure: str


@dataclass(frozen=True, slots=True)
class LevelFigures:
    """A line of the table: `single` windows, `sets` of one person and expression.

    `shuffled` is learnt from shuffled expressions, single windows; `transfer` is the balanced
    accuracy of happy against neutral on a set never trained on.
    """

    level: Level
    single: Utility
    sets: Utility
    shuffled: Utility
    transfer: Estimate | None
    privacy: tuple[Privacy, ...]
    verification: Verification | None


@dataclass(frozen=True, slots=True)
class PairFigures:
    """A level of the simulated pairs: sad against the rest, balanced accuracy of one moment.

    `both_of_six` pools six moments; None where nobody has six of both kinds.
    """

    level: Level
    people: int
    face: Estimate
    voice: Estimate
    both: Estimate
    both_of_six: Estimate | None
    privacy: tuple[Privacy, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was looked at in one set: windows with one face, and those left out."""

    dataset: str
    licence: str
    people: int
    listed: int
    windows: int


@dataclass(frozen=True, slots=True)
class FaceEvaluation:
    """All of it; `pairs` is empty where no voices were to be had.

    `unmoved` counts the summary's numbers that are the same in all acted windows.
    """

    seen: tuple[Seen, ...]
    no_face: tuple[str, ...]
    two_faces: tuple[str, ...]
    unreadable: tuple[str, ...]
    people: int
    folds: int
    constant_macro_f1: float
    unmoved: int
    levels: tuple[LevelFigures, ...]
    pairs: tuple[PairFigures, ...]


def privacy(
    gallery: str, windows: int, told: Told, original: Told, rng: np.random.Generator
) -> Privacy:
    """Figures of a gallery (or of folds of it) at one level, beside the original's."""
    worst, worst_chance = worst_decile(told)
    return Privacy(
        gallery,
        windows,
        len(told),
        top1(told, rng),
        chance(told, rng),
        reduction(told, original, rng),
        verified(told, equal_error_rate, rng),
        verified(told, _accepted, rng),
        worst,
        worst_chance,
        tuple(sorted(set(told.chosen))),
    )


def verification(told: Told, rng: np.random.Generator) -> Verification:
    """Figures of verification from one photograph."""
    return Verification(
        len(told),
        verified(told, equal_error_rate, rng),
        verified(told, _accepted, rng),
        top1(told, rng),
        float(told.one_in_n.mean()),
        told.chosen[0],
    )


def _accepted(own: Reals, others: Reals) -> float:
    return accepted_at(own, others, FALSE_RATE)
