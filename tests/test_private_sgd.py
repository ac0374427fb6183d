"""Private training: by person, clipped whatever people hold, noised as stated, divided by plan."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from edge_models.errors import ContractError
from edge_models.frame import Reals
from edge_models.training.private_accounting import Schedule
from edge_models.training.private_models import LinearHead, SmallBody
from edge_models.training.private_people import Batch, People, label_weights
from edge_models.training.private_sgd import (
    Noise,
    Recipe,
    clipped,
    noised,
    trained_openly,
    trained_privately,
)
from edge_models.training.private_source import SeededSource, SystemSource

RNG = np.random.default_rng(5)
FULL = Schedule(steps=1, sampling=1.0)


def some_people(people: int = 6, width: int = 5, each: int = 7) -> People:
    count = people * each
    features = RNG.normal(size=(count, width)).astype(np.float32)
    truth = RNG.random((count, 3)) < 0.4
    known = RNG.random((count, 3)) < 0.9
    person = [f"p{place % people}" for place in range(count)]
    return People.of(features, truth, known, person)


def loss_of_one(logits: torch.Tensor, batch: Batch, person: int) -> torch.Tensor:
    """The loss as its definition says, written a second time."""
    truth, weights = (torch.from_numpy(part[person]) for part in (batch.truth, batch.weights))
    each = -(truth * torch.log(torch.sigmoid(logits)))
    each = each - (1 - truth) * torch.log(1 - torch.sigmoid(logits))
    return (weights * each).sum(dim=1).mean()


def test_a_heads_gradients_are_autograds_one_person_at_a_time() -> None:
    people, head = some_people(), LinearHead(5)
    batch = people.batch(np.arange(len(people)), 0, 7)
    point = RNG.normal(size=head.size)
    rows = head.gradients(point, batch)
    for person in range(len(people)):
        weights = torch.from_numpy(point.reshape(3, 5)).requires_grad_()
        logits = torch.from_numpy(batch.features[person]).double() @ weights.T
        loss_of_one(logits, batch, person).backward()  # type: ignore[no-untyped-call]
        assert weights.grad is not None
        assert np.allclose(rows[person], weights.grad.numpy().ravel(), atol=1e-6)


def test_a_bodys_gradients_are_autograds_one_person_at_a_time() -> None:
    people, body = some_people(), SmallBody(5, hidden=6, embedding=2)
    batch = people.batch(np.arange(len(people)), 0, 7)
    point = RNG.normal(0, 0.7, body.size)
    rows = body.gradients(point, batch)
    for person in range(len(people)):
        parts = {
            n: torch.from_numpy(p.copy()).requires_grad_() for n, p in body.layers(point).items()
        }
        z = torch.from_numpy(batch.features[person])
        hidden = torch.relu(z @ parts["hidden.weight"].T + parts["hidden.bias"])
        embedding = hidden @ parts["embed.weight"].T + parts["embed.bias"]
        logits = embedding @ parts["tasks.weight"].T + parts["tasks.bias"]
        loss_of_one(logits, batch, person).backward()  # type: ignore[no-untyped-call]
        alone = np.concatenate([part.grad.numpy().ravel() for part in parts.values()])
        assert np.allclose(rows[person], alone, atol=1e-5)


WILD = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(1, 6)),
    elements=st.floats(allow_nan=True, allow_infinity=True),
)


@given(WILD, st.floats(1e-6, 1e6))
def test_nobody_contributes_more_than_the_clip_whatever_their_gradient(
    gradients: Reals, clip: float
) -> None:
    rows = clipped(gradients, clip)
    assert np.isfinite(rows).all()
    for before, after in zip(gradients, rows, strict=True):
        assert math.hypot(*after) <= clip
        if not np.isfinite(before).all():
            assert not after.any()
        elif math.hypot(*before) <= clip * (1 - 1e-9):
            assert np.array_equal(before, after)
        elif np.abs(before).max() > 1e-9 * clip:
            assert math.hypot(*after) == pytest.approx(clip, rel=1e-9)


@given(st.floats(1e-3, 1e30), st.integers(1, 400), st.integers(0, 2**31))
def test_one_person_more_moves_the_sum_by_no_more_than_the_clip(
    size: float, windows: int, seed: int
) -> None:
    """The promise that epsilon rests on, with the noise taken off: add one person, any person."""
    rng = np.random.default_rng(seed)
    head, recipe = LinearHead(4), Recipe(FULL, clip=0.25, rate=1.0, windows=16, tail=1.0)
    count = 12 + windows
    features = rng.normal(size=(count, 4)).astype(np.float32)
    features[12:] *= size
    truth = rng.random((count, 3)) < 0.5
    person = np.asarray(["a", "b", "c"] * 4 + ["newcomer"] * windows)
    known = np.ones_like(truth)
    sums = [
        -len(people) * trained_openly(head, people, head.start(), recipe)
        for people in (
            People.of(features[:12], truth[:12], known[:12], person[:12]),
            People.of(features, truth, known, person),
        )
    ]
    assert np.linalg.norm(sums[1] - sums[0]) <= 0.25 * (1 + 1e-9)


def test_who_has_many_windows_counts_as_one_person() -> None:
    features = np.tile(RNG.normal(size=(1, 4)), (1001, 1)).astype(np.float32)
    truth = np.ones((1001, 3), bool)
    person = ["few", *["many"] * 1000]
    people = People.of(features, truth, truth, person)
    head = LinearHead(4)
    few, many = head.gradients(head.start(), people.batch(np.arange(2), 3, 16))
    assert np.allclose(few, many)


def test_all_windows_under_one_name_are_one_person_wherever_they_stand() -> None:
    features = np.arange(12, dtype=np.float32)[:, None]
    truth = np.ones((12, 3), bool)
    people = People.of(features, truth, truth, ["a", "b"] * 6)
    assert len(people) == 2
    own = people.batch(np.asarray([0]), 0, 6).features.ravel().tolist()
    assert sorted(own) == [0, 2, 4, 6, 8, 10]


def test_windows_come_in_turn_and_none_is_left_out() -> None:
    people = some_people(people=3, each=10)
    seen = [people.batch(np.asarray([1]), step, 4).features for step in range(5)]
    assert len(np.unique(np.concatenate(seen, axis=1)[0], axis=0)) == 10
    assert np.array_equal(seen[2][0, 2:], seen[0][0, :2])  # after the last comes the first


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_windows_that_are_not_finite_are_refused(bad: float) -> None:
    features = np.zeros((4, 2), np.float32)
    features[2, 1] = bad
    truth = np.ones((4, 3), bool)
    with pytest.raises(ContractError, match="finite"):
        People.of(features, truth, truth, ["a", "a", "b", "b"])


@dataclass
class Scripted:
    """Says who comes, and keeps what noise it gave."""

    comes: list[list[float]]
    given: list[Reals] = field(default_factory=list)
    is_simulation: bool = True
    name: str = "a script"

    def uniform(self, count: int) -> Reals:
        return np.asarray(self.comes.pop(0)[:count])

    def normal(self, count: int) -> Reals:
        self.given.append(np.random.default_rng(len(self.given)).normal(size=count))
        return self.given[-1]


def test_the_sum_is_divided_by_the_planned_batch_and_never_by_who_came() -> None:
    """One comes of four planned ones, at a half: two are expected."""
    people, head = some_people(people=3), LinearHead(5)
    recipe = Recipe(Schedule(1, 0.5), clip=0.1, rate=1.0, windows=7)
    source = Scripted([[0.9, 0.1, 0.9]])
    noise = Noise(multiplier=2.0, source=source)
    point = trained_privately(head, people, head.start(), recipe, noise, planned=4)
    batch = people.batch(np.asarray([1]), 0, 7)
    alone = clipped(head.gradients(head.start(), batch), 0.1)[0]
    assert np.allclose(point, -(alone + 2.0 * 0.1 * source.given[0]) / 2.0, atol=1e-6)


def test_a_step_in_which_nobody_came_is_noised_like_any_other() -> None:
    people, head = some_people(people=3), LinearHead(5)
    recipe = Recipe(Schedule(1, 0.5), clip=0.1, rate=1.0, windows=7)
    source = Scripted([[0.9, 0.9, 0.9]])
    point = trained_privately(head, people, head.start(), recipe, Noise(3.0, source), planned=3)
    assert len(source.given) == 1
    assert np.allclose(point, -0.3 * source.given[0] / 1.5, atol=1e-6)


def test_people_come_as_often_as_sampling_says() -> None:
    """4,000 draws at 0.3: within five standard errors (one false alarm in 1.7 million)."""
    came = SeededSource(3).uniform(4000) < 0.3
    assert came.mean() == pytest.approx(0.3, abs=5 * math.sqrt(0.21 / 4000))


@pytest.mark.parametrize("source", [SystemSource(np.random.default_rng(8).bytes), SeededSource(8)])
def test_noise_has_the_stated_deviation_and_is_normal(source: SystemSource) -> None:
    """Seeded, so it can't alarm by chance; a deviation 1 % off would be seen 9 times in 10."""
    noise = noised(np.zeros(200_000), 0.7, source)
    assert noise.std() == pytest.approx(0.7, rel=0.005)
    assert stats.kstest(noise / 0.7, "norm").pvalue > 0.001


def test_the_systems_source_is_fresh_uniform_and_open() -> None:
    source = SystemSource()
    assert not source.is_simulation and SeededSource(1).is_simulation
    assert not np.array_equal(source.normal(8), source.normal(8))
    zeros, ones = SystemSource(bytes), SystemSource(lambda count: b"\xff" * count)
    assert 0.0 < zeros.uniform(1)[0] < ones.uniform(1)[0] <= 1.0
    assert np.isfinite(zeros.normal(3)).all() and np.isfinite(ones.normal(3)).all()


def test_noised_sums_lie_on_a_grid_that_does_not_depend_on_people() -> None:
    grid = 2.0 ** (-2 - 20)  # of a deviation between 1/4 and 1/2
    for size in (1e-3, 1.0, 1e3):
        steps = noised(size * RNG.normal(size=50), 0.3, SeededSource(2)) / grid
        assert np.array_equal(steps, np.rint(steps))


def test_a_simulation_can_be_repeated_and_a_release_can_not() -> None:
    people, head = some_people(), LinearHead(5)
    recipe = Recipe(Schedule(5, 0.5), clip=0.1, rate=1.0, windows=7, momentum=0.9)

    def once(source: SeededSource | SystemSource) -> Reals:
        noise = Noise(1.0, source)
        return trained_privately(head, people, head.start(), recipe, noise, planned=6)

    assert np.array_equal(once(SeededSource(4)), once(SeededSource(4)))
    assert not np.array_equal(once(SeededSource(4)), once(SeededSource(5)))
    assert not np.array_equal(once(SystemSource()), once(SystemSource()))


def test_little_noise_trains_like_none() -> None:
    people, head = some_people(people=40), LinearHead(5)
    recipe = Recipe(Schedule(30, 1.0), clip=0.5, rate=1.0, windows=7)
    openly = trained_openly(head, people, head.start(), recipe)
    nearly = trained_privately(
        head, people, head.start(), recipe, Noise(1e-6, SeededSource(1)), planned=40
    )
    assert np.abs(openly).max() > 0.05
    assert np.allclose(openly, nearly, atol=1e-5)


@pytest.mark.parametrize("multiplier", [0.0, -1.0, math.nan, math.inf])
def test_private_training_without_noise_does_not_exist(multiplier: float) -> None:
    with pytest.raises(ContractError):
        Noise(multiplier, SeededSource(1))


def test_labels_weigh_by_public_shares_and_never_more_than_one() -> None:
    truth = np.asarray([[True, False, True], [False, True, False]])
    known = np.asarray([[True, True, False], [True, True, True]])
    weights = label_weights(truth, known, (0.2, 0.75, 0.5))
    assert np.allclose(weights, [[1.0, 1.0, 0.0], [0.25, 1 / 3, 1.0]])


def test_a_body_starts_where_its_public_seed_says() -> None:
    body = SmallBody(20)
    assert np.array_equal(body.start(3), body.start(3))
    assert not np.array_equal(body.start(3), body.start(4))
    features = RNG.normal(size=(4, 20)).astype(np.float32)
    assert not body.logits(body.start(3), features).any()
