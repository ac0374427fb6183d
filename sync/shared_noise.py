"""Noise inside a secure sum: every member adds a share, and the sum carries what the price says.

Rules it upholds: a share is an exact sample of the discrete Gaussian, drawn in whole numbers; the
shares of the *honest* among the *fewest* survivors suffice already, so whoever else adds noise
makes the sum only more private; sigma is derived from the clip, the price and the cohort and is
rounded up, so the stated rho holds exactly; the sum can't wrap around 2^32 but with a stated
chance, or there is no round.

Unit of privacy: the person's whole vector in one round. Neighbouring: named by `Neighbours`, for
each purpose its own. Sensitivity: squared L2, derived from the clip. Mechanism: the sum of m
independent discrete Gaussians of parameter s2 (a share's) in every number, which is rho-zCDP for

    rho = sensitivity / (2 m s2) + tau d,    tau = 10 sum_{k=1}^{m-1} exp(-2 pi^2 s2 k / (k+1)).

Why: let P be the law of the sum and Q the discrete Gaussian of parameter m s2. Adding one more
share completes a square, and what is left of P/Q is a sum over a shifted lattice, which Poisson
summation shows to vary by a factor of at most (1 + 2q + 2q^4 + ...) / (1 - 2q) for k+1 shares,
q = exp(-2 pi^2 s2 k/(k+1)); so log(P/Q) varies by at most t = tau / 2 in all, for s2 >= 1. A
sum of discrete Gaussians is subgaussian with m s2, hence the Renyi divergence of order a, for a
shift c in one number, is at most a c^2 / (2 m s2) + t. That is below the published bound, which
is the one charged here.

In the life of a round: a device draws its share when it masks its vector; the coordinator takes
the scale away from the opened sum.

Source: Kairouz, Liu, Steinke, "The Distributed Discrete Gaussian Mechanism for Federated Learning
with Secure Aggregation", 2021 (arXiv 2102.06387), Proposition 14 (first bound) and Theorem 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError
from sync.errors import PolicyError
from sync.noise import RandBelow, discrete_gaussian
from sync.secure_sum.neighbours import colluding, members_needed

Residues = npt.NDArray[np.uint32]
"""A vector (N,) of whole numbers mod 2^32."""

LEAST_SHARE: Final = 8
"""A share's parameter is at least this: tau is then below 2^-100, and costs nothing."""
MOST_SCALE: Final = 1 << 20
WRAP_BITS: Final = 64
"""A sum wraps around in at most one of 2^64 rounds."""

_HALF: Final = 1 << 31
_GRAIN: Final = 64  # a share's parameter is a multiple of 1/64: small numbers, quick samples
_BITS_PER_SIGMA2: Final = Fraction(14_238, 1000)  # < pi^2 log2(e), as k/(k+1) >= 1/2
_ENOUGH: Final = Fraction(64)  # beyond it tau is not worth more digits
_LN2: Final = Fraction(6932, 10_000)  # > ln 2


class Neighbours(StrEnum):
    """What the other world has in the place of one person's vector x, squared L2 <= clip."""

    COUNTS_REPLACED = "counts replaced"  # by any other vector; none of both has a negative number
    REPLACED = "replaced"  # by any other vector within the clip
    LEFT_OUT = "left out"  # by the vector of zeros: the person was there and said nothing


NEIGHBOURS: Final = {
    "report": Neighbours.COUNTS_REPLACED,
    "canary": Neighbours.COUNTS_REPLACED,
    "head": Neighbours.LEFT_OUT,
}
"""The neighbouring relation under which each purpose of a round is charged."""

_FACTOR: Final = {
    Neighbours.COUNTS_REPLACED: 2,  # |x - y|^2 <= |x|^2 + |y|^2, as x.y >= 0
    Neighbours.REPLACED: 4,  # |x - y| <= 2 clip
    Neighbours.LEFT_OUT: 1,
}


def squared_sensitivity(squared_clip: int, neighbours: Neighbours) -> int:
    """How far neighbours are apart, squared L2, in the vector's own whole units.

    For a report, one-hot in H histograms, the squared clip is H and this is 2H, as in
    `policy.squared_sensitivity`. An update that is rho-zCDP when it is left out is 4 rho-zCDP
    when it is replaced.

    Raises:
        ContractError: the clip is below 1.
    """
    if squared_clip < 1:
        raise ContractError("A squared clip is a whole number of at least 1.")
    return _FACTOR[neighbours] * squared_clip


def honest(cohort: int, minimum: int) -> int:
    """How many members' shares are surely there and unknown to the coordinator.

    Fewer than a third of those who *joined* collude with it, and none of them need drop out: so
    the rest of the fewest survivors is counted, not two thirds of it.

    Raises:
        ContractError: the cohort is smaller than the minimum, or there is none.
    """
    if not 1 <= minimum <= cohort:
        raise ContractError("A cohort has at least its minimum of people.")
    return members_needed(cohort, minimum) - colluding(cohort)


@dataclass(frozen=True, slots=True)
class SharedNoise:
    """The noise of one round.

    `members` at least are summed and `honest` of their shares count; a share is `length` samples
    of the discrete Gaussian of parameter `share_sigma2`, in units of 1/`scale` of the vector's.
    """

    length: int
    scale: int
    members: int
    honest: int
    share_sigma2: Fraction

    @property
    def honest_sigma2(self) -> Fraction:
        """Parameter of the noise that counts, in the vector's own units."""
        return self.honest * self.share_sigma2 / self.scale**2

    def sum_sigma2(self, members: int) -> Fraction:
        """Parameter of all the noise in a sum over `members`, in the vector's own units."""
        return members * self.share_sigma2 / self.scale**2


def noise_for(
    *, squared_sensitivity: int, rho: Fraction, scale: int, length: int, minimum: int, cohort: int
) -> SharedNoise:
    """What each of `cohort` people must add, so that the opened sum is `rho`-zCDP for each.

    `squared_sensitivity` in the vector's own units (see the function of that name). A device
    takes `cohort` from a roster that it has checked, never from a mere claim: a larger number
    makes its share smaller.

    Unit, neighbours, sensitivity, mechanism: as the module says; rho includes the tau term, which
    is bounded above in exact fractions.

    Raises:
        PolicyError: the shares would be too coarse for the bound; the scale must grow.
        ContractError: a number is outside its domain.
    Source: as the module says.
    """
    if squared_sensitivity < 1 or rho <= 0 or scale < 1 or length < 1:
        raise ContractError("Shared noise needs a sensitivity, a price, a scale and a length.")
    counted = honest(cohort, minimum)
    apart = squared_sensitivity * scale**2
    least = apart / (2 * rho * counted)  # without the tau term
    if least < LEAST_SHARE:
        raise PolicyError(
            f"With {cohort} people, each one's share of the noise would have a variance of only "
            f"{float(least):.2g}.",
            "Announce the round with a larger scale.",
        )
    left = rho - _tau(least, counted) * length  # tau falls as the parameter grows
    if left <= 0:
        raise PolicyError("The price of this round is below what any noise can keep.")
    exact = apart / (2 * left * counted)
    share = Fraction(math.ceil(exact * _GRAIN), _GRAIN)
    return SharedNoise(length, scale, members_needed(cohort, minimum), counted, share)


def cost(noise: SharedNoise, squared_sensitivity: int) -> Fraction:
    """An upper bound, exact, of the rho that this noise gives: never above the announced price.

    Source: as the module says.
    """
    variance = 2 * noise.honest * noise.share_sigma2
    apart = squared_sensitivity * noise.scale**2
    return apart / variance + _tau(noise.share_sigma2, noise.honest) * noise.length


def scale_for(
    *,
    squared_sensitivity: int,
    squared_clip: int,
    rho: Fraction,
    length: int,
    minimum: int,
    most: int,
) -> int:
    """The smallest power of two that makes every share large enough, for up to `most` people.

    With it the sum of `most` people stays within 2^31 of zero: each number of a vector is within
    the clip, and the noise (subgaussian) is beyond its bound in one of 2^64 rounds at most.

    Raises:
        PolicyError: there is none: too many people, too large a clip, or too small a price.
        ContractError: a number is outside its domain.
    """
    counted = max(honest(cohort, minimum) for cohort in range(minimum, most + 1))
    scale = 1
    while squared_sensitivity * scale**2 / (2 * rho * counted) < LEAST_SHARE:
        scale *= 2
    # The most noise: each share is largest where the fewest honest are counted.
    fewest = min(honest(cohort, minimum) for cohort in range(minimum, most + 1))
    largest = squared_sensitivity * scale**2 / (rho * fewest)  # twice `least`: rounding and tau
    reach = most * (math.isqrt(squared_clip) + 1) * scale + noise_bound(length, most * largest)
    if scale > MOST_SCALE or reach >= _HALF:
        raise PolicyError(
            f"A sum over {most} people under a squared clip of {squared_clip} for rho {rho} does "
            "not fit in 32 bits.",
            "Announce a smaller cohort, a coarser clip or a higher price.",
        )
    return scale


def noise_bound(length: int, sigma2: Fraction) -> int:
    """What none of `length` numbers' noise exceeds, but with a chance of 2^-64.

    The noise is subgaussian: beyond x on either side with at most 2 exp(-x^2 / (2 sigma2)).

    Source: a sum over a shifted lattice is largest unshifted, so E exp(l y) <= exp(l^2 sigma2 / 2)
    (Canonne, Kamath, Steinke, 2020); Chernoff's bound; a union bound.
    """
    nats = (WRAP_BITS + 1 + length.bit_length()) * _LN2
    return math.isqrt(math.ceil(2 * sigma2 * nats)) + 1


def noise_share(noise: SharedNoise, randbelow: RandBelow) -> list[int]:
    """One member's share: `length` exact samples. Pass `secrets.randbelow`; draw it once a round.

    Mechanism: a share alone protects little; it is part of a sum, and only a sum is opened.
    """
    return [discrete_gaussian(noise.share_sigma2, randbelow) for _ in range(noise.length)]


def noised(vector: Sequence[int], noise: SharedNoise, randbelow: RandBelow) -> Residues:
    """A person's vector (whole numbers, N), scaled, with this member's share, mod 2^32.

    The clip has been applied before, and is checked by who knows it: `within_clip`.

    Raises:
        ContractError: the vector has another length.
    """
    if len(vector) != noise.length:
        raise ContractError(f"This round sums vectors of {noise.length} numbers.")
    share = noise_share(noise, randbelow)
    mixed = [(int(x) * noise.scale + y) % (1 << 32) for x, y in zip(vector, share, strict=True)]
    return np.array(mixed, dtype=np.uint32)


def within_clip(vector: Sequence[int], squared_clip: int) -> None:
    """Return if the squared L2 norm of whole numbers is at most the clip; exact.

    Raises:
        ContractError: it is above; the noise would not cover it.
    """
    if sum(int(x) ** 2 for x in vector) > squared_clip:
        raise ContractError("A vector is longer than its clip: its noise would not cover it.")


def signed(total: Residues) -> npt.NDArray[np.int64]:
    """An opened sum (N,) in -2^31..2^31-1: the one representative that can't have wrapped.

    Raises:
        ContractError: it is not uint32.
    """
    if total.dtype != np.uint32:
        raise ContractError("A sum mod 2^32 is an array of uint32.")
    return total.astype(np.int32).astype(np.int64)  # two's complement


def unscaled(total: Residues, scale: int) -> npt.NDArray[np.float64]:
    """An opened sum (N,) in the vector's own units, its noise still in it."""
    return signed(total) / scale


def _tau(share_sigma2: Fraction, shares: int) -> Fraction:
    """An upper bound of tau: every term is at most exp(-pi^2 s2), a power of two bounds that."""
    bits = math.floor(_BITS_PER_SIGMA2 * min(share_sigma2, _ENOUGH))
    return Fraction(10 * (shares - 1), 1 << bits)
