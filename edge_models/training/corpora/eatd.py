"""EATD-Corpus: 162 Chinese volunteers, three spoken answers each, the self-rating SDS.

Rules it upholds: the raw answers are heard, not the denoised `_out.wav`; an SDS index of 53 or
more counts as depression, as in the corpus's paper: a questionnaire, no diagnosis. The official
validation set is `dev`; the corpus has no test set.

Source: Shen, Yang, Lin, "Automatic Depression Detection: An Emotional Audio-Textual Corpus",
ICASSP 2022 (arXiv 2202.08210), and the README of its repository: `label.txt` is the raw SDS score,
`new_label.txt` the index (raw x 1.25).
"""

import re
from pathlib import Path
from typing import Final

from edge_models.training.corpora.layout import Corpus, Layout, LeftOut
from edge_models.training.corpora.records import Clinical, Clip, LabelError, Sex, Split
from edge_models.training.corpora.tables import number

LAYOUT: Final = Layout(
    name="eatd",
    title="EATD-Corpus",
    requested="https://github.com/speechandlanguageprocessing/ICASSP2022-Depression",
    licence="public research release, no licence text found",
    language="zh",
    tree="""\
DIR/
├── t_1/                     t: training, v: validation
│   ├── positive.wav
│   ├── neutral.wav
│   ├── negative.wav
│   ├── label.txt            raw SDS score
│   └── new_label.txt        SDS index
├── …
└── v_1/ …""",
)
_NAME: Final = re.compile(r"([tv])_(\d+)")
_ANSWERS: Final = ("positive", "neutral", "negative")
_INDEX_OF_RAW: Final = 1.25


def eatd(folder: Path) -> Corpus:
    """Three clips for each volunteer.

    Raises:
        RecordingError: one of the two sets is missing, or there is no sound.
    """
    homes = (
        sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
        if (folder.is_dir())
        else []
    )
    for letter, title in (("t", "training"), ("v", "validation")):
        if not any(home.name.startswith(letter) for home in homes):
            raise LAYOUT.missing(folder, f"{title} set ('{letter}_1' and so on)")
    clips, silent, impossible = [], [], []
    for home in homes:
        try:
            clinical = Clinical(sds=_index(home))
        except LabelError:
            impossible.append(home.name)
            continue
        sounds = [home / f"{answer}.wav" for answer in _ANSWERS]
        silent += [f"{home.name}/{sound.name}" for sound in sounds if not sound.is_file()]
        clips += [_clip(sound, home.name, clinical) for sound in sounds if sound.is_file()]
    return LAYOUT.corpus(
        folder,
        clips,
        LeftOut("without sound", tuple(silent)),
        LeftOut("SDS missing or out of range", tuple(impossible)),
    )


def _index(home: Path) -> float:
    for name, factor in (("new_label.txt", 1.0), ("label.txt", _INDEX_OF_RAW)):
        try:
            told = number((home / name).read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError):
            continue
        if told is not None:
            return told * factor
    raise LabelError("A volunteer has no SDS score.")


def _clip(path: Path, name: str, clinical: Clinical) -> Clip:
    return Clip(
        path=str(path),
        dataset=LAYOUT.name,
        licence=LAYOUT.licence,
        person=f"eatd-{name}",
        emotion="",
        sex=Sex.UNKNOWN,
        session="1",
        clinical=clinical,
        split=Split.TRAIN if name.startswith("t") else Split.DEV,
        language=LAYOUT.language,
    )
