"""The head: a linear map from the embedding to three calibrated scores.

Rules it upholds: tens of parameters, the only part that people's devices will train; scores are
probabilities under equal priors (0.5 says that the evidence points neither way), because how
common distress is among acted sentences says nothing about anybody's life. Distress is scored
for itself: it is usually, but not necessarily, at least as high as the other two.

Place in the life of a frame: int8 body → embedding → **head** → scores.
"""

from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge_models.assessment import Scores
from edge_models.errors import BundleError, ContractError

Row = npt.NDArray[np.float32]
Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]

_LONGEST_BYTES: Final = 64 * 1024


class Head(BaseModel):
    """One row of weights and one bias for each of `assessment.TASKS`, and their calibration.

    The score of a task is sigmoid(slope · (weights · embedding + bias) + shift).

    Source: Platt, "Probabilistic outputs for support vector machines", 1999, equation 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: tuple[Literal["sadness"], Literal["fear"], Literal["distress"]]
    weights: tuple[tuple[Finite, ...], tuple[Finite, ...], tuple[Finite, ...]]
    biases: tuple[Finite, Finite, Finite]
    slopes: tuple[Finite, Finite, Finite]
    shifts: tuple[Finite, Finite, Finite]

    @model_validator(mode="after")
    def _one_length(self) -> "Head":
        sizes = {len(row) for row in self.weights}
        if len(sizes) != 1 or not 1 <= sizes.pop() <= 256:
            raise ValueError("the rows of weights have one length, between 1 and 256")
        if min(self.slopes) <= 0:
            raise ValueError("slopes are positive")
        return self

    @property
    def embedding_size(self) -> int:
        """How many numbers an embedding has."""
        return len(self.weights[0])

    def logits(self, embedding: Row) -> npt.NDArray[np.float64]:
        """Calibrated log-odds for each task, float64 (3,), of an embedding, float32 (E,).

        Raises:
            ContractError: the embedding has another length or isn't finite.
        """
        if embedding.shape != (self.embedding_size,) or not np.isfinite(embedding).all():
            raise ContractError("An embedding is one finite number for each weight of the head.")
        plain = np.asarray(self.weights) @ embedding.astype(np.float64) + np.asarray(self.biases)
        return np.asarray(np.asarray(self.slopes) * plain + np.asarray(self.shifts))

    def score(self, embedding: Row) -> Scores:
        """Probabilities, under equal priors, that a window sounds sad, fearful, or either.

        Raises:
            ContractError: the embedding has another length or isn't finite.
        """
        sadness, fear, distress = sigmoid(self.logits(embedding))
        return Scores(float(sadness), float(fear), float(distress))


def sigmoid(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Log-odds to probabilities, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))


def parse_head(raw: bytes) -> Head:
    """Read `head.json`.

    Raises:
        BundleError: the bytes are not a head.
    """
    if len(raw) <= _LONGEST_BYTES:
        try:
            return Head.model_validate_json(raw)
        except ValidationError as fault:
            reason = fault
    else:
        reason = None
    raise BundleError(
        "The bundle's 'head.json' is not a head that this version understands.",
        "Install the bundle again.",
    ) from reason
