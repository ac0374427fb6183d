"""Golden vectors: windows whose answers are known, run on this device in both runtimes.

They are no one's windows: each is an average over the people of the training plus noise from a
fixed seed. They show that a runtime on this machine computes what was measured in training.

Place in the life of a bundle: verified files → **golden vectors** → use.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_models.baseline import Baseline, Population
from edge_models.errors import BundleError
from edge_models.head import Head
from edge_models.runner import Graph

_LONGEST_BYTES: Final = 256 * 1024
_SCORE_TOLERANCE: Final = 1e-6
Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)]
Row = tuple[Finite, ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far answers were apart at most: in embedding steps (one int8 step = 1) and scores.

    `sound_spreads` is how far a functional of the golden sound was from the stored one, in
    spreads of the population.
    """

    vectors: int
    sound_spreads: float
    onnx_steps: float
    tflite_steps: float
    between_steps: float
    between_scores: float


class Vector(BaseModel):
    """One window's functionals, and the embedding and scores that the ONNX body gave it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    summary: Row
    embedding: Row
    scores: tuple[Finite, Finite, Finite]


class Golden(BaseModel):
    """All vectors; `step` is one int8 step of the embedding, `allowed_steps` the tolerance.

    `sound` is the golden sound's functionals, which may differ by `allowed_spreads`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    step: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    allowed_steps: Annotated[float, Field(ge=0, le=8)]
    sound: Row
    allowed_spreads: Annotated[float, Field(gt=0, le=1)]
    vectors: Annotated[tuple[Vector, ...], Field(min_length=1, max_length=256)]

    def check(
        self,
        onnx: Graph,
        tflite: Graph,
        heard: npt.NDArray[np.float32],
        population: Population,
        head: Head,
    ) -> Agreement:
        """Run every vector through both bodies; `heard` is this machine's golden summary.

        Raises:
            BundleError: an embedding is further from the stored one than `allowed_steps`, a
                functional of the sound further than `allowed_spreads`, or a score at all.
        """
        fresh = Baseline.empty(population)
        summaries = np.asarray([vector.summary for vector in self.vectors], np.float32)
        z = np.stack([fresh.normalised(summary) for summary in summaries])
        stored = np.asarray([vector.embedding for vector in self.vectors], np.float32)
        by_onnx, by_tflite = (_answers(graph, z) for graph in (onnx, tflite))
        agreement = Agreement(
            len(self.vectors),
            self._spreads(heard, population),
            self._steps(by_onnx, stored),
            self._steps(by_tflite, stored),
            self._steps(by_onnx, by_tflite),
            float(np.abs(_scores(head, by_onnx) - _scores(head, by_tflite)).max()),
        )
        scores = np.asarray([vector.scores for vector in self.vectors])
        if np.abs(_scores(head, stored) - scores).max() > _SCORE_TOLERANCE:
            raise BundleError(
                "The bundle's head does not give its golden scores on this machine.",
                "Install the bundle again.",
            )
        furthest = max(agreement.onnx_steps, agreement.tflite_steps)
        if furthest > self.allowed_steps + 1e-3:
            raise BundleError(
                f"On this machine the golden vectors are off by {furthest:.1f} int8 steps.",
                "Install the bundle again, or report this machine's runtime versions.",
            )
        if not agreement.sound_spreads <= self.allowed_spreads:
            raise BundleError(
                "On this machine the acoustic graphs hear the golden sound differently.",
                "Install the bundle again, or report this machine's runtime versions.",
            )
        return agreement

    def _spreads(self, heard: npt.NDArray[np.float32], population: Population) -> float:
        stored = np.asarray(self.sound, np.float32)
        return float(np.abs(population.scaled(heard) - population.scaled(stored)).max())

    def _steps(self, one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
        return float(np.abs(one - other).max() / self.step)


def _answers(graph: Graph, z: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.stack([graph.run({"z": row[None]})[0][0] for row in z])


def _scores(head: Head, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    scored = (head.score(embedding) for embedding in embeddings)
    return np.asarray([(one.sadness, one.fear, one.distress) for one in scored])


def parse_golden(raw: bytes, population: Population, head: Head) -> Golden:
    """Read `golden.json`, whose rows must fit the bundle's population and head.

    Raises:
        BundleError: the bytes are not golden vectors of this bundle.
    """
    remedy = "Install the bundle again."
    if len(raw) > _LONGEST_BYTES:
        raise BundleError("The bundle's 'golden.json' is too large.", remedy)
    try:
        golden = Golden.model_validate_json(raw)
    except ValidationError as fault:
        raise BundleError("The bundle's 'golden.json' is not valid.", remedy) from fault
    sizes = {(len(vector.summary), len(vector.embedding)) for vector in golden.vectors}
    if sizes | {(len(golden.sound), head.embedding_size)} != {
        (len(population), head.embedding_size)
    }:
        raise BundleError("The bundle's golden vectors don't fit its other files.", remedy)
    return golden
