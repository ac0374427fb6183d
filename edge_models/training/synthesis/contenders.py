"""What is compared: three methods, two of them also at an ε, and a planted leak beside them.

Rules it upholds: each is named for what it is; the planted leak can never win.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edge_models.training.synthesis.accountant import Budget
from edge_models.training.synthesis.copula import Copula
from edge_models.training.synthesis.gan import Gan
from edge_models.training.synthesis.private_copula import PrivateCopula
from edge_models.training.synthesis.private_gan import PrivateGan
from edge_models.training.synthesis.resampling import COPYING, Resampling
from edge_models.training.synthesis.table import Method

FAMILIES: Final = ("resampling", "copula", "gan")
PLANTED: Final = "copying"


@dataclass(frozen=True, slots=True)
class Contender:
    """A method under a name; `budget` is None where nothing bounds what one person adds."""

    name: str
    family: str
    method: Method
    budget: Budget | None = None

    @property
    def planted(self) -> bool:
        """Whether it is the leak that shows that the attacks work."""
        return self.name == PLANTED


def contenders(families: Sequence[str], budget: Budget | None) -> tuple[Contender, ...]:
    """The methods of these families, at the budget too if there is one, and the planted leak."""
    open_: dict[str, Method] = {"resampling": Resampling(), "copula": Copula(), "gan": Gan()}
    found = [Contender(PLANTED, PLANTED, COPYING)]
    found += [Contender(name, name, open_[name]) for name in FAMILIES if name in families]
    if budget is not None:
        bounded: dict[str, Method] = {"copula": PrivateCopula(budget), "gan": PrivateGan(budget)}
        found += [
            Contender(f"{name} at ε = {budget.epsilon:g}", name, bounded[name], budget)
            for name in ("copula", "gan")
            if name in families
        ]
    return tuple(found)
