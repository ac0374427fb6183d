"""Critics: attackers inside the training, who learn to tell people apart by their embeddings.

Rules it upholds: they are taught from nothing each time, so an encoder can't get used to one; they
look as attackers do: at one window or at sets of six with their second moments, with straight
lines, with products, with a network; each person counts the same.

What they find is said in nats: the logarithm of the number of people, less the cross-entropy of
their answer. 0 is guessing.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import torch
from torch import nn

SIX: Final = 6
LESSONS: Final = 40
RATE: Final = 0.05
WEIGHT_DECAY: Final = 1e-3
WIDTH: Final = 32
SETS_A_PERSON: Final = 8


class _Straight(nn.Sequential):
    """A linear critic of one window."""

    def __init__(self, size: int, people: int) -> None:
        super().__init__(nn.Linear(size, people))


class _Products(nn.Module):
    """A linear critic of one window and all products of its numbers: unlike covariances show."""

    def __init__(self, size: int, people: int) -> None:
        super().__init__()
        self.places = torch.triu_indices(size, size)
        self.answer = nn.Linear(size + self.places.shape[1], people)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Logits (N, P) of rows (N, E)."""
        products = rows[:, self.places[0]] * rows[:, self.places[1]]
        logits: torch.Tensor = self.answer(torch.cat([rows, products], dim=1))
        return logits


class _Network(nn.Sequential):
    """A critic of one window with a hidden layer."""

    def __init__(self, size: int, people: int) -> None:
        super().__init__(nn.Linear(size, WIDTH), nn.ReLU(), nn.Linear(WIDTH, people))


class _Set(nn.Module):
    """A critic of six windows of one person: their mean and their second moments."""

    def __init__(self, size: int, people: int) -> None:
        super().__init__()
        self.places = torch.triu_indices(size, size)
        self.answer = _Network(size + self.places.shape[1], people)

    def forward(self, sets: torch.Tensor) -> torch.Tensor:
        """Logits (S, P) of sets (S, 6, E)."""
        mean = sets.mean(dim=1)
        apart = sets - mean[:, None, :]
        moments = (apart[:, :, self.places[0]] * apart[:, :, self.places[1]]).mean(dim=1)
        logits: torch.Tensor = self.answer(torch.cat([mean, moments], dim=1))
        return logits


@dataclass(frozen=True, slots=True)
class Critics:
    """Four taught critics; `scale` (2, E) puts embeddings into the spread they were taught in."""

    single: tuple[nn.Module, ...]
    of_sets: nn.Module
    scale: torch.Tensor
    people: int

    @classmethod
    def taught(cls, rows: torch.Tensor, person: torch.Tensor, rng: np.random.Generator) -> Self:
        """Teach all of them on embeddings (N, E) of people 0..P-1 (N,)."""
        size, people = rows.shape[1], int(person.max()) + 1
        scale = torch.stack([rows.mean(0), rows.std(0) + 1e-6])
        seen = (rows - scale[0]) / scale[1]
        single: tuple[nn.Module, ...] = (
            _Straight(size, people),
            _Products(size, people),
            _Network(size, people),
        )
        taught = cls(single, _Set(size, people), scale, people)
        parameters = [p for critic in (*single, taught.of_sets) for p in critic.parameters()]
        optimiser = torch.optim.Adam(parameters, RATE, weight_decay=WEIGHT_DECAY)
        for _ in range(LESSONS):
            cost = sum(taught._costs(seen, person, rng), torch.zeros(()))
            optimiser.zero_grad()
            cost.backward()
            optimiser.step()
        for parameter in parameters:
            parameter.requires_grad_(False)
        return taught

    def advantage(
        self, rows: torch.Tensor, person: torch.Tensor, rng: np.random.Generator
    ) -> torch.Tensor:
        """What the critics find in nats, summed, each at least 0; differentiable in the rows."""
        seen = (rows - self.scale[0]) / self.scale[1]
        guessing = float(np.log(self.people))
        found = [torch.relu(guessing - cost) for cost in self._costs(seen, person, rng)]
        return torch.stack(found).sum()

    def _costs(
        self, seen: torch.Tensor, person: torch.Tensor, rng: np.random.Generator
    ) -> list[torch.Tensor]:
        """Each critic's cross-entropy, people weighing the same."""
        counts = torch.bincount(person, minlength=self.people).clamp(min=1)
        weights = len(person) / (len(counts) * counts)
        costs = [nn.functional.cross_entropy(one(seen), person, weights) for one in self.single]
        places, owners = sets_of(person.numpy(), SETS_A_PERSON, rng)
        answers = self.of_sets(seen[torch.from_numpy(places)])
        costs.append(nn.functional.cross_entropy(answers, torch.from_numpy(owners)))
        return costs


def sets_of(
    person: np.ndarray[tuple[int], np.dtype[np.int64]], each: int, rng: np.random.Generator
) -> tuple[
    np.ndarray[tuple[int, int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.int64]]
]:
    """Random sets of six windows, `each` a person: places int64 (S, 6) and owners int64 (S,)."""
    owners = np.unique(person)
    places = [
        rng.choice(np.flatnonzero(person == owner), SIX, replace=True)
        for owner in owners
        for _ in range(each)
    ]
    return np.asarray(places, np.int64), np.repeat(owners, each).astype(np.int64)
