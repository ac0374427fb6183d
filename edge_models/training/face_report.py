"""The face evaluation in words and tables: Markdown for people, JSON for programs.

Rules it upholds: every figure is called an affect figure; a simulated pair is called simulated;
what falls short is said, with the figure.
"""

import dataclasses
import json
from collections.abc import Iterator

from edge_models.training.face_figures import (
    TARGET_ACCURACY,
    TARGET_REDUCTION,
    FaceEvaluation,
    LevelFigures,
    PairFigures,
    Privacy,
    Seen,
)
from edge_models.training.face_levels import Level
from edge_models.training.metrics import Estimate

_READ = """\
Acted expressions on photographs: **affect figures, not clinical ones**. People are in one of
{folds} folds; levels and classifiers are learnt from other people's; in brackets 95 % intervals
over people. *Photograph*: one window. *Set*: all photographs of one person and expression.
*Sad*: balanced accuracy of sad against the rest (a constant answer: 0.50). *Four*: macro-F1 of
neutral, happy, sad, angry (a constant answer: {constant:.2f}). *Shuffled*: the same of models
learnt from shuffled expressions. *Other set*: balanced accuracy of happy against neutral on
people of a set that was never trained on."""

_STILL = """\
A photograph is one window in which nothing moves, so {still} of the summary's 22 numbers are the
same for everybody, and the running baseline learns from a handful of pictures. The summary of a
still is a poor summary."""

_ATTACKED = """\
A panel of attackers, retrained on each level and chosen on held-out enrolment. *Acted*: within
folds of people whom the level never met; enrolled by two expressions, tested on the other two.
*Gallery*: people of another set, enrolled by half of their photographs. *Chance*: the same panel
under permuted identities. R against level 0, over the same people. *Worst*: the tenth of people
named most often, beside the same under permutation."""

_VERIFIED = """\
Is the smiling person the one of that neutral photograph? Scored by a measure learnt on other
people's pairs, the better of two."""

_PAIRS = """\
No open recordings of voice and face together carry affect labels. These are **simulated pairs**:
{people} faces, each bound to one voice of another person; a moment joins a photograph and a clip
of the same emotion. The fusion is late: both sides' numbers beside each other, one linear rule.
Identity is the pair's; R is against level 1. A real person's face and voice may agree in ways
that a simulated pair's can't, in expression as in identity."""

_SHORT = """\
**No facial body is shipped.** The project's targets are a balanced accuracy of {accuracy:g} with R
of {reduction:g}, both at the worse end of the interval; learnt from {people} people who posed four
expressions, level 3 reaches {sad} for sad (sets) and R of {worst} where it is lowest.
Levels, training and table are for corpora that hold more."""

_ENOUGH = """\
Level 3 reaches both targets here (sad in sets {sad}, lowest R {worst}). These are affect figures of
{people} people who acted; no facial body is shipped on them."""


def as_json(evaluation: FaceEvaluation) -> str:
    """All figures; not a number of anybody's face."""
    return json.dumps(dataclasses.asdict(evaluation), indent=2, ensure_ascii=False) + "\n"


def as_markdown(evaluation: FaceEvaluation) -> str:
    """A section, its headings of the second and third level."""
    parts = [
        "## Faces",
        _READ.format(folds=evaluation.folds, constant=evaluation.constant_macro_f1),
        _verdict(evaluation),
        "### Looked at\n\n" + "\n".join(_looked_at(evaluation)),
        "### Utility of each level\n\n" + "\n".join(_utility(evaluation)),
        _STILL.format(still=evaluation.unmoved),
        "### Privacy of each level\n\n" + _ATTACKED,
        "\n".join(_privacy(evaluation.levels)),
    ]
    verified = [line for line in evaluation.levels if line.verification is not None]
    if verified:
        parts += ["### Verification\n\n" + _VERIFIED, "\n".join(_verification(verified))]
    if evaluation.pairs:
        people = evaluation.pairs[0].people
        parts += ["### Voice and face together\n\n" + _PAIRS.format(people=people)]
        parts += ["\n".join(_pairs(evaluation.pairs)), "\n".join(_privacy(evaluation.pairs))]
    return "\n\n".join(parts) + "\n"


def _verdict(evaluation: FaceEvaluation) -> str:
    line = evaluation.at(Level.EMBEDDING)
    worst = min((one.reduction for one in line.privacy), key=lambda one: one.value)
    text = _ENOUGH if evaluation.good_enough else _SHORT
    return text.format(
        accuracy=TARGET_ACCURACY,
        reduction=TARGET_REDUCTION,
        sad=line.sets.sad,
        worst=worst,
        people=evaluation.people,
    )


def _table(head: str) -> Iterator[str]:
    yield head
    yield "|---" * (head.count("|") - 1) + "|"


def _looked_at(evaluation: FaceEvaluation) -> Iterator[str]:
    yield from _table("| set | people | listed | windows with one face | licence |")
    for one in evaluation.seen:
        yield _seen(one)
    yield ""
    for word, names in (
        ("showed no face", evaluation.no_face),
        ("showed two", evaluation.two_faces),
        ("could not be decoded", evaluation.unreadable),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            yield f"{len(names)} {word}: {', '.join(names[:3])}{more}. The JSON names all.\\"
    yield "A set whose people have one window each is looked at, and no more."


def _seen(one: Seen) -> str:
    return f"| {one.dataset} | {one.people} | {one.listed} | {one.windows} | {one.licence} |"


def _utility(evaluation: FaceEvaluation) -> Iterator[str]:
    yield from _table(
        "| level | sad, photograph | sad, set | four, photograph | four, set | "
        "sad, shuffled | four, shuffled | other set |"
    )
    for line in evaluation.levels:
        cells = (
            line.single.sad,
            line.sets.sad,
            line.single.expressions,
            line.sets.expressions,
            f"{line.shuffled.sad.value:.2f}",
            f"{line.shuffled.expressions.value:.2f}",
            line.transfer or "none",
        )
        yield f"| {line.level} | " + " | ".join(map(str, cells)) + " |"


def _privacy(lines: tuple[LevelFigures, ...] | tuple[PairFigures, ...]) -> Iterator[str]:
    yield from _table(
        "| level | gallery | people | windows | top-1 | chance | R | EER | "
        "TPR at 1 % FPR | worst (chance) | attackers |"
    )
    for line in lines:
        for one in line.privacy:
            yield f"| {line.level} | {_attack(one)} |"


def _attack(one: Privacy) -> str:
    cells: tuple[str | int | Estimate, ...] = (
        one.gallery,
        one.people,
        "1" if one.size == 1 else f"up to {one.size}",
        one.top1,
        one.chance,
        one.reduction,
        one.equal_error_rate,
        one.accepted,
        f"{one.worst:.2f} ({one.worst_chance:.2f})",
        ", ".join(one.attackers),
    )
    return " | ".join(map(str, cells))


def _verification(lines: list[LevelFigures]) -> Iterator[str]:
    yield from _table("| level | people | EER | TPR at 1 % FPR | top-1 | 1/N | measure |")
    for line in lines:
        if (one := line.verification) is not None:
            yield (
                f"| {line.level} | {one.people} | {one.equal_error_rate} | {one.accepted} | "
                f"{one.top1} | {one.chance:.2f} | {one.measure} |"
            )


def _pairs(lines: tuple[PairFigures, ...]) -> Iterator[str]:
    yield from _table("| level | sad, face | sad, voice | sad, both | sad, both, six moments |")
    for line in lines:
        six = line.both_of_six or "too few"
        yield f"| {line.level} | {line.face} | {line.voice} | {line.both} | {six} |"
    yield ""
