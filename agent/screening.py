"""From a window of sound to scores: the part that `run` and `describe` share, whole.

Rules it upholds: raw samples end in `hear` (the window is wiped there); the personal
baseline and moments are causal (a window is measured by what came before it, then joins it); a
window without enough evidence is not scored, and says why.

Place in the life of a frame: windows → **hear** (gate, acoustic graph) → **judge** (functionals,
baseline, int8 body, own moments, head) → a record for the store.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from agent.records import OwnBaseline
from edge_models.acoustic import AcousticFrontEnd
from edge_models.assessment import Abstention, Assessment
from edge_models.bundle import Bundle
from edge_models.classifier import Classifier
from edge_models.head import Head
from edge_models.own import Own
from edge_models.raw import SAMPLE_RATE_HZ
from edge_models.speech_gate import SpeechGate
from edge_models.windows import HOP_SAMPLES, AudioWindow

_ROWS_PER_S: Final = SAMPLE_RATE_HZ / HOP_SAMPLES


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What is left of a window's sound: `descriptors` float32 (T, 25), `speech` bool (T,)."""

    descriptors: npt.NDArray[np.float32]
    speech: npt.NDArray[np.bool_]

    @property
    def speech_s(self) -> float:
        """Seconds in which the gate heard speech."""
        return float(np.count_nonzero(self.speech)) / _ROWS_PER_S

    @staticmethod
    def joined(parts: list["Heard"]) -> "Heard":
        """Several windows of one recording as one."""
        return Heard(
            np.concatenate([part.descriptors for part in parts]),
            np.concatenate([part.speech for part in parts]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A window's `summary` float32 (88,) before the baseline, aligned `embedding` (E,), answer.

    Both arrays are None where too little speech was heard to describe the window.
    """

    summary: npt.NDArray[np.float32] | None
    embedding: npt.NDArray[np.float32] | None
    assessment: Assessment


class Screener:
    """Everything of a bundle that a window passes through, loaded once; `head` instead of its."""

    def __init__(self, bundle: Bundle, head: Head | None = None) -> None:
        self._gate = SpeechGate(bundle.graph("gate"))
        self._front_end = AcousticFrontEnd(bundle.graph("descriptors"), bundle.graph("functionals"))
        self._classifier = Classifier(bundle, head)
        self.bundle = bundle

    @property
    def embedding_size(self) -> int:
        """How many numbers an embedding has."""
        return self._classifier.embedding_size

    def hear(self, window: AudioWindow) -> Heard:
        """Gate and describe the sound of a window, then overwrite it."""
        try:
            speech = self._gate.speech(window)
            return Heard(self._front_end.descriptors(window), speech)
        finally:
            window.wipe()

    def judge(
        self, heard: Heard, own: Own, *, alone: bool | None, short: bool = False
    ) -> tuple[Judged, Own]:
        """Summarise, normalise, embed, align and score; returns also the person with this window.

        A window with less speech than the bundle asks for is not described; `short` asks for the
        little that one window of a whole short recording needs. `alone` is None if nobody looked.
        """
        thresholds = self.bundle.thresholds
        least_s = thresholds.minimum_speech_short_s if short else thresholds.minimum_speech_s
        if heard.speech_s < least_s:
            return Judged(None, None, self._classifier.abstain_for_speech()), own
        summary = self._front_end.summary(heard.descriptors, heard.speech)
        body = self._classifier.embedding
        if alone is False:  # somebody else's voice may be in it
            embedding, after = own.overheard(summary, body), own
        else:
            embedding, after = own.heard(summary, body)
        return Judged(summary, embedding, self._classifier.assess(embedding, alone=alone)), after


@dataclass(frozen=True, slots=True, eq=False)
class Screened:
    """What came of a window: seconds of speech, the answer, who gave it, what is usual after it."""

    speech_s: float
    judged: Judged
    bundle: str
    serial: int
    space: str
    baseline: OwnBaseline


class Ear:
    """A screener with what is usual for the person by its measure: window in, answer out.

    `serial` is the bundle's, 0 for what the installation came with.
    """

    def __init__(self, screener: Screener, own: Own, serial: int = 0) -> None:
        self._screener = screener
        self._serial = serial
        self.own = own

    @property
    def bundle(self) -> Bundle:
        """What it screens with."""
        return self._screener.bundle

    def screen(self, window: AudioWindow | None, *, alone: bool | None) -> Screened:
        """Screen a window and overwrite its sound; None: nothing was heard, only seen.

        What is usual moves on only when all of it went well.
        """
        bundle = self._screener.bundle
        speech_s, judged = 0.0, Judged(None, None, Assessment(None, Abstention.NOT_HEARD))
        if window is not None:
            heard = self._screener.hear(window)
            judged, after = self._screener.judge(heard, self.own, alone=alone)
            self.own, speech_s = after, heard.speech_s
        kept = OwnBaseline(bundle.hearing, self.own.to_bytes())
        return Screened(speech_s, judged, bundle.name, self._serial, bundle.space, kept)
