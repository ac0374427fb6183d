"""EmoDB (Berlin): acted German, seven emotions, ten texts, ten actors.

Rules it upholds: sexes and ages are those of the database's own page; the version letter is the
session, the text code the sentence. Fear and disgust are rare; each set says for itself what it
holds.

    03a01Fa.wav    SPEAKER, TEXT a01, EMOTION F, VERSION a

Source: Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss, "A database of German emotional speech",
Interspeech 2005.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from edge_models.training.corpora.layout import Corpus, Layout, LeftOut
from edge_models.training.corpora.records import Clip, Sex

LAYOUT: Final = Layout(
    name="emodb",
    title="EmoDB",
    requested="http://emodb.bilderbar.info",
    licence="public research release, no licence text found",
    language="de",
    tree="""\
DIR/
└── wav/
    ├── 03a01Fa.wav
    └── …""",
)
_NAME: Final = re.compile(r"(\d\d)([ab]\d\d)([WLEAFTN])([a-z]?)")
_EMOTIONS: Final = {
    "W": "angry",
    "L": "boredom",
    "E": "disgust",
    "A": "fearful",
    "F": "happy",
    "T": "sad",
    "N": "neutral",
}
_PEOPLE: Final = {
    "emo03": (Sex.MALE, 31),
    "emo08": (Sex.FEMALE, 34),
    "emo09": (Sex.FEMALE, 21),
    "emo10": (Sex.MALE, 32),
    "emo11": (Sex.MALE, 26),
    "emo12": (Sex.MALE, 30),
    "emo13": (Sex.FEMALE, 32),
    "emo14": (Sex.FEMALE, 35),
    "emo15": (Sex.MALE, 25),
    "emo16": (Sex.FEMALE, 31),
}


def emodb(folder: Path) -> Corpus:
    """All clips of the original `wav` folder.

    Raises:
        RecordingError: there is none.
    """
    clips, strange = [], []
    for path in sorted((folder / "wav").glob("*.wav")):
        named = _NAME.fullmatch(path.stem)
        if named is None:
            strange.append(path.name)
            continue
        person, emotion = f"emo{named[1]}", _EMOTIONS[named[3]]
        clip = Clip(str(path), LAYOUT.name, LAYOUT.licence, person, emotion, Sex.UNKNOWN)
        clips.append(told(clip))
    return LAYOUT.corpus(folder, clips, LeftOut("a strange name", tuple(strange)))


def told(clip: Clip) -> Clip:
    """The clip with what is known of its speaker, and the text and version of its file name."""
    sex, age = _PEOPLE.get(clip.person, (clip.sex, clip.age))
    named = _NAME.fullmatch(Path(clip.path).stem)
    if named is None:
        return replace(clip, sex=sex, age=age, language=LAYOUT.language)
    return replace(
        clip,
        sex=sex,
        age=age,
        session=named[4],
        sentence=named[2],
        language=LAYOUT.language,
    )
