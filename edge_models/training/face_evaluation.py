"""Faces at every level: what is left of the expression, and of the person. Affect figures.

Rules it upholds: people are in one fold; levels, classifiers and attackers never met the people
they are tested on (attackers but by enrolment). Four expressions differ in three directions: hence
the embedding's size. The strength of suppression was settled on these same recordings.

    acted    sets that show all four expressions: people-disjoint folds, utility and identity
    gallery  faces of no known expression, several of each person: identity of people unmet
    paired   one neutral and one happy photograph of each: verification, and happy from neutral

Photographs with sunglasses are left out: the mesh invents the eyes behind them.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from edge_models.errors import RecordingError
from edge_models.training.face_attacks import FACE_PANEL
from edge_models.training.face_figures import FaceEvaluation, Seen
from edge_models.training.face_levels import Level
from edge_models.training.face_lines import GALLERY_EACH, Fold, Unmet, figures, fold_of, line
from edge_models.training.face_pair_evaluation import pair_figures
from edge_models.training.face_utility import constant_macro_f1
from edge_models.training.faces import EXPRESSIONS, Photograph, face_folds, photographs
from edge_models.training.identity.panel import Member
from edge_models.training.seen_faces import Faces, Skipped, seen_faces
from edge_models.training.streams import Windows

FOLDS: Final = 4
FEWEST_PEOPLE: Final = 8
Progress = Callable[[Sequence[Any], str], Iterator[Any]]


def face_evaluation(
    folder: Path,
    seed: int,
    progress: Progress | None = None,
    *,
    cache: Path | None = None,
    voices: Windows | None = None,
) -> FaceEvaluation:
    """Look at every face of the manifest in `folder`, and measure all levels.

    `voices` are described windows of affect speech, for the simulated pairs; without them there
    are no pairs. `cache` is a folder that remembers what photographs gave.

    Raises:
        RecordingError: the manifest lists no faces, or too few people with all four expressions.
    """
    told = progress or (lambda items, _: iter(items))
    chosen = [one for one in photographs(folder) if one.eyes != "sunglasses"]
    faces, skipped = seen_faces(folder, chosen, cache, lambda some: told(some, "Looking at faces"))
    with threadpool_limits(1):
        return evaluated_faces(faces, skipped, chosen, seed, told, voices)


def evaluated_faces(
    faces: Faces,
    skipped: Skipped,
    chosen: Sequence[Photograph],
    seed: int,
    told: Progress,
    voices: Windows | None = None,
    panel: Sequence[Member] = FACE_PANEL,
) -> FaceEvaluation:
    """The same, of faces that were looked at.

    Raises:
        RecordingError: too few people show all four expressions.
    """
    acted = acted_faces(faces)
    if len(np.unique(acted.person)) < FEWEST_PEOPLE:
        raise RecordingError(
            f"Fewer than {FEWEST_PEOPLE} people show all of {', '.join(EXPRESSIONS)}.",
            "List photographs or clips of such people below 'faces/' in the manifest.",
        )
    place = face_folds(acted.person, FOLDS)
    folds: list[Fold] = [
        fold_of(acted, place == fold, seed) for fold in told(range(FOLDS), "Learning face levels")
    ]
    unmet = Unmet.of(acted, _gallery(faces), _paired(faces), seed)
    lines = [
        line(level, folds, unmet, seed, panel) for level in told(tuple(Level), "Attacking faces")
    ]
    rng = np.random.default_rng(seed)
    return FaceEvaluation(
        seed=seed,
        seen=_seen(faces, chosen),
        no_face=skipped.no_face,
        two_faces=skipped.two_faces,
        unreadable=skipped.unreadable,
        people=len(np.unique(acted.person)),
        folds=FOLDS,
        constant_macro_f1=constant_macro_f1(acted.expression),
        unmoved=int(np.count_nonzero(np.ptp(acted.summaries, axis=0) == 0)),
        levels=tuple(figures(one, lines[0], rng) for one in lines),
        pairs=() if voices is None else pair_figures(acted, voices, folds, seed, told, panel=panel),
    )


def acted_faces(faces: Faces) -> Faces:
    """Those of sets that show all four expressions."""
    full = [
        name
        for name in np.unique(faces.dataset)
        if set(EXPRESSIONS) <= set(faces.expression[faces.dataset == name].tolist())
    ]
    return faces.at(np.isin(faces.dataset, full) & np.isin(faces.expression, EXPRESSIONS))


def _gallery(faces: Faces) -> Faces | None:
    """Faces of no known expression, of people with enough photographs."""
    return _of_people(faces.at(faces.expression == ""), lambda own: len(own) >= GALLERY_EACH)


def _paired(faces: Faces) -> Faces | None:
    """Faces of people with one neutral and one happy photograph, and no other."""
    return _of_people(faces, lambda own: sorted(own.expression.tolist()) == ["happy", "neutral"])


def _of_people(faces: Faces, good: Callable[[Faces], bool]) -> Faces | None:
    people = [
        person for person in np.unique(faces.person) if good(faces.at(faces.person == person))
    ]
    kept: npt.NDArray[np.bool_] = np.isin(faces.person, people)
    return faces.at(kept) if len(people) >= FEWEST_PEOPLE else None


def _seen(faces: Faces, chosen: Sequence[Photograph]) -> tuple[Seen, ...]:
    rows = []
    for name in sorted({one.dataset for one in chosen}):
        listed = [one for one in chosen if one.dataset == name]
        own = faces.dataset == name
        people = len(np.unique(faces.person[own]))
        rows.append(Seen(name, listed[0].licence, people, len(listed), int(own.sum())))
    return tuple(rows)
