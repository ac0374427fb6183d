"""Golden vectors: windows whose answers are known, run on this device in both runtimes.

They are no one's windows: each is an average over the people of the training plus noise from a
fixed seed. They show that a runtime on this machine computes what was measured in training.

Each is a stranger's first window: the baseline is empty, and so are the own moments, which leave an
embedding where it is. So nothing here depends on `alignment`.

Place in the life of a bundle: verified files → **golden vectors** → use.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_models.baseline import Baseline, Population
from edge_models.errors import BundleError, ContractError
from edge_models.head import Head
from edge_models.runner import Graph

_LONGEST_BYTES: Final = 256 * 1024
_SCORE_TOLERANCE: Final = 1e-6
Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)]
Row = tuple[Finite, ...]
Reals = npt.NDArray[np.float32] | npt.NDArray[np.float64]


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

    @property
    def embeddings(self) -> npt.NDArray[np.float64]:
        """The stored answers of the body, float64 (N, E)."""
        return np.asarray([vector.embedding for vector in self.vectors], np.float64)

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
        self.must_be_scored_by(head)
        by_onnx = self.must_be_given_by(onnx, population, "ONNX Runtime")
        by_tflite = self.must_be_given_by(tflite, population, "TFLite")
        agreement = Agreement(
            len(self.vectors),
            self.must_be_heard_in(heard, population),
            self._steps(by_onnx, self.embeddings),
            self._steps(by_tflite, self.embeddings),
            self._steps(by_onnx, by_tflite),
            float(np.abs(_scores(head, by_onnx) - _scores(head, by_tflite)).max()),
        )
        return agreement

    def must_be_scored_by(self, head: Head) -> None:
        """See that a head gives the stored scores to the stored embeddings.

        Raises:
            BundleError: it does not.
        """
        scores = np.asarray([vector.scores for vector in self.vectors])
        given = _scores(head, self.embeddings.astype(np.float32))
        if not np.abs(given - scores).max() <= _SCORE_TOLERANCE:
            raise BundleError(
                "The bundle's head does not give its golden scores on this machine.",
                "Install the bundle again.",
            )

    def must_be_given_by(
        self, body: Graph, population: Population, runtime: str = "ONNX Runtime"
    ) -> npt.NDArray[np.float32]:
        """See that a body gives the stored embeddings; returns its own, float32 (N, E).

        Raises:
            BundleError: it gives others, or can't be run.
        """
        fresh = Baseline.empty(population)
        summaries = np.asarray([vector.summary for vector in self.vectors], np.float32)
        z = np.stack([fresh.normalised(summary) for summary in summaries])
        given = _answers(body, z, runtime)
        if given.shape != self.embeddings.shape:
            raise BundleError(
                f"On this machine the body gives golden vectors another size by {runtime}.",
                "Install the bundle again.",
            )
        furthest = self._steps(given, self.embeddings)
        if not furthest <= self.allowed_steps + 1e-3:
            raise BundleError(
                f"On this machine the golden vectors are off by {furthest:.1f} int8 steps "
                f"({runtime}).",
                "Install the bundle again, or report this machine's runtime versions.",
            )
        return given

    def must_be_heard_in(self, heard: npt.NDArray[np.float32], population: Population) -> float:
        """See that the golden sound's functionals are the stored ones; returns the distance.

        Raises:
            BundleError: they are not.
        """
        stored = np.asarray(self.sound, np.float32)
        spreads = (
            float(np.abs(population.scaled(heard) - population.scaled(stored)).max())
            if heard.shape == stored.shape
            else float("inf")
        )
        if not spreads <= self.allowed_spreads:
            raise BundleError(
                "On this machine the acoustic graphs hear the golden sound differently.",
                "Install the bundle again, or report this machine's runtime versions.",
            )
        return spreads

    def _steps(self, one: Reals, other: Reals) -> float:
        return float(np.abs(one - other).max() / self.step)


def _answers(graph: Graph, z: npt.NDArray[np.float32], runtime: str) -> npt.NDArray[np.float32]:
    try:
        return np.stack([graph.run({"z": row[None]})[0][0] for row in z])
    except (ContractError, IndexError, ValueError) as fault:
        raise BundleError(
            f"The bundle's body can't be run by {runtime}.", "Install the bundle again."
        ) from fault


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
