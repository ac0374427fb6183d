"""Asking for a file over the line, and its pieces: what the bytes of either mean.

Rules it upholds: an ask names a file of the repository and nothing else, whatever its bytes; a
piece is exactly what its ask entitles it to, by place and by length, so that nobody can send less
or more at a time; any bytes give a value or `ProtocolError`. Pieces are not authentic: `trust`
checks the whole file against what was signed for.

In the life of a bundle: device → **ask** → coordinator's `file_desk` → **pieces** → `by_line`.

An ask travels up as a parcel of kind ASK_FILE: number, start, length (big-endian 8, 8, 4), path.
A piece comes down as one message: `SF`, version 1, what it is, the ask's number, the file's total
length, offset (2, 1, 1, 8, 8, 8), data, and the first 8 bytes of the SHA-256 of all that.
"""

import hashlib
import re
import struct
from dataclasses import dataclass, field
from typing import Final

from edge_models.errors import ContractError
from sync.errors import ProtocolError
from sync.parcels import Kind, Parcel

MOST_PIECE_BYTES: Final = 32 * 1024
"""Data in a piece; with its head and a topic it stays below the broker's packet of 64 KiB."""
MOST_ASKED_BYTES: Final = 1024 * 1024
"""Of one ask: so much may be on its way for it."""
MOST_FILE_BYTES: Final = 2**40
NUMBER_BYTES: Final = 8

_STEP: Final = "[A-Za-z0-9][A-Za-z0-9._+-]{0,199}"
_PATH: Final = re.compile(
    rf"metadata/{_STEP}\.json"
    rf"|targets/(bundles|releases|heads)(/{_STEP}){{0,2}}/{_STEP}\.(json|bundle|zst|whl)"
    r"|rollout\.json|root\.auth|audit\.jsonl"
)
_MOST_PATH_LETTERS: Final = 400
_ASK: Final = struct.Struct(">QQI")
_PIECE: Final = struct.Struct(">2sBBQQQ")
_LOOK: Final = struct.Struct(">QQQ")
_MARK: Final = (b"SF", 1)
_IS_PIECE: Final = 1
_IS_ABSENT: Final = 2
_CHECK_BYTES: Final = 8
_MOST_PAYLOAD_BYTES: Final = _PIECE.size + MOST_PIECE_BYTES + _CHECK_BYTES
_ELSE: Final = "Check what else publishes to this topic."


def is_of_repository(path: str) -> bool:
    """Whether a repository may have a file of this name: no other file is asked for, or given."""
    return len(path) <= _MOST_PATH_LETTERS and _PATH.fullmatch(path) is not None


@dataclass(frozen=True, slots=True)
class Ask:
    """A device asks for `length` bytes of a file from `start` on, or for what there is of them.

    `number` is the ask's own, drawn by chance: pieces that answer it carry it, and no two asks
    are the same parcel.

    Raises:
        ContractError: no repository has such a file or place in it, or it is too much at once.
    """

    number: int
    path: str
    start: int
    length: int

    def __post_init__(self) -> None:
        if not is_of_repository(self.path):
            raise ContractError("Only files of the study's repository are asked for.")
        if not 0 <= self.number < 2**64 or not 0 <= self.start <= MOST_FILE_BYTES:
            raise ContractError("An ask has a number of 64 bits and a place that a file can have.")
        if not 0 < self.length <= MOST_ASKED_BYTES:
            raise ContractError(f"At most {MOST_ASKED_BYTES} bytes are asked for at a time.")

    def to_parcel(self) -> Parcel:
        """The ask as a parcel, which `release_protocol` lets through."""
        head = _ASK.pack(self.number, self.start, self.length)
        return Parcel(Kind.ASK_FILE, head + self.path.encode("ascii"))

    def end(self, total: int) -> int:
        """Where the answer ends, in a file of `total` bytes; the start where nothing is there."""
        return max(self.start, min(self.start + self.length, total))

    def piece_bytes(self, offset: int, total: int) -> int:
        """How long the piece at `offset` is; it is the ask's last when it ends at `end`."""
        return min(MOST_PIECE_BYTES, self.end(total) - offset)


def parse_ask(content: bytes) -> Ask:
    """The ask that the content of an ASK_FILE parcel holds.

    Raises:
        ProtocolError: it holds none.
    """
    try:
        number, start, length = _ASK.unpack_from(content)
        path = content[_ASK.size : _ASK.size + _MOST_PATH_LETTERS + 1].decode("ascii")
        if len(content) != _ASK.size + len(path):
            raise ContractError("A path has another length.")
        return Ask(number, path, start, length)
    except (struct.error, UnicodeDecodeError, ContractError):
        raise ProtocolError("A device asks for a file that no repository has.", _ELSE) from None


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a file of `total` bytes, from `offset` on; `data` is never shown by `repr`."""

    number: int
    total: int
    offset: int
    data: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """The one encoding."""
        head = _PIECE.pack(*_MARK, _IS_PIECE, self.number, self.total, self.offset)
        return _checked(head + self.data)

    def answers(self, ask: Ask) -> bool:
        """Whether it is one of the pieces that this ask entitles to: its place and its length.

        Pieces of an ask follow one another without gap or overlap, and are as long as they may be.
        A place beyond the file's end is answered by one piece without data.
        """
        if self.number != ask.number or not ask.start <= self.offset <= ask.end(self.total):
            return False
        if (self.offset - ask.start) % MOST_PIECE_BYTES or (
            self.offset == ask.end(self.total) != ask.start
        ):
            return False
        return len(self.data) == ask.piece_bytes(self.offset, self.total)


@dataclass(frozen=True, slots=True)
class Absent:
    """The repository has no file of the name that was asked for under `number`."""

    number: int

    def to_bytes(self) -> bytes:
        """The one encoding."""
        return _checked(_PIECE.pack(*_MARK, _IS_ABSENT, self.number, 0, 0))


def number_of(payload: bytes) -> int | None:
    """Which ask a payload claims to answer, at a glance; None: none. Nothing else is looked at."""
    if not _PIECE.size + _CHECK_BYTES <= len(payload) <= _MOST_PAYLOAD_BYTES:
        return None
    number: int = _PIECE.unpack_from(payload)[3]
    return number


def parse_answer(payload: bytes) -> Piece | Absent:
    """What a message on a device's topic of files holds.

    Raises:
        ProtocolError: neither, or it was altered on the way.
    """
    if number_of(payload) is None:
        raise ProtocolError("A piece of a file is too short or too long.", _ELSE)
    mark, version, what, number, total, offset = _PIECE.unpack_from(payload)
    data, check = payload[_PIECE.size : -_CHECK_BYTES], payload[-_CHECK_BYTES:]
    if (mark, version) != _MARK or _check(payload[:-_CHECK_BYTES]) != check:
        raise ProtocolError("A piece of a file was altered on its way.", "It is asked for again.")
    if what == _IS_ABSENT and not (total or offset or data):
        return Absent(number)
    if what != _IS_PIECE or total > MOST_FILE_BYTES or offset > MOST_FILE_BYTES:
        raise ProtocolError("A piece of a file contradicts itself.", _ELSE)
    return Piece(number, total, offset, data)


@dataclass(frozen=True, slots=True)
class Look:
    """The coordinator: there may be something new, such as what it names; nothing more is meant.

    `timestamp`: version of the repository's timestamp; `rollout`: number of its newest directive
    (0: none). Neither is believed: who hears it looks for themselves. `said_at` whole seconds: the
    same thing said again is another parcel.
    """

    timestamp: int
    rollout: int
    said_at: int

    def __post_init__(self) -> None:
        if not all(0 <= number < 2**64 for number in (self.timestamp, self.rollout, self.said_at)):
            raise ContractError("A version, a number and a moment have 64 bits.")

    def to_parcel(self) -> Parcel:
        """As a parcel."""
        return Parcel(Kind.LOOK, _LOOK.pack(self.timestamp, self.rollout, self.said_at))


def parse_look(content: bytes) -> Look:
    """What the content of a LOOK parcel says.

    Raises:
        ProtocolError: nothing.
    """
    try:
        return Look(*_LOOK.unpack(content))
    except struct.error:
        raise ProtocolError("A hint at something new breaks the protocol.", _ELSE) from None


def _checked(bytes_: bytes) -> bytes:
    return bytes_ + _check(bytes_)


def _check(bytes_: bytes) -> bytes:
    return hashlib.sha256(bytes_).digest()[:_CHECK_BYTES]
