"""What DAIC-WOZ and E-DAIC have in common: one recording a session, its turns, its split lists.

Rules it upholds: only the participant's turns count as theirs, the agent's voice does not; a
session that is in no list, or has no sound, is left out by name; the PHQ-8 sum decides (the
binary column contradicts it for participant 409).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_models.errors import RecordingError
from edge_models.training.corpora.layout import Corpus, Layout, LeftOut
from edge_models.training.corpora.records import Clinical, Clip, LabelError, Sex, Split
from edge_models.training.corpora.tables import number, rows_of, whole

Turns = tuple[tuple[float, float], ...]
TurnsOf = Callable[[Path, str], Turns]
"""The participant's turns of a session, by its folder and number."""

_SEXES: Final = {
    "0": Sex.FEMALE,
    "1": Sex.MALE,
    "female": Sex.FEMALE,
    "f": Sex.FEMALE,
    "male": Sex.MALE,
    "m": Sex.MALE,
}
_SCORES: Final = ("PHQ8_Score", "PHQ_Score", "PHQ_8Total")


@dataclass(frozen=True, slots=True)
class Session:
    """A line of a split list."""

    number: str
    split: Split
    clinical: Clinical
    sex: Sex
    age: float | None = None

    @property
    def person(self) -> str:
        """One name in both releases: E-DAIC holds the people of DAIC-WOZ."""
        return f"daic{self.number}"


@dataclass(frozen=True, slots=True)
class Listed:
    """The sessions of all lists, and those whose labels can't be true."""

    sessions: tuple[Session, ...]
    impossible: tuple[str, ...]


def listed(folder: Path, layout: Layout, lists: tuple[tuple[str, Split], ...]) -> Listed:
    """Read the split lists; `folder` holds them.

    Raises:
        RecordingError: a list is missing or lacks a column, or somebody is in two of them.
    """
    sessions: dict[str, Session] = {}
    impossible: list[str] = []
    for name, split in lists:
        if not (folder / name).is_file():
            raise layout.missing(folder, f"list '{name}'")
        for row in rows_of(folder / name, ()):
            session_number = _named(row, name)
            if session_number in sessions:
                raise RecordingError(
                    f"Session {session_number} of {layout.title} is in two splits.",
                    "Take the corpus's own lists.",
                )
            try:
                sessions[session_number] = _session(row, session_number, split, name)
            except LabelError:
                impossible.append(session_number)
    return Listed(tuple(sessions.values()), tuple(impossible))


def interviews(
    folder: Path, layout: Layout, told: Listed, turns_of: TurnsOf, sound_below: Path
) -> Corpus:
    """One clip a session, with the participant's turns.

    Raises:
        RecordingError: no session has sound.
    """
    clips, silent, untold = [], [], []
    for session in told.sessions:
        home = sound_below / f"{session.number}_P"
        sound = home / f"{session.number}_AUDIO.wav"
        if not sound.is_file():
            silent.append(session.number)
            continue
        try:
            turns = turns_of(home, session.number)
        except RecordingError:
            turns = ()
        if not turns:
            untold.append(session.number)
            continue
        clips.append(
            Clip(
                path=str(sound),
                dataset=layout.name,
                licence=layout.licence,
                person=session.person,
                emotion="",
                sex=session.sex,
                session="1",
                clinical=session.clinical,
                split=session.split,
                age=session.age,
                language=layout.language,
                turns=turns,
            )
        )
    known = {session.number for session in told.sessions} | set(told.impossible)
    on_disk = (path.name.removesuffix("_P") for path in sorted(sound_below.glob("*_P")))
    return layout.corpus(
        folder,
        clips,
        LeftOut("without sound", tuple(silent)),
        LeftOut("without a readable transcript of the participant", tuple(untold)),
        LeftOut("labels out of range", told.impossible),
        LeftOut("in no split list", tuple(name for name in on_disk if name not in known)),
    )


def timed(
    rows: list[dict[str, str]], start: str, end: str, shift_s: float = 0.0
) -> Iterator[tuple[float, float]]:
    """Turns of a transcript in order of time, overlaps taken once; lines without times are none."""
    reached = 0.0
    turns = []
    for row in rows:
        try:
            first, last = number(row[start]), number(row[end])
        except LabelError:
            continue
        if first is not None and last is not None:
            turns.append((first + shift_s, last + shift_s))
    for first, last in sorted(turns):
        first = max(first, reached)
        if last > first:
            yield first, last
            reached = last


def _named(row: dict[str, str], name: str) -> str:
    told = row.get("Participant_ID") or row.get("participant_ID") or ""
    try:
        found = whole(told)
    except LabelError:
        found = None
    if found is None:
        raise RecordingError(
            f"'{name}' has a line without a Participant_ID.", "Take the corpus's own lists."
        )
    return str(found)


def _session(row: dict[str, str], session_number: str, split: Split, name: str) -> Session:
    column = next((column for column in _SCORES if column in row), None)
    if column is None:
        raise RecordingError(
            f"'{name}' lacks a column {' or '.join(_SCORES)}.", "Take the list with the scores."
        )
    phq8 = whole(row[column])
    if phq8 is None:
        raise LabelError("A session has no PHQ-8 sum.")
    sex = _SEXES.get(row.get("Gender", "").lower(), Sex.UNKNOWN)
    age = number(row.get("Age", row.get("age", "")))
    return Session(session_number, split, Clinical(phq8=phq8), sex, age)
