"""What the classifier says of one window: calibrated scores, or why there are none."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from edge_models.errors import ContractError

TASKS: Final = ("sadness", "fear", "distress")
"""Affect stand-ins: sadness for the depression task, fear for the anxiety task, and both."""


class Abstention(StrEnum):
    """Why a window is not scored, in the words that the person's page uses."""

    TOO_LITTLE_SPEECH = "too little speech"
    NOT_ALONE = "not alone"
    NOT_HEARD = "not heard"


@dataclass(frozen=True, slots=True)
class Scores:
    """Calibrated probabilities in 0..1 that the window's speech sounds sad, fearful, or either.

    They are affect figures, not a diagnosis and not a clinical probability.
    """

    sadness: float
    fear: float
    distress: float

    def __post_init__(self) -> None:
        if not all(0.0 <= score <= 1.0 for score in (self.sadness, self.fear, self.distress)):
            raise ContractError("A score is a probability.")


@dataclass(frozen=True, slots=True)
class Assessment:
    """The scores of a window, or the reason why it has none; exactly one of the two."""

    scores: Scores | None
    abstained: Abstention | None

    def __post_init__(self) -> None:
        if (self.scores is None) == (self.abstained is None):
            raise ContractError("A window is scored, or it says why not.")
