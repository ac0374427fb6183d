"""Noise: exact samples of the discrete Gaussian, in whole numbers only.

Rules it upholds: no floating point anywhere, so no sample carries a rounding that could give its
true value away (Mironov 2012); randomness is an argument, `secrets.randbelow` on a device; what
is drawn has exactly the distribution that the privacy proof speaks of.

How long a draw takes depends on what is drawn. So a report is finished and stored first and sent
at a time that has nothing to do with it.

In the life of a report: `release` draws one sample for each cell, once.

Source: Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy", NeurIPS 2020
(arXiv 2004.00010), Algorithms 1 to 3.
"""

import math
from collections.abc import Callable
from fractions import Fraction

from edge_models.errors import ContractError

RandBelow = Callable[[int], int]
"""A uniform whole number in 0..n-1: `secrets.randbelow`."""


def discrete_gaussian(sigma2: Fraction, randbelow: RandBelow) -> int:
    """A sample x with probability proportional to exp(-x^2 / (2 sigma2)), over all integers.

    `sigma2` > 0 is the parameter, a little above the variance.

    Raises:
        ContractError: sigma2 is not positive.
    Source: Algorithm 3; (|y| - sigma2/t)^2 / (2 sigma2) is written as one fraction of integers.
    """
    if sigma2 <= 0:
        raise ContractError("A discrete Gaussian needs a positive sigma squared.")
    over, under = sigma2.numerator, sigma2.denominator
    scale = math.isqrt(over // under) + 1  # floor(sigma) + 1
    step, whole = under * scale, 2 * over * under * scale * scale
    while True:
        candidate = discrete_laplace(scale, randbelow)
        distance = abs(candidate) * step - over
        if _coin(distance * distance, whole, randbelow):
            return candidate


def discrete_laplace(scale: int, randbelow: RandBelow) -> int:
    """A sample x with probability proportional to exp(-|x| / scale), over all integers.

    Raises:
        ContractError: the scale is below 1.
    Source: Algorithm 2, with s = 1.
    """
    if scale < 1:
        raise ContractError("A discrete Laplace needs a scale of at least 1.")
    while True:
        remainder = randbelow(scale)
        if not _coin(remainder, scale, randbelow):
            continue
        quotient = 0
        while _coin_of_one(randbelow):
            quotient += 1
        magnitude = remainder + scale * quotient
        negative = randbelow(2) == 1
        if negative and magnitude == 0:  # zero must not be counted twice
            continue
        return -magnitude if negative else magnitude


def exp_of_minus(gamma: Fraction, randbelow: RandBelow) -> bool:
    """True with probability exp(-gamma), for gamma >= 0.

    Raises:
        ContractError: gamma is negative.
    Source: Algorithm 1.
    """
    if gamma < 0:
        raise ContractError("exp(-gamma) is no probability for a negative gamma.")
    return _coin(gamma.numerator, gamma.denominator, randbelow)


def _coin(over: int, under: int, randbelow: RandBelow) -> bool:
    """True with probability exp(-over/under): by the length of a run of rarer successes."""
    while over > under:
        if not _coin_of_one(randbelow):
            return False
        over -= under
    attempt = 1
    while randbelow(under * attempt) < over:  # Bernoulli(gamma / attempt)
        attempt += 1
    return attempt % 2 == 1


def _coin_of_one(randbelow: RandBelow) -> bool:
    """True with probability exp(-1); the first of its attempts can't fail, so it is not made."""
    attempt = 2
    while not randbelow(attempt):
        attempt += 1
    return attempt % 2 == 1
