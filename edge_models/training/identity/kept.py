"""What a gallery's attackers said, as named arrays that can lie on disk until a run is complete.

Rules it upholds: only numbers and words (no objects); what is read back is what was kept.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_models.training.identity.figures import Told, told_apart
from edge_models.training.identity.panel import SIZES, Campaign

Arrays = dict[str, npt.NDArray[Any]]

_COLUMNS: Final = (
    *("people", "top1", "permuted", "one_in_n"),
    *("chosen", "members", "member_top1"),
)


def kept_of(told: Told, start: str = "") -> Arrays:
    """Arrays whose names begin with `start`."""
    kept: Arrays = {f"{start}{name}": np.asarray(getattr(told, name)) for name in _COLUMNS}
    for name, claims in (("own", told.own), ("others", told.others)):
        kept[f"{start}{name}"] = np.concatenate(claims)
        kept[f"{start}{name}_each"] = np.asarray([len(one) for one in claims])
    return kept


def kept_again(kept: Mapping[str, npt.NDArray[Any]], start: str = "") -> Told:
    """What `kept_of` made."""
    own, others = (
        tuple(np.split(kept[f"{start}{name}"], np.cumsum(kept[f"{start}{name}_each"])[:-1]))
        for name in ("own", "others")
    )
    return Told(
        people=kept[f"{start}people"],
        top1=kept[f"{start}top1"],
        permuted=kept[f"{start}permuted"],
        one_in_n=kept[f"{start}one_in_n"],
        own=own,
        others=others,
        chosen=tuple(map(str, kept[f"{start}chosen"])),
        members=tuple(map(str, kept[f"{start}members"])),
        member_top1=kept[f"{start}member_top1"],
    )


def of_each_size(campaigns: Sequence[Campaign]) -> dict[int, Told]:
    """Galleries beside each other, for questions of every size."""
    return {size: told_apart(campaigns, size) for size in SIZES}
