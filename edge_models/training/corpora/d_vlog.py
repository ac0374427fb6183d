"""D-Vlog: 961 English video blogs, as numbers only: the release holds no sound.

Rules it upholds: what can't be heard is not passed off as heard. The 25 acoustic columns are
openSMILE's eGeMAPS descriptors *averaged over each second*; the functionals here are taken over
100 rows a second with a mask of speech (percentiles, slopes, segment lengths), so the two do not
map. The records are marked `features_only`, and `described` refuses them with a sentence.

Labels are the annotators' impression of a video, no questionnaire and no diagnosis; and 816
people made the 961 videos while the release does not say who made which, so a split by person
can't be promised.

Source: Yoon, Kang, Kim, Han, "D-Vlog: Multimodal Vlog Dataset for Depression Detection", AAAI 2022.
"""

from pathlib import Path
from typing import Final

from edge_models.training.corpora.layout import Corpus, Layout, LeftOut
from edge_models.training.corpora.records import Clinical, Clip, Sex, Split
from edge_models.training.corpora.tables import rows_of

LAYOUT: Final = Layout(
    name="d-vlog",
    title="D-Vlog",
    requested="https://sites.google.com/view/jeewoo-yoon/dataset (a form, then an e-mail)",
    licence="D-Vlog data agreement, research only",
    language="en",
    tree="""\
DIR/
├── labels.csv             index, label, duration, gender, fold
├── 0/
│   ├── 0_acoustic.npy     (seconds, 25)
│   └── 0_visual.npy       (seconds, 136)
└── 1/ …""",
)
_COLUMNS: Final = ("index", "label", "gender", "fold")
_LABELS: Final = {"depression": True, "normal": False}
_FOLDS: Final = {"train": Split.TRAIN, "valid": Split.DEV, "test": Split.TEST}
_SEXES: Final = {"m": Sex.MALE, "f": Sex.FEMALE}


def d_vlog(folder: Path) -> Corpus:
    """One record for each video, marked `features_only`.

    Raises:
        RecordingError: there is no list, one of its folds is missing, or there are no features.
    """
    path = folder / "labels.csv"
    if not path.is_file():
        raise LAYOUT.missing(folder, "list 'labels.csv'")
    rows = rows_of(path, _COLUMNS)
    for name in _FOLDS:
        if not any(row["fold"].lower() == name for row in rows):
            raise LAYOUT.missing(folder, f"fold '{name}' in 'labels.csv'")
    clips, absent, strange = [], [], []
    for row in rows:
        name = row["index"]
        acoustic = folder / name / f"{name}_acoustic.npy"
        if row["label"].lower() not in _LABELS or row["fold"].lower() not in _FOLDS:
            strange.append(name)
        elif not acoustic.is_file():
            absent.append(name)
        else:
            clips.append(_record(acoustic, row))
    return LAYOUT.corpus(
        folder,
        clips,
        LeftOut("without features", tuple(absent)),
        LeftOut("a strange label or fold", tuple(strange)),
    )


def _record(path: Path, row: dict[str, str]) -> Clip:
    return Clip(
        path=str(path),
        dataset=LAYOUT.name,
        licence=LAYOUT.licence,
        person=f"dvlog{row['index']}",
        emotion="",
        sex=_SEXES.get(row["gender"].lower()[:1], Sex.UNKNOWN),
        session="1",
        clinical=Clinical(diagnosis=_LABELS[row["label"].lower()]),
        split=_FOLDS[row["fold"].lower()],
        language=LAYOUT.language,
        features_only=True,
    )
