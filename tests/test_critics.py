"""Critics find planted identity of each kind, and nothing where there is none."""

import numpy as np
import pytest
import torch

from edge_models.training.critics import Critics, sets_of

PEOPLE, EACH = 6, 60
OWNERS = torch.from_numpy(np.repeat(np.arange(PEOPLE), EACH))


def found(rows: np.ndarray) -> float:
    """What critics that were taught on half of each person's rows find in the other half."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    half = np.arange(len(rows)) % 2 == 0
    told = torch.from_numpy(rows.astype(np.float32))
    critics = Critics.taught(told[half], OWNERS[half], rng)
    return float(critics.advantage(told[~half], OWNERS[~half], rng))


def noise() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 1, (PEOPLE * EACH, 3))


def test_an_offset_is_found() -> None:
    voices = np.random.default_rng(2).normal(0, 3, (PEOPLE, 3))
    assert found(noise() + voices[OWNERS.numpy()]) > 2.0


def test_a_scatter_of_ones_own_around_the_same_mean_is_found() -> None:
    widths = np.exp(np.random.default_rng(3).normal(0, 1.2, (PEOPLE, 3)))
    assert found(noise() * widths[OWNERS.numpy()]) > 0.5


def test_in_noise_next_to_nothing_is_found() -> None:
    assert found(noise()) < 0.1


def test_critics_are_fixed_once_taught_and_let_the_gradient_through() -> None:
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(noise().astype(np.float32) + 3 * np.eye(3)[OWNERS.numpy() % 3])
    rows = rows.float().requires_grad_(True)
    critics = Critics.taught(rows.detach(), OWNERS, rng)
    critics.advantage(rows, OWNERS, rng).backward()
    assert rows.grad is not None and float(rows.grad.abs().sum()) > 0
    assert all(not p.requires_grad for one in critics.single for p in one.parameters())


@pytest.mark.parametrize("each", [1, 5])
def test_a_set_is_of_one_person(each: int) -> None:
    places, owners = sets_of(OWNERS.numpy(), each, np.random.default_rng(0))
    assert places.shape == (each * PEOPLE, 6)
    assert (OWNERS.numpy()[places] == owners[:, None]).all()


def taught_on(rows: np.ndarray, owners: torch.Tensor = OWNERS) -> Critics:
    torch.manual_seed(0)
    told = torch.from_numpy(rows.astype(np.float32))
    return Critics.taught(told, owners, np.random.default_rng(0))


def right(critic: torch.nn.Module, seen: torch.Tensor, owners: np.ndarray) -> float:
    return float((critic(seen).argmax(1).numpy() == owners).mean())


def test_each_of_the_critics_learns() -> None:
    """Scatter alone is told by products, a network and sets, and not by straight lines."""
    widths = np.exp(np.random.default_rng(3).normal(0, 1.2, (PEOPLE, 3)))
    rows = noise() * widths[OWNERS.numpy()]
    critics = taught_on(rows)
    seen = (torch.from_numpy(rows.astype(np.float32)) - critics.scale[0]) / critics.scale[1]
    straight, products, network = (right(one, seen, OWNERS.numpy()) for one in critics.single)
    assert straight < 0.35 < products and network > 0.35
    places, owners = sets_of(OWNERS.numpy(), 20, np.random.default_rng(5))
    assert right(critics.of_sets, seen[torch.from_numpy(places)], owners) > 0.7
    assert float(critics.single[1].answer.weight[:, 3:].abs().max()) > 0.1


def test_who_is_heard_often_is_no_better_guess() -> None:
    counts = [400, 20, 20, 20, 20, 20]
    owners = torch.from_numpy(np.repeat(np.arange(PEOPLE), counts))
    rows = np.random.default_rng(1).normal(0, 1, (sum(counts), 3))
    critics = taught_on(rows, owners)
    other = torch.from_numpy(np.random.default_rng(2).normal(0, 1, rows.shape).astype(np.float32))
    assert float(critics.advantage(other, owners, np.random.default_rng(0))) < 0.1
