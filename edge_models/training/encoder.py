"""The body and head in torch: three directions that keep the affect, learnt against critics.

Rules it upholds: classes count the same whatever their number, within each set; an unknown label
costs nothing; identity is suppressed against critics that are taught anew each epoch and see what
an attacker would; one seed gives one network; one thread.

88 z-scores → 3 directions (linear: the raw embedding) → own moments made everybody's → 3 logits.

First the directions learn the tasks alone, in coordinates in which z-scores have one variance in
all directions: there the weak, reliable differences count, not only the loud ones, and that is what
another language shares. Then directions and head learn on *aligned* embeddings, and whatever the
critics still find (`critics`) costs as much as it helps them, in nats.

A network with a hidden layer was no better on people it never met and worse on another language;
figures are in BENCHMARKS.md.

Source: the game against critics is that of Ganin et al., "Domain-Adversarial Training of Neural
Networks", JMLR 17, 2016, with critics taught anew instead of a reversed gradient.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edge_models.alignment import COVARIANCE_WEIGHT, MEAN_WEIGHT
from edge_models.baseline import Population
from edge_models.training.critics import Critics
from edge_models.training.streams import (
    FIRST_OTHER_SPEED,
    Floats,
    Windows,
    live_order,
    passed,
    population_of,
)

EMBEDDING: Final = 3

PASSES: Final = 4
STEPS: Final = 300
RATE: Final = 3e-2
SHRINKAGE: Final = 0.01
WEIGHT_DECAY: Final = 1e-3
EPOCHS: Final = 6
STEPS_AN_EPOCH: Final = 25
LATER_RATE: Final = 1e-2
SUPPRESSION: Final = 0.1
FORGETTING: Final = 0.01

_LEAST_RUN: Final = 8
_HEARD_SHARE: Final = 0.5


class Encoder(nn.Module):
    """`embed`: z-scores to the raw embedding; `tasks`: aligned embedding to three logits."""

    def __init__(self, functionals: int) -> None:
        super().__init__()
        self.embed = nn.Linear(functionals, EMBEDDING)
        self.tasks = nn.Linear(EMBEDDING, 3)
        with torch.no_grad():
            self.embed.weight.zero_()
            self.embed.bias.zero_()
            self.tasks.weight.copy_(torch.eye(3, EMBEDDING))
            self.tasks.bias.zero_()


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained encoder, and the population that its inputs were measured against."""

    encoder: Encoder
    population: Population


def task_weights(windows: Windows) -> Floats:
    """What each window counts for in each task, float32 (N, 3): 0 where unknown.

    Within a set (and a kind of window) positives and negatives weigh the same in sum; a set
    weighs by its number of windows.
    """
    weights = np.zeros(windows.truth.shape, np.float32)
    for dataset in np.unique(windows.dataset):
        for kind in np.unique(windows.kind):
            group = (windows.dataset == dataset) & (windows.kind == kind)
            for task in range(weights.shape[1]):
                rows = group & windows.known[:, task]
                for side in (True, False):
                    chosen = rows & (windows.truth[:, task] == side)
                    if chosen.any():
                        weights[chosen, task] = 0.5 * rows.sum() / chosen.sum()
    return weights


def fitted(
    windows: Windows,
    seed: int,
    *,
    epochs: int | None = None,
    passes: int = PASSES,
    steps: int = STEPS,
) -> Fitted:
    """Train on these windows, and on no others; `epochs` 0 leaves the critics out."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    population = population_of(windows)
    streams = [
        passed(windows, population, live_order(windows, rng), forgetting=FORGETTING, rng=rng)
        for _ in range(passes)
    ]
    whitener = _whitener(np.concatenate([stream.z for stream in streams]))
    batches = [_Batch.of(windows, stream.places, stream.z @ whitener) for stream in streams]
    runs = [torch.from_numpy(stream.run) for stream in streams]
    encoder = Encoder(windows.summaries.shape[1])
    _learn_tasks(encoder, batches, steps)
    _forget_people(encoder, batches, runs, EPOCHS if epochs is None else epochs, rng)
    with torch.no_grad():
        encoder.embed.weight.copy_(encoder.embed.weight @ torch.from_numpy(whitener.T))
    encoder.eval()
    return Fitted(encoder, population)


def _whitener(z: Floats) -> Floats:
    """The matrix (F, F) after which z-scores have about one variance in every direction."""
    sizes, ways = np.linalg.eigh(np.cov(z.T.astype(np.float64)))
    sizes = np.maximum(sizes, 0) + SHRINKAGE * max(float(sizes.mean()), 1e-6)
    return np.asarray(ways / np.sqrt(sizes), np.float32)


@dataclass(frozen=True, slots=True)
class _Batch:
    """One pass of all windows: whitened `z` (M, F), labels, weights, and whose they are.

    `judged` are the windows that critics see: those of people as they are, at no other speed.
    """

    z: torch.Tensor
    truth: torch.Tensor
    weights: torch.Tensor
    person: torch.Tensor
    judged: torch.Tensor

    @classmethod
    def of(cls, windows: Windows, places: npt.NDArray[np.intp], z: Floats) -> "_Batch":
        passed_by = windows.at(places)
        _, person = np.unique(passed_by.person, return_inverse=True)
        return cls(
            torch.from_numpy(np.ascontiguousarray(z, np.float32)),
            torch.from_numpy(passed_by.truth.astype(np.float32)),
            torch.from_numpy(task_weights(passed_by)),
            torch.from_numpy(person.astype(np.int64)),
            torch.from_numpy(np.flatnonzero(passed_by.take < FIRST_OTHER_SPEED)),
        )

    def cost(self, logits: torch.Tensor) -> torch.Tensor:
        """How far logits (M, 3) are from the labels."""
        return nn.functional.binary_cross_entropy_with_logits(logits, self.truth, self.weights)


def _learn_tasks(encoder: Encoder, batches: list[_Batch], steps: int) -> None:
    """Directions alone; each is the logit of one task."""
    for batch, optimiser in _steps(list(encoder.embed.parameters()), batches, steps, RATE):
        raw = encoder.embed(batch.z)
        cost = batch.cost(encoder.tasks(raw)) + _decay(encoder)
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()


def _forget_people(
    encoder: Encoder,
    batches: list[_Batch],
    runs: list[torch.Tensor],
    epochs: int,
    rng: np.random.Generator,
) -> None:
    """Directions and head on aligned embeddings, against critics taught anew each epoch."""
    for epoch in range(epochs):
        batch, run = batches[epoch % len(batches)], runs[epoch % len(runs)]
        with torch.no_grad():
            seen = _aligned(encoder.embed(batch.z), run, rng)[batch.judged]
        critics = Critics.taught(seen, batch.person[batch.judged], rng)
        rate = LATER_RATE * (1 - epoch / epochs)
        for step, optimiser in _steps(
            list(encoder.parameters()), [batch], STEPS_AN_EPOCH, rate, falling=False
        ):
            moved = _aligned(encoder.embed(step.z), run, rng)
            found = critics.advantage(moved[batch.judged], batch.person[batch.judged], rng)
            cost = step.cost(encoder.tasks(moved)) + _decay(encoder) + SUPPRESSION * found
            optimiser.zero_grad()
            cost.backward()
            optimiser.step()


def _decay(encoder: Encoder) -> torch.Tensor:
    return WEIGHT_DECAY * (encoder.embed.weight**2).sum()


def _steps(
    parameters: list[nn.Parameter],
    batches: list[_Batch],
    steps: int,
    rate: float,
    *,
    falling: bool = True,
) -> Iterator[tuple[_Batch, torch.optim.Optimizer]]:
    optimiser = torch.optim.Adam(parameters, rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps) if falling else None
    for step in range(steps):
        yield batches[step % len(batches)], optimiser
        if schedule is not None:
            schedule.step()


def _aligned(raw: torch.Tensor, run: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Nearly as `alignment` does, each run at once: by moments of a random half of its windows.

    The device also widens the covariance of somebody whose mean is far from everybody's; here a
    run's mean hardly ever is.

    A half, because a device knows somebody by some windows only. The maps are taken as given: what
    is learnt moves the embeddings, not how they are aligned.
    """
    wide = raw.detach().double()
    count = int(run.max()) + 1
    heard = torch.from_numpy(rng.random(len(raw)) < _HEARD_SHARE).double()
    sizes = torch.zeros(count, dtype=torch.double).index_add_(0, run, heard)
    sums = torch.zeros(count, raw.shape[1], dtype=torch.double)
    sums.index_add_(0, run, wide * heard[:, None])
    means = sums / sizes.clamp(min=1)[:, None]
    apart = (wide - means[run]) * heard[:, None]
    products = torch.zeros(count, raw.shape[1], raw.shape[1], dtype=torch.double)
    products.index_add_(0, run, apart[:, :, None] * apart[:, None, :])
    long = sizes >= _LEAST_RUN
    if not long.any():
        return raw
    usual = (products[long] / sizes[long, None, None]).mean(0)
    usual = usual + 1e-6 * (usual.trace() + 1e-6) * torch.eye(raw.shape[1], dtype=torch.double)
    centre = means[long].mean(0)
    mean = (MEAN_WEIGHT * centre + sums) / (MEAN_WEIGHT + sizes)[:, None]
    own = COVARIANCE_WEIGHT * usual + products
    own = own / (COVARIANCE_WEIGHT + sizes)[:, None, None]
    maps = _maps(own, usual).float()
    moved = (raw - mean.float()[run])[:, None, :] @ maps[run]
    return moved[:, 0, :] + centre.float()


def _maps(own: torch.Tensor, usual: torch.Tensor) -> torch.Tensor:
    """The symmetric matrices (R, E, E) that turn covariances `own` (R, E, E) into `usual`."""
    root, inverse = _powers(own, 0.5, -0.5)
    (middle,) = _powers(root @ usual @ root, 0.5)
    return inverse @ middle @ inverse


def _powers(covariances: torch.Tensor, *exponents: float) -> list[torch.Tensor]:
    sizes, ways = torch.linalg.eigh(covariances)
    sizes = sizes.clamp(min=1e-12)[:, None, :]
    return [(ways * sizes**exponent) @ ways.transpose(1, 2) for exponent in exponents]
