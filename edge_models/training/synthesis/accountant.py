"""How much noise a synthesiser needs for an ε, with the person as the unit.

Unit of privacy: the person, with all their windows. Neighbouring: one person's windows added or
left out. Mechanism: Gaussian noise on sums of clipped contributions, one of each person, people
sampled by Poisson where it says so. Accountant: dp-accounting, Rényi orders.

How many people there are, and behind each label, is taken as public: a table says so
beside it. The noise is floating point, not the exact sampler that devices use, and nothing is
claimed about its low bits.
"""

from dataclasses import dataclass
from typing import Any, Final

from dp_accounting import dp_event, mechanism_calibration
from dp_accounting.rdp import RdpAccountant

DELTA: Final = 1e-4
_TOLERANCE: Final = 1e-3
_ORDERS: Final = (1.75, 2.25, 2.5, 2.75, *(1.0 + place / 2 for place in range(2, 64)), 64.0, 128.0)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a table may cost each person: (ε, δ)."""

    epsilon: float
    delta: float = DELTA


def multiplier(budget: Budget, steps: int, sampled: float = 1.0) -> float:
    """Noise in units of one person's clip that keeps `steps` noised sums within the budget.

    `sampled` is the chance of each person to be in a step's sum.
    """
    found = mechanism_calibration.calibrate_dp_mechanism(
        lambda: RdpAccountant(_ORDERS),
        lambda noise: _event(noise, steps, sampled),
        budget.epsilon,
        budget.delta,
        mechanism_calibration.ExplicitBracketInterval(0.05, 1e4),
        tol=_TOLERANCE,
    )
    return float(found)


def epsilon(noise: float, steps: int, delta: float, sampled: float = 1.0) -> float:
    """The ε that this much noise gives."""
    accountant = RdpAccountant(_ORDERS)
    accountant.compose(_event(noise, steps, sampled))
    return float(accountant.get_epsilon(delta))


def _event(noise: float, steps: int, sampled: float) -> Any:
    step: Any = dp_event.GaussianDpEvent(noise)
    if sampled < 1:
        step = dp_event.PoissonSampledDpEvent(sampled, step)
    return dp_event.SelfComposedDpEvent(step, steps)
