"""What the reports so far have cost a person in privacy, seen from the coordinator.

Unit of privacy: the person, for the study. Neighbouring: one person's reports replaced by any
others. Mechanism: discrete Gaussian noise in every cell, drawn on the device. Sensitivity: in
each one-hot histogram at most two cells change, each by one.

Two figures stand beside each other: the closed form that every device keeps its budget by, and
the tighter one of a privacy loss distribution. The closed form is the promise; the other shows
how much room it leaves.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

from dp_accounting import dp_event
from dp_accounting.pld import privacy_loss_distribution
from dp_accounting.rdp import rdp_privacy_accountant

from sync.policy import Policy, epsilon, squared_sensitivity

_GRID: Final = 1e-4  # of privacy loss; rounded up, so the figure stays an upper bound
_ORDERS: Final = tuple(1.0 + 2.0 ** (place / 8) for place in range(-48, 96))


@dataclass(frozen=True, slots=True)
class Spent:
    """Privacy spent by one person: `rho` in zCDP, `epsilon` from it, and the tight `epsilon_pld`.

    Both epsilons hold at the policy's delta.
    """

    rho: float
    epsilon: float
    epsilon_pld: float


def spent_after(reports: int, policy: Policy) -> Spent:
    """What a person has spent who sent `reports` reports under `policy`.

    Source: Bun, Steinke, "Concentrated Differential Privacy", 2016, Proposition 1.3 and Lemma
    1.7 (closed form); Koskela, Jälkö, Honkela, "Computing Tight Differential Privacy Guarantees
    Using FFT", 2020 (privacy loss distribution).
    """
    if reports == 0:
        return Spent(0.0, 0.0, 0.0)
    rho = policy.rho_per_report * reports
    return Spent(
        float(rho),
        epsilon(rho, policy.delta),
        _tight_epsilon(squared_sensitivity() * reports, policy.sigma2, policy.delta),
    )


@lru_cache(maxsize=64)
def _tight_epsilon(cells: int, sigma2: Fraction, delta: float) -> float:
    """Epsilon of `cells` cells that each move by one, with independent noise: their composition.

    A squared sensitivity of 2H is 2H cells that move by one, so nothing is bounded loosely here.
    """
    one = privacy_loss_distribution.from_discrete_gaussian_mechanism(
        math.sqrt(sigma2), sensitivity=1, value_discretization_interval=_GRID
    )
    return float(one.self_compose(cells).get_epsilon_for_delta(delta))


@dataclass(frozen=True, slots=True)
class Composed:
    """What several rounds cost a person, at one delta: `rho` and three epsilons above the truth.

    `epsilon` is the device's closed form; `epsilon_rdp` the accountant's from the same zCDP, for
    which the discrete noise is proved; `epsilon_pld` the accountant's for continuous Gaussian
    noise of the same rho, which the discrete one resembles. They fall in this order.
    """

    rho: Fraction
    epsilon: float
    epsilon_rdp: float
    epsilon_pld: float


def composed(prices: Iterable[Fraction], delta: float) -> Composed:
    """The cost of rounds of these prices (zCDP each), every one of which the person was part of.

    No sampling is claimed: whoever is asked for a round is in it, so prices only add.

    Raises:
        PolicyError: delta is not between 0 and 1, or a price is negative.
    Source: Bun, Steinke 2016, Lemma 1.7 and Proposition 1.3; Canonne, Kamath, Steinke 2020,
    Proposition 12 (Renyi to epsilon); Gaussian noise composes into one Gaussian of the summed rho.
    """
    rho = sum(prices, Fraction(0))
    closed = epsilon(rho, delta)
    if not rho:
        return Composed(rho, closed, 0.0, 0.0)
    accountant = rdp_privacy_accountant.RdpAccountant(_ORDERS)
    accountant.compose(dp_event.ZCDpEvent(float(rho)))
    gaussian = privacy_loss_distribution.from_gaussian_mechanism(
        1.0 / math.sqrt(2.0 * float(rho)), value_discretization_interval=_GRID
    )
    return Composed(
        rho,
        closed,
        float(accountant.get_epsilon(delta)),
        float(gaussian.get_epsilon_for_delta(delta)),
    )
