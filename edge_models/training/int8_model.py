"""A trained model as the device will run it: population, int8 body, and the head's layer.

Rules it upholds: what is evaluated and calibrated is the quantised model, in exact integers,
because that is what scores people.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_models.baseline import Population
from edge_models.head import Head
from edge_models.training.calibration import Platt
from edge_models.training.encoder import Fitted, fitted
from edge_models.training.quantise import Dense, QuantisedBody, quantised
from edge_models.training.streams import Floats, Windows, live_order, passed

Reals = npt.NDArray[np.float64]
Three = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Int8Model:
    """`weights` float64 (3, E) and `biases` float64 (3,) are the head's, before calibration."""

    population: Population
    body: QuantisedBody
    weights: Reals
    biases: Reals

    def logits(self, z: Floats) -> Reals:
        """Uncalibrated logits of the three tasks, float64 (N, 3), of z-scores (N, F)."""
        return np.asarray(self.body.run(z).astype(np.float64) @ self.weights.T + self.biases)

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
    """Train on these windows and quantise; ranges come from the same windows."""
    model = fitted(windows, seed) if epochs is None else fitted(windows, seed, epochs=epochs)
    return rounded(model, windows, seed)


def rounded(model: Fitted, windows: Windows, seed: int) -> Int8Model:
    """The int8 model of a trained encoder, its ranges chosen on simulated streams."""
    rng = np.random.default_rng(seed)
    streams = passed(windows, model.population, live_order(windows, rng))
    hidden, embed, tasks = (
        (layer.weight.detach().numpy(), layer.bias.detach().numpy())
        for layer in (model.encoder.hidden, model.encoder.embed, model.encoder.tasks)
    )
    body = quantised(Dense(*hidden, relu=True), Dense(*embed, relu=False), streams.z)
    return Int8Model(
        model.population, body, tasks[0].astype(np.float64), tasks[1].astype(np.float64)
    )
