"""MODMA, audio: 23 Chinese patients with a major depressive disorder, 29 controls; 29 recordings.

Rules it upholds: diagnosis, PHQ-9 and GAD-7 all come from the corpus's own sheet; Excel drops the
first zero of a subject's number, so folders are found by eight digits; of the recordings only
what is read from paper has a sentence.

    01 to 18 answers    19 a passage, read    20 to 25 words, read    26 to 29 pictures, described

The release has no splits: people are dealt into folds. Its recordings are soft, and a few files of
subject 02010004 are known to be unreadable.

Source: Cai et al., "MODMA dataset", arXiv 2002.09283; Sci. Data 9:178, 2022.
"""

import re
from pathlib import Path
from typing import Final

from edge_models.training.corpora.layout import Corpus, Layout, LeftOut
from edge_models.training.corpora.records import Clinical, Clip, LabelError, Sex
from edge_models.training.corpora.tables import number, rows_of, whole

LAYOUT: Final = Layout(
    name="modma",
    title="MODMA",
    requested="http://modma.lzu.edu.cn (a signed agreement with Lanzhou University)",
    licence="MODMA user licence, research only",
    language="zh",
    tree="""\
DIR/
├── subjects_information_audio_lanzhou_2015.xlsx   subject id, type, age, gender, PHQ-9, GAD-7, …
├── 02010001/
│   ├── 01.wav
│   └── … 29.wav
└── 02010002/ …""",
)
_SHEETS: Final = tuple(
    f"subjects_information_audio_lanzhou_2015.{suffix}" for suffix in ("xlsx", "csv")
)
_COLUMNS: Final = ("subject id", "type", "age", "gender", "PHQ-9", "GAD-7")
_TYPES: Final = {"MDD": True, "HC": False}
_SEXES: Final = {"M": Sex.MALE, "F": Sex.FEMALE}
_READ: Final = range(19, 26)
_NAME: Final = re.compile(r"\d\d")


def modma(folder: Path) -> Corpus:
    """All recordings of each subject.

    Raises:
        RecordingError: there is no sheet, it lacks a column, or there is no sound.
    """
    sheet = next((folder / name for name in _SHEETS if (folder / name).is_file()), None)
    if sheet is None:
        raise LAYOUT.missing(folder, f"sheet '{_SHEETS[0]}'")
    clips, silent, impossible = [], [], []
    subjects = set()
    for row in rows_of(sheet, _COLUMNS):
        if not row["subject id"]:  # the sheet's own legend
            continue
        subject = row["subject id"].removesuffix(".0").zfill(8)
        subjects.add(subject)
        sounds = [one for one in sorted((folder / subject).glob("*.wav")) if _NAME.match(one.stem)]
        if not sounds:
            silent.append(subject)
            continue
        try:
            clips += [_clip(sound, subject, row) for sound in sounds]
        except LabelError:
            impossible.append(subject)
    homes = (path.name for path in sorted(folder.iterdir()) if path.is_dir())
    return LAYOUT.corpus(
        folder,
        clips,
        LeftOut("without sound", tuple(silent)),
        LeftOut("labels out of range", tuple(impossible)),
        LeftOut("not in the sheet", tuple(home for home in homes if home not in subjects)),
    )


def _clip(path: Path, subject: str, row: dict[str, str]) -> Clip:
    if row["type"].upper() not in _TYPES:
        raise LabelError("A subject is neither MDD nor HC.")
    place = int(path.stem[:2])
    return Clip(
        path=str(path),
        dataset=LAYOUT.name,
        licence=LAYOUT.licence,
        person=f"modma{subject}",
        emotion="",
        sex=_SEXES.get(row["gender"].upper()[:1], Sex.UNKNOWN),
        session="1",
        sentence=f"{place:02d}" if place in _READ else "",
        clinical=Clinical(
            phq9=whole(row["PHQ-9"]),
            gad7=whole(row["GAD-7"]),
            diagnosis=_TYPES[row["type"].upper()],
        ),
        age=number(row["age"]),
        language=LAYOUT.language,
    )
