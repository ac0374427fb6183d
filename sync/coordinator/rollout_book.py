"""Keeps rollouts on disk: where each stands, the last word of each device, wishes of the command.

Rules upheld here: what a device said is on disk before it is acknowledged; of each device and
version the newest word is kept, by the device's own time, however late an older one arrives; one
device can't fill the disk; a rollout is replaced as a whole, so that a restart finds it as it was.

In the life of a bundle: between `rollout_desk`, which decides, and the disk.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from sync.coordinator.books import BookForm
from sync.coordinator.rollouts import Rollout, Rules, Said
from sync.coordinator.transactions import transaction
from sync.envelope import decoded, encoded
from sync.errors import SyncError
from sync.updates.offers import Kind
from sync.updates.progress import Progress, parse_progress
from sync.updates.rollout import Directive

ROLLOUT_BOOK_FILE: Final = "rollouts.db"
"""In the coordinator's state folder."""
MOST_SAID: Final = 64
"""Words kept of one device; the ones that came first make room."""
_APPLICATION_ID: Final = 0x53565550  # "SVUP"
_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = f"""
CREATE TABLE rollouts (
    kind TEXT NOT NULL, name TEXT NOT NULL, serial INTEGER NOT NULL, number INTEGER NOT NULL,
    directive BLOB NOT NULL, rules BLOB NOT NULL, began_at INTEGER NOT NULL,
    opened_at INTEGER NOT NULL, why TEXT NOT NULL, halted INTEGER NOT NULL,
    failures_aside INTEGER NOT NULL, well_aside INTEGER NOT NULL,
    PRIMARY KEY (kind, name, serial)
) STRICT, WITHOUT ROWID;
CREATE TABLE said (
    pseudonym TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, serial INTEGER NOT NULL,
    moment INTEGER NOT NULL, heard_at INTEGER NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (pseudonym, kind, name, serial)
) STRICT, WITHOUT ROWID;
CREATE INDEX said_by_version ON said (kind, name, serial);
CREATE TABLE wishes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, deed TEXT NOT NULL, kind TEXT NOT NULL,
    name TEXT NOT NULL, content BLOB NOT NULL
) STRICT;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_SCHEMA_VERSION};
"""


class RolloutBookError(SyncError):
    """The world: rollouts can't be kept."""


_FORM: Final = BookForm("rollouts", RolloutBookError, _APPLICATION_ID, _SCHEMA_VERSION, _SCHEMA)


class Deed(StrEnum):
    """What somebody at the command line wants of a rollout."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class Wish:
    """A deed upon the newest rollout of a kind and name; `content`: what is to be started."""

    deed: Deed
    kind: Kind
    name: str
    content: bytes = b""


class RolloutBook:
    """One process's connection; any thread, one at a time. Made by `open_rollout_book`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._lock = threading.RLock()

    def keep(self, rollout: Rollout) -> None:
        """Keep a rollout as it stands now, in the place of what was kept of it.

        Raises:
            RolloutBookError: the disk is full or failing.
        """
        directive = rollout.directive
        with self._transaction() as rows:
            rows.execute(
                "INSERT OR REPLACE INTO rollouts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    directive.kind.value,
                    directive.name,
                    directive.serial,
                    directive.number,
                    encoded(directive),
                    encoded(rollout.rules),
                    rollout.began_at,
                    rollout.opened_at,
                    rollout.why,
                    int(rollout.halted),
                    *rollout.aside,
                ),
            )

    def rollouts(self) -> tuple[Rollout, ...]:
        """Every rollout that ever was, the newest directive first.

        Raises:
            RolloutBookError: the book can't be read.
        """
        with self._transaction() as rows:
            found = rows.execute(
                "SELECT directive, rules, began_at, opened_at, why, halted, failures_aside, "
                "well_aside FROM rollouts ORDER BY kind, name, number DESC"
            ).fetchall()
        return tuple(
            Rollout(
                decoded(directive, Directive),
                decoded(rules, Rules),
                began_at,
                opened_at,
                why,
                bool(halted),
                (failures, well),
            )
            for directive, rules, began_at, opened_at, why, halted, failures, well in found
        )

    def newest(self) -> tuple[Rollout, ...]:
        """The one of each kind and name that devices hear of."""
        found: dict[tuple[Kind, str], Rollout] = {}
        for rollout in self.rollouts():
            found.setdefault((rollout.directive.kind, rollout.directive.name), rollout)
        return tuple(found.values())

    def hear(self, pseudonym: str, progress: Progress, now: int) -> None:
        """Keep what a device said, unless it has said something later of this version.

        Raises:
            RolloutBookError: the disk is full or failing.
        """
        about = (pseudonym, progress.kind.value, progress.name, progress.serial)
        with self._transaction() as rows:
            rows.execute(
                "INSERT INTO said VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "moment = excluded.moment, heard_at = excluded.heard_at, "
                "content = excluded.content WHERE excluded.moment >= moment",
                (*about, progress.moment, now, encoded(progress)),
            )
            rows.execute(
                "DELETE FROM said WHERE pseudonym = ?1 AND (kind, name, serial) NOT IN (SELECT "
                "kind, name, serial FROM said WHERE pseudonym = ?1 ORDER BY heard_at DESC, "
                "(kind, name, serial) = (?2, ?3, ?4) DESC LIMIT ?5)",
                (*about, MOST_SAID),
            )

    def said(self, kind: Kind, name: str, serial: int) -> dict[str, Said]:
        """The last word of each device, by pseudonym, on one version.

        Raises:
            RolloutBookError: the book can't be read.
        """
        with self._transaction() as rows:
            found = rows.execute(
                "SELECT pseudonym, content, heard_at FROM said "
                "WHERE kind = ? AND name = ? AND serial = ?",
                (kind.value, name, serial),
            ).fetchall()
        return {name: Said(parse_progress(content), at) for name, content, at in found}

    def last_words(self) -> dict[tuple[str, Kind, str], Progress]:
        """The last word of each device on each kind and name: it says what runs there.

        Raises:
            RolloutBookError: the book can't be read.
        """
        with self._transaction() as rows:
            found = rows.execute(
                "SELECT pseudonym, content FROM said ORDER BY moment, heard_at"
            ).fetchall()
        words = {}
        for pseudonym, content in found:
            progress = parse_progress(content)
            words[pseudonym, progress.kind, progress.name] = progress
        return words

    def wish(self, wish: Wish) -> None:
        """Ask the running coordinator for a deed.

        Raises:
            RolloutBookError: the disk is full or failing.
        """
        with self._transaction() as rows:
            rows.execute(
                "INSERT INTO wishes (deed, kind, name, content) VALUES (?, ?, ?, ?)",
                (wish.deed.value, wish.kind.value, wish.name, wish.content),
            )

    def wishes(self) -> int:
        """How many deeds are wanted and not done.

        Raises:
            RolloutBookError: the book can't be read.
        """
        with self._transaction() as rows:
            (count,) = rows.execute("SELECT count(*) FROM wishes").fetchone()
        return int(count)

    def wanted(self) -> dict[int, Wish]:
        """The deeds that are wanted, in order, by their numbers.

        Raises:
            RolloutBookError: the book can't be read.
        """
        with self._transaction() as rows:
            found = rows.execute(
                "SELECT number, deed, kind, name, content FROM wishes ORDER BY number"
            ).fetchall()
        return {
            number: Wish(Deed(deed), Kind(kind), name, content)
            for number, deed, kind, name, content in found
        }

    def settle(self, number: int) -> None:
        """A deed was done, or can't be: it is wanted no more.

        Raises:
            RolloutBookError: the disk is full or failing.
        """
        with self._transaction() as rows:
            rows.execute("DELETE FROM wishes WHERE number = ?", (number,))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with self._lock, _FORM.explained(self._path), transaction(self._connection) as rows:
            yield rows


@contextmanager
def open_rollout_book(path: Path, *, durable: bool = True) -> Iterator[RolloutBook]:
    """Open the rollouts at `path`, or begin them; closed when the context ends.

    `durable` False: of a simulation, which waits for no disk.

    Raises:
        RolloutBookError: the file is damaged, not ours, or its folder can't be written.
    """
    with _FORM.opened(path, durable=durable) as connection:
        yield RolloutBook(connection, path)
