"""The vector of a federated round: an update in whole units, and two cells that tell of the clip.

Rules it upholds: one squared clip bounds the whole vector and is *derived* from its shape, so the
price of its parts is a split of the round's price, never a second knob; the bound holds after
rounding; a person without anything to say sends zeros and looks like everybody else.

The vector of D + 2 whole numbers: D of the update, norm at most `UNITS`; `side`, +TELL where the
update was within the clip before it was clipped, -TELL where not; `here`, TELL of who had labels.
Everything gets the same noise, so each part costs rho in proportion to its squared length:

    rho_update : rho_side : rho_here = UNITS^2 : TELL^2 : TELL^2 = 9/10 : 1/20 : 1/20 (nearly).

This is the split of Andrew et al.: with z the noise in lengths of the whole (without `here`),
z_update = (z^-2 - (2 sigma_b)^-2)^(-1/2), sigma_b being the noise of the count of those within
the clip, whose cells are +-1/2 there.

Unit of privacy: the person's vector in one round. Neighbouring: left out, that is, replaced by
zeros. Sensitivity: the square root of `squared_clip`, L2.

Source: Andrew, Thakkar, McMahan, Ramaswamy, "Differentially Private Learning with Adaptive
Clipping", NeurIPS 2021 (arXiv 1905.03871), Theorem 1.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from edge_models.errors import ContractError

UNITS: Final = 1024
"""The clip in whole units: rounding moves a number by at most 1/2048 of the clip."""
TELL: Final = math.isqrt(UNITS**2 // 18)
"""What each of the two telling cells weighs: together about a tenth of the squared clip."""
MOST_NUMBERS: Final = 4096

_TELLING: Final = 2


@dataclass(frozen=True, slots=True)
class Split:
    """A round's price in zCDP, by what it pays for: the parts add up to the whole, exactly."""

    update: Fraction
    side: Fraction
    here: Fraction


@dataclass(frozen=True, slots=True)
class Layout:
    """A vector for an update of `numbers` (D) numbers."""

    numbers: int

    def __post_init__(self) -> None:
        if not 1 <= self.numbers <= MOST_NUMBERS:
            raise ContractError(f"An update has 1 to {MOST_NUMBERS} numbers.")

    @property
    def length(self) -> int:
        """How many numbers are summed: D + 2."""
        return self.numbers + _TELLING

    @property
    def squared_clip(self) -> int:
        """The bound of a person's vector, squared L2, in whole units: `Terms.squared_clip`."""
        return UNITS**2 + _TELLING * TELL**2

    @property
    def room(self) -> float:
        """The norm, in units, that an update may have *before* rounding: UNITS - sqrt(D) / 2.

        Rounding moves a vector of D numbers by at most sqrt(D) / 2, so what was within this is
        within `UNITS` afterwards.
        """
        return UNITS - math.sqrt(self.numbers) / 2

    def split(self, rho: Fraction) -> Split:
        """What each part of the vector costs of a round's price `rho`.

        Raises:
            ContractError: the price is not positive.
        """
        if rho <= 0:
            raise ContractError("A round has a positive price.")
        side = rho * TELL**2 / self.squared_clip
        return Split(rho * UNITS**2 / self.squared_clip, side, side)
