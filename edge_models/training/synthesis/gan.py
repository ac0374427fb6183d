"""A conditional Wasserstein GAN over windows, small enough for one core.

Rules it upholds: the generator never sees a window, only what the critic says of its own; every
label counts the same; one seed gives one generator; one thread. It has no ε: see `private_gan`.

    generator   16 normals + label → 128 → 128 → D, held smoothly at the bound
    critic      D + label → 128 → 128 → 1, with gradient penalty

Source: Arjovsky, Chintala, Bottou, "Wasserstein GAN", ICML 2017; Gulrajani et al., "Improved
Training of Wasserstein GANs", NeurIPS 2017, equation 3; Mirza, Osindero, "Conditional Generative
Adversarial Nets", arXiv 1411.1784.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import nn

from edge_models.training.streams import Places
from edge_models.training.synthesis.table import (
    BOUND,
    Labels,
    Reals,
    Table,
    Vocabulary,
    checked,
)

NOISE: Final = 16
HIDDEN: Final = 128
BATCH: Final = 128
STEPS: Final = 1_000
CRITIC_STEPS: Final = 3
RATE: Final = 5e-4
PENALTY: Final = 10.0
FADING: Final = 0.99
"""The drawn generator is a running mean of the trained one, whose steps go in circles."""


class Generator(nn.Module):
    """From noise (N, 16) and conditions (N, M) to windows (N, D) within the bound."""

    def __init__(self, size: int, conditions: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(NOISE + conditions, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, size),
        )
        for layer in self.layers:
            if isinstance(layer, nn.Linear):  # untrained, it draws about one spread of the frame
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, conditions: torch.Tensor) -> torch.Tensor:
        """New noise for each row."""
        noise = torch.randn(len(conditions), NOISE)
        held: torch.Tensor = self.layers(torch.cat([noise, conditions], dim=1))
        return BOUND * torch.tanh(held / BOUND)


class Critic(nn.Module):
    """From windows (N, D) and conditions (N, M) to one number each, (N,)."""

    def __init__(self, size: int, conditions: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(size + conditions, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, 1),
        )

    def forward(self, values: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Higher for windows that seem spoken."""
        told: torch.Tensor = self.layers(torch.cat([values, conditions], dim=1))
        return told[:, 0]


@dataclass(frozen=True, slots=True)
class Gan:
    """The GAN without privacy noise, trained for so many steps of the generator."""

    steps: int = STEPS

    def fit(self, table: Table, rng: np.random.Generator) -> "Generated":
        """Train; RecordingError where there are too few people."""
        vocabulary = Vocabulary.of(checked(table).labels)
        torch.manual_seed(int(rng.integers(2**62)))
        told = as_tensor(vocabulary.conditions())
        size = table.values.shape[1]
        generator = Generator(size, told.shape[1])
        kept = Generator(size, told.shape[1])
        kept.load_state_dict(generator.state_dict())
        critic = Critic(size, told.shape[1])
        improve, judge = (optimiser_of(network) for network in (generator, critic))
        batches = _Batches(as_tensor(table.values), vocabulary.places(table.labels), rng)
        for _ in range(self.steps):
            for _ in range(CRITIC_STEPS):
                values, places = batches.next()
                _judge(critic, generator, values, told[places], judge)
            generate(generator, critic, told, improve)
            follow(kept, generator)
        return Generated(vocabulary, kept)


@dataclass(frozen=True, slots=True, eq=False)
class Generated:
    """A trained generator and the labels that it knows."""

    vocabulary: Vocabulary
    generator: Generator

    def draw(self, labels: Labels, rng: np.random.Generator) -> Table:
        """One row for each label, in order."""
        places = torch.from_numpy(self.vocabulary.places(labels))
        told = as_tensor(self.vocabulary.conditions())[places]
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(int(rng.integers(2**62)))
            values = self.generator(told).double().numpy()
        return Table.synthetic(values, labels)


class _Batches:
    """Random windows, every label as often."""

    def __init__(self, values: torch.Tensor, places: Places, rng: np.random.Generator) -> None:
        self.values, self.places, self.rng = values, places, rng
        chances = 1.0 / np.bincount(places)[places]
        self.edges = np.cumsum(chances / chances.sum())

    def next(self) -> tuple[torch.Tensor, torch.Tensor]:
        rows = np.searchsorted(self.edges, self.rng.random(BATCH) * self.edges[-1])
        return self.values[rows], torch.from_numpy(self.places[rows])


def as_tensor(values: Reals) -> torch.Tensor:
    """As float32."""
    return torch.from_numpy(values.astype(np.float32))


def optimiser_of(network: nn.Module, rate: float = RATE) -> torch.optim.Optimizer:
    """Adam as for a Wasserstein GAN: without momentum."""
    return torch.optim.Adam(network.parameters(), rate, betas=(0.0, 0.9))


def generate(
    generator: Generator, critic: Critic, told: torch.Tensor, improve: torch.optim.Optimizer
) -> None:
    """One step of the generator, on labels drawn evenly: it needs no window for that."""
    improve.zero_grad()
    conditions = told[torch.randint(len(told), (BATCH,))]
    (-critic(generator(conditions), conditions).mean()).backward()
    improve.step()


def follow(kept: Generator, generator: Generator) -> None:
    """Move the running mean of the generator's weights."""
    with torch.no_grad():
        for old, new in zip(kept.parameters(), generator.parameters(), strict=True):
            old.lerp_(new, 1 - FADING)


def _judge(
    critic: Critic,
    generator: Generator,
    values: torch.Tensor,
    conditions: torch.Tensor,
    judge: torch.optim.Optimizer,
) -> None:
    judge.zero_grad()
    with torch.no_grad():
        drawn = generator(conditions)
    gap = critic(drawn, conditions).mean() - critic(values, conditions).mean()
    share = torch.rand(len(values), 1)
    between = (share * values + (1 - share) * drawn).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between, conditions).sum(), between, create_graph=True)
    (gap + PENALTY * ((slope.norm(dim=1) - 1) ** 2).mean()).backward()
    judge.step()
