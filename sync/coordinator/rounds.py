"""Runs a study's rounds: announces them, gathers what members say, closes steps, opens sums.

Rules upheld here: what counts is on disk before it is acknowledged; a step is closed when all
have answered or its deadline has passed, whichever is first; letters that may have been lost in a
restart are said again, the same bytes; a round that fails says why. Time is an argument, the
network is the caller's: `due` gives what to say, and may be asked as often as one likes.

In the life of a round: `post` hears and says, this decides, `round_book` keeps.
"""

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from edge_models.errors import Explained
from sync.coordinator.round_book import Entry, RoundBook, State
from sync.envelope import decoded
from sync.errors import ProtocolError
from sync.identity import Identity
from sync.secure_sum.server import Failed, Gathering, Opened
from sync.secure_sum.terms import STEPS, SignedTerms, Terms, sign_terms

RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Letter:
    """What is to be said, to one device by its name (16 bytes) or, with None, to all."""

    name: bytes | None
    is_terms: bool
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a running round is: its step, how many have answered of how many, and its deadline."""

    round: str
    terms: Terms
    step: str
    answered: int
    expected: int | None
    deadline: int


@dataclass(slots=True)
class _Running:
    gathering: Gathering
    announcement: bytes
    letters: list[tuple[bytes, bytes]] = field(default_factory=list)
    said: bool = False
    unkept: deque[tuple[bytes, bytes]] = field(default_factory=deque)  # count, but disk was full


class Rounds:
    """The rounds of one study.

    `everybody` tells how many could join: a round does not wait for more. `on_end` is told each
    round's terms and how it ended, before that is kept; it may be told twice after a crash.
    """

    def __init__(
        self,
        book: RoundBook,
        coordinator: Identity,
        authority: bytes,
        *,
        random_bytes: RandomBytes,
        everybody: Callable[[], int],
        on_end: Callable[[Terms, Opened | Failed], None],
    ) -> None:
        self._book = book
        self._coordinator = coordinator
        self._authority = authority
        self._random_bytes = random_bytes
        self._everybody = everybody
        self._on_end = on_end
        self._lock = threading.RLock()
        self._running: dict[str, _Running] = {}
        for entry in book.entries():
            if entry.state is State.RUNNING:
                self._running[entry.round] = self._played_again(entry)

    def start(self, draft: Callable[[str, str], Terms], now: int) -> Terms:
        """Begin a round: `draft` makes its terms from a round's id and a seed's commitment.

        Raises:
            RoundBookError: it can't be kept; nobody has heard of it.
        """
        seed = self._random_bytes(32)
        terms = draft(self._random_bytes(32).hex(), hashlib.sha256(seed).hexdigest())
        announcement = sign_terms(terms, self._coordinator).to_bytes()
        with self._lock:
            self._book.begin(terms.round, announcement, seed, now)
            gathering = Gathering(terms, self._coordinator, authority=self._authority, seed=seed)
            self._running[terms.round] = _Running(gathering, announcement)
        return terms

    def receive(self, name: bytes, payload: bytes, now: int) -> bool:
        """Take a member's message; on disk when this returns. Whether it was news.

        Raises:
            ProtocolError: it belongs to no running round, or breaks the protocol.
            RoundBookError: it can't be kept; leave it unacknowledged.
        """
        with self._lock:
            running = self._running.get(payload[:32].hex())
            if running is None:
                raise ProtocolError("A message is of a round that is not running.")
            is_news = running.gathering.receive(name, payload, now)
            if is_news:
                running.unkept.append((name, payload))
            self._keep(running)
            return is_news

    def _keep(self, running: _Running) -> None:
        """Put on disk what counts and is not there yet, in the order in which it counted."""
        while running.unkept:
            self._book.keep(running.gathering.terms.round, *running.unkept[0])
            running.unkept.popleft()

    def due(self, now: int) -> Iterator[Letter]:
        """Close the steps that are over, and give everything that has to be said now.

        A fault of one round is raised when all others have had their turn.
        """
        fault: Explained | None = None
        with self._lock:
            rounds = list(self._running.values())
        for running in rounds:
            try:
                with self._lock:
                    letters = self._letters(running, now)
            except Explained as met:
                fault = fault or met
                continue
            yield from letters
        if fault is not None:
            raise fault

    def _letters(self, running: _Running, now: int) -> list[Letter]:
        gathering, letters = running.gathering, []
        terms = gathering.terms
        if not running.said:
            letters.append(Letter(None, True, running.announcement))
            letters += [Letter(name, False, payload) for name, payload in running.letters]
        if gathering.result is None and self._is_over(gathering, now):
            self._keep(running)
            self._book.keep(terms.round, None, None)
            running.letters = gathering.close_step()
            letters += [Letter(name, False, payload) for name, payload in running.letters]
        running.said = True
        if gathering.result is not None:  # also when it could not be kept the last time
            self._end(running, now)
        return letters

    def _is_over(self, gathering: Gathering, now: int) -> bool:
        if now >= gathering.terms.deadlines[gathering.step_number]:
            return True
        expected = gathering.expected
        return gathering.answered >= (self._everybody() if expected is None else expected)

    def _end(self, running: _Running, now: int) -> None:
        gathering, result = running.gathering, running.gathering.result
        terms = gathering.terms
        if result is None:
            return
        self._on_end(terms, result)
        opened = isinstance(result, Opened)
        self._book.end(
            terms.round,
            State.OPENED if opened else State.FAILED,
            now,
            joined=gathering.members,
            members=len(result.members) if isinstance(result, Opened) else 0,
            total=result.total.astype("<u4").tobytes() if isinstance(result, Opened) else b"",
            why="" if isinstance(result, Opened) else _why(result, gathering.refusals),
        )
        del self._running[terms.round]

    def open_to_all(self) -> tuple[bytes, ...]:
        """The announcements of rounds that can still be joined, for who was not there before."""
        with self._lock:
            return tuple(
                running.announcement
                for running in self._running.values()
                if running.said and running.gathering.step_number == 0
            )

    def progress(self) -> tuple[Progress, ...]:
        """Where each running round is."""
        with self._lock:
            return tuple(_progress(running.gathering) for running in self._running.values())

    def _played_again(self, entry: Entry) -> _Running:
        signed = decoded(entry.terms, SignedTerms)
        gathering = Gathering(
            signed.terms, self._coordinator, authority=self._authority, seed=entry.seed
        )
        running = _Running(gathering, entry.terms)
        for said in self._book.said(entry.round):
            if said.name is None or said.payload is None:
                running.letters = gathering.close_step()
            else:
                gathering.receive(said.name, said.payload, entry.started_at)
        return running


def _progress(gathering: Gathering) -> Progress:
    number = gathering.step_number
    return Progress(
        gathering.terms.round,
        gathering.terms,
        STEPS[number],
        gathering.answered,
        gathering.expected,
        gathering.terms.deadlines[number],
    )


def _why(failed: Failed, refusals: dict[bytes, str]) -> str:
    """With what members said when they refused, each reason once; never who."""
    reasons = sorted(set(refusals.values()))
    said = f" {len(refusals)} members refused: {' '.join(reasons)}" if reasons else ""
    return failed.why + said[:500]


def total_of(entry: Entry) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """The opened sum of a round as it was kept, uint32 (N,)."""
    return np.frombuffer(entry.total, dtype="<u4").astype(np.uint32)
