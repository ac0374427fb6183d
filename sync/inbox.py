"""Collects frames of many senders until their parcels are whole.

Rules it upholds: whatever arrives, memory stays within `Bounds`; a sender who fills their own
bound harms nobody else; once the caller has finished a parcel it is never handed on again, however
late and often its frames come; a restart loses nothing: the caller keeps each frame before it
acknowledges it, and after a restart lets the inbox receive them again, with the time at which they
came.

In the life of a round: between `line`, which acknowledges when the receiver returns, and whoever
reads the parcel.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Self

from edge_models.errors import ContractError
from sync.errors import ProtocolError
from sync.parcels import (
    MOST_PARCEL_BYTES,
    Frame,
    Parcel,
    Resend,
    frame_count,
    parse_frame,
    parse_parcel,
)

_DAY_S: Final = 24 * 3600.0
_LOOK: Final = "Check what else publishes to this topic."


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an inbox holds at most, and for how long.

    For each sender: parcels unfinished at a time, their bytes, and parcels remembered as finished.
    `all_bytes` of all senders together. Beyond a bound the parcel goes that was heard of longest
    ago, the sender's own first; what was dropped can be sent again.
    `patience_s`: an unfinished parcel without news for so long goes; a finished one is forgotten.
    """

    parcels: int = 4
    sender_bytes: int = 2 * MOST_PARCEL_BYTES
    all_bytes: int = 16 * MOST_PARCEL_BYTES
    finished: int = 256
    patience_s: float = 7 * _DAY_S

    def __post_init__(self) -> None:
        if min(self.parcels, self.finished, self.patience_s) <= 0 or not (
            MOST_PARCEL_BYTES <= self.sender_bytes <= self.all_bytes
        ):
            raise ContractError("An inbox has room for at least one whole parcel.")


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a frame.

    `keep`: keep this frame before it is acknowledged, if it is not kept yet. `parcel`: it is whole;
    act on it and, in one transaction, remember its digest as finished and drop its kept frames;
    then tell `Inbox.finish`. Neither: it is known already. `dropped`: sender and digest of what
    had to go to make room.
    """

    digest: bytes
    keep: bool = False
    parcel: Parcel | None = None
    dropped: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """A row for the caller's store: receive it again after a restart."""

    sender: str
    digest: bytes
    received_at: float
    frame: bytes = field(repr=False)


@dataclass(slots=True)
class _Unfinished:
    """What arrived of one parcel: pieces by their index."""

    digest: bytes
    total: int
    heard: float
    pieces: dict[int, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def begun_by(cls, frame: Frame, now: float) -> Self:
        """Nothing has arrived yet but the claim of this frame."""
        return cls(frame.digest, frame.total, now)

    @property
    def held_bytes(self) -> int:
        """Bytes that arrived, and not those that were claimed."""
        return sum(map(len, self.pieces.values()))

    @property
    def missing(self) -> tuple[int, ...]:
        """The indices of frames that have not come."""
        return tuple(i for i in range(frame_count(self.total)) if i not in self.pieces)

    def frames(self) -> Iterator[bytes]:
        """What arrived, as it came."""
        count = frame_count(self.total)
        for index, data in self.pieces.items():
            yield Frame(self.digest, self.total, index, count, data).to_bytes()

    def take(self, frame: Frame, now: float) -> None:
        """Keep one piece, if it is not here already.

        Raises:
            ProtocolError: it contradicts what came before.
        """
        if frame.total != self.total or self.pieces.get(frame.index, frame.data) != frame.data:
            raise ProtocolError("Two frames disagree about their parcel.", _LOOK)
        if frame.index not in self.pieces:
            self.pieces[frame.index] = frame.data
            self.heard = now

    def whole(self) -> Parcel:
        """The parcel, of all its pieces.

        Raises:
            ProtocolError: its hash is not what its sender said, or its kind is unknown.
        """
        whole = b"".join(self.pieces[index] for index in range(frame_count(self.total)))
        if hashlib.sha256(whole).digest() != self.digest:
            raise ProtocolError("A parcel is not what its frames said that it is.", _LOOK)
        return parse_parcel(whole)


class Inbox:
    """Frames in, whole parcels out; one thread at a time.

    A sender is any name that the transport vouches for, such as a pseudonym.
    """

    def __init__(self, bounds: Bounds = Bounds()) -> None:
        self._bounds = bounds
        self._unfinished: dict[str, dict[bytes, _Unfinished]] = {}
        self._finished: dict[str, dict[bytes, float]] = {}
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of all unfinished parcels."""
        return self._held_bytes

    def receive(self, sender: str, payload: bytes, now: float) -> Heard:
        """Take one frame; `now` in seconds of any clock that does not start again.

        Raises:
            ProtocolError: it is no frame or contradicts others, and is not kept; or its parcel is
                not what it said that it is, and is forgotten as a whole.
        """
        frame = parse_frame(payload)
        if frame.digest in self._finished.get(sender, {}):
            return Heard(frame.digest)
        begun = self._unfinished.get(sender, {}).get(frame.digest)
        begun = begun or _Unfinished.begun_by(frame, now)
        more = 0 if frame.index in begun.pieces else len(frame.data)
        begun.take(frame, now)
        self._unfinished.setdefault(sender, {})[frame.digest] = begun
        self._held_bytes += more
        dropped = self._made_room(sender, frame.digest)
        if begun.missing:
            return Heard(frame.digest, keep=True, dropped=dropped)
        try:
            return Heard(frame.digest, parcel=begun.whole(), dropped=dropped)
        except ProtocolError:
            self._drop(sender, frame.digest)
            raise

    def finish(self, sender: str, digest: bytes, now: float) -> None:
        """Never hand this parcel on again: frames of it are known. To be told after a restart, too.

        Until then a parcel is handed on with each further frame of it that comes, so that a
        receiver whose disk was full gets it again.
        """
        finished = self._finished.setdefault(sender, {})
        finished[digest] = now
        while len(finished) > self._bounds.finished:
            del finished[next(iter(finished))]
        self._drop(sender, digest)

    def let_go(self, sender: str, digest: bytes) -> None:
        """Done with this parcel, which may be handed on again if it comes again."""
        self._drop(sender, digest)

    def missing(self, sender: str, digest: bytes, now: float) -> Resend | None:
        """The question for what has not come of a parcel; None when nothing of it has, or all."""
        begun = self._unfinished.get(sender, {}).get(digest)
        if begun is None or not begun.missing:
            return None
        return Resend(digest, int(now), frame_count(begun.total), begun.missing)

    def quiet(self, now: float, quiet_s: float) -> Iterator[tuple[str, Resend]]:
        """Whom to ask for what: unfinished parcels without news for `quiet_s`."""
        for sender, theirs in self._unfinished.items():
            for digest, begun in theirs.items():
                asked = self.missing(sender, digest, now)
                if asked is not None and now - begun.heard >= quiet_s:
                    yield sender, asked

    def unfinished(self, sender: str) -> frozenset[bytes]:
        """Digests of this sender's parcels that are not whole."""
        return frozenset(self._unfinished.get(sender, ()))

    def kept(self) -> Iterator[Kept]:
        """Every frame of every unfinished parcel, as it came."""
        for sender, theirs in self._unfinished.items():
            for digest, begun in theirs.items():
                for frame in begun.frames():
                    yield Kept(sender, digest, begun.heard, frame)

    def expire(self, now: float) -> tuple[tuple[str, bytes], ...]:
        """Forget what had no news for too long; sender and digest of each unfinished one."""
        too_old = now - self._bounds.patience_s
        gone = tuple(
            (sender, digest)
            for sender, theirs in self._unfinished.items()
            for digest, begun in theirs.items()
            if begun.heard <= too_old
        )
        for sender, digest in gone:
            self._drop(sender, digest)
        for sender, finished in list(self._finished.items()):
            self._finished[sender] = {d: at for d, at in finished.items() if at > too_old}
            if not self._finished[sender]:
                del self._finished[sender]
        return gone

    def _made_room(self, sender: str, newest: bytes) -> tuple[tuple[str, bytes], ...]:
        """Drop the stalest of this sender's, then of everybody's, until the bounds hold again."""
        gone = []
        theirs = self._unfinished[sender]
        while (
            len(theirs) > self._bounds.parcels
            or sum(begun.held_bytes for begun in theirs.values()) > self._bounds.sender_bytes
        ):
            gone.append(self._drop_stalest([sender], (sender, newest)))
        while self._held_bytes > self._bounds.all_bytes:
            gone.append(self._drop_stalest(self._unfinished, (sender, newest)))
        return tuple(gone)

    def _drop_stalest(self, senders: Iterable[str], newest: tuple[str, bytes]) -> tuple[str, bytes]:
        _, sender, digest = min(
            (begun.heard, sender, digest)
            for sender in senders
            for digest, begun in self._unfinished[sender].items()
            if (sender, digest) != newest
        )
        self._drop(sender, digest)
        return sender, digest

    def _drop(self, sender: str, digest: bytes) -> None:
        theirs = self._unfinished.get(sender, {})
        begun = theirs.pop(digest, None)
        if begun is not None:
            self._held_bytes -= begun.held_bytes
        if not theirs:
            self._unfinished.pop(sender, None)
