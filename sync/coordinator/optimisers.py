"""Server optimisers: how a head moves by what a round's sum says. Frozen pairs `init`, `apply`.

Rules it upholds: an optimiser sees sums only, and what it makes of them costs no more privacy;
its state is a value; nothing here draws randomness but the tree of `dp_ftrl`, which is handed
its source.

A toy run:

    >>> import numpy as np
    >>> optimiser = fed_avg(rate=1.0, momentum=0.5)
    >>> state = optimiser.init(np.zeros(2))
    >>> for _ in range(3):
    ...     state = optimiser.apply(state, np.array([1.0, -1.0]))
    >>> state.point.round(3).tolist()
    [4.25, -4.25]
    >>> calm = tail_mean(fed_avg(rate=1.0), rounds=2)
    >>> state = calm.init(np.zeros(1))
    >>> for step in (1.0, -1.0, 1.0, -1.0):
    ...     state = calm.apply(state, np.array([step]))
    >>> state.point.tolist()
    [0.5]

In the life of a federated round: opened sum → `update.from_sum` → **apply** → canary → a head.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError
from sync.coordinator.tree import Tree, TreeNoise

Reals = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


class HasPoint(Protocol):
    """What every optimiser's state has: the head that it stands for."""

    @property
    def point(self) -> Reals:
        """The head in its frame, float64 (D,)."""


State = TypeVar("State", bound=HasPoint)
Given = TypeVar("Given", Reals, Whole)


@dataclass(frozen=True, slots=True)
class Optimiser(Generic[State, Given]):
    """`init` makes the state of a point, float64 (D,); `apply` moves it by what a round gave."""

    init: Callable[[Reals], State]
    apply: Callable[[State, Given], State]


@dataclass(frozen=True, slots=True, eq=False)
class Averaged:
    """State of `fed_avg`: where the head is, and how it was moving."""

    point: Reals
    velocity: Reals


def fed_avg(rate: float, momentum: float = 0.0) -> Optimiser[Averaged, Reals]:
    """Move by the mean update, with heavy-ball momentum where asked for.

    Raises:
        ContractError: rate not positive, or momentum outside 0 <= momentum < 1.
    Source: McMahan et al. 2017, Algorithm 1; Hsu, Qi, Brown, "Measuring the Effects of
    Non-Identical Data Distribution for Federated Visual Classification", 2019 (FedAvgM).
    """
    if rate <= 0 or not 0 <= momentum < 1:
        raise ContractError("FedAvg has a positive rate and a momentum below 1.")

    def init(point: Reals) -> Averaged:
        return Averaged(point, np.zeros_like(point))

    def apply(state: Averaged, mean: Reals) -> Averaged:
        velocity = momentum * state.velocity + _fitting(mean, state.point)
        return Averaged(state.point + rate * velocity, velocity)

    return Optimiser(init, apply)


@dataclass(frozen=True, slots=True, eq=False)
class Adapted:
    """State of `fed_adam`: the head, two running moments and the number of rounds."""

    point: Reals
    first: Reals
    second: Reals
    rounds: int


def fed_adam(
    rate: float, first: float = 0.9, second: float = 0.99, tau: float = 1e-3
) -> Optimiser[Adapted, Reals]:
    """Adam on the mean update, bias corrected; `tau` is its degree of adaptivity.

    Raises:
        ContractError: a number is outside its domain.
    Source: Reddi et al., "Adaptive Federated Optimization", ICLR 2021 (arXiv 2003.00295),
    Algorithm 2; Kingma, Ba 2015 for the correction.
    """
    if rate <= 0 or tau <= 0 or not 0 <= first < 1 or not 0 <= second < 1:
        raise ContractError("FedAdam has positive rate and tau, and moments below 1.")

    def init(point: Reals) -> Adapted:
        return Adapted(point, np.zeros_like(point), np.zeros_like(point), 0)

    def apply(state: Adapted, mean: Reals) -> Adapted:
        rounds = state.rounds + 1
        one = first * state.first + (1 - first) * _fitting(mean, state.point)
        two = second * state.second + (1 - second) * mean**2
        step = (one / (1 - first**rounds)) / (np.sqrt(two / (1 - second**rounds)) + tau)
        return Adapted(state.point + rate * step, one, two, rounds)

    return Optimiser(init, apply)


@dataclass(frozen=True, slots=True, eq=False)
class Led:
    """State of `dp_ftrl`: the head, how it was moving, and the tree of its noise."""

    point: Reals
    velocity: Reals
    tree: Tree


def dp_ftrl(
    rate: float, noise: TreeNoise, unit: float, momentum: float = 0.0
) -> Optimiser[Led, Whole]:
    """DP-FTRL: the noise is in the *running sum* of the updates, drawn node by node of a tree.

    It is given the exact sum of a round, int64 (D,), in whole units worth `unit` each (clip /
    (room · members)), and draws the noise itself. So the coordinator sees a sum without noise:
    it is for studies that trust theirs with that, for people whose coming can't be sampled and who
    come seldom; devices of this project take part in rounds with noise in the sum only. What a
    person pays is `noise.rho`.

    Raises:
        ContractError: a number is outside its domain.
    Source: Kairouz, McMahan, Song, Thakkar, Thakurta, Xu, "Practical and Private (Deep) Learning
    without Sampling or Shuffling", ICML 2021 (arXiv 2103.00039), Algorithm 1 with momentum
    (section 4.2): each round moves by the difference of two noised prefix sums.
    """
    if rate <= 0 or unit <= 0 or not 0 <= momentum < 1:
        raise ContractError("DP-FTRL has positive rate and unit, and a momentum below 1.")

    def init(point: Reals) -> Led:
        return Led(point, np.zeros_like(point), Tree.empty(len(point)))

    def apply(state: Led, total: Whole) -> Led:
        tree = state.tree.grown(noise)
        shift = tree.noise - state.tree.carried(noise)
        mean = unit * (_fitting(total, state.point) + shift).astype(np.float64)
        velocity = momentum * state.velocity + mean
        return Led(state.point + rate * velocity, velocity, tree)

    return Optimiser(init, apply)


@dataclass(frozen=True, slots=True, eq=False)
class Tailed(Generic[State]):
    """State of `tail_mean`: the inner state, and the last points, oldest first."""

    inner: State
    last: tuple[Reals, ...]

    @property
    def point(self) -> Reals:
        """The mean of the last points."""
        return np.asarray(np.mean(self.last, axis=0))


def tail_mean(optimiser: Optimiser[State, Given], rounds: int) -> Optimiser[Tailed[State], Given]:
    """The same optimiser, standing for the mean of its last `rounds` points: noise averages out.

    Devices train from `state.inner.point`, where the optimiser is; what is offered to people is
    `state.point`.

    Raises:
        ContractError: fewer than one round.
    Source: Polyak, Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.
    """
    if rounds < 1:
        raise ContractError("A tail has at least one round.")

    def init(point: Reals) -> Tailed[State]:
        return Tailed(optimiser.init(point), (point,))

    def apply(state: Tailed[State], given: Given) -> Tailed[State]:
        inner = optimiser.apply(state.inner, given)
        return Tailed(inner, (*state.last, inner.point)[-rounds:])

    return Optimiser(init, apply)


def _fitting(given: Given, point: Reals) -> Given:
    if given.shape != point.shape:
        raise ContractError("An update has one number for each of the head's.")
    return given
