"""One record of one recording: who spoke, what is known of it, and which part is the person's own.

Rules it upholds: what a set does not hold is None or "", never a guess; a sum outside its
questionnaire's range can't exist; no label is ever printed.

    affect      an acted emotion word: sadness and fear stand in for what nobody publishes
    clinical    a questionnaire's sum or a clinician's diagnosis

Source: cut-offs. PHQ-8 and PHQ-9 >= 10: Kroenke et al., J. Affect. Disord. 114, 2009. GAD-7 >= 10:
Spitzer et al., Arch. Intern. Med. 166, 2006. SDS index >= 53: the EATD paper (arXiv 2202.08210).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from edge_models.errors import RecordingError

EMOTIONS: Final = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
"""The emotions told apart while training; `bored` and the like count as clips without a word."""

PHQ_FROM: Final = 10
GAD_FROM: Final = 10
SDS_FROM: Final = 53.0
_RANGES: Final = (("phq8", 0, 24), ("phq9", 0, 27), ("gad7", 0, 21), ("sds", 25, 100))
_AGE_BANDS: Final = ((60, "60+"), (45, "45-59"), (30, "30-44"), (18, "18-29"), (0, "<18"))
_OLDEST: Final = 120


class LabelError(RecordingError):
    """A label that can't be true: a sum outside its questionnaire, an age beyond a life."""


class Sex(StrEnum):
    """Sex as the set's documentation states it."""

    FEMALE = "female"
    MALE = "male"
    UNKNOWN = "unknown"


class Split(StrEnum):
    """The official part of a set that a person belongs to."""

    NONE = ""
    TRAIN = "train"
    DEV = "dev"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Clinical:
    """What questionnaires and clinicians said of a session; None where a set does not hold it.

    `phq8` 0..24, `phq9` 0..27, `gad7` 0..21, `sds` the SDS index 25..100, `diagnosis` of a
    depressive disorder.

    Raises:
        LabelError: a sum is outside its range.
    """

    phq8: int | None = None
    phq9: int | None = None
    gad7: int | None = None
    sds: float | None = None
    diagnosis: bool | None = None

    def __post_init__(self) -> None:
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise LabelError(f"A {name} lies in {least} to {most}.", "Correct the label.")

    @property
    def depression(self) -> bool | None:
        """Whether any of PHQ >= 10, SDS >= 53 or a diagnosis says so; None where none is held."""
        told = [score >= PHQ_FROM for score in (self.phq8, self.phq9) if score is not None]
        told += [self.sds >= SDS_FROM] if self.sds is not None else []
        told += [self.diagnosis] if self.diagnosis is not None else []
        return any(told) if told else None

    @property
    def anxiety(self) -> bool | None:
        """Whether GAD-7 >= 10; None where it is not held."""
        return None if self.gad7 is None else self.gad7 >= GAD_FROM

    @property
    def known(self) -> bool:
        """Whether it says anything of depression or anxiety."""
        return self.depression is not None or self.anxiety is not None


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording of one person in one session.

    `path` is relative to the recordings' folder, or whole; `emotion` is "" in clinical sets.
    `session` names a day or repetition, `sentence` the text that was read ("": free or unknown).
    `split` and `fold` are the set's official ones; `age` in years; `language` by ISO 639-1.
    `turns` are start and end in seconds of the person's own speech, () when all of it is.
    `features_only` marks numbers that others computed: no sound, so nothing can be heard anew.
    """

    path: str
    dataset: str
    licence: str
    person: str
    emotion: str
    sex: Sex
    session: str = ""
    sentence: str = ""
    clinical: Clinical = Clinical()
    split: Split = Split.NONE
    fold: int | None = None
    age: float | None = None
    language: str = ""
    turns: tuple[tuple[float, float], ...] = ()
    features_only: bool = False

    def __post_init__(self) -> None:
        if self.age is not None and not 0 <= self.age <= _OLDEST:
            raise LabelError(f"An age lies in 0 to {_OLDEST} years.", "Correct the table.")
        if any(not 0 <= start < end for start, end in self.turns):
            raise LabelError("A turn ends after it starts.", "Correct the transcript.")

    @property
    def age_band(self) -> str:
        """The band of the age, such as "30-44"; "" where it is unknown."""
        if self.age is None:
            return ""
        return next(name for least, name in _AGE_BANDS if self.age >= least)
