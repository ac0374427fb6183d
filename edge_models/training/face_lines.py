"""One line of the table of faces: a level through all folds, and on people of other sets.

Rules it upholds: a fold's levels and classifiers come from the other folds' people; whoever is of
another set was never trained on; the same windows, in the same order, at every level.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from edge_models.training.face_attacks import FaceEffort, attacked, sides_of, turn_of
from edge_models.training.face_figures import LevelFigures, Privacy, privacy, verification
from edge_models.training.face_levels import (
    FaceLevels,
    Level,
    fitted_levels,
    with_shuffled_expressions,
)
from edge_models.training.face_utility import (
    Answered,
    Classifiers,
    over_people,
    two_sided,
    utility,
)
from edge_models.training.face_verification import verified_by_pairs
from edge_models.training.faces import EXPRESSIONS
from edge_models.training.identity import Samples, Told
from edge_models.training.identity.kept import Arrays, kept_again, kept_of, of_each_size
from edge_models.training.identity.panel import SIZES
from edge_models.training.identity.samples import LEAST
from edge_models.training.metrics import Estimate
from edge_models.training.seen_faces import Faces

GALLERY_EACH: Final = 2 * LEAST
"""Photographs of a person below which they are no part of a gallery."""

_HAPPY, _NEUTRAL = EXPRESSIONS.index("happy"), EXPRESSIONS.index("neutral")


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """People held out, the others, and what the others taught: rightly, and shuffled."""

    held: Faces
    others: Faces
    shuffled: Faces
    levels: FaceLevels
    wrong_levels: FaceLevels


def fold_of(acted: Faces, held: npt.NDArray[np.bool_], seed: int) -> Fold:
    """Learn from the others of a fold, and once more from their shuffled expressions."""
    others = acted.at(~held)
    shuffled = with_shuffled_expressions(others, np.random.default_rng(seed + 1))
    return Fold(
        acted.at(held),
        others,
        shuffled,
        fitted_levels(others, seed),
        fitted_levels(shuffled, seed),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Unmet:
    """People of other sets, and what all the acted ones taught."""

    acted: Faces
    levels: FaceLevels
    gallery: Faces | None
    paired: Faces | None

    @classmethod
    def of(cls, acted: Faces, gallery: Faces | None, paired: Faces | None, seed: int) -> Self:
        """Learn from everybody who acted."""
        return cls(acted, fitted_levels(acted, seed), gallery, paired)


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """What was answered at a level, before it is counted; `acted` and `gallery` by question size.

    `gallery` is empty, `transfer` and `verified` are None where no other set holds such people.
    """

    level: Level
    answers: Answered
    shuffled: Answered
    acted: Mapping[int, Told]
    gallery: Mapping[int, Told]
    transfer: Answered | None
    verified: Told | None

    def arrays(self) -> Arrays:
        """Everything but the level, to be kept."""
        kept = self.answers.arrays("answers/") | self.shuffled.arrays("shuffled/")
        if self.transfer is not None:
            kept |= self.transfer.arrays("transfer/")
        for name, sizes in (("acted", self.acted), ("gallery", self.gallery)):
            for size, told in sizes.items():
                kept |= kept_of(told, f"{name}/{size}/")
        return kept if self.verified is None else kept | kept_of(self.verified, "verified/")

    @classmethod
    def again(cls, level: Level, kept: Arrays) -> Self:
        """What `arrays` kept."""
        here = {name.split("/")[0] for name in kept}

        def told(name: str) -> dict[int, Told]:
            if name not in here:
                return {}
            return {size: kept_again(kept, f"{name}/{size}/") for size in SIZES}

        return cls(
            level,
            Answered.again(kept, "answers/"),
            Answered.again(kept, "shuffled/"),
            told("acted"),
            told("gallery"),
            Answered.again(kept, "transfer/") if "transfer" in here else None,
            kept_again(kept, "verified/") if "verified" in here else None,
        )


def line(
    level: Level,
    folds: Sequence[Fold],
    unmet: Unmet,
    seed: int,
    effort: FaceEffort,
) -> Line:
    """Classify and attack all folds, and whoever is of another set, at a level."""
    answers, shuffled, campaigns = [], [], []
    for fold in folds:
        answers.append(_answers(fold.levels, fold.others, fold.held, level, seed))
        shuffled.append(_answers(fold.wrong_levels, fold.shuffled, fold.held, level, seed))
        rows = fold.levels.seen(fold.held, level, np.random.default_rng(seed))
        sides = sides_of(fold.held.expression)
        samples = Samples(rows, fold.held.person, sides, fold.held.pose, fold.held.expression)
        campaigns.append(attacked(samples, seed, effort.permutations, effort.panel))
    transfer = verified = None
    if unmet.paired is not None:
        paired = unmet.paired
        transfer = _answers(unmet.levels, unmet.acted, paired, level, seed)
        rows = unmet.levels.seen(paired, level, np.random.default_rng(seed))
        verified = verified_by_pairs(rows, paired.person, paired.expression == "neutral")
    return Line(
        level,
        Answered.together(answers),
        Answered.together(shuffled),
        of_each_size(campaigns),
        _gallery(unmet, level, seed, effort),
        transfer,
        verified,
    )


def _gallery(unmet: Unmet, level: Level, seed: int, effort: FaceEffort) -> dict[int, Told]:
    if unmet.gallery is None:
        return {}
    rows = unmet.levels.seen(unmet.gallery, level, np.random.default_rng(seed))
    person = unmet.gallery.person
    unknown = np.full(len(rows), "")
    samples = Samples(rows, person, unknown, turn_of(person), unknown)
    return of_each_size([attacked(samples, seed, effort.permutations, effort.panel)])


def _answers(levels: FaceLevels, known: Faces, asked: Faces, level: Level, seed: int) -> Answered:
    rng = np.random.default_rng(seed)
    classifiers = Classifiers.learnt(levels.seen(known, level, rng), known.expression)
    rows = levels.seen(asked, level, np.random.default_rng(seed))
    return classifiers.answers(rows, asked.expression, asked.person)


def figures(one: Line, original: Line, rng: np.random.Generator) -> LevelFigures:
    """Count a line; reductions are against the `original` one."""
    return LevelFigures(
        level=one.level,
        single=utility(one.answers, rng),
        sets=utility(one.answers.sets(), rng),
        shuffled=utility(one.shuffled, rng),
        transfer=None if one.transfer is None else _transferred(one.transfer, rng),
        privacy=_privacy(one, original, rng),
        verification=None if one.verified is None else verification(one.verified, rng),
    )


def _privacy(one: Line, original: Line, rng: np.random.Generator) -> tuple[Privacy, ...]:
    return tuple(
        privacy(name, size, told, whole[size], rng)
        for name, sizes, whole in (
            ("acted", one.acted, original.acted),
            ("gallery", one.gallery, original.gallery),
        )
        for size, told in sizes.items()
    )


def _transferred(answers: Answered, rng: np.random.Generator) -> Estimate:
    """Balanced accuracy of happy against neutral, by which of the two is the likelier."""
    said = answers.log[:, _HAPPY] > answers.log[:, _NEUTRAL]
    truth = answers.expression == "happy"
    return over_people(lambda rows: two_sided(said[rows], truth[rows]), answers.person, rng)
