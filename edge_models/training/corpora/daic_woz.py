"""DAIC-WOZ: English interviews by a virtual agent, PHQ-8 sums, official splits (AVEC 2017).

Rules it upholds: turns come from the transcript's lines of the speaker *Participant*; known faults
of the release are mended as published, and nothing else is.

    interruptions   373 and 444: somebody came in, these stretches are nobody's turn
    shifts          318, 321, 341, 362: the transcript's clock starts late

Source: Gratch et al., LREC 2014; DAICWOZDepression_Documentation_AVEC2017.pdf (layout, columns,
interruptions); Bailey, Plumbley, "Gender Bias in Depression Detection", EUSIPCO 2021, whose code
states the shifts. PHQ8_Binary is PHQ8_Score >= 10.
"""

from pathlib import Path
from typing import Final

from edge_models.training.corpora.daic import Turns, interviews, listed, timed
from edge_models.training.corpora.layout import Corpus, Layout
from edge_models.training.corpora.records import Split
from edge_models.training.corpora.tables import rows_of

LAYOUT: Final = Layout(
    name="daic-woz",
    title="DAIC-WOZ",
    requested="https://dcapswoz.ict.usc.edu (an agreement with the University of Southern "
    "California)",
    licence="DAIC-WOZ end user licence, research only",
    language="en",
    tree="""\
DIR/
├── train_split_Depression_AVEC2017.csv    Participant_ID, PHQ8_Binary, PHQ8_Score, Gender, …
├── dev_split_Depression_AVEC2017.csv
├── full_test_split.csv                    Participant_ID, PHQ_Binary, PHQ_Score, Gender
├── 300_P/
│   ├── 300_AUDIO.wav
│   └── 300_TRANSCRIPT.csv                 start_time, stop_time, speaker, value
└── 301_P/ …""",
)
_LISTS: Final = (
    ("train_split_Depression_AVEC2017.csv", Split.TRAIN),
    ("dev_split_Depression_AVEC2017.csv", Split.DEV),
    ("full_test_split.csv", Split.TEST),
)
_COLUMNS: Final = ("start_time", "stop_time", "speaker", "value")
_SHIFTS_S: Final = {"318": 34.319917, "321": 3.8379167, "341": 6.1892, "362": 16.8582}
_INTERRUPTED_S: Final = {"373": (395.0, 428.0), "444": (286.0, 387.0)}
_SETTING_UP: Final = ("<sync", "[sync", "<ellie starts", "<talking to experimenter")


def daic_woz(folder: Path) -> Corpus:
    """One clip for each interview, with the participant's turns.

    Raises:
        RecordingError: a list is missing, somebody is in two splits, or no interview has sound.
    """
    return interviews(folder, LAYOUT, listed(folder, LAYOUT, _LISTS), _turns, folder)


def _turns(home: Path, session: str) -> Turns:
    rows = [
        row
        for row in rows_of(home / f"{session}_TRANSCRIPT.csv", _COLUMNS)
        if row["speaker"].lower() == "participant"
        and not row["value"].lower().startswith(_SETTING_UP)
    ]
    turns = timed(rows, "start_time", "stop_time", _SHIFTS_S.get(session, 0.0))
    if session not in _INTERRUPTED_S:
        return tuple(turns)
    from_s, to_s = _INTERRUPTED_S[session]
    return tuple(turn for turn in turns if turn[1] <= from_s or turn[0] >= to_s)
