"""Recordings described by the bundle's own front end, as windows to learn from.

Rules it upholds: training hears through the same gate, descriptors and functionals as the
device; a joined window holds one person, one emotion and one truth; a person's level and joins
depend on the seed and that person alone, so another corpus beside it changes nothing; what can't
be heard is counted and named.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import RecordingError
from edge_models.training.corpora import EMOTIONS, Clip, LeftOut, folds_of, labels_of
from edge_models.training.described_cache import Cache
from edge_models.training.hearing import WINDOW_ROWS, Ear, FrontEnd, Source
from edge_models.training.streams import Floats, Kind, Windows

__all__ = ["FOLDS", "FrontEnd", "described"]

FOLDS: Final = 5
TAKES: Final = 2
"""Each person is heard as recorded, and once more at a level of their own: microphones differ."""

SOFTEST_DB: Final = -15.0
LOUDEST_DB: Final = 6.0


@dataclass(frozen=True, slots=True)
class _Heard:
    """A short clip in one take, by its place among the clips; `rows` long."""

    place: int
    take: int
    source: Source
    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """One window: the clips it is made of, its take, and its functionals."""

    places: tuple[int, ...]
    take: int
    summary: Floats


@dataclass(slots=True)
class _Skipped:
    """Clips that gave no window."""

    unreadable: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)

    def told(self) -> tuple[LeftOut, ...]:
        parts = (
            LeftOut("can't be read", tuple(self.unreadable)),
            LeftOut("too little speech", tuple(self.silent)),
        )
        return tuple(part for part in parts if part.names)


def described(
    folder: Path,
    clips: Sequence[Clip],
    front_end: FrontEnd,
    seed: int,
    told: Callable[[Sequence[Clip]], Iterator[Clip]] = iter,
    *,
    cache: Cache | None = None,
    skipped: Callable[[LeftOut], None] | None = None,
) -> Windows:
    """Every clip as one window (a long one as several), and joined windows of about ten seconds.

    A window is left out as the device would: with less than half a second of speech where the
    recording is one window, three seconds where it is cut into several. `told` wraps the clips to
    show progress; with a `cache` a run resumes where it stopped; `skipped` is told of clips that
    can't be read or hold too little speech.

    Raises:
        RecordingError: more than half of the clips give no window, or they are features only.
    """
    _refuse_features(clips)
    ear, lost = Ear(front_end, cache), _Skipped()
    single: list[_Window] = []
    joined: list[_Window] = []
    order = sorted(range(len(clips)), key=lambda place: clips[place].person)
    walk = zip(order, told([clips[place] for place in order]), strict=True)
    for person, own in groupby(walk, key=lambda step: step[1].person):
        rng = np.random.default_rng([seed, _number(person)])
        level_db = float(rng.uniform(SOFTEST_DB, LOUDEST_DB))
        short: list[_Heard] = []
        for place, clip in own:
            for take in range(TAKES):
                source = Source(folder / clip.path, level_db if take else 0.0, clip.turns)
                windows, rows = _windows(ear, source, place, take, lost)
                single += windows
                if windows and rows <= WINDOW_ROWS:
                    short.append(_Heard(place, take, source, rows))
        joined += _joined(ear, short, clips, rng)
        ear.forget()
    _tell(lost, clips, skipped)
    single.sort(key=lambda window: window.places)
    return _table([*single, *joined], clips)


def _refuse_features(clips: Sequence[Clip]) -> None:
    numbers = sorted({clip.dataset for clip in clips if clip.features_only})
    if numbers:
        raise RecordingError(
            f"{', '.join(numbers)} holds features that others computed once a second, no sound: "
            "they can't pass through this front end.",
            "Leave it out.",
        )


def _number(person: str) -> int:
    return int.from_bytes(hashlib.sha256(person.encode()).digest()[:8], "big")


def _windows(
    ear: Ear, source: Source, place: int, take: int, lost: _Skipped
) -> tuple[list[_Window], int]:
    """The windows of one clip in one take, and its rows; the first take says what is lost."""
    try:
        entry = ear.described(source)
    except RecordingError:
        if take == 0:
            lost.unreadable.append(_named(source.path))
        return [], 0
    if take == 0 and not len(entry.summaries):
        lost.silent.append(_named(source.path))
    return [_Window((place,), take, summary) for summary in entry.summaries], entry.rows


def _named(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _joined(
    ear: Ear, short: Sequence[_Heard], clips: Sequence[Clip], rng: np.random.Generator
) -> Iterator[_Window]:
    """A person's clips of one emotion, truth and take, shuffled twice, cut at about ten seconds."""
    groups: dict[tuple[object, ...], list[_Heard]] = {}
    for one in short:
        clip = clips[one.place]
        session = clip.session if clip.clinical.known else ""
        alike = (clip.dataset, clip.emotion, clip.clinical, session, one.take)
        groups.setdefault(alike, []).append(one)
    for group in groups.values():
        for _ in range(2):
            part: list[_Heard] = []
            for number in rng.permutation(len(group)):
                part.append(group[number])
                if sum(one.rows for one in part) >= 0.9 * WINDOW_ROWS:
                    summary = ear.joined([one.source for one in part])
                    yield _Window(tuple(one.place for one in part), part[0].take, summary)
                    part = []


def _tell(lost: _Skipped, clips: Sequence[Clip], skipped: Callable[[LeftOut], None] | None) -> None:
    said = lost.told()
    if 2 * sum(len(part.names) for part in said) > len(clips):
        raise RecordingError(
            f"More than half of the {len(clips)} recordings can't be used. "
            + "; ".join(map(str, said))
            + ".",
            "Look at these files, and at their manifest.",
        )
    for part in said:
        if skipped is not None:
            skipped(part)


def _table(windows: Sequence[_Window], clips: Sequence[Clip]) -> Windows:
    labels, folds = labels_of(clips), folds_of(clips, FOLDS)
    first = np.asarray([window.places[0] for window in windows], np.intp)
    told = [clips[place] for place in first]
    kinds = [str(Kind.CLIP if len(one.places) == 1 else Kind.JOINED) for one in windows]
    return Windows(
        summaries=np.asarray([window.summary for window in windows], np.float32),
        truth=labels.truth[first],
        known=labels.known[first],
        emotion=np.asarray([_place_of(clip.emotion) for clip in told]),
        person=np.asarray([clip.person for clip in told]),
        dataset=np.asarray([clip.dataset for clip in told]),
        sex=np.asarray([str(clip.sex) for clip in told]),
        kind=np.asarray(kinds),
        take=np.asarray([window.take for window in windows]),
        fold=folds[first],
        session=_common(windows, [clip.session for clip in clips]),
        sentence=_common(windows, [clip.sentence for clip in clips]),
        language=np.asarray([clip.language for clip in told]),
        age_band=np.asarray([clip.age_band for clip in told]),
    )


def _common(windows: Sequence[_Window], words: Sequence[str]) -> npt.NDArray[np.str_]:
    """The word that all clips of a window have, else ""."""
    said = [{words[place] for place in window.places} for window in windows]
    return np.asarray([one.pop() if len(one) == 1 else "" for one in said])


def _place_of(emotion: str) -> int:
    return EMOTIONS.index(emotion) if emotion in EMOTIONS else -1
