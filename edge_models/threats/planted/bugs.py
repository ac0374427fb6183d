"""Every planted bug, in the order of the detection matrix."""

from typing import Final

from edge_models.threats.planted.bug import Bug

BUGS: Final[tuple[Bug, ...]] = ()
