"""Faces and simulated pairs as chapters of tables: one source for Markdown and HTML."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from edge_models.training.coevaluation.face_schema import (
    FaceFigures,
    FaceIdentity,
    FaceLevel,
    PairLevel,
)
from edge_models.training.coevaluation.face_story import about_faces, about_pairs
from edge_models.training.coevaluation.sheet import Sheet
from edge_models.training.identity import SIX

_IDENTITY = (
    *("top-1", "chance", "R", "EER", "TPR at 1 % FPR"),
    *("worst decile", "attackers chosen"),
)


@dataclass(frozen=True, slots=True)
class Chapter:
    """A title, paragraphs, tables, and tables for who looks closer, under a `summary`."""

    title: str
    about: tuple[str, ...]
    sheets: tuple[Sheet, ...]
    summary: str
    details: tuple[Sheet, ...]


def face_chapters(faces: FaceFigures | None) -> Iterator[Chapter]:
    """Faces, then simulated pairs, where there are any."""
    if faces is None:
        return
    details = (
        _utility(faces),
        *_identities("Faces", faces.levels),
        *_verification(faces.levels),
        _looked_at(faces),
        *_lost(faces),
    )
    summary = "Photographs one by one, every gallery, and what was looked at"
    yield Chapter("Faces", about_faces(faces), (_beside(faces),), summary, details)
    if faces.pairs:
        yield Chapter(
            "Voice and face together (simulated pairs)",
            (about_pairs(faces),),
            (_pairs(faces.pairs),),
            "Every gallery of pairs",
            tuple(_identities("Voice and face together", faces.pairs)),
        )


def _beside(faces: FaceFigures) -> Sheet:
    """Utility and privacy of every level in one table."""
    galleries = [one for one in faces.levels[0].privacy if one.windows == SIX]
    columns = [
        column
        for one in galleries
        for column in (f"{one.gallery}: top-1", f"{one.gallery}: chance", f"{one.gallery}: R")
    ]
    rows = []
    for place, level in enumerate(faces.levels):
        named = [level.identity_of(one.gallery, SIX) for one in galleries]
        rows.append(
            (
                level.level,
                str(level.sets.sad),
                str(level.sets.expressions),
                _or_dash(level.transfer),
                *(cell for one in named for cell in _short(one, place)),
            )
        )
    said = ", ".join(f"{one.gallery} {one.people}" for one in galleries)
    return Sheet(
        f"Faces: utility beside privacy, from sets and from up to six photographs (people: {said})",
        ("level", "sad", "four expressions", "other set", *columns),
        tuple(rows),
    )


def _pairs(pairs: Sequence[PairLevel]) -> Sheet:
    return Sheet(
        "Voice and face together: utility beside privacy (sad against the rest, balanced accuracy; "
        f"{pairs[0].people} simulated pairs, named from six moments)",
        (
            *("level", "sad, face", "sad, voice", "sad, both", "sad, both, six moments"),
            *("top-1", "chance", "R", "EER"),
        ),
        tuple(
            (
                one.level,
                str(one.face),
                str(one.voice),
                str(one.both),
                _or_dash(one.both_of_six),
                *_short(one.identity_of(SIX), place),
                str(one.identity_of(SIX).equal_error_rate),
            )
            for place, one in enumerate(pairs)
        ),
    )


def _short(one: FaceIdentity, place: int) -> tuple[str, ...]:
    return str(one.top1), f"{one.chance.value:.2f}", _reduction(one, place)


def _reduction(one: FaceIdentity, place: int) -> str:
    """R of the level in this place: the first is what R is against."""
    return str(one.reduction) if place else "–"


def _utility(faces: FaceFigures) -> Sheet:
    return Sheet(
        "Expressions from single photographs, and learnt from shuffled ones",
        ("level", "sad", "four expressions", "sad, shuffled", "four, shuffled"),
        tuple(
            (
                one.level,
                str(one.single.sad),
                str(one.single.expressions),
                f"{one.shuffled.sad.value:.2f}",
                f"{one.shuffled.expressions.value:.2f}",
            )
            for one in faces.levels
        ),
    )


def _identities(what: str, levels: Sequence[FaceLevel | PairLevel]) -> Iterator[Sheet]:
    """A table for each gallery and question size."""
    for asked, first in enumerate(levels[0].privacy):
        windows = "one window" if first.windows == 1 else f"up to {first.windows} windows"
        yield Sheet(
            f"{what}: identity from {windows} ({first.gallery}, {first.people})",
            ("level", *_IDENTITY),
            tuple(
                (one.level, *_identity(one.privacy[asked], place))
                for place, one in enumerate(levels)
            ),
        )


def _identity(one: FaceIdentity, place: int) -> tuple[str, ...]:
    return (
        str(one.top1),
        str(one.chance),
        _reduction(one, place),
        str(one.equal_error_rate),
        str(one.accepted_at_1_percent),
        f"{one.worst_decile:.2f} (chance {one.worst_decile_chance:.2f})",
        "; ".join(one.attackers),
    )


def _verification(levels: Iterable[FaceLevel]) -> Iterator[Sheet]:
    found = [(one.level, one.verification) for one in levels if one.verification is not None]
    if found:
        yield Sheet(
            "Verification: is the smiling person the one of that neutral photograph? Scored by a "
            "measure learnt on other people's pairs, the better of two",
            ("level", "people", "EER", "TPR at 1 % FPR", "top-1", "1/n", "measure"),
            tuple(
                (
                    level,
                    str(one.people),
                    str(one.equal_error_rate),
                    str(one.accepted_at_1_percent),
                    str(one.top1),
                    f"{one.one_in_n:.2f}",
                    one.measure,
                )
                for level, one in found
            ),
        )


def _looked_at(faces: FaceFigures) -> Sheet:
    return Sheet(
        "Looked at (a set whose people have one window each is looked at, and no more)",
        ("set", "people", "listed", "windows with one face", "licence"),
        tuple(
            (one.dataset, str(one.people), str(one.listed), str(one.windows), one.licence)
            for one in faces.seen
        ),
    )


def _lost(faces: FaceFigures) -> Iterator[Sheet]:
    told = (
        ("show no face", faces.no_face),
        ("show two", faces.two_faces),
        ("can't be decoded", faces.unreadable),
    )
    rows = tuple(
        (why, str(len(names)), ", ".join(names[:3]) + (" …" if len(names) > 3 else ""))
        for why, names in told
        if names
    )
    if rows:
        yield Sheet("Left out; evaluation.json names all", ("why", "how many", "the first"), rows)


def _or_dash(figure: object) -> str:
    return "–" if figure is None else str(figure)
