"""Person-level DP-SGD: one clipped gradient for each person, noise in their sum.

Unit of privacy: the person, with all their windows. Neighbouring: one person added or removed.
Sensitivity: `clip`, L2, of the sum of gradients. Mechanism: Poisson sampling of people, Gaussian
noise of `noise_multiplier` · clip in every number; `private_accounting` names epsilon.

Rules it upholds: a gradient is of a person and never of a window, so no figure of windows can pass
for one of people; nobody's contribution is longer than the clip whatever their windows hold; the
sum is divided by the *expected* number of people, from the planned size of the study, never by who
came; a step in which nobody was drawn is noised like any other; how long to train, and where to
stop, is fixed before. What follows the noise (momentum, the mean of the last points) costs nothing.

Source: Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang, "Deep Learning with Differential
Privacy", 2016, Algorithm 1; McMahan, Ramage, Talwar, Zhang, "Learning Differentially Private
Recurrent Language Models", 2018 (by person, fixed denominator); Polyak, Juditsky 1992 (the mean).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from edge_models.errors import ContractError
from edge_models.frame import Reals
from edge_models.training.private_accounting import Schedule
from edge_models.training.private_people import Batch, People
from edge_models.training.private_source import Source
from edge_models.training.streams import Places

_TOGETHER: Final = 256  # people whose gradients are in memory at once
_ROUNDING: Final = 1e-12  # kept below the clip, for what floating point adds
_GRID_BITS: Final = 20


class Model(Protocol):
    """What can be trained: a point, float64 (D,), that gives logits and gradients."""

    @property
    def size(self) -> int:
        """D: how many numbers are trained."""

    def gradients(self, point: Reals, batch: Batch) -> Reals:
        """Of each person's mean loss over their windows: float64 (n, D)."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train; all of it public, and chosen without looking at anybody trained on.

    `windows` of a person are looked at in a step; the model is the mean of the last `tail`
    (a share) of the points.
    """

    schedule: Schedule
    clip: float
    rate: float
    windows: int
    momentum: float = 0.0
    tail: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 < self.clip < math.inf or not 0.0 < self.rate < math.inf or self.windows < 1:
            raise ContractError("A recipe has a positive, finite clip and rate, and windows.")
        if not 0.0 <= self.momentum < 1.0 or not 0.0 < self.tail <= 1.0:
            raise ContractError("Momentum is below 1, and the tail a share of the steps.")


@dataclass(frozen=True, slots=True)
class Noise:
    """How many clips of noise go into each number, and where its randomness comes from."""

    multiplier: float
    source: Source

    def __post_init__(self) -> None:
        if not 0.0 < self.multiplier < math.inf:
            raise ContractError("Private training has noise.")


def trained_privately(
    model: Model,
    people: People,
    start: Reals,
    recipe: Recipe,
    noise: Noise,
    *,
    planned: int,
    told: Callable[[range], Iterator[int]] = iter,
) -> Reals:
    """Train from `start`, float64 (D,), which must be public; the noised point, float64 (D,).

    `planned` is the study's public size, which divides; people beyond it only make steps larger.

    Raises:
        ContractError: sizes don't fit, or the study was planned for nobody.
    """
    if start.shape != (model.size,) or not np.isfinite(start).all() or planned < 1:
        raise ContractError("Training starts from a finite point, for a planned study.")
    sampling = recipe.schedule.sampling
    deviation = noise.multiplier * recipe.clip

    def mean(point: Reals, step: int) -> Reals:
        chosen = np.flatnonzero(noise.source.uniform(len(people)) < sampling)
        total = _sum(model, people, point, recipe, step, chosen)
        return noised(total, deviation, noise.source) / (sampling * planned)

    return _descended(start, recipe, mean, told)


def trained_openly(model: Model, people: People, start: Reals, recipe: Recipe) -> Reals:
    """The same descent with everybody in every step and no noise: *no privacy* at all.

    The clip stays, so that what differs from `trained_privately` is what privacy costs.
    """
    everybody = np.arange(len(people))

    def mean(point: Reals, step: int) -> Reals:
        return _sum(model, people, point, recipe, step, everybody) / len(people)

    return _descended(start, recipe, mean, iter)


def clipped(gradients: Reals, clip: float) -> Reals:
    """Each person's gradient, a row of float64 (n, D), shortened to `clip` (L2) at most.

    A row that isn't finite says nothing and becomes zeros: it could be of any length.
    """
    finite = np.isfinite(gradients).all(axis=1)
    rows = np.where(finite[:, None], gradients, 0.0)
    largest = np.abs(rows).max(axis=1, initial=0.0)
    unit = rows / np.where(largest > 0.0, largest, 1.0)[:, None]  # squares of large ones overflow
    lengths = np.linalg.norm(unit, axis=1)
    bound = clip * (1.0 - _ROUNDING)
    is_long = largest > bound / np.maximum(lengths, 1.0)
    shorter = unit * (bound / np.maximum(lengths, 1.0))[:, None]
    return np.where(is_long[:, None], shorter, rows)


def noised(total: Reals, deviation: float, source: Source) -> Reals:
    """The sum with Gaussian noise, on a grid of about a millionth of the noise.

    The grid is a power of two and depends on the noise alone; it hides the low bits in which
    floating point gives the sum away, all but certainly.
    """
    grid = 2.0 ** (math.floor(math.log2(deviation)) - _GRID_BITS)
    noise = deviation * source.normal(len(total))
    return np.asarray(np.rint((total + noise) / grid) * grid)


def _sum(
    model: Model, people: People, point: Reals, recipe: Recipe, step: int, chosen: Places
) -> Reals:
    total = np.zeros(model.size)
    for part in _parts(chosen):
        gradients = model.gradients(point, people.batch(part, step, recipe.windows))
        total += clipped(gradients, recipe.clip).sum(axis=0)
    return total


def _parts(chosen: Places) -> Iterator[Places]:
    for first in range(0, len(chosen), _TOGETHER):
        yield chosen[first : first + _TOGETHER]


def _descended(
    start: Reals,
    recipe: Recipe,
    mean: Callable[[Reals, int], Reals],
    told: Callable[[range], Iterator[int]],
) -> Reals:
    steps = recipe.schedule.steps
    last = max(1, round(recipe.tail * steps))
    point, velocity, summed = start, np.zeros_like(start), np.zeros_like(start)
    for step in told(range(steps)):
        velocity = recipe.momentum * velocity + mean(point, step)
        point = point - recipe.rate * velocity
        if step >= steps - last:
            summed = summed + point
    return np.asarray(summed / last)
