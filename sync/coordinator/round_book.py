"""Keeps the coordinator's rounds on disk: their terms, every message that counted, every closing.

Rules upheld here: what has been acknowledged is on disk; messages and closings are kept in the
order in which they counted, so that a round can be played again after a restart and goes on as if
nothing had happened; a round ends once, and its secrets are forgotten when it has.

In the life of a round: between `rounds`, which decides, and the disk.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from sync.coordinator.books import BookForm
from sync.coordinator.transactions import transaction
from sync.errors import SyncError

BOOK_FILE: Final = "rounds.db"
"""In the coordinator's state folder."""
_APPLICATION_ID: Final = 0x53565244  # "SVRD"
_SCHEMA_VERSION: Final = 2
_COURSES: Final = "CREATE TABLE courses (number INTEGER PRIMARY KEY, content BLOB NOT NULL) STRICT"
_SCHEMA: Final = f"""
CREATE TABLE rounds (
    round TEXT PRIMARY KEY, terms BLOB NOT NULL, seed BLOB NOT NULL, state TEXT NOT NULL,
    started_at INTEGER NOT NULL, ended_at INTEGER, joined INTEGER NOT NULL DEFAULT 0,
    members INTEGER NOT NULL DEFAULT 0, total BLOB, why TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE said (
    number INTEGER PRIMARY KEY AUTOINCREMENT, round TEXT NOT NULL, name BLOB, payload BLOB
) STRICT;
CREATE INDEX said_by_round ON said (round, number);
CREATE TABLE wishes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, purpose TEXT NOT NULL, subject TEXT NOT NULL,
    minutes REAL NOT NULL
) STRICT;
{_COURSES};
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_SCHEMA_VERSION};
"""


class RoundBookError(SyncError):
    """The world: rounds can't be kept."""


_FORM: Final = BookForm(
    "rounds", RoundBookError, _APPLICATION_ID, _SCHEMA_VERSION, _SCHEMA, {1: _COURSES}
)


class State(StrEnum):
    """Where a round is."""

    RUNNING = "running"
    OPENED = "opened"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Entry:
    """A round as it is kept. `total` holds N little-endian uint32, empty until it is opened."""

    round: str
    terms: bytes
    seed: bytes = field(repr=False)
    state: State
    started_at: int
    ended_at: int | None
    joined: int
    members: int
    total: bytes
    why: str


@dataclass(frozen=True, slots=True)
class Said:
    """A message that counted; `name` and `payload` are None where a step was closed."""

    name: bytes | None
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class Wish:
    """A round that somebody at the command line wants: its steps take `minutes` each."""

    purpose: str
    subject: str
    minutes: float


class RoundBook:
    """One process's connection; any thread, one at a time. Made by `open_round_book`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._lock = threading.RLock()

    def begin(self, round_id: str, terms: bytes, seed: bytes, now: int) -> None:
        """Keep a new round, before anybody hears of it.

        Raises:
            RoundBookError: the disk is full or failing.
        """
        with self._transaction() as rows:
            rows.execute(
                "INSERT INTO rounds (round, terms, seed, state, started_at) VALUES (?, ?, ?, ?, ?)",
                (round_id, terms, seed, State.RUNNING.value, now),
            )

    def keep(self, round_id: str, name: bytes | None, payload: bytes | None) -> None:
        """Keep a message that counted, or (None, None) that a step was closed.

        Raises:
            RoundBookError: the disk is full or failing.
        """
        with self._transaction() as rows:
            rows.execute(
                "INSERT INTO said (round, name, payload) VALUES (?, ?, ?)",
                (round_id, name, payload),
            )

    def end(
        self,
        round_id: str,
        state: State,
        now: int,
        *,
        joined: int,
        members: int,
        total: bytes,
        why: str,
    ) -> None:
        """Keep how a round ended, and forget what was said in it.

        Raises:
            RoundBookError: the disk is full or failing.
        """
        with self._transaction() as rows:
            rows.execute(
                "UPDATE rounds SET state = ?, ended_at = ?, joined = ?, members = ?, total = ?, "
                "why = ?, seed = x'' WHERE round = ? AND state = ?",
                (state.value, now, joined, members, total, why, round_id, State.RUNNING.value),
            )
            rows.execute("DELETE FROM said WHERE round = ?", (round_id,))

    def entries(self, saying: bytes = b"") -> tuple[Entry, ...]:
        """Every round whose announced terms have these bytes in them, the oldest first.

        Raises:
            RoundBookError: the book can't be read.
        """
        with self._transaction() as rows:
            found = rows.execute(
                "SELECT round, terms, seed, state, started_at, ended_at, joined, members, "
                "coalesce(total, x''), why FROM rounds WHERE ? = x'' OR instr(terms, ?) "
                "ORDER BY started_at, round",
                (saying, saying),
            ).fetchall()
        return tuple(
            Entry(round_id, terms, seed, State(state), *rest)
            for round_id, terms, seed, state, *rest in found
        )

    def said(self, round_id: str) -> Iterator[Said]:
        """What counted in a round, in order.

        Raises:
            RoundBookError: the book can't be read.
        """
        with self._transaction() as rows:
            found = rows.execute(
                "SELECT name, payload FROM said WHERE round = ? ORDER BY number", (round_id,)
            ).fetchall()
        return (Said(*row) for row in found)

    def closings(self, round_id: str) -> int:
        """How many steps of a running round have been closed.

        Raises:
            RoundBookError: the book can't be read.
        """
        with self._transaction() as rows:
            (found,) = rows.execute(
                "SELECT count(*) FROM said WHERE round = ? AND name IS NULL", (round_id,)
            ).fetchone()
        return int(found)

    def keep_course(self, number: int, content: bytes) -> None:
        """Keep a course of federated rounds, in the place of what was kept of it.

        Raises:
            RoundBookError: the disk is full or failing.
        """
        with self._transaction() as rows:
            rows.execute("INSERT OR REPLACE INTO courses VALUES (?, ?)", (number, content))

    def courses(self) -> tuple[bytes, ...]:
        """Every course, the oldest first; `course` reads them.

        Raises:
            RoundBookError: the book can't be read.
        """
        with self._transaction() as rows:
            found = rows.execute("SELECT content FROM courses ORDER BY number").fetchall()
        return tuple(content for (content,) in found)

    def wish(self, wish: Wish) -> None:
        """Ask the running coordinator for a round.

        Raises:
            RoundBookError: the disk is full or failing.
        """
        with self._transaction() as rows:
            rows.execute(
                "INSERT INTO wishes (purpose, subject, minutes) VALUES (?, ?, ?)",
                (wish.purpose, wish.subject, wish.minutes),
            )

    def wishes(self) -> int:
        """How many rounds are wanted and not begun.

        Raises:
            RoundBookError: the book can't be read.
        """
        with self._transaction() as rows:
            (count,) = rows.execute("SELECT count(*) FROM wishes").fetchone()
        return int(count)

    def take_wishes(self) -> tuple[Wish, ...]:
        """The rounds that are wanted; each is given out once.

        Raises:
            RoundBookError: the disk is full or failing.
        """
        with self._transaction() as rows:
            found = rows.execute(
                "SELECT purpose, subject, minutes FROM wishes ORDER BY number"
            ).fetchall()
            if found:
                rows.execute("DELETE FROM wishes")
        return tuple(Wish(*row) for row in found)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with self._lock, _FORM.explained(self._path), transaction(self._connection) as rows:
            yield rows


@contextmanager
def open_round_book(path: Path) -> Iterator[RoundBook]:
    """Open the rounds at `path`, or begin them; closed when the context ends.

    Raises:
        RoundBookError: the file is damaged, not ours, or its folder can't be written.
    """
    with _FORM.opened(path) as connection:
        yield RoundBook(connection, path)
