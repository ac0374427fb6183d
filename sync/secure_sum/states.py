"""The states of a member of a secure sum: what it still needs, and nothing more.

Rules upheld here: a state is a value and goes forward only; each holds the secrets that its next
step needs and has dropped those that it has used; none shows a secret by `repr`.

In the life of a round: `device` makes one state of another, `saved` keeps them over a restart.
"""

from dataclasses import dataclass, field

from sync.errors import RoundRefused
from sync.secure_sum.terms import Terms


@dataclass(frozen=True, slots=True)
class Seat:
    """What a member brings: the terms, who may speak for the coordinator, its keys of the round."""

    terms: Terms
    coordinator_key: bytes
    advert: bytes = field(repr=False)
    channel_private: bytes = field(repr=False)
    mask_private: bytes = field(repr=False)

    @property
    def round_id(self) -> bytes:
        """32 bytes."""
        return bytes.fromhex(self.terms.round)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another member: place in the roster, the secret of our channel, and its masking key."""

    index: int
    channel: bytes = field(repr=False)
    mask_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member sits: its index among `members`, the roster's digest, its neighbours."""

    index: int
    members: int
    roster: bytes
    own_seed: bytes = field(repr=False)
    neighbours: tuple[Neighbour, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Joined:
    """It has offered its keys."""

    seat: Seat
    heard: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Shared:
    """It has shared its secrets among its neighbours."""

    seat: Seat
    place: Place
    heard: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Ready:
    """It holds its neighbours' shares (None: that one died) and can mask a vector."""

    seat: Seat
    place: Place
    held: tuple[bytes | None, ...] = field(repr=False)
    heard: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Masked:
    """Its masked vector has left."""

    seat: Seat
    place: Place
    held: tuple[bytes | None, ...] = field(repr=False)
    heard: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Confirmed:
    """It has confirmed these survivors (bits), and will confirm no others."""

    seat: Seat
    place: Place
    held: tuple[bytes | None, ...] = field(repr=False)
    survivors: bytes
    heard: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """It has no secrets left. `refusal` says why it stopped, None when it did all it could."""

    round: str
    refusal: RoundRefused | None
    heard: tuple[bytes, ...]


Member = Joined | Shared | Ready | Masked | Confirmed | Ended
