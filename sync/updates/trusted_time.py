"""The floor under a device's clock: time that a study signed, and that never moves backwards.

Rules it upholds: the time that expiry is judged by is the later one of the system's clock and the
floor; only a verified signature's time moves the floor, and only forward; the system's clock never
does, so that a clock that was once in 2100 leaves nothing behind. A floor that can't be read is no
floor: metadata that was kept beside it gives a new one.

In the life of a bundle: a board without a clock battery wakes in 1970; without a floor every
signature that ever expired would be fresh to it again.

The file: seconds since 1970 and the first 16 hex digits of their SHA-256, so that a flipped bit
can't send the floor into a far future.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from sync.updates.durable import write_durably

_MOST_SECONDS: Final = 2**40
_MOST_FILE_BYTES: Final = 64
_IMPOSSIBLY_AHEAD: Final = timedelta(days=3653)
"""A study that signed nothing for ten years is less likely than a clock that is wrong."""


@dataclass(frozen=True, slots=True)
class Floor:
    """No moment before this one is believed: seconds since 1970, 0 where nothing is known."""

    seconds: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seconds <= _MOST_SECONDS:
            raise ValueError("A floor of time lies between 1970 and far away.")

    @property
    def moment(self) -> datetime:
        """The floor as a moment in UTC, at most the last one that there is a date for."""
        last = datetime.max.replace(tzinfo=UTC)
        if self.seconds >= last.timestamp():
            return last
        return datetime.fromtimestamp(self.seconds, UTC)

    def now(self, clock: datetime) -> datetime:
        """The moment that expiry is judged by: never before the floor."""
        return max(clock, self.moment)

    def raised(self, signed_at: int) -> Self:
        """This floor, or one at `signed_at` (seconds since 1970) if that is later."""
        return type(self)(max(self.seconds, signed_at))

    def doubts(self, clock: datetime) -> bool:
        """Whether the clock is so far ahead of all that was ever signed that it must be wrong."""
        return self.seconds > 0 and clock - self.moment > _IMPOSSIBLY_AHEAD


def read_floor(path: Path) -> Floor:
    """The floor that was kept here; no floor if there is none, or none that can be believed."""
    try:
        with path.open("rb") as file:
            kept = file.read(_MOST_FILE_BYTES)
    except OSError:
        return Floor()
    digits, _, mark = kept.strip().partition(b" ")
    if not digits.isdigit() or mark != _mark(digits) or int(digits) > _MOST_SECONDS:
        return Floor()
    return Floor(int(digits))


def keep_floor(path: Path, floor: Floor) -> Floor:
    """Keep a floor, unless a later one is kept already; returns the one that holds.

    Raises:
        OSError: it can't be written; the old one is as it was.
    """
    kept = read_floor(path)
    if kept.seconds >= floor.seconds:
        return kept
    digits = str(floor.seconds).encode()
    write_durably(path, digits + b" " + _mark(digits) + b"\n")
    return floor


def _mark(digits: bytes) -> bytes:
    return hashlib.sha256(b"sottovoce floor " + digits).hexdigest()[:16].encode()
