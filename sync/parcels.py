"""Parcels up to 4 MiB, cut into frames that any broker carries.

Rules it upholds: a frame names the SHA-256 of the whole parcel and carries a checksum of itself,
so that a frame that was altered, swapped or cut short is refused alone, and that no parcel put
together wrongly is ever handed on; a value that exists is in bounds, and any bytes give a value or
`ProtocolError`. `inbox` puts parcels together again.

In the life of a round: every message is a parcel; `release` frames what a device says, `line`
carries the frames, an `inbox` collects them.

A frame: `SV`, version 1, digest (32 bytes), total length, index, count (big-endian 4, 2, 2), data
(32 KiB, the last one shorter), and the first 8 bytes of the SHA-256 of all that.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, TypeVar

from edge_models.errors import ContractError
from sync.errors import ProtocolError

MOST_PARCEL_BYTES: Final = 4 * 1024 * 1024
MOST_CHUNK_BYTES: Final = 32 * 1024
"""Data in a frame; with its head and a topic it stays below the broker's packet of 64 KiB."""

_HEAD: Final = struct.Struct(">2sB32sIHH")
_MARK: Final = (b"SV", 1)
_CHECK_BYTES: Final = 8
_DIGEST_BYTES: Final = 32
MOST_FRAME_BYTES: Final = _HEAD.size + MOST_CHUNK_BYTES + _CHECK_BYTES
_ASKED: Final = struct.Struct(">32sQH")  # digest, asked at, count of frames
_LOOK: Final = "Check what else publishes to this topic."

Item = TypeVar("Item")


class Kind(IntEnum):
    """What a parcel holds: its first byte."""

    SIGNED_TERMS = 1
    ROUND = 2
    HEAD = 3
    STATUS = 4
    RESEND = 5
    NOTICE = 6
    ASK_FILE = 7  # a device asks for a range of a file of the study's repository
    LOOK = 8  # the coordinator: there may be something new in the repository
    PROGRESS = 9  # a device says how an update went


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message of the protocol: its kind, and the kind's own bytes (never shown by `repr`).

    Two equal parcels of one sender are one: whatever may be said twice carries a moment or number.

    Raises:
        ContractError: longer than 4 MiB.
    """

    kind: Kind
    content: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if 1 + len(self.content) > MOST_PARCEL_BYTES:
            raise ContractError(f"A parcel has at most {MOST_PARCEL_BYTES} bytes.")

    def to_bytes(self) -> bytes:
        """The one encoding: the kind's byte, then the content."""
        return bytes([self.kind]) + self.content

    @property
    def digest(self) -> bytes:
        """SHA-256 of the encoding, 32 bytes: the parcel's name on the way."""
        return hashlib.sha256(self.to_bytes()).digest()


def parse_parcel(payload: bytes) -> Parcel:
    """The parcel that these bytes hold; its content is as yet unread.

    Raises:
        ProtocolError: they hold none.
    """
    if not 0 < len(payload) <= MOST_PARCEL_BYTES:
        raise ProtocolError("A parcel is empty or too long.", _LOOK)
    try:
        return Parcel(Kind(payload[0]), payload[1:])
    except ValueError:
        raise ProtocolError(
            "A parcel is of a kind that is not known here.",
            "Both sides must run versions of sottovoce that speak the same protocol.",
        ) from None


@dataclass(frozen=True, slots=True)
class Frame:
    """One piece of a parcel, as `parse_frame` found it whole: `data` is piece `index` of `count`.

    `digest` 32 bytes and `total` bytes are those of the parcel, as its sender claims.
    """

    digest: bytes
    total: int
    index: int
    count: int
    data: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """The one encoding."""
        head = _HEAD.pack(*_MARK, self.digest, self.total, self.index, self.count)
        return head + self.data + _check(head + self.data)


def frames_of(parcel: Parcel) -> tuple[bytes, ...]:
    """The frames of a parcel, in order; a small parcel is one frame."""
    whole = parcel.to_bytes()
    digest, count = parcel.digest, frame_count(len(whole))
    return tuple(
        Frame(digest, len(whole), index, count, data).to_bytes()
        for index in range(count)
        for data in (whole[index * MOST_CHUNK_BYTES : (index + 1) * MOST_CHUNK_BYTES],)
    )


def parse_frame(payload: bytes) -> Frame:
    """The frame that these bytes from the other side hold, each of its parts in bounds.

    Raises:
        ProtocolError: they hold none, or were altered on the way.
    """
    if not _HEAD.size + _CHECK_BYTES < len(payload) <= MOST_FRAME_BYTES:
        raise ProtocolError("A frame is too short or too long.", _LOOK)
    mark, version, digest, total, index, count = _HEAD.unpack_from(payload)
    if (mark, version) != _MARK:
        raise ProtocolError("A payload is no frame of this protocol.", _LOOK)
    if _check(payload[:-_CHECK_BYTES]) != payload[-_CHECK_BYTES:]:
        raise ProtocolError("A frame was altered on its way.", "It is asked for again.")
    if not 0 < total <= MOST_PARCEL_BYTES or count != frame_count(total) or index >= count:
        raise ProtocolError("A frame contradicts itself about its parcel.", _LOOK)
    data = payload[_HEAD.size : -_CHECK_BYTES]
    if len(data) != min(MOST_CHUNK_BYTES, total - index * MOST_CHUNK_BYTES):
        raise ProtocolError("A frame has less or more data than its place allows.", _LOOK)
    return Frame(digest, total, index, count, data)


@dataclass(frozen=True, slots=True)
class Resend:
    """A receiver asks for the frames that it misses of one parcel: rising `indices` of `count`.

    `asked_at` whole seconds: the same question asked again is another parcel.

    Raises:
        ContractError: indices that such a parcel can't have, or none.
    """

    digest: bytes
    asked_at: int
    count: int
    indices: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.digest) != _DIGEST_BYTES or not 0 <= self.asked_at < 2**64:
            raise ContractError("A question names its parcel by 32 bytes, and its moment.")
        if not set(self.indices) <= set(range(self.count)) or (
            not 0 < self.count <= frame_count(MOST_PARCEL_BYTES)
        ):
            raise ContractError("Only frames that a parcel has are asked for again.")
        if not self.indices or list(self.indices) != sorted(set(self.indices)):
            raise ContractError("What is asked for again is in order, each frame once.")

    def to_parcel(self) -> Parcel:
        """The question as a parcel: digest, moment, count, a bit for each frame (first lowest)."""
        bits = sum(1 << index for index in self.indices)
        asked = bits.to_bytes(_bitmap_bytes(self.count), "little")
        head = _ASKED.pack(self.digest, self.asked_at, self.count)
        return Parcel(Kind.RESEND, head + asked)

    def of(self, frames: Sequence[Item]) -> tuple[Item, ...]:
        """Those that are asked for, of all frames of the parcel in order (released or not).

        Raises:
            ProtocolError: the parcel has another count of frames.
        """
        if len(frames) != self.count:
            raise ProtocolError("Frames are asked for that their parcel does not have.", _LOOK)
        return tuple(frames[index] for index in self.indices)


def parse_resend(content: bytes) -> Resend:
    """The question that the content of a RESEND parcel holds.

    Raises:
        ProtocolError: it holds none.
    """
    asked = content[_ASKED.size :]
    try:
        digest, asked_at, count = _ASKED.unpack_from(content)
        if len(asked) != _bitmap_bytes(count):
            raise ContractError("A bitmap has another length.")
        bits = int.from_bytes(asked, "little")
        indices = tuple(index for index in range(bits.bit_length()) if bits >> index & 1)
        return Resend(digest, asked_at, count, indices)
    except (struct.error, ContractError):
        raise ProtocolError("A question for missing frames breaks the protocol.", _LOOK) from None


def frame_count(total: int) -> int:
    """How many frames a parcel of `total` bytes has."""
    return -(-total // MOST_CHUNK_BYTES)


def _bitmap_bytes(count: int) -> int:
    return -(-count // 8)


def _check(bytes_: bytes) -> bytes:
    return hashlib.sha256(bytes_).digest()[:_CHECK_BYTES]
