"""The log of every act: lines that are chained and signed, so that none can go or change unseen.

Rules it upholds: an act stands in the log, on disk, before it can be seen by a device; a line names
its number, its time, who did what, and the digest of the line before; whoever did it has signed
it. A line that was removed, altered or moved breaks the chain. Lines cut off at the end break
nothing in the file, so the timestamp that every device fetches says how long the log was and how
its last line reads: who cuts it needs the timestamp's key, too, and then any copy that somebody
else has kept shows it.

In the life of a bundle: what is left of how it came about.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, StrictInt

from sync.envelope import MOST_PAYLOAD_BYTES, Message, decoded, encoded
from sync.errors import ProtocolError, PublishingError
from sync.publishing.files import explained
from sync.publishing.keys import PublicKey, SigningKey
from sync.updates.durable import sync

LOG_NAME: Final = "audit.jsonl"

_PURPOSE: Final = b"sottovoce/1/audit\0"
_START: Final = "0" * 64
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Detail = Annotated[str, Field(max_length=300)]


class LogHead(Message):
    """How many lines a log had, and the SHA-256 of its last one."""

    lines: Annotated[StrictInt, Field(ge=0, le=2**40)]
    digest: Digest


class Act(Message):
    """One line without its signature: `who` (a key id) did `act` at a time (seconds since 1970).

    Example: `{"act":"bundle","at":1764000000,"details":{"name":"affect-1","serial":"7"},
    "number":12,"previous":"…","who":"…"}`
    """

    number: Annotated[StrictInt, Field(ge=1, le=2**40)]
    at: Annotated[StrictInt, Field(ge=0, le=2**40)]
    who: Digest
    act: Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,31}$")]
    details: Annotated[dict[Annotated[str, Field(max_length=40)], Detail], Field(max_length=32)]
    previous: Digest


class _Line(Message):
    entry: Act
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


@dataclass(frozen=True, slots=True)
class Log:
    """The log in one file; whoever appends holds the repository's lock."""

    path: Path

    def head(self) -> LogHead:
        """Where it stands.

        Raises:
            PublishingError: it can't be read.
        """
        lines, _ = self._lines()
        return LogHead(lines=len(lines), digest=_digest(lines[-1]) if lines else _START)

    def has(self, head: LogHead) -> bool:
        """Whether the log still has the line that this names.

        Raises:
            PublishingError: it can't be read.
        """
        lines, _ = self._lines()
        if head.lines == 0:
            return True
        return len(lines) >= head.lines and _digest(lines[head.lines - 1]) == head.digest

    def append(self, key: SigningKey, act: str, details: Mapping[str, str], at: int) -> LogHead:
        """Write one act behind the others, signed, on disk when this returns.

        A piece of a line that a power failure left was never part of the log, and is written over.

        Raises:
            PublishingError: it can't be written.
        """
        before, _ = self._lines()
        entry = Act(
            number=len(before) + 1,
            at=at,
            who=key.key_id,
            act=act,
            details=dict(details),
            previous=_digest(before[-1]) if before else _START,
        )
        line = _Line(entry=entry, signature=key.sign(_PURPOSE + encoded(entry)).hex())
        raw = encoded(line) + b"\n"
        with explained(self.path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
            with os.fdopen(os.open(self.path, flags, 0o644), "wb") as file:
                file.seek(sum(map(len, before)))
                file.truncate()
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            sync(self.path.parent)
        return LogHead(lines=entry.number, digest=_digest(raw))

    def verified(self, keys: Mapping[str, PublicKey], head: LogHead | None) -> tuple[Act, ...]:
        """All acts, if the log is whole: unbroken, signed by known keys, as long as `head` says.

        `head` is what the newest timestamp says. Lines behind it are acts since then.

        Raises:
            PublishingError: it is not; the cause names the first line that is wrong.
        """
        lines, torn = self._lines()
        previous, acts = _START, []
        for number, line in enumerate(lines, start=1):
            entry = _checked(line, number, previous, keys)
            previous = _digest(line)
            acts.append(entry)
            if head is not None and number == head.lines and previous != head.digest:
                raise _broken(number, "is not the one that the timestamp was signed with")
        if torn:
            raise _broken(len(lines) + 1, "was never finished: the power failed, or it was cut")
        if head is not None and len(lines) < head.lines:
            raise _broken(len(lines) + 1, f"is missing, and {head.lines} had been written")
        return tuple(acts)

    def _lines(self) -> tuple[list[bytes], bytes]:
        """The whole lines, and what a power failure left of one more."""
        with explained(self.path):
            raw = self.path.read_bytes() if self.path.exists() else b""
        *lines, torn = raw.split(b"\n")
        return [line + b"\n" for line in lines], torn


def when(act: Act) -> datetime:
    """The time of an act."""
    return datetime.fromtimestamp(act.at, UTC)


def _checked(line: bytes, number: int, previous: str, keys: Mapping[str, PublicKey]) -> Act:
    if len(line) > MOST_PAYLOAD_BYTES:
        raise _broken(number, "is too long to be one")
    try:
        found = decoded(line, _Line)
    except ProtocolError as fault:
        raise _broken(number, "can't be read") from fault
    entry = found.entry
    if encoded(found) + b"\n" != line:
        raise _broken(number, "is written in another way than lines are")
    if entry.number != number or entry.previous != previous:
        raise _broken(number, "does not follow the one before: lines were removed or moved")
    key = keys.get(entry.who)
    if key is None:
        raise _broken(number, "is signed with a key that this repository never had")
    if not key.verifies(bytes.fromhex(found.signature), _PURPOSE + encoded(entry)):
        raise _broken(number, "was altered: its signature is false")
    return entry


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _broken(number: int, how: str) -> PublishingError:
    return PublishingError(
        f"The log of acts is not whole: line {number} {how}.",
        "Compare it with a copy, and find out who could write to the repository.",
    )
