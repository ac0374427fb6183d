"""From a window of sound to scores: the part that `run` and `describe` share, whole.

Rules it upholds: raw samples end in `hear` (the window is wiped there); the personal
baseline is causal (a window is normalised by what came before it, then joins it); a window
without enough evidence is not scored, and says why.

Place in the life of a frame: windows → **hear** (gate, acoustic graph) → **judge** (functionals,
baseline, int8 body, head) → a record for the store.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from agent.records import OwnBaseline
from edge_models.acoustic import AcousticFrontEnd
from edge_models.assessment import Abstention, Assessment
from edge_models.baseline import Baseline
from edge_models.bundle import Bundle
from edge_models.classifier import Classifier
from edge_models.head import Head
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
    """A window's `summary` float32 (88,) before the baseline, `embedding` float32 (E,), answer.

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
        self, heard: Heard, baseline: Baseline, *, alone: bool | None, short: bool = False
    ) -> tuple[Judged, Baseline]:
        """Summarise, normalise, embed and score; returns also the baseline with this window in it.

        A window with less speech than the bundle asks for is not described; `short` asks for the
        little that one window of a whole short recording needs. `alone` is None if nobody looked.
        """
        thresholds = self.bundle.thresholds
        least_s = thresholds.minimum_speech_short_s if short else thresholds.minimum_speech_s
        if heard.speech_s < least_s:
            return Judged(None, None, self._classifier.abstain_for_speech()), baseline
        summary = self._front_end.summary(heard.descriptors, heard.speech)
        embedding = self._classifier.embedding(baseline.normalised(summary))
        answer = self._classifier.assess(embedding, alone=alone)
        # Somebody else's voice may be in it: such a window says nothing of the person's own.
        kept = baseline if alone is False else baseline.including(summary)
        return Judged(summary, embedding, answer), kept


@dataclass(frozen=True, slots=True, eq=False)
class Screened:
    """What came of a window: seconds of speech, the answer, who gave it, the baseline after it."""

    speech_s: float
    judged: Judged
    bundle: str
    serial: int
    space: str
    baseline: OwnBaseline


class Ear:
    """A screener with the person's own baseline by its measure: window in, answer out.

    `serial` is the bundle's, 0 for what the installation came with.
    """

    def __init__(self, screener: Screener, baseline: Baseline, serial: int = 0) -> None:
        self._screener = screener
        self._serial = serial
        self.baseline = baseline

    @property
    def bundle(self) -> Bundle:
        """What it screens with."""
        return self._screener.bundle

    def screen(self, window: AudioWindow | None, *, alone: bool | None) -> Screened:
        """Screen a window and overwrite its sound; None: nothing was heard, only seen.

        The baseline moves on only when all of it went well.
        """
        bundle = self._screener.bundle
        speech_s, judged = 0.0, Judged(None, None, Assessment(None, Abstention.NOT_HEARD))
        if window is not None:
            heard = self._screener.hear(window)
            judged, after = self._screener.judge(heard, self.baseline, alone=alone)
            self.baseline, speech_s = after, heard.speech_s
        kept = OwnBaseline(bundle.hearing, self.baseline.to_bytes())
        return Screened(speech_s, judged, bundle.name, self._serial, bundle.space, kept)
