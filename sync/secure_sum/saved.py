"""A member's state as bytes and back, so that a round outlives a restart of the device.

Rules upheld here: the bytes hold secrets, so only the encrypted store may keep them; a state that
has gone on is never taken back (the store replaces the row in the transaction that keeps the next
message); bytes that are no state are refused.

Every state is the same list of fields, each with its length before it; what a state doesn't have
yet is empty.
"""

import struct
from collections.abc import Sequence
from typing import Final

from sync.envelope import decoded, encoded
from sync.errors import ProtocolError, RoundRefused
from sync.secure_sum.device import (
    Confirmed,
    Ended,
    Joined,
    Masked,
    Member,
    Neighbour,
    Place,
    Ready,
    Seat,
    Shared,
)
from sync.secure_sum.shamir import SHARE_BYTES
from sync.secure_sum.terms import Terms

_LENGTH: Final = struct.Struct(">I")
_PLACE: Final = struct.Struct(">II32s32s")
_NEIGHBOUR: Final = struct.Struct(">I32s32s")
_KINDS: Final[tuple[type[Member], ...]] = (Joined, Shared, Ready, Masked, Confirmed, Ended)
_HELD_BYTES: Final = 2 * SHARE_BYTES
_DIGEST_BYTES: Final = 32


def saved(member: Member) -> bytes:
    """The state as bytes; for the encrypted store only."""
    kind = bytes((_KINDS.index(type(member)),))
    heard = b"".join(member.heard)
    if isinstance(member, Ended):
        refusal = member.refusal
        words = (refusal.cause, refusal.remedy) if refusal else ("", "")
        return _joined((kind, heard, member.round.encode(), *(word.encode() for word in words)))
    seat = member.seat
    fields = [
        kind, heard, encoded(seat.terms), seat.coordinator_key, seat.advert,
        seat.channel_private, seat.mask_private,
    ]  # fmt: skip
    if not isinstance(member, Joined):
        fields += _saved_place(member.place)
    if isinstance(member, Ready | Masked | Confirmed):
        fields += [bytes(held is not None for held in member.held),
                   b"".join(held for held in member.held if held is not None)]  # fmt: skip
    if isinstance(member, Confirmed):
        fields.append(member.survivors)
    return _joined(fields)


def restored(payload: bytes) -> Member:
    """The state that `saved` made these bytes of.

    Raises:
        ProtocolError: they are none.
    """
    try:
        return _restored(_parts(payload))
    except (ValueError, IndexError, struct.error) as fault:
        raise ProtocolError("A stored round can't be read; it is left.") from fault


def _restored(fields: list[bytes]) -> Member:
    kind = _KINDS[fields[0][0]]
    heard = _cut(fields[1], _DIGEST_BYTES)
    if kind is Ended:
        round_id, cause, remedy = (part.decode() for part in fields[2:])
        return Ended(round_id, RoundRefused(cause, remedy) if cause else None, heard)
    seat = Seat(decoded(fields[2], Terms), *fields[3:7])
    if kind is Joined:
        return Joined(seat, heard)
    index, members, roster, own_seed = _PLACE.unpack(fields[7])
    neighbours = tuple(
        Neighbour(*_NEIGHBOUR.unpack(part)) for part in _cut(fields[8], _NEIGHBOUR.size)
    )
    place = Place(index, members, roster, own_seed, neighbours)
    if kind is Shared:
        return Shared(seat, place, heard)
    parts = iter(_cut(fields[10], _HELD_BYTES))
    held = tuple(next(parts) if there else None for there in fields[9])
    if kind is Confirmed:
        return Confirmed(seat, place, held, fields[11], heard)
    return Ready(seat, place, held, heard) if kind is Ready else Masked(seat, place, held, heard)


def _saved_place(place: Place) -> list[bytes]:
    return [
        _PLACE.pack(place.index, place.members, place.roster, place.own_seed),
        b"".join(_NEIGHBOUR.pack(n.index, n.channel, n.mask_key) for n in place.neighbours),
    ]


def _joined(fields: Sequence[bytes]) -> bytes:
    return b"".join(_LENGTH.pack(len(part)) + part for part in fields)


def _parts(payload: bytes) -> list[bytes]:
    parts = []
    while payload:
        (length,) = _LENGTH.unpack_from(payload)
        end = _LENGTH.size + length
        if end > len(payload):
            raise ValueError("cut short")
        parts.append(payload[_LENGTH.size : end])
        payload = payload[end:]
    return parts


def _cut(payload: bytes, size: int) -> tuple[bytes, ...]:
    if len(payload) % size:
        raise ValueError("cut short")
    return tuple(payload[at : at + size] for at in range(0, len(payload), size))
