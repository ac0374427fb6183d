"""Faces at every level: what is left of the expression, and of the person. Affect figures.

Rules it upholds: people are in one fold; levels, classifiers and attackers never met the people
they are tested on (attackers but by enrolment). Four expressions differ in three directions: hence
the embedding's size. The strength of suppression was settled on these same recordings.

    acted    sets that show all four expressions: people-disjoint folds, utility and identity
    gallery  faces of no known expression, several of each person: identity of people unmet
    paired   one neutral and one happy photograph of each: verification, and happy from neutral

Photographs with sunglasses are left out: the mesh invents the eyes behind them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from edge_models.errors import NoFaces
from edge_models.training.face_attacks import FaceEffort, sides_of
from edge_models.training.face_figures import FaceEvaluation, Seen
from edge_models.training.face_levels import Level
from edge_models.training.face_lines import GALLERY_EACH, Fold, Line, Unmet, figures, fold_of, line
from edge_models.training.face_pair_evaluation import pair_figures
from edge_models.training.face_parts import Kept, Progress, part_of
from edge_models.training.face_utility import constant_macro_f1
from edge_models.training.faces import EXPRESSIONS, Photograph, face_folds, photographs
from edge_models.training.identity.samples import LEAST
from edge_models.training.seen_faces import Faces, Skipped, seen_faces
from edge_models.training.streams import Windows

FOLDS: Final = 4
FEWEST_PEOPLE: Final = 8
FEWEST_VERIFIED: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class LookedAt:
    """What the photographs `chosen` of a manifest showed."""

    chosen: tuple[Photograph, ...]
    faces: Faces
    skipped: Skipped


def looked_at(folder: Path, cache: Path | None, told: Progress) -> LookedAt:
    """Look at every face of the manifest in `folder`; `cache` is a folder that remembers.

    Raises:
        NoFaces: the manifest lists none, none shows one face, or too few people act.
        RecordingError: there is no manifest, or the cache can't be written.
    """
    chosen = tuple(one for one in photographs(folder) if one.eyes != "sunglasses")
    faces, skipped = seen_faces(folder, chosen, cache, lambda some: told(some, "Looking at faces"))
    if len(np.unique(acted_faces(faces).person)) < FEWEST_PEOPLE:
        raise NoFaces(
            f"Fewer than {FEWEST_PEOPLE} people show all of {', '.join(EXPRESSIONS)} often enough.",
            "List photographs or clips of such people below 'faces/' in the manifest.",
        )
    return LookedAt(chosen, faces, skipped)


def evaluated_faces(
    seen: LookedAt,
    seed: int,
    told: Progress,
    voices: Windows,
    effort: FaceEffort,
    kept: Kept,
) -> FaceEvaluation:
    """Measure all levels of the faces, and of pairs of them with `voices`.

    `voices` are described windows of affect speech; finished parts lie in `kept`.
    """
    with threadpool_limits(1):
        acted = acted_faces(seen.faces)
        place = face_folds(acted.person, FOLDS)
        folds: list[Fold] = [
            fold_of(acted, place == fold, seed)
            for fold in told(range(FOLDS), "Learning face levels")
        ]
        unmet = Unmet.of(acted, _gallery(seen.faces), _paired(seen.faces), seed)
        lines = [
            _line(level, folds, unmet, seed, effort, kept)
            for level in told(tuple(Level), "Attacking faces")
        ]
        pairs = pair_figures(acted, voices, folds, seed, told, effort, kept)
    rng = np.random.default_rng(seed)
    return FaceEvaluation(
        seen=_seen(seen.faces, seen.chosen),
        no_face=seen.skipped.no_face,
        two_faces=seen.skipped.two_faces,
        unreadable=seen.skipped.unreadable,
        people=len(np.unique(acted.person)),
        folds=FOLDS,
        constant_macro_f1=constant_macro_f1(acted.expression),
        unmoved=int(np.count_nonzero(np.ptp(acted.summaries, axis=0) == 0)),
        levels=tuple(figures(one, lines[0], rng) for one in lines),
        pairs=pairs,
    )


def _line(
    level: Level,
    folds: Sequence[Fold],
    unmet: Unmet,
    seed: int,
    effort: FaceEffort,
    kept: Kept,
) -> Line:
    arrays = part_of(kept, level, lambda: line(level, folds, unmet, seed, effort).arrays())
    return Line.again(level, arrays)


def acted_faces(faces: Faces) -> Faces:
    """Those of sets that show all four expressions, of people with enough windows to be attacked:
    four in each half of the expressions.
    """
    full = [
        name
        for name in np.unique(faces.dataset)
        if set(EXPRESSIONS) <= set(faces.expression[faces.dataset == name].tolist())
    ]
    acted = faces.at(np.isin(faces.dataset, full) & np.isin(faces.expression, EXPRESSIONS))
    sides = sides_of(acted.expression)
    often = [
        person
        for person in np.unique(acted.person)
        if all(np.sum(sides[acted.person == person] == side) >= LEAST for side in np.unique(sides))
    ]
    return acted.at(np.isin(acted.person, often))


def _gallery(faces: Faces) -> Faces | None:
    """Faces of no known expression, of people with enough photographs."""
    return _of_people(faces.at(faces.expression == ""), lambda own: len(own) >= GALLERY_EACH)


def _paired(faces: Faces) -> Faces | None:
    """Faces of people with one neutral and one happy photograph, and no other."""
    pair = ["happy", "neutral"]
    return _of_people(faces, lambda own: sorted(own.expression.tolist()) == pair, FEWEST_VERIFIED)


def _of_people(
    faces: Faces, good: Callable[[Faces], bool], least: int = FEWEST_PEOPLE
) -> Faces | None:
    people = [
        person for person in np.unique(faces.person) if good(faces.at(faces.person == person))
    ]
    kept: npt.NDArray[np.bool_] = np.isin(faces.person, people)
    return faces.at(kept) if len(people) >= least else None


def _seen(faces: Faces, chosen: Sequence[Photograph]) -> tuple[Seen, ...]:
    rows = []
    for name in sorted({one.dataset for one in chosen}):
        listed = [one for one in chosen if one.dataset == name]
        own = faces.dataset == name
        people = len(np.unique(faces.person[own]))
        rows.append(Seen(name, listed[0].licence, people, len(listed), int(own.sum())))
    return tuple(rows)
