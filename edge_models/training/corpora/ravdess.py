"""RAVDESS: acted English, eight emotions, two sentences, twice each, 24 actors.

Rules it upholds: only speech (vocal channel 01) recorded as sound (modality 03) is taken, not the
songs nor the videos; the repetition is the session, the statement the sentence.

    03-01-04-02-01-02-11.wav    modality, channel, EMOTION, intensity, STATEMENT, REPETITION, ACTOR

Source: Livingstone, Russo, PLoS ONE 13(5): e0196391, 2018; the record's page describes the names.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from edge_models.training.corpora.layout import Corpus, Layout, LeftOut
from edge_models.training.corpora.records import EMOTIONS, Clip, Sex

LAYOUT: Final = Layout(
    name="ravdess",
    title="RAVDESS",
    requested="https://zenodo.org/records/1188976 (Audio_Speech_Actors_01-24.zip)",
    licence="CC BY-NC-SA 4.0",
    language="en",
    tree="""\
DIR/
├── Actor_01/
│   ├── 03-01-01-01-01-01-01.wav
│   └── …
└── Actor_24/""",
)
_NAME: Final = re.compile(r"03-01-(0[1-8])-0[12]-(0[12])-(0[12])-(\d\d)")


def ravdess(folder: Path) -> Corpus:
    """All spoken clips of the original folders.

    Raises:
        RecordingError: there is none.
    """
    paths = sorted(folder.glob("**/Actor_*/*.wav"))
    clips, strange = [], []
    for path in paths:
        clip = Clip(str(path), LAYOUT.name, LAYOUT.licence, "", "", Sex.UNKNOWN)
        named = _NAME.fullmatch(path.stem)
        if named is None:
            strange.append(path.name)
            continue
        whole = replace(clip, person=f"rav{named[4]}", emotion=EMOTIONS[int(named[1]) - 1])
        clips.append(told(whole))
    return LAYOUT.corpus(folder, clips, LeftOut("no spoken sound by its name", tuple(strange)))


def told(clip: Clip) -> Clip:
    """The clip with what its file name tells: sex (odd actors are men), repetition, statement."""
    sex, number = clip.sex, clip.person.removeprefix("rav")
    if number.isdigit():
        sex = Sex.MALE if int(number) % 2 else Sex.FEMALE
    named = _NAME.fullmatch(Path(clip.path).stem)
    if named is None:
        return replace(clip, sex=sex, language=LAYOUT.language)
    return replace(clip, sex=sex, session=named[3], sentence=named[2], language=LAYOUT.language)
