"""Is an opened sum one that clipped updates can have given? What a server can test under masks.

Rule it upholds: an honest round is refused in at most one of `FALSE_ALARM` rounds, whatever the
updates were; nobody is accused, because a sum has no names.

Honest: |sum| <= n · UNITS, the count of those who had labels is in 0..n, and the side is no
further from zero than it. The noise adds a known amount: to the norm at most sqrt(sigma2) times the
quantile of a chi distribution with D degrees of freedom (Laurent and Massart's bound); the true
noise is subgaussian with the same parameter. So the test finds an update boosted beyond about
n clips, and none smaller. A tighter limit (`expected`, the norm of an earlier round, say) finds
smaller boosts, and rounds that are honestly larger too: it is for a person to look at.

Source: Laurent, Massart, "Adaptive estimation of a quadratic functional by model selection",
Annals of Statistics 28(5), 2000, Lemma 1.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from edge_models.errors import ContractError
from sync.federated.layout import TELL, UNITS, Layout
from sync.shared_noise import Residues, unscaled

FALSE_ALARM: Final = 1e-6


class Suspicion(StrEnum):
    """Why a sum is thrown away, in words for the coordinator's page."""

    TOO_LONG = "longer than clipped updates and noise can be"
    TOO_MANY = "more people than took part"
    TOO_FEW = "fewer people than none"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`norm` of the update part in clips, the `limit` it was held to, and what is wrong, if any."""

    norm: float
    limit: float
    suspicion: Suspicion | None


def noise_norm(numbers: int, sigma2: float, chance: float = FALSE_ALARM) -> float:
    """What the norm of `numbers` noises exceeds with at most this chance.

    Source: Lemma 1: chi^2_D >= D + 2 sqrt(D x) + 2 x with at most exp(-x).
    """
    x = -math.log(chance)
    return math.sqrt(sigma2 * (numbers + 2 * math.sqrt(numbers * x) + 2 * x))


def examined(
    total: Residues,
    layout: Layout,
    *,
    members: int,
    sigma2: float,
    scale: int = 1,
    expected: float | None = None,
) -> Outcome:
    """Examine an opened sum, uint32 (D + 2,), over `members`; `sigma2` of all its noise, in units.

    `expected`: the largest honest norm in clips that is believed, else `members`.

    Raises:
        ContractError: the sum has another length, or a number is outside its domain.
    """
    if total.shape != (layout.length,) or members < 1 or sigma2 < 0:
        raise ContractError("A sum has the layout's length, members and a noise.")
    units = unscaled(total, scale)
    norm = float(np.linalg.norm(units[: layout.numbers]))
    honest = UNITS * (members if expected is None else min(expected, members))
    limit = honest + noise_norm(layout.numbers, sigma2)
    side, here = units[layout.numbers :].tolist()
    slack = noise_norm(1, sigma2)
    suspicion = None
    if norm > limit:
        suspicion = Suspicion.TOO_LONG
    elif here > members * TELL + slack or abs(side) > members * TELL + slack:
        suspicion = Suspicion.TOO_MANY
    elif here < -slack:
        suspicion = Suspicion.TOO_FEW
    return Outcome(norm / UNITS, limit / UNITS, suspicion)
