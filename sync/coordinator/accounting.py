"""What the releases so far have cost a person in privacy, seen from the coordinator.

Unit of privacy: the person, for the study. Neighbouring: one person's reports and evaluations
replaced by any others, and each of the person's updates left out. Mechanism: discrete Gaussian
noise in every number, drawn on the devices: the person's own, or in a secure sum the noise of
those members who can be relied on.

Two figures stand beside each other: the closed form that every device keeps its budget by, and
the tighter one of a privacy loss distribution. The closed form is the promise; the other shows
how much room it leaves, and is never above it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, reduce
from typing import Any, Final

from dp_accounting import dp_event
from dp_accounting.pld import privacy_loss_distribution
from dp_accounting.rdp import rdp_privacy_accountant

from sync.policy import Policy, Purpose, epsilon, squared_sensitivity
from sync.shared_noise import SharedNoise

_GRID: Final = 1e-4  # of privacy loss; rounded up, so the figure stays an upper bound
_ORDERS: Final = tuple(1.0 + 2.0 ** (place / 8) for place in range(-48, 96))


@dataclass(frozen=True, slots=True)
class Release:
    """How one release is noised, and the rho (zCDP) that it was charged at.

    `sigma2` is the parameter of the noise that counts, in units of 1/`scale` of the vector's;
    `squared_sensitivity` in the vector's own.
    """

    purpose: Purpose
    rho: Fraction
    squared_sensitivity: int
    sigma2: Fraction
    scale: int = 1


@dataclass(frozen=True, slots=True)
class Spent:
    """Privacy spent by one person: `rho` in zCDP, `epsilon` from it, and the tight `epsilon_pld`.

    Both epsilons hold at the policy's delta.
    """

    rho: float
    epsilon: float
    epsilon_pld: float


def local_report(policy: Policy) -> Release:
    """A report with all its noise added by the person's own device."""
    return Release(Purpose.REPORT, policy.rho_per_report, squared_sensitivity(), policy.sigma2)


def summed(
    purpose: Purpose, rho: Fraction, squared_sensitivity: int, noise: SharedNoise
) -> Release:
    """A contribution to a secure sum: only the noise that is surely there counts."""
    sigma2 = noise.honest * noise.share_sigma2
    return Release(purpose, rho, squared_sensitivity, sigma2, noise.scale)


def spent_on(releases: Mapping[Release, int], delta: float) -> Spent:
    """What a person has spent who took part in each of these so many times.

    A report's vector is one-hot: a squared sensitivity of 2H is 2H cells that move by one, so its
    composition is exact. An update may move in any direction; its noise, whose sigma is many
    units, is taken for a Gaussian of the same sigma. (The sum of m discrete Gaussians differs
    from one by the tau term, which is far below the grid on which losses are rounded up.)

    Source: Bun, Steinke, "Concentrated Differential Privacy", 2016, Proposition 1.3 and Lemma
    1.7 (closed form); Koskela, Jälkö, Honkela, "Computing Tight Differential Privacy Guarantees
    Using FFT", 2020 (privacy loss distribution).
    """
    made = {release: count for release, count in releases.items() if count}
    if not made:
        return Spent(0.0, 0.0, 0.0)
    rho = sum((release.rho * count for release, count in made.items()), Fraction(0))
    bound = epsilon(rho, delta)
    tight = _tight_epsilon(frozenset(made.items()), delta)
    return Spent(float(rho), bound, min(tight, bound))


def spent_after(reports: int, policy: Policy) -> Spent:
    """What a person has spent who sent `reports` reports with local noise under `policy`."""
    return spent_on({local_report(policy): reports}, policy.delta)


@lru_cache(maxsize=64)
def _tight_epsilon(releases: frozenset[tuple[Release, int]], delta: float) -> float:
    parts = [_losses(release, count) for release, count in sorted(releases, key=repr)]
    return float(reduce(lambda one, other: one.compose(other), parts).get_epsilon_for_delta(delta))


def _losses(release: Release, count: int) -> Any:
    """The privacy loss distribution of `count` such releases together."""
    sigma = math.sqrt(release.sigma2)
    if release.purpose is Purpose.REPORT:
        cell = privacy_loss_distribution.from_discrete_gaussian_mechanism(
            sigma, sensitivity=release.scale, value_discretization_interval=_GRID
        )
        return cell.self_compose(release.squared_sensitivity * count)
    apart = math.sqrt(release.squared_sensitivity) * release.scale
    vector = privacy_loss_distribution.from_gaussian_mechanism(
        sigma, sensitivity=apart, value_discretization_interval=_GRID
    )
    return vector.self_compose(count)


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
    return _composed(sum(prices, Fraction(0)), delta)


@lru_cache(maxsize=64)
def _composed(rho: Fraction, delta: float) -> Composed:
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
