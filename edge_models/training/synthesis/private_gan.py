"""The conditional GAN at a person-level ε: its critic meets people through clipped sums only.

Rules it upholds: a step's people are drawn by Poisson sampling; each adds one gradient, over
windows of their own only, clipped as a whole; noise goes onto the sum; the divisor is a constant.
The generator never sees a window except through the critic, so it is post-processing, as are
the critic's gradient on generated windows and the bound on its weights.

Unit of privacy: the person. Neighbouring: a person added or left out. Sensitivity: CLIP in L2.
Mechanism: Poisson-sampled Gaussian, once a step; see `accountant`.

Why its weights are bounded and there is no gradient penalty: a penalty lies between a real and a
generated window, so it is another term with real windows in it. Taken over a batch it mixes
people, and no clip of one person's part bounds it any more; taken person by person it would be
sound, but its large second-order gradient would use up the clip. A bound on the spectral norm of
the weights asks nothing of the data at all.

Source: Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, algorithm 1; McMahan et
al., "Learning Differentially Private Recurrent Language Models", ICLR 2018 (people as the unit);
Xie et al., "Differentially Private Generative Adversarial Network", arXiv 1802.06739; Miyato et
al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from edge_models.training.streams import Places
from edge_models.training.synthesis.accountant import Budget, multiplier
from edge_models.training.synthesis.gan import (
    BATCH,
    Critic,
    Generated,
    Generator,
    as_tensor,
    follow,
    generate,
    optimiser_of,
)
from edge_models.training.synthesis.table import Table, Vocabulary, checked

STEPS: Final = 1_000
SAMPLED: Final = 0.25
EXPECTED: Final = 50.0
"""A step's people: a quarter of them, and of many people about so many."""

CLIP: Final = 1.0
CRITIC_RATE: Final = 2e-3
HIDDEN: Final = 16
"""A small critic: noise grows with the number of its weights, what it can learn here does not."""

WINDOWS: Final = 32
LARGEST_NORM: Final = 2.0
"""Of each layer's weights, as a linear map: the critic is then Lipschitz, by a constant."""

Gradient = list[torch.Tensor]


@dataclass(frozen=True, slots=True)
class PrivateGan:
    """The GAN at a budget, for so many steps of critic and generator."""

    budget: Budget
    steps: int = STEPS

    def fit(self, table: Table, rng: np.random.Generator) -> Generated:
        """Train; RecordingError where there are too few people."""
        vocabulary = Vocabulary.of(checked(table).labels)
        torch.manual_seed(int(rng.integers(2**62)))
        told = as_tensor(vocabulary.conditions())
        size = table.values.shape[1]
        generator, kept = (Generator(size, told.shape[1]) for _ in range(2))
        kept.load_state_dict(generator.state_dict())
        critic = Critic(size, told.shape[1], HIDDEN)
        improve, judge = optimiser_of(generator), optimiser_of(critic, CRITIC_RATE)
        people = people_of(table, vocabulary, told)
        sampled = min(SAMPLED, EXPECTED / len(people))
        noise = multiplier(self.budget, self.steps, sampled)
        for _ in range(self.steps):
            chosen = [one for one in people if rng.random() < sampled]
            conditions = told[torch.randint(len(told), (BATCH,))]
            with torch.no_grad():
                drawn = generator(conditions)
            against = clipped(gradient(critic, drawn, conditions))
            toward = noised_sum(critic, [one.some(rng) for one in chosen], noise)
            expected = sampled * len(people)
            judge.zero_grad()
            for weight, real, fake in zip(critic.parameters(), toward, against, strict=True):
                weight.grad = fake - real / expected
            judge.step()
            bound(critic)
            generate(generator, critic, told, improve)
            follow(kept, generator)
        return Generated(vocabulary, kept)


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One person's windows: `values` (n, D), their `conditions` (n, M), and `chances` (n,)."""

    values: torch.Tensor
    conditions: torch.Tensor
    chances: Sequence[float]

    def some(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """A few of their windows, each of their labels as often."""
        rows = rng.choice(len(self.chances), WINDOWS, p=self.chances)
        return self.values[rows], self.conditions[rows]


def people_of(table: Table, vocabulary: Vocabulary, told: torch.Tensor) -> list[Person]:
    """Everybody's own windows."""
    places = vocabulary.places(table.labels)
    return [
        _person(table, places, told, np.flatnonzero(table.person == person))
        for person in np.unique(table.person)
    ]


def _person(table: Table, places: Places, told: torch.Tensor, rows: Places) -> Person:
    own = places[rows]
    chances = 1.0 / np.bincount(own)[own]
    shares = (chances / chances.sum()).tolist()
    return Person(as_tensor(table.values[rows]), told[torch.from_numpy(own)], shares)


def gradient(critic: Critic, values: torch.Tensor, conditions: torch.Tensor) -> Gradient:
    """Of the critic's mean answer on these windows."""
    answer = critic(values, conditions).mean()
    return list(torch.autograd.grad(answer, list(critic.parameters())))


def clipped(parts: Gradient) -> Gradient:
    """The gradient as a whole, shortened to an L2 norm of CLIP where it is longer."""
    norm = torch.sqrt(sum((part**2).sum() for part in parts) + torch.zeros(()))
    scale = torch.clamp(CLIP / torch.clamp(norm, min=1e-12), max=1.0)
    return [part * scale for part in parts]


def noised_sum(
    critic: Critic, people: Sequence[tuple[torch.Tensor, torch.Tensor]], noise: float
) -> Gradient:
    """Sum of one clipped gradient a person, with Gaussian noise; nobody at all is noise alone."""
    total = [noise * CLIP * torch.randn_like(weight) for weight in critic.parameters()]
    for values, conditions in people:
        for sum_, part in zip(total, clipped(gradient(critic, values, conditions)), strict=True):
            sum_ += part
    return total


def bound(critic: Critic) -> None:
    """Shorten each layer's weights to a spectral norm of LARGEST_NORM."""
    with torch.no_grad():
        for weight in critic.parameters():
            if weight.ndim == 2:
                norm = torch.linalg.matrix_norm(weight, ord=2)
                weight *= LARGEST_NORM / torch.clamp(norm, min=LARGEST_NORM)
