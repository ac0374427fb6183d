"""Every attack, in the order of the report."""

from typing import Final

from edge_models.threats.attack import Attack

ATTACKS: Final[tuple[Attack, ...]] = ()
