"""The gate: a candidate head is published only if the noised votes prove it better.

Rules it upholds: in doubt the old head stays; the noise of the sum, the luck of who voted, and a
stated share of hostile voters are all counted against the candidate; a sum that no honest votes
could have given is an error, not a verdict.

The bound. Votes g lie in -1..1 (a gain of `MOST_GAIN` is 1). The opened sum holds U = sum of g+
and V = sum of g-, each with noise of parameter sigma2. The mean gain m = (U - V)/n has noise of
variance 2 sigma2 / n^2; who voted adds at most E[g^2]/n <= E|g|/n, and E|g| is (U + V)/n, taken at
its own upper bound. A worse head (mean gain of honest people at most 0) with a share h of
hostile votes of +1 has a mean of at most h. So

    publish  <=>  m - q sqrt(2 sigma2/n^2 + E|g|/n)  >  margin + h,   q = the normal quantile
                                                                     of 1 - error_rate.

Then a worse head is published with a chance of at most `error_rate` (and its own normal
approximation: n >= 20, and a noise of hundreds of units).

What it can't see: a hostile device that ignores the bound of a vote, as long as the sum stays
possible. See `sync/poisoning.md`.

In the life of a federated round: votes → secure sum → **gate** → published, or not.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from edge_models.errors import ContractError
from sync.errors import ProtocolError
from sync.federated.canary import LENGTH, MOST_GAIN
from sync.federated.layout import UNITS
from sync.shared_noise import Residues, unscaled

_IMPOSSIBLE: Final = 6.0  # standard deviations beyond what votes can be: one in a thousand million


@dataclass(frozen=True, slots=True)
class Rule:
    """When to publish: `margin` and `hostile` in votes (0..1), at this `error_rate`."""

    margin: float = 0.0
    hostile: float = 0.0
    error_rate: float = 0.05

    def __post_init__(self) -> None:
        if not (0.0 <= self.margin < 1.0 and 0.0 <= self.hostile < 1.0):
            raise ContractError("A margin and a hostile share lie between 0 and 1.")
        if not 0.0 < self.error_rate < 0.5:
            raise ContractError("An error rate lies between 0 and 1/2.")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to `publish`; the mean `gain` in nats and its lower bound `at_least`."""

    publish: bool
    gain: float
    at_least: float
    members: int


def decide(total: Residues, *, members: int, sigma2: float, rule: Rule, scale: int = 1) -> Verdict:
    """Judge an opened sum of votes, uint32 (2,), over `members`.

    `sigma2` is the parameter of *all* the noise in the sum, in units (`SharedNoise.sum_sigma2`).

    Raises:
        ProtocolError: no votes within their bound can have given this sum.
        ContractError: its length, or a number, is outside its domain.
    """
    if total.shape != (LENGTH,) or members < 1 or sigma2 < 0:
        raise ContractError("A sum of votes has two numbers, members and a noise.")
    up, down = (unscaled(total, scale) / (UNITS * members)).tolist()
    noise = math.sqrt(sigma2) / (UNITS * members)
    slack = _IMPOSSIBLE * noise
    if min(up, down) < -slack or max(up, down, up + down) > 1.0 + math.sqrt(2) * slack:
        raise ProtocolError(
            "The sum of the votes is not one that votes can have.",
            "Some device sent more than a vote; the head is not published.",
        )
    quantile = NormalDist().inv_cdf(1.0 - rule.error_rate)
    gain = up - down
    spread = min(1.0, max(0.0, up + down + quantile * math.sqrt(2) * noise))
    at_least = gain - quantile * math.sqrt(2 * noise**2 + spread / members)
    return Verdict(
        at_least > rule.margin + rule.hostile, gain * MOST_GAIN, at_least * MOST_GAIN, members
    )
