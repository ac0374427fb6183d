"""A folder described by its own MANIFEST.csv: any set, affect or clinical.

Needed columns: path, dataset, licence, identity, label, extra. More that are understood, each
empty where it is unknown: session, sentence, sex, age, language, split, phq8, phq9, gad7, sds,
diagnosis (yes or no). Speech lies in `speech/`; other rows are none of this loader's business.

Rules it upholds: an unknown word among the labels drops the clip, never guesses; a label out of
its range drops it by name; RAVDESS and EmoDB are read by their file names here, too.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from edge_models.errors import RecordingError
from edge_models.training.corpora import emodb, ravdess
from edge_models.training.corpora.layout import Corpus, LeftOut
from edge_models.training.corpora.records import (
    EMOTIONS,
    Clinical,
    Clip,
    LabelError,
    Sex,
    Split,
)
from edge_models.training.corpora.tables import number, rows_of, whole

MANIFEST: Final = "MANIFEST.csv"
Meaning = TypeVar("Meaning")
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
_COLUMNS: Final = ("path", "dataset", "licence", "identity", "label", "extra")
_SPLITS: Final = {
    "": Split.NONE,
    "train": Split.TRAIN,
    "training": Split.TRAIN,
    "dev": Split.DEV,
    "valid": Split.DEV,
    "validation": Split.DEV,
    "test": Split.TEST,
}
_YES_OR_NO: Final = {"": None, "yes": True, "1": True, "true": True} | dict.fromkeys(
    ("no", "0", "false"), False
)


def affect_clips(folder: Path, datasets: Sequence[str] = ()) -> tuple[Clip, ...]:
    """All clips of the manifest with an emotion, of sets that hold sadness or fear.

    `datasets` restricts them to sets of these names.

    Raises:
        RecordingError: there is no manifest, it lacks a column, or it has no such clip.
    """
    clips = tuple(clip for clip in manifest_corpus(folder, datasets).clips if clip.emotion)
    if not clips:
        raise _nothing(folder)
    return clips


def manifest_corpus(folder: Path, datasets: Sequence[str] = ()) -> Corpus:
    """All clips of sets that hold sadness, fear or clinical labels, and what was left out.

    Raises:
        RecordingError: there is no manifest, it lacks a column, or it has no such clip.
    """
    clips: list[Clip] = []
    strange: list[str] = []
    impossible: list[str] = []
    for row in _rows(folder):
        if not row["path"].startswith("speech/") or not row["identity"]:
            continue
        if datasets and row["dataset"] not in datasets:
            continue
        if ".." in Path(row["path"]).parts:
            raise RecordingError(
                f"'{row['path']}' leads out of the recordings' folder.",
                f"Name only files below it in {MANIFEST}.",
            )
        try:
            clip = _clip(row)
        except LabelError:
            impossible.append(row["path"])
            continue
        if clip.emotion or clip.clinical.known:
            clips.append(clip)
        elif row["label"]:
            strange.append(row["path"])
    telling = {
        clip.dataset for clip in clips if clip.emotion in ("sad", "fearful") or clip.clinical.known
    }
    chosen = tuple(clip for clip in clips if clip.dataset in telling)
    if not chosen:
        raise _nothing(folder)
    left_out = (
        LeftOut("an unknown word as label", tuple(strange)),
        LeftOut("a label out of its range", tuple(impossible)),
    )
    return Corpus(chosen, tuple(one for one in left_out if one.names))


def _nothing(folder: Path) -> RecordingError:
    return RecordingError(
        f"No affect speech is listed in '{folder / MANIFEST}'.",
        "Its column 'label' should hold words such as neutral, sad, fearful, angry, happy; or its "
        "columns phq8, phq9, gad7, sds, diagnosis clinical labels.",
    )


def _rows(folder: Path) -> list[dict[str, str]]:
    path = folder / MANIFEST
    if not path.is_file():
        raise RecordingError(
            f"'{path}' can't be read.", f"Set SOTTOVOCE_DATA to the folder that holds {MANIFEST}."
        )
    return rows_of(path, _COLUMNS)


def _clip(row: dict[str, str]) -> Clip:
    """A row as a clip; its emotion is "" where the word is unknown or there is none."""
    word = row["label"].lower()
    emotion = _WORDS.get(word, word)
    clip = Clip(
        path=row["path"],
        dataset=row["dataset"],
        licence=row["licence"],
        person=row["identity"],
        emotion=emotion if emotion in EMOTIONS or emotion in _OTHER else "",
        sex=_sex(row),
        session=row.get("session", ""),
        sentence=row.get("sentence", ""),
        clinical=Clinical(
            phq8=whole(row.get("phq8", "")),
            phq9=whole(row.get("phq9", "")),
            gad7=whole(row.get("gad7", "")),
            sds=number(row.get("sds", "")),
            diagnosis=_of(_YES_OR_NO, row.get("diagnosis", "")),
        ),
        split=_of(_SPLITS, row.get("split", "")),
        age=number(row.get("age", "")),
        language=row.get("language", "").lower(),
    )
    if row["dataset"] == ravdess.LAYOUT.name:
        return _completed(clip, ravdess.told(clip))
    if row["dataset"] == emodb.LAYOUT.name:
        return _completed(clip, emodb.told(clip))
    return clip


def _completed(clip: Clip, told: Clip) -> Clip:
    """The manifest's own words stand; what it leaves open comes from the file's name."""
    return replace(
        told,
        sex=told.sex if clip.sex is Sex.UNKNOWN else clip.sex,
        session=clip.session or told.session,
        sentence=clip.sentence or told.sentence,
        age=told.age if clip.age is None else clip.age,
        language=clip.language or told.language,
    )


def _of(meanings: dict[str, Meaning], word: str) -> Meaning:
    try:
        return meanings[word.lower()]
    except KeyError:
        raise LabelError(f"'{word}' is no such word.", "Correct the manifest.") from None


def _sex(row: dict[str, str]) -> Sex:
    """The column `sex`, else `sex=` in `extra`."""
    parts = [part.strip() for part in row["extra"].split(";")]
    in_extra = next((part[4:] for part in parts if part.startswith("sex=")), "")
    first = (row.get("sex", "") or in_extra)[:1].lower()
    return {"f": Sex.FEMALE, "m": Sex.MALE}.get(first, Sex.UNKNOWN)
