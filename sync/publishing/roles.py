"""The roles of a repository: who signs what, which folder is whose, and how long it is believed.

Rules it upholds: what changes what devices run is signed by several people, offline; what has to be
renewed while nobody is there is signed by the coordinator, online, and can change nothing but
heads; a role fills its own folder and no other.

In the life of a bundle: the division of power behind each signature.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from edge_models.errors import ContractError
from sync.publishing.keys import PublicKey
from sync.updates.offers import Offer


class RoleName(StrEnum):
    """Who signs; the last three are the coordinator's, online, and every other one people's."""

    ROOT = "root"
    TARGETS = "targets"
    BUNDLES = "bundles"
    RELEASES = "releases"
    HEADS = "heads"
    SNAPSHOT = "snapshot"
    TIMESTAMP = "timestamp"


OFFLINE: Final = (RoleName.ROOT, RoleName.TARGETS, RoleName.BUNDLES, RoleName.RELEASES)
DELEGATED: Final[Mapping[RoleName, tuple[str, ...]]] = {
    RoleName.BUNDLES: ("bundles/*/*",),
    RoleName.RELEASES: ("releases/*", "releases/wheels/*"),
    RoleName.HEADS: ("heads/*",),
}
"""The folders that a role may fill. TUF's star never crosses a slash."""

_A_YEAR_AND_A_MONTH: Final = timedelta(days=396)
LASTS: Final[Mapping[RoleName, timedelta]] = {
    # People meet once a year; a month more, so that a holiday or an illness stops nothing.
    RoleName.ROOT: _A_YEAR_AND_A_MONTH,
    RoleName.TARGETS: _A_YEAR_AND_A_MONTH,
    RoleName.BUNDLES: _A_YEAR_AND_A_MONTH,
    RoleName.RELEASES: _A_YEAR_AND_A_MONTH,
    # The coordinator renews these at half their time. A timestamp is how long a mirror can hide
    # something new: a week, so that a coordinator may be away for three days unnoticed. The others
    # can't be withheld without it, and last so long that a repaired coordinator finds them valid.
    RoleName.HEADS: timedelta(days=60),
    RoleName.SNAPSHOT: timedelta(days=30),
    RoleName.TIMESTAMP: timedelta(days=7),
}
"""How long after being made a document is believed."""


@dataclass(frozen=True, slots=True)
class Keyholders:
    """The keys of a role, and how many of them have to sign."""

    keys: tuple[PublicKey, ...]
    threshold: int

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= len({key.key_id for key in self.keys}) == len(self.keys):
            raise ContractError("A role has at least as many different keys as have to sign.")

    def replaced(self, old: str, new: PublicKey) -> "Keyholders":
        """The same, with another key in the place of the one with this id."""
        return Keyholders(
            tuple(new if key.key_id == old else key for key in self.keys), self.threshold
        )


@dataclass(frozen=True, slots=True)
class Listed:
    """A target as its role lists it; a wheel and a patch have no offer of their own."""

    path: str
    sha256: str
    length: int
    offer: Offer | None
