"""Adaptive clipping: the clip follows a quantile of the update norms, which only a noisy sum tells.

Rules it upholds: what the clip learns is paid for inside the round's own price (`layout.Split`);
the next round's clip depends on opened sums only; it moves by a bounded factor.

    >>> clip = Clip(1.0)
    >>> round(clip.after(within=0.9).value, 3)   # too many are within: it shrinks
    0.887
    >>> clip.after(within=0.5).value
    1.0

In the life of a federated round: opened sum → `update.from_sum` → **the next round's clip**.

Source: Andrew, Thakkar, McMahan, Ramaswamy, "Differentially Private Learning with Adaptive
Clipping", NeurIPS 2021 (arXiv 1905.03871), Algorithm 1 (geometric updates, learning rate 0.2 and
the split of the noise, Theorem 1).
"""

import math
from dataclasses import dataclass

from edge_models.errors import ContractError

_SMALLEST, _LARGEST = 1e-6, 1e6


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip of `value` (L2, in the frame), on its way to the `quantile` of norms at `rate`."""

    value: float
    quantile: float = 0.5
    rate: float = 0.3

    def __post_init__(self) -> None:
        if not _SMALLEST <= self.value <= _LARGEST:
            raise ContractError("A clip is between a millionth and a million.")
        if not 0 < self.quantile < 1 or not 0 < self.rate <= 1:
            raise ContractError("A quantile is inside 0 to 1, its rate at most 1.")

    def after(self, within: float) -> "Clip":
        """The next clip, when a share `within` of the updates (noisy, 0..1) was within this one.

        Raises:
            ContractError: `within` is no share.
        """
        if not 0.0 <= within <= 1.0:
            raise ContractError("Those within the clip are a share of those who came.")
        value = self.value * math.exp(-self.rate * (within - self.quantile))
        return Clip(min(max(value, _SMALLEST), _LARGEST), self.quantile, self.rate)


def split_noise(z: float, sigma_side: float) -> float:
    """The noise multiplier that is left for the update, as the paper puts it.

    `z` is the multiplier of update and count together, `sigma_side` the noise of the count of
    those within the clip. `layout.split` says the same in zCDP; a test holds them together.

    Raises:
        ContractError: so little noise in the count would cost more than everything.
    Source: Theorem 1: z_update = (z^-2 - (2 sigma_side)^-2)^(-1/2).
    """
    left = z**-2 - (2 * sigma_side) ** -2
    if z <= 0 or sigma_side <= 0 or left <= 0:
        raise ContractError("The count's noise is larger than half the multiplier of the whole.")
    return float(left**-0.5)
