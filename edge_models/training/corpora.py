"""Affect speech by a manifest: who said what how, and which labels each set can know.

Rules it upholds: the person is the unit of every split; a label that a set does not hold is
unknown there, never negative; an unknown word among the labels drops the clip, never guesses.

Acted emotions stand in for what nobody publishes: *sadness* for the depression task, *fear* for
the anxiety task, either of them for *distress*. Every figure on them is an affect figure.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.assessment import TASKS
from edge_models.errors import RecordingError

EMOTIONS: Final = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
"""The emotions told apart while training; `bored` and the like count as clips without a word."""

_WORDS: Final = {
    "sadness": "sad",
    "fear": "fearful",
    "anxious": "fearful",
    "anxiety": "fearful",
    "happiness": "happy",
    "joy": "happy",
    "anger": "angry",
    "disgusted": "disgust",
    "surprise": "surprised",
}
_OTHER: Final = frozenset({"boredom", "bored", "contempt", "excited", "amused"})
_COLUMNS: Final = frozenset({"path", "dataset", "licence", "identity", "label", "extra"})
_EMODB_WOMEN: Final = frozenset({"emo08", "emo09", "emo13", "emo14", "emo16"})
_EMODB_MEN: Final = frozenset({"emo03", "emo10", "emo11", "emo12", "emo15"})


class Sex(StrEnum):
    """Sex as the set's documentation states it."""

    FEMALE = "female"
    MALE = "male"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording of one emotion; `path` is relative to the recordings' folder."""

    path: str
    dataset: str
    licence: str
    person: str
    emotion: str
    sex: Sex


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """For N clips: `truth` bool and `known` bool, both (N, 3), one column for each of TASKS."""

    truth: npt.NDArray[np.bool_]
    known: npt.NDArray[np.bool_]


def affect_clips(folder: Path, datasets: Sequence[str] = ()) -> tuple[Clip, ...]:
    """All clips of the manifest with an emotion, of sets that hold sadness or fear.

    `datasets` restricts them to sets of these names.

    Raises:
        RecordingError: there is no manifest, it lacks a column, or it has no such clip.
    """
    clips = [clip for row in _rows(folder) if (clip := _clip(row)) is not None]
    if datasets:
        clips = [clip for clip in clips if clip.dataset in datasets]
    telling = {clip.dataset for clip in clips if clip.emotion in ("sad", "fearful")}
    chosen = tuple(clip for clip in clips if clip.dataset in telling)
    if not chosen:
        raise RecordingError(
            f"No affect speech is listed in '{folder / 'MANIFEST.csv'}'.",
            "Its column 'label' should hold words such as neutral, sad, fearful, angry, happy.",
        )
    return chosen


def _rows(folder: Path) -> list[dict[str, str]]:
    path = folder / "MANIFEST.csv"
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError) as fault:
        raise RecordingError(
            f"'{path}' can't be read.", "Set SOTTOVOCE_DATA to the folder that holds MANIFEST.csv."
        ) from fault
    lacking = sorted(_COLUMNS - set(rows[0] if rows else ()))
    if lacking:
        raise RecordingError(
            f"'{path}' lacks the columns {', '.join(lacking)}.", "See the recordings' README."
        )
    return rows


def _clip(row: dict[str, str]) -> Clip | None:
    word = row["label"].strip().lower()
    emotion = _WORDS.get(word, word)
    is_speech = row["path"].startswith("speech/") and bool(row["identity"])
    if not is_speech or (emotion not in EMOTIONS and emotion not in _OTHER):
        return None
    return Clip(row["path"], row["dataset"], row["licence"], row["identity"], emotion, _sex_of(row))


def _sex_of(row: dict[str, str]) -> Sex:
    """RAVDESS: odd actors are men; EmoDB: as its page lists them; others: `sex=` in `extra`."""
    person = row["identity"]
    if row["dataset"] == "ravdess" and person.removeprefix("rav").isdigit():
        return Sex.MALE if int(person.removeprefix("rav")) % 2 else Sex.FEMALE
    if person in _EMODB_WOMEN:
        return Sex.FEMALE
    if person in _EMODB_MEN:
        return Sex.MALE
    for part in row["extra"].split(";"):
        if part.startswith("sex="):
            first = part.removeprefix("sex=")[:1].lower()
            return {"f": Sex.FEMALE, "m": Sex.MALE}.get(first, Sex.UNKNOWN)
    return Sex.UNKNOWN


def labels_of(clips: Sequence[Clip]) -> Labels:
    """What is known of each clip: a set without a single fearful clip knows nothing of fear.

    There *distress* is known all the same: whoever isn't sad there isn't fearful either.
    """
    emotions = np.asarray([clip.emotion for clip in clips])
    sets = np.asarray([clip.dataset for clip in clips])
    sad, fearful = emotions == "sad", emotions == "fearful"
    truth = np.stack([sad, fearful, sad | fearful], axis=1)
    known = np.zeros_like(truth)
    for name in set(sets.tolist()):
        known[sets == name] = truth[sets == name].any(axis=0)
    assert truth.shape[1] == len(TASKS)
    return Labels(truth, known)


def folds_of(clips: Sequence[Clip], count: int) -> npt.NDArray[np.intp]:
    """The fold of each clip, 0..count-1, (N,): a person is in one fold, whatever the seed.

    The people of each set and sex are dealt out in order, so every fold holds some of each.
    """
    people: dict[tuple[str, Sex], set[str]] = defaultdict(set)
    for clip in clips:
        people[clip.dataset, clip.sex].add(clip.person)
    dealt: dict[tuple[str, str], int] = {}
    place = 0
    for (dataset, _), group in sorted(people.items()):
        for person in sorted(group):
            dealt[dataset, person] = place % count
            place += 1
    return np.asarray([dealt[clip.dataset, clip.person] for clip in clips])


def licences_of(clips: Iterable[Clip]) -> tuple[tuple[str, str], ...]:
    """Each set's name and licence, in order of name."""
    return tuple(sorted({(clip.dataset, clip.licence) for clip in clips}))
