"""What a private training costs each person, and the noise that keeps it to a stated (ε, δ).

Unit of privacy: the person, with everything that is known of them. Neighbouring: one person more
or less in the training (add or remove one). Mechanism: in each step every person is taken with
the same probability, independently (Poisson sampling), gives one vector no longer than the clip
(L2), and Gaussian noise of `noise_multiplier` · clip is added to the sum in every number.

Rules it upholds: the figure that counts is the accountant's upper bound from privacy loss
distributions; the Renyi figure stands beside it and is larger; a training that was not sampled or
noised like this has no figure here. Several trainings on the same people add up: each figure is
of one.

Source: Koskela, Jälkö, Honkela, "Computing Tight Differential Privacy Guarantees Using FFT", 2020;
Doroshenko, Ghazi, Kamath, Kumar, Manurangsi, "Connect the Dots", 2022 (the accountant's method);
Mironov, Talwar, Zhang, "Rényi Differential Privacy of the Sampled Gaussian Mechanism", 2019.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final

from dp_accounting import NeighboringRelation, dp_event
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from edge_models.errors import ContractError

UNIT: Final = "person"
RELATION: Final = "one person added or removed"
_RELATION: Final = NeighboringRelation.ADD_OR_REMOVE_ONE
_GRID: Final = 1e-3  # of privacy loss; rounded up, so the figure stays an upper bound
_ORDERS: Final = tuple(float(order) for order in (*range(2, 65), 80, 96, 128, 192, 256, 512, 1024))
_CLOSE: Final = 1e-3  # of the noise multiplier
_SMALLEST_EPSILON: Final = 0.01
_LARGEST_EPSILON: Final = 100.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """`steps`, in each of which a person is taken with probability `sampling`."""

    steps: int
    sampling: float

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0.0 < self.sampling <= 1.0:
            raise ContractError("A schedule has steps, and takes people with a probability.")


@dataclass(frozen=True, slots=True)
class Spent:
    """What one training costs each person at `delta`: the figure that counts, and Renyi's."""

    schedule: Schedule
    noise_multiplier: float
    delta: float
    epsilon: float
    epsilon_rdp: float

    @property
    def statement(self) -> str:
        """The whole claim in words."""
        return (
            f"({self.epsilon:.3g}, {self.delta:.0e})-differential privacy of each {UNIT} "
            f"({RELATION}; Poisson sampling at {self.schedule.sampling:.3g}, "
            f"{self.schedule.steps} steps, noise multiplier {self.noise_multiplier:.3g}); "
            f"{accountant()}; by Renyi orders {self.epsilon_rdp:.3g}."
        )


def accountant() -> str:
    """Who computed epsilon, with its version."""
    return f"PLDAccountant of dp-accounting {version('dp-accounting')}"


@lru_cache(maxsize=256)
def spent(schedule: Schedule, noise_multiplier: float, delta: float) -> Spent:
    """What a training with this noise costs.

    Raises:
        ContractError: there is no noise, or delta is not between 0 and 1.
    """
    if not 0.0 < noise_multiplier < math.inf or not 0.0 < delta < 1.0:
        raise ContractError("Without noise and a delta between 0 and 1 there is no privacy.")
    tight = _tight(schedule, noise_multiplier, delta)
    renyi = _renyi(schedule, noise_multiplier, delta)
    return Spent(schedule, noise_multiplier, delta, tight, renyi)


@lru_cache(maxsize=256)
def calibrated(schedule: Schedule, epsilon: float, delta: float) -> Spent:
    """The least noise (to a thousandth) that costs at most `epsilon` at `delta`.

    Raises:
        ContractError: epsilon is not between 0.01 and 100, or delta not between 0 and 1.
    """
    if not _SMALLEST_EPSILON <= epsilon <= _LARGEST_EPSILON or not 0.0 < delta < 1.0:
        raise ContractError("Noise is sized for an epsilon of 0.01 to 100 and a delta below 1.")
    high = 1.0
    while _renyi(schedule, high, delta) > epsilon:
        high = 2.0 * high
    while _renyi(schedule, high / 1.2, delta) <= epsilon:
        high = high / 1.2
    low = high / 1.2
    while _tight(schedule, low, delta) <= epsilon:
        low, high = low / 1.2, low
    while high / low > 1.0 + _CLOSE:
        middle = math.sqrt(low * high)
        if _tight(schedule, middle, delta) <= epsilon:
            high = middle
        else:
            low = middle
    return spent(schedule, high, delta)


def _tight(schedule: Schedule, noise_multiplier: float, delta: float) -> float:
    accountant = PLDAccountant(_RELATION, value_discretization_interval=_GRID)
    accountant.compose(_event(schedule, noise_multiplier))
    return float(accountant.get_epsilon(delta))


def _renyi(schedule: Schedule, noise_multiplier: float, delta: float) -> float:
    accountant = RdpAccountant(_ORDERS, _RELATION)
    accountant.compose(_event(schedule, noise_multiplier))
    return float(accountant.get_epsilon(delta))


def _event(schedule: Schedule, noise_multiplier: float) -> Any:
    step = dp_event.PoissonSampledDpEvent(
        schedule.sampling, dp_event.GaussianDpEvent(noise_multiplier)
    )
    return dp_event.SelfComposedDpEvent(step, schedule.steps)
