"""Androids: Italian, patients diagnosed by psychiatrists and controls; reading and interview.

Rules it upholds: a person has one name in both tasks (number and condition, as the corpus says)
and one fold: the interview's official one, else the reading's (the two lists deal differently).
The interview's clips hold the participant's turns only.

    17_PF56_2.wav    number 17, Patient (Control), Female, 56 years, education 1 to 4 or X

Source: Tao, Esposito, Vinciarelli, "The Androids Corpus", Interspeech 2023; the README of
github.com/androidscorpus/data. Its fold list has five columns for reading (1 to 5) and five for
the interview (8 to 12).
"""

import re
from pathlib import Path
from typing import Final

from edge_models.training.corpora.layout import Corpus, Layout, LeftOut
from edge_models.training.corpora.records import Clinical, Clip, Sex
from edge_models.training.corpora.tables import lines_of

LAYOUT: Final = Layout(
    name="androids",
    title="Androids",
    requested="https://github.com/androidscorpus/data",
    licence="academic research only, no redistribution",
    language="it",
    tree="""\
DIR/
├── fold-lists.csv
├── Reading-Task/audio/
│   ├── HC/01_CF56_1.wav …
│   └── PT/01_PM65_2.wav …
└── Interview-Task/audio_clip/
    ├── 01_CF56_1/01_CF56_1_1.wav …
    └── 01_PM65_2/ …""",
)
_NAME: Final = re.compile(r"'?(\d\d)_([PC])([FM])(\d\d)_[1-4X](?:_\d+)?'?")
_LISTS: Final = ("fold-lists.csv", "fold-list.csv")
_READING: Final = range(5)
_INTERVIEW: Final = range(7, 12)
_TEXT: Final = "north wind"


def androids(folder: Path) -> Corpus:
    """One clip for each reading, and one for each of the participant's turns in the interview.

    Raises:
        RecordingError: there is no fold list, or no sound.
    """
    lists = next((folder / name for name in _LISTS if (folder / name).is_file()), None)
    if lists is None:
        raise LAYOUT.missing(folder, f"list '{_LISTS[0]}'")
    folds = _folds(lists)
    reading = sorted((folder / "Reading-Task").glob("**/*.wav"))
    interview = sorted((folder / "Interview-Task" / "audio_clip").glob("*/*.wav"))
    clips, strange, unlisted = [], [], set()
    for path, session in [(one, "reading") for one in reading] + [
        (one, "interview") for one in interview
    ]:
        named = _NAME.fullmatch(path.stem)
        if named is None:
            strange.append(path.name)
        elif (person := _person(named)) not in folds:
            unlisted.add(person)
        else:
            clips.append(_clip(path, named, session, folds[person]))
    return LAYOUT.corpus(
        folder,
        clips,
        LeftOut("a strange name", tuple(strange)),
        LeftOut("in no fold", tuple(sorted(unlisted))),
    )


def _person(named: re.Match[str]) -> str:
    return f"androids{named[1]}{named[2]}"


def _clip(path: Path, named: re.Match[str], session: str, fold: int) -> Clip:
    return Clip(
        path=str(path),
        dataset=LAYOUT.name,
        licence=LAYOUT.licence,
        person=_person(named),
        emotion="",
        sex=Sex.FEMALE if named[3] == "F" else Sex.MALE,
        session=session,
        sentence=_TEXT if session == "reading" else "",
        clinical=Clinical(diagnosis=named[2] == "P"),
        fold=fold,
        age=float(named[4]),
        language=LAYOUT.language,
    )


def _folds(path: Path) -> dict[str, int]:
    """The fold 0..4 of each person."""
    folds: dict[str, int] = {}
    for columns in (_READING, _INTERVIEW):
        for line in lines_of(path):
            for column in columns:
                named = _NAME.fullmatch(line[column].strip()) if column < len(line) else None
                if named is not None:
                    folds[_person(named)] = column - columns.start
    return folds
