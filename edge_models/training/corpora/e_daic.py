"""E-DAIC: DAIC-WOZ and 86 later interviews by an autonomous agent, with AVEC 2019's splits.

Rules it upholds: whoever is in both releases has one name, so a split by person holds. E-DAIC
*contains* DAIC-WOZ: give one of the two.

The transcripts are a recogniser's and have no column for the speaker: a line may be the agent's,
heard through the participant's microphone. So turns here are *speech of the recording*, and
figures on E-DAIC carry that doubt; DAIC-WOZ's lines name the speaker.

Source: DeVault et al., AAMAS 2014; Ringeval et al., "AVEC 2019 workshop and challenge", 2019; the
release's labels/ folder (Detailed_PHQ8_Labels.csv has PHQ_8Total).
"""

from pathlib import Path
from typing import Final

from edge_models.training.corpora.daic import Turns, interviews, listed, timed
from edge_models.training.corpora.layout import Corpus, Layout
from edge_models.training.corpora.records import Split
from edge_models.training.corpora.tables import rows_of

LAYOUT: Final = Layout(
    name="e-daic",
    title="E-DAIC",
    requested="https://dcapswoz.ict.usc.edu (an agreement with the University of Southern "
    "California)",
    licence="E-DAIC end user licence, research only",
    language="en",
    tree="""\
DIR/
├── labels/
│   ├── train_split.csv          Participant_ID, Gender, PHQ_Binary, PHQ_Score (or PHQ_8Total), …
│   ├── dev_split.csv
│   └── test_split.csv
└── data/
    ├── 300_P/
    │   ├── 300_AUDIO.wav
    │   └── 300_Transcript.csv   Start_Time, End_Time, Text, Confidence
    └── 301_P/ …""",
)
_LISTS: Final = (
    ("train_split.csv", Split.TRAIN),
    ("dev_split.csv", Split.DEV),
    ("test_split.csv", Split.TEST),
)
_COLUMNS: Final = ("Start_Time", "End_Time")


def e_daic(folder: Path) -> Corpus:
    """One clip for each interview, with the transcript's lines as turns.

    Raises:
        RecordingError: a list is missing, somebody is in two splits, or no interview has sound.
    """
    told = listed(folder / "labels", LAYOUT, _LISTS)
    return interviews(folder, LAYOUT, told, _turns, folder / "data")


def _turns(home: Path, session: str) -> Turns:
    rows = rows_of(home / f"{session}_Transcript.csv", _COLUMNS)
    return tuple(timed(rows, "Start_Time", "End_Time"))
