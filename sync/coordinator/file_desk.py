"""Gives devices the ranges that they ask for, of files in the study's repository.

Rules upheld here: files of the repository and nothing else are given out (`repository_folder`);
devices take turns, a few pieces each, so that one who asks a thousand times, or for everything,
delays no other, and nobody delays a round by more than one turn; of each device only the newest
asks wait, and what it gets in the long run is bounded; what the broker did not take is dropped,
because who still needs it asks again.

In the life of a bundle: repository → **file_desk** → broker → a device's `by_line`.
"""

import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, Self

from edge_models.errors import ContractError, Explained
from sync.coordinator.announce import Announcement
from sync.coordinator.repository_folder import opened
from sync.errors import BrokerError, SyncError
from sync.topics import FileTopic
from sync.updates.asks import Absent, Ask, Piece, parse_ask

PIECES_KEPT_S: Final = 120
"""How long a broker keeps pieces for a device: whoever comes back later asks again."""

_IDLE_S: Final = 0.5


class RepositoryError(SyncError):
    """The world: a file of the repository is there, and can't be read or sent."""


class Say(Protocol):
    """The podium's `send`."""

    def __call__(self, *messages: Announcement, expiry_s: int | None = None) -> None:
        """Return when the broker has them; BrokerError otherwise."""


@dataclass(frozen=True, slots=True)
class Fair:
    """What a device gets: `turn_pieces` at a time, of its `asks` newest questions.

    `at_once_bytes` when it has asked for nothing for long, and `a_second_bytes` of them grow
    again; an answer counts as `least_bytes` at least. An ask older than `patience_s` is dropped:
    it has been asked again.
    """

    turn_pieces: int = 16
    asks: int = 8
    at_once_bytes: float = 1024 * 1024 * 1024
    a_second_bytes: float = 64 * 1024
    least_bytes: int = 4096
    patience_s: float = 60.0

    def __post_init__(self) -> None:
        if min(self.turn_pieces, self.asks, self.at_once_bytes, self.a_second_bytes) <= 0:
            raise ContractError("Every device gets something.")


@dataclass(slots=True, eq=False)
class _Waiting:
    """One device's asks, each with where it stands and when it came; and what it may still get."""

    left_bytes: float
    counted_at: float
    asks: deque[tuple[Ask, int, float]] = field(default_factory=deque)


class FileDesk:
    """A context manager: inside, what is asked for is given, on a thread of its own."""

    def __init__(
        self,
        study: str,
        folder: Path,
        say: Say,
        *,
        fair: Fair = Fair(),
        clock: Callable[[], float] = time.monotonic,
        on_fault: Callable[[Explained], None],
    ) -> None:
        self._study = study
        self._folder = folder
        self._say = say
        self._fair = fair
        self._clock = clock
        self._on_fault = on_fault
        self._changed = threading.Condition()  # guards what follows
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()  # whose turn is next comes first
        self._heard = False
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="files", daemon=True)

    @property
    def is_at_work(self) -> bool:
        """Whether its thread runs; if not, a bug has ended it."""
        return self._thread.is_alive()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join()

    def stop(self) -> None:
        """Give nothing more, and tell no fault of a podium that is closed meanwhile."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def hear(self, pseudonym: str, content: bytes) -> None:
        """Take a member's ask, to be answered in turn; nothing is read or sent here.

        Raises:
            ProtocolError: it is none.
        """
        ask, now = parse_ask(content), self._clock()
        with self._changed:
            waiting = self._waiting.get(pseudonym)
            if waiting is None:
                waiting = self._waiting[pseudonym] = _Waiting(self._fair.at_once_bytes, now)
            asked = [each for each in waiting.asks if not _replaces(ask, each[0])]
            waiting.asks = deque([*asked, (ask, ask.start, now)], self._fair.asks)
            self._heard = True
            self._changed.notify_all()

    def give(self) -> bool:
        """Take one turn, on the thread that calls; whether there was one to take.

        Raises:
            RepositoryError: what was asked for is there, and can't be read, or the broker does not
                take it; it is not answered any more.
        """
        with self._changed:
            turn = self._next()
        if turn is not None:
            self._answer(*turn)
        return turn is not None

    def _run(self) -> None:
        while not self._stopped:
            self._heard = False
            try:
                if self.give():
                    continue
            except Explained as fault:
                if not self._stopped:
                    self._on_fault(fault)
                continue
            with self._changed:
                is_idle = not any(each.asks for each in self._waiting.values())
                self._changed.wait_for(
                    lambda: self._heard or self._stopped,
                    None if is_idle else _IDLE_S,  # who has had much waits
                )

    def _next(self) -> tuple[str, Ask, int] | None:
        """Whose turn it is, and what they are given next; who has had much waits."""
        now = self._clock()
        for pseudonym, waiting in list(self._waiting.items()):
            grown = (now - waiting.counted_at) * self._fair.a_second_bytes
            waiting.left_bytes = min(self._fair.at_once_bytes, waiting.left_bytes + grown)
            waiting.counted_at = now
            while waiting.asks and now - waiting.asks[0][2] > self._fair.patience_s:
                waiting.asks.popleft()
            if waiting.asks and waiting.left_bytes > 0:
                self._waiting.move_to_end(pseudonym)
                ask, offset, _ = waiting.asks.popleft()
                return pseudonym, ask, offset
            if not waiting.asks and waiting.left_bytes >= self._fair.at_once_bytes:
                del self._waiting[pseudonym]  # as if it had never asked
        return None

    def _answer(self, pseudonym: str, ask: Ask, offset: int) -> None:
        try:
            pieces, rest = self._read(ask, offset)
        except FileNotFoundError:
            pieces, rest = [Absent(ask.number)], None
        except OSError as fault:
            raise RepositoryError(
                f"A file of the repository can't be read ({fault.strerror}): {ask.path}",
                "Check who owns the repository's folder, and its disk. Devices ask again.",
            ) from fault
        topic = FileTopic(self._study, pseudonym)
        said = [Announcement(topic, piece.to_bytes()) for piece in pieces]
        with self._changed:
            waiting = self._waiting[pseudonym]
            given = sum(len(piece.payload) for piece in said)
            waiting.left_bytes -= max(given, self._fair.least_bytes)
        try:
            self._say(*said, expiry_s=PIECES_KEPT_S)
        except BrokerError as fault:
            raise RepositoryError(
                f"Files of the repository don't reach a device. {fault.cause}",
                "A broker of your own needs the study's newest mosquitto.acl. Devices ask again.",
            ) from fault
        if rest is not None:
            with self._changed:
                asked_anew = any(_replaces(each[0], ask) for each in waiting.asks)
                if not asked_anew and len(waiting.asks) < self._fair.asks:
                    waiting.asks.appendleft((ask, rest, self._clock()))

    def _read(self, ask: Ask, offset: int) -> tuple[list[Piece | Absent], int | None]:
        """This turn's pieces from `offset` on, and where the next turn goes on, if one is due."""
        pieces: list[Piece | Absent] = []
        with opened(self._folder, ask.path) as (handle, total):
            end = ask.end(total)
            while offset <= end and len(pieces) < self._fair.turn_pieces:
                data = os.pread(handle, ask.piece_bytes(offset, total), offset)
                if len(data) < ask.piece_bytes(offset, total):
                    return pieces, None  # it was cut short under our hands
                pieces.append(Piece(ask.number, total, offset, data))
                offset += len(data)
                if offset == end:
                    return pieces, None
        return pieces, None if offset > end else offset


def _replaces(newer: Ask, older: Ask) -> bool:
    """Whether it asks for what was asked for before."""
    return newer.path == older.path and newer.start == older.start
