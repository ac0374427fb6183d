"""Faces and simulated pairs in plain words.

Rules it upholds: every figure is called an affect figure; a simulated pair is called simulated;
what falls short is said, with the figure.
"""

from collections.abc import Iterator
from typing import Final

from edge_models.training.coevaluation.face_schema import FaceFigures, FaceIdentity
from edge_models.training.face_levels import Level
from edge_models.training.identity import SIX

TARGET_ACCURACY: Final = 0.85
TARGET_REDUCTION: Final = 0.92
"""The project's own targets; a body below either, at the worse end of its interval, stays here."""

_READ = """\
Acted expressions on photographs: affect figures, not clinical ones. {people} people are in one of \
{folds} folds; levels and classifiers are learnt from other people's. *Set*: all photographs of \
one person and expression. *Sad*: balanced accuracy of sad against the rest (a constant answer: \
0.50). *Four*: macro-F1 of neutral, happy, sad, angry (a constant answer: {constant:.2f}). *Other \
set*: balanced accuracy of happy against neutral on people of a set that was never trained on."""

_ATTACKED = """\
Attackers are retrained on each level and chosen on held-out enrolment. *Acted*: people who showed \
expressions, unmet by the level; enrolled by two expressions, tested on the other two. *Gallery*: \
people of another set, enrolled by half of their photographs. *R* is against level 0."""

_STILL = """\
A photograph is one window in which nothing moves, so {still} of the summary's 22 numbers are the \
same for everybody, and the running baseline learns from a handful of pictures."""

_SHORT = """\
No facial body is shipped: the project asks for a balanced accuracy of {accuracy:g} with R of \
{reduction:g}, both at the worse end of the interval. Levels, training and tables are for corpora \
that hold more."""

_ENOUGH = """\
Level 3 reaches a balanced accuracy of {accuracy:g} with R of {reduction:g} here, both at the \
worse end of the interval; but these are people who acted, and no facial body is shipped on them."""

_PAIRS = """\
No open recordings of voice and face together carry affect labels. These are *simulated pairs*: \
{people} faces, each bound to one voice of another person; a moment joins a photograph and a clip \
of the same emotion. Both sides' numbers stand beside each other, under one linear rule. Identity \
is the pair's; *R* is against level 1. A real person's face and voice may agree in ways that a \
simulated pair's can't, in expression as in identity."""

_WHO: Final = {"acted": "the people who acted", "gallery": "people of another set"}


def good_enough(faces: FaceFigures) -> bool:
    """Whether level 3 reaches both targets at the worse end of every interval."""
    level = faces.at(Level.EMBEDDING)
    accurate = level.sets.sad.low >= TARGET_ACCURACY
    return accurate and all(one.reduction.low >= TARGET_REDUCTION for one in level.privacy)


def about_faces(faces: FaceFigures) -> tuple[str, ...]:
    """What the tables of faces say, paragraph by paragraph."""
    targets = {"accuracy": TARGET_ACCURACY, "reduction": TARGET_REDUCTION}
    read = _READ.format(people=faces.people, folds=faces.folds, constant=faces.constant_macro_f1)
    still = (_STILL.format(still=faces.unmoved),) if faces.unmoved else ()
    verdict = _ENOUGH if good_enough(faces) else _SHORT
    return (verdict.format(**targets), read, _ATTACKED, *still)


def about_pairs(faces: FaceFigures) -> str:
    """What a simulated pair is."""
    return _PAIRS.format(people=faces.pairs[0].people)


def face_headline(faces: FaceFigures) -> Iterator[str]:
    """A sentence for faces, and one for simulated pairs."""
    level = faces.at(Level.EMBEDDING)
    lowest = min((one for one in level.privacy), key=lambda one: one.reduction.value)
    yield (
        f"Faces on photographs ({faces.people} people), level 3: sad is told with balanced "
        f"accuracy {level.sets.sad} from a set of photographs; where R is lowest "
        f"({_WHO[lowest.gallery]}, {_photographs(lowest)}) {_named(lowest)} "
        "No facial body is shipped."
    )
    for pair in faces.pairs:
        if pair.level == Level.EMBEDDING:
            told = pair.both if pair.both_of_six is None else pair.both_of_six
            yield (
                f"Voice and face together ({pair.people} simulated pairs), level 3: sad is told "
                f"with balanced accuracy {told}; {_named(pair.identity_of(SIX))}"
            )


def _photographs(told: FaceIdentity) -> str:
    return "one photograph" if told.windows == 1 else f"up to {told.windows} photographs"


def _named(told: FaceIdentity) -> str:
    return (
        f"the person is named {told.top1} of the time where chance is {told.chance.value:.2f}: "
        f"identification is reduced by R = {told.reduction}."
    )
