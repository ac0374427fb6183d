"""Files of the study's repository over the device's one connection, in ranges that are asked for.

Rules it upholds: what is on its way for a file is at most 1 MiB, and so is what is held of it; a
piece that was not asked for, or comes twice, changes nothing; whatever is cut, lost or restarted on
the way, what is missing is asked for again, from the first missing byte; who gives nothing, or too
little in a minute, is given up. `receive` runs on the line's thread and neither waits nor reads.

In the life of a bundle: repository → coordinator's `file_desk` → line → **here** → `trust`.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from edge_models.errors import ContractError
from sync.errors import BrokerError, ProtocolError
from sync.release import Released, release_protocol
from sync.topics import UpTopic
from sync.updates.asks import (
    MOST_ASKED_BYTES,
    MOST_PIECE_BYTES,
    NUMBER_BYTES,
    Absent,
    Ask,
    Piece,
    is_of_repository,
    number_of,
    parse_answer,
)
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.source import NotThere

ASK_KEPT_S: Final = 60
"""How long a broker keeps an ask for a coordinator who is away: then it is asked again anyway."""
RANGE_BYTES: Final = MOST_ASKED_BYTES // 2
"""Asked for at a time; the next range is asked for before the last one has come."""

_MOST_ASKS: Final = 32  # of one file, whose answers are still taken


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for the other side.

    `again_s` without a new piece: what is missing is asked for again, then after twice as long and
    so on up to `longest_s`. In any `least_s` of waiting at least `least_bytes` must come.
    """

    again_s: float = 5.0
    longest_s: float = 30.0
    least_s: float = 60.0
    least_bytes: int = 2 * MOST_PIECE_BYTES

    def __post_init__(self) -> None:
        if not 0 < self.again_s <= self.longest_s <= self.least_s or self.least_bytes < 1:
            raise ContractError("Nobody is waited for without asking, or for ever.")


@dataclass(slots=True, eq=False)
class _File:
    """A file on its way: what was asked for, and what came and was not handed on yet.

    `position`: of the first byte not handed on. Everything before `asked_to` was asked for.
    """

    path: str
    most_bytes: int
    position: int
    asked_to: int
    total: int | None = None
    asks: dict[int, Ask] = field(default_factory=dict)
    pieces: dict[int, bytes] = field(default_factory=dict, repr=False)
    came_bytes: int = 0
    waited_s: float = 0.0  # in this minute of waiting, and what had come before it:
    came_before: int = 0
    is_absent: bool = False
    has_changed: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether all there is has been handed on."""
        return self.total is not None and self.position >= self.total

    @property
    def is_ready(self) -> bool:
        """Whether there is something to do for who reads it."""
        is_over = self.is_complete or self.is_absent or self.has_changed or self.is_too_large
        return is_over or self.position in self.pieces

    @property
    def is_too_large(self) -> bool:
        """Whether the file is longer than it may be, as the other side says."""
        return self.total is not None and self.total > self.most_bytes

    def take(self, answer: Piece | Absent) -> bool:
        """Keep a piece if it is one that is waited for; whether anything has changed."""
        ask = self.asks.get(answer.number)
        if ask is None:
            return False
        if isinstance(answer, Absent):
            self.is_absent = True
            return True
        if not answer.answers(ask):
            return False
        if self.total not in (None, answer.total):
            self.has_changed = True
            return True
        news = self.total is None
        self.total = answer.total
        if answer.data and answer.offset >= self.position and answer.offset not in self.pieces:
            self.pieces[answer.offset] = answer.data
            self.came_bytes += len(answer.data)
            news = True
        return news

    def handed_on(self) -> bytes | None:
        """The next piece, if it is here; its place is the reader's from now on."""
        data = self.pieces.pop(self.position, None)
        if data is not None:
            self.position += len(data)
        return data

    def ahead(self) -> Iterator[tuple[int, int]]:
        """Ranges that are to be asked for next, so that there is always one on its way."""
        if self.total is None and self.asked_to > self.position:
            return  # one at first: most files are short
        end = self.most_bytes if self.total is None else self.total
        while self.asked_to < end and self.asked_to - self.position <= RANGE_BYTES:
            since, self.asked_to = self.asked_to, min(self.asked_to + RANGE_BYTES, end)
            yield since, self.asked_to
            if self.total is None:
                return

    def missing(self) -> Iterator[tuple[int, int]]:
        """Ranges that were asked for and have not come."""
        offset = self.position
        end = self.asked_to if self.total is None else min(self.asked_to, self.total)
        while offset < end:
            since = offset
            while offset < end and offset not in self.pieces:
                offset = min(offset + MOST_PIECE_BYTES, end)
            if since < offset:
                yield since, offset
            while offset in self.pieces:
                offset += len(self.pieces[offset])

    def asked(self, ask: Ask) -> None:
        """Take answers to this ask from now on, and no more to the oldest of many."""
        self.asks[ask.number] = ask
        while len(self.asks) > _MOST_ASKS:
            del self.asks[next(iter(self.asks))]


class LineSource:
    """A `Source` over an open line; `receive` is to get what comes on the device's file topic.

    `send` is the line's, and raises BrokerError where the broker does not take an ask; `topic` is
    where this device speaks. Threads may read at once, each a file of its own.
    """

    def __init__(
        self,
        topic: UpTopic,
        send: Callable[[tuple[Released, ...]], None],
        *,
        random_bytes: Callable[[int], bytes],
        patience: Patience = Patience(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topic = topic
        self._send = send
        self._random_bytes = random_bytes
        self._patience = patience
        self._clock = clock
        self._changed = threading.Condition()  # guards what follows
        self._files: list[_File] = []
        self._closed = False

    def receive(self, _topic: str, payload: bytes) -> None:
        """Take in what may be a piece of a file that is being read; anything else is dropped."""
        number = number_of(payload)
        with self._changed:
            if not any(number in file.asks for file in self._files):
                return
        try:
            answer = parse_answer(payload)
        except ProtocolError:
            return  # what is missing is asked for again
        with self._changed:
            if any(file.take(answer) for file in self._files):
                self._changed.notify_all()

    def close(self) -> None:
        """End whatever is being read: UNREACHABLE, with what came before handed on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def read(self, path: str, most_bytes: int, start: int = 0) -> Iterator[bytes]:
        """The file's bytes from `start` on; as `Source` says.

        Raises:
            NotThere: the repository has no such file.
            UpdateRejected: TOO_LARGE, TOO_SLOW or UNREACHABLE; BAD_PATH: no repository could.
        """
        if not is_of_repository(path):
            raise UpdateRejected(
                Reason.BAD_PATH, "An update names a file that no repository of a study has."
            )
        if start >= most_bytes:
            return
        file = _File(path, most_bytes, start, start)
        with self._changed:
            self._files.append(file)
        try:
            yield from self._pieces(file)
        finally:
            with self._changed:
                self._files.remove(file)

    def _pieces(self, file: _File) -> Iterator[bytes]:
        while True:
            if file.is_too_large:
                raise UpdateRejected(
                    Reason.TOO_LARGE, "A file of an update is longer than it may be."
                )
            with self._changed:
                data = file.handed_on()
            if data is not None:
                yield data
                self._ask(file, again=False)
                continue
            if file.is_absent:
                raise NotThere(file.path)
            if file.has_changed:
                raise UpdateRejected(
                    Reason.UNREACHABLE,
                    "A file of the study's repository was replaced while it was on its way.",
                    "It is asked for anew. What runs now stays as it is.",
                )
            if file.is_complete:
                return
            self._wait(file)

    def _wait(self, file: _File) -> None:
        """Until there is something to do; ask, and ask again, meanwhile."""
        looked_at, pause_s = self._clock(), self._patience.again_s
        fault = self._ask(file, again=False)
        asked_at, came = self._clock(), file.came_bytes
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda seen=came: file.is_ready or self._closed or file.came_bytes != seen,  # type: ignore[misc]
                    asked_at + pause_s - self._clock(),
                )
                now = self._clock()
                file.waited_s += now - looked_at
                looked_at = now
                if file.is_ready:
                    return
                if self._closed:
                    raise _unreachable("The line to the study was closed.")
            if file.waited_s >= self._patience.least_s:
                self._judge(file, fault)
            if file.came_bytes != came:
                asked_at, came, pause_s = now, file.came_bytes, self._patience.again_s
            elif now - asked_at >= pause_s:
                fault = self._ask(file, again=True)
                asked_at = self._clock()
                pause_s = min(2 * pause_s, self._patience.longest_s)

    def _judge(self, file: _File, fault: BrokerError | None) -> None:
        """At the end of a minute of waiting: whether another one is worth it."""
        if file.came_bytes - file.came_before >= self._patience.least_bytes:
            file.waited_s, file.came_before = 0.0, file.came_bytes
            return
        if file.total is None:
            raise _unreachable(
                "The study did not answer when its updates were asked for."
            ) from fault
        raise UpdateRejected(
            Reason.TOO_SLOW,
            "An update comes too slowly from the study.",
            "What came is kept, and the rest is asked for later. What runs now stays as it is.",
        ) from fault

    def _ask(self, file: _File, *, again: bool) -> BrokerError | None:
        """Ask for what is due, or for what is missing; what the broker does not take is missing."""
        with self._changed:
            due = list(file.missing() if again else file.ahead())
        for since, end in due:
            number = int.from_bytes(self._random_bytes(NUMBER_BYTES), "big")
            ask = Ask(number, file.path, since, min(end - since, MOST_ASKED_BYTES))
            with self._changed:
                file.asked(ask)
            try:
                self._send(release_protocol(ask.to_parcel(), self._topic))
            except BrokerError as fault:
                return fault
        return None


def _unreachable(cause: str) -> UpdateRejected:
    return UpdateRejected(
        Reason.UNREACHABLE, cause, "It is asked for again later. What runs now stays as it is."
    )
