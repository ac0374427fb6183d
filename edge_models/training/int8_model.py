"""A trained model as the device will run it: population, int8 body, moments, and the head's layer.

Rules it upholds: what is evaluated and calibrated is the quantised model, in exact integers, and
aligned as the device aligns, because that is what scores people.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_models.alignment import Moments
from edge_models.baseline import Population
from edge_models.head import Head
from edge_models.training.calibration import Platt
from edge_models.training.encoder import Fitted, fitted
from edge_models.training.quantise import QuantisedBody, quantised, straight
from edge_models.training.streams import (
    FIRST_OTHER_SPEED,
    Floats,
    Passed,
    Windows,
    aligned,
    live_order,
    moments_of,
    passed,
)

Reals = npt.NDArray[np.float64]
Three = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Int8Model:
    """`weights` float64 (3, E) and `biases` float64 (3,) are the head's, before calibration."""

    population: Population
    body: QuantisedBody
    moments: Moments
    weights: Reals
    biases: Reals

    def embeddings(self, stream: Passed) -> Floats:
        """Aligned embeddings, float32 (M, E), of windows that passed: level 3."""
        return aligned(self.body.run(stream.z), stream.run, self.moments)

    def logits(self, embeddings: Floats) -> Reals:
        """Uncalibrated logits of the three tasks, float64 (M, 3), of aligned embeddings (M, E)."""
        return np.asarray(embeddings.astype(np.float64) @ self.weights.T + self.biases)

    def head(self, platt: Platt) -> Head:
        """The head with its calibration."""
        sadness, fear, distress = (tuple(float(value) for value in row) for row in self.weights)
        return Head(
            tasks=("sadness", "fear", "distress"),
            weights=(sadness, fear, distress),
            biases=_three(self.biases),
            slopes=platt.slopes,
            shifts=platt.shifts,
        )


def _three(row: Reals) -> Three:
    return float(row[0]), float(row[1]), float(row[2])


def trained(windows: Windows, seed: int, epochs: int | None = None) -> Int8Model:
    """Train on these windows and quantise; ranges and moments come from the same windows."""
    return rounded(fitted(windows, seed, epochs=epochs), windows, seed)


def rounded(model: Fitted, windows: Windows, seed: int) -> Int8Model:
    """The int8 model of a trained encoder, its ranges and moments taken on simulated streams."""
    rng = np.random.default_rng(seed)
    people = windows.at(windows.take < FIRST_OTHER_SPEED)
    stream = passed(people, model.population, live_order(people, rng))
    embed, tasks = (
        (layer.weight.detach().numpy(), layer.bias.detach().numpy())
        for layer in (model.encoder.embed, model.encoder.tasks)
    )
    body = quantised(*straight(*embed), stream.z)
    return Int8Model(
        model.population,
        body,
        moments_of(body.run(stream.z), stream.run),
        tasks[0].astype(np.float64),
        tasks[1].astype(np.float64),
    )
