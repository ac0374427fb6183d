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
from sync.secure_sum.neighbours import neighbourhood
from sync.secure_sum.shamir import SHARE_BYTES
from sync.secure_sum.states import (
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
from sync.secure_sum.terms import MOST_MEMBERS, Terms
from sync.secure_sum.wire import ADVERT_BYTES, KEY_BYTES, equal_parts, parse_bits

_LENGTH: Final = struct.Struct(">I")
_PLACE: Final = struct.Struct(">II32s32s")
_NEIGHBOUR: Final = struct.Struct(">I32s32s")
_KINDS: Final[tuple[type[Member], ...]] = (Joined, Shared, Ready, Masked, Confirmed, Ended)
_FIELDS: Final = {Joined: 7, Shared: 9, Ready: 11, Masked: 11, Confirmed: 12, Ended: 5}
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
    (code,) = fields[0]
    kind = _KINDS[code]
    _require(len(fields) == _FIELDS[kind])
    heard = _cut(fields[1], _DIGEST_BYTES)
    if kind is Ended:
        round_id, cause, remedy = (part.decode() for part in fields[2:])
        return Ended(round_id, RoundRefused(cause, remedy) if cause else None, heard)
    seat = Seat(decoded(fields[2], Terms), *fields[3:7])
    _require(len(seat.coordinator_key) == KEY_BYTES and len(seat.advert) == ADVERT_BYTES)
    _require(len(seat.channel_private) == (KEY_BYTES if kind is Joined else 0))
    _require(len(seat.mask_private) == (0 if kind in (Masked, Confirmed) else KEY_BYTES))
    if kind is Joined:
        return Joined(seat, heard)
    place = _restored_place(fields[7], fields[8])
    if kind is Shared:
        return Shared(seat, place, heard)
    there = fields[9]
    _require(len(there) == len(place.neighbours) and set(there) <= {0, 1})
    parts = iter(equal_parts(fields[10], sum(there), _HELD_BYTES))
    held = tuple(next(parts) if flag else None for flag in there)
    if kind is Confirmed:
        parse_bits(fields[11], place.members)
        return Confirmed(seat, place, held, fields[11], heard)
    return Ready(seat, place, held, heard) if kind is Ready else Masked(seat, place, held, heard)


def _restored_place(fixed: bytes, parts: bytes) -> Place:
    index, members, roster, own_seed = _PLACE.unpack(fixed)
    _require(3 <= members <= MOST_MEMBERS)
    neighbours = tuple(Neighbour(*_NEIGHBOUR.unpack(part)) for part in _cut(parts, _NEIGHBOUR.size))
    places = [neighbour.index for neighbour in neighbours]
    _require(len(places) == neighbourhood(members).degree and sorted(set(places)) == places)
    _require(index not in places and max(index, *places) < members)
    return Place(index, members, roster, own_seed, neighbours)


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError("not a state")


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
