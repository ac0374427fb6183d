"""What private training trains: a head over frozen embeddings, or a small body with its head.

Rules it upholds: a gradient is a person's own, of the mean loss over their windows; what a model is
made of (sizes, where it starts) is public. Both learn the three tasks by weighted logistic loss.

    head     features in the frame of a public body, one appended → 3 logits
    body     88 z-scores → `hidden` (ReLU) → `embedding` (linear) → 3 logits, as the device's
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from edge_models.assessment import TASKS
from edge_models.errors import ContractError
from edge_models.frame import Reals
from edge_models.head import sigmoid
from edge_models.training.private_people import Batch
from edge_models.training.streams import Floats

_TASKS: Final = len(TASKS)


@dataclass(frozen=True, slots=True)
class LinearHead:
    """Three rows of `width` weights over features whose last column is one."""

    width: int

    @property
    def size(self) -> int:
        """3 · width."""
        return _TASKS * self.width

    def start(self) -> Reals:
        """Zeros: it knows nothing."""
        return np.zeros(self.size)

    def logits(self, point: Reals, features: Floats) -> Reals:
        """Log-odds of the three tasks, float64 (N, 3), of features (N, width)."""
        return np.asarray(features.astype(np.float64) @ point.reshape(_TASKS, -1).T)

    def gradients(self, point: Reals, batch: Batch) -> Reals:
        """Closed form, float64 (n, D): mean of (sigmoid(logit) - truth) · weight · features."""
        features = batch.features.astype(np.float64)
        logits = features @ point.reshape(_TASKS, -1).T
        errors = batch.weights * (sigmoid(logits) - batch.truth)
        moved = errors.transpose(0, 2, 1) @ features / features.shape[1]
        return np.asarray(moved.reshape(len(moved), -1))


class _Layers(nn.Module):
    def __init__(self, functionals: int, hidden: int, embedding: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(functionals, hidden)
        self.embed = nn.Linear(hidden, embedding)
        self.tasks = nn.Linear(embedding, _TASKS)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.tasks(self.embed(torch.relu(self.hidden(z))))
        return logits


class SmallBody:
    """A body and its head as one point; per-person gradients by `torch.func`."""

    def __init__(self, functionals: int, hidden: int = 16, embedding: int = 4) -> None:
        if min(functionals, hidden, embedding) < 1:
            raise ContractError("Every layer has a size.")
        self._sizes = (functionals, hidden, embedding)
        self._layers = _Layers(*self._sizes)
        self._shapes = {name: p.shape for name, p in self._layers.named_parameters()}
        self._each = vmap(grad(self._loss), in_dims=(None, 0, 0, 0))

    @property
    def size(self) -> int:
        """How many numbers all layers have."""
        return sum(shape.numel() for shape in self._shapes.values())

    def start(self, seed: int) -> Reals:
        """Random layers of a public seed, the head's row at zero."""
        state = torch.random.get_rng_state()
        torch.manual_seed(seed)
        layers = _Layers(*self._sizes)
        torch.random.set_rng_state(state)
        nn.init.zeros_(layers.tasks.weight)
        nn.init.zeros_(layers.tasks.bias)
        parts = [p.detach().double().numpy().ravel() for p in layers.parameters()]
        return np.concatenate(parts)

    def logits(self, point: Reals, features: Floats) -> Reals:
        """Log-odds of the three tasks, float64 (N, 3), of z-scores (N, F)."""
        with torch.no_grad():
            z = torch.from_numpy(np.asarray(features, np.float32))
            answer = functional_call(self._layers, self._parameters(point), (z,))
        return np.asarray(answer.double().numpy())

    def gradients(self, point: Reals, batch: Batch) -> Reals:
        """One row for each person, float64 (n, D), computed in float32."""
        tensors = map(torch.from_numpy, (batch.features, batch.truth, batch.weights))
        moved = self._each(self._parameters(point), *tensors)
        rows = [moved[name].reshape(len(batch.features), -1) for name in self._shapes]
        return np.asarray(torch.cat(rows, dim=1).double().numpy())

    def layers(self, point: Reals) -> Mapping[str, Floats]:
        """Weights and biases by name (`hidden.weight`, `embed.bias`, ...), float32."""
        return {name: p.numpy() for name, p in self._parameters(point).items()}

    def _parameters(self, point: Reals) -> dict[str, torch.Tensor]:
        whole = torch.from_numpy(np.asarray(point, np.float32))
        parts = whole.split([shape.numel() for shape in self._shapes.values()])
        shapes = self._shapes.items()
        return {name: p.reshape(shape) for (name, shape), p in zip(shapes, parts, strict=True)}

    def _loss(
        self,
        parameters: dict[str, torch.Tensor],
        z: torch.Tensor,
        truth: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        logits = functional_call(self._layers, parameters, (z,))
        loss = nn.functional.binary_cross_entropy_with_logits(
            logits, truth, weights, reduction="sum"
        )
        return loss / len(z)
