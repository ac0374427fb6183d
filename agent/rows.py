"""The store's SQLite file: its tables, its transactions, and its faults in plain words.

Rules it upholds: a transaction is on disk when it has ended (WAL, synchronous FULL) or has not
happened; the number of a row is never used again; what is deleted is overwritten; a fault of the
disk leaves what was recorded as it was. The only module of this room that names sqlite3.

Place in the life of a record: `store` decides what a row holds, this keeps it.

Source: SQLite, "Write-Ahead Logging" and "Pragma statements" (synchronous, secure_delete).
"""

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, Self

from agent.errors import StoreError

SCHEMA: Final = 3
KNOWN: Final = (1, 2, SCHEMA)
"""The forms that this version reads; earlier ones lack tables, which are added."""
Table = Literal["windows", "gaps", "spends", "outbox", "pseudonyms", "answers"]
Row = tuple[int, int, bytes]
"""Number, day and sealed record."""

TABLES: Final[tuple[Table, ...]] = (
    "windows", "gaps", "spends", "outbox", "pseudonyms", "answers",
)  # fmt: skip
_APPLICATION: Final = 0x53565354  # "SVST"
_PATIENCE_S: Final = 10.0
_PAUSE_S: Final = 0.01
_FULL: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}
)


class Rows:
    """One connection, for one thread; `close` it.

    Raises:
        StoreError: the file can't be opened, is no store, or one of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        _make_private(path)
        with self._explained():
            self.connection = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)
        try:
            with self._explained():
                self.connection.execute("BEGIN")  # one moment of a file that others may be making
                self.is_new = self._look()
                self.connection.execute("COMMIT")
                if self.is_new:  # can't be changed once there is a table
                    self.connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                self.connection.execute("PRAGMA synchronous = FULL")
                self.connection.execute("PRAGMA secure_delete = ON")
        except StoreError:
            self.connection.close()
            raise

    def _look(self) -> bool:
        """Whether nothing is in the file yet; refuses what is not ours."""
        (version,) = self.connection.execute("PRAGMA user_version").fetchone()
        (application,) = self.connection.execute("PRAGMA application_id").fetchone()
        (tables,) = self.connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if not tables and not version:
            return True
        if application != _APPLICATION:
            raise StoreError(
                f"'{self._path}' is not a store of sottovoce.", "Choose another state folder."
            )
        if version not in KNOWN:
            raise StoreError(
                f"The store '{self._path}' was written by another version (form {version}).",
                "Install that version again; nothing in the store was changed.",
            )
        return False

    def lay_out(self) -> bool:
        """Make the tables, inside a transaction; False when another process was first."""
        if not self._look():
            return False
        self._make_tables()
        for table in ("windows", "gaps"):
            self.connection.execute(f"CREATE INDEX {table}_by_day ON {table} (day)")
        self.connection.execute(
            "CREATE TABLE singles (name TEXT PRIMARY KEY, sealed BLOB NOT NULL) STRICT"
        )
        self.connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        self.connection.execute(f"PRAGMA user_version = {SCHEMA}")
        return True

    def add_tables(self) -> None:
        """Give a store of an earlier form the tables that it lacks; its records stay as they are.

        Raises:
            StoreError: the disk fails, or another process holds the store.
        """
        with self._explained():
            (version,) = self.connection.execute("PRAGMA user_version").fetchone()
        if version == SCHEMA:
            return
        with self.transaction():
            self._make_tables()
            self.connection.execute(f"PRAGMA user_version = {SCHEMA}")

    def _make_tables(self) -> None:
        for table in TABLES:
            self.connection.execute(
                f"CREATE TABLE IF NOT EXISTS {table} (number INTEGER PRIMARY KEY AUTOINCREMENT, "
                "day INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT"
            )

    def keep_log(self) -> None:
        """Turn the write-ahead log on; it stays on for good.

        Raises:
            StoreError: another process holds the store.
        """
        until_s = time.monotonic() + _PATIENCE_S
        with self._explained():
            while True:
                try:
                    self.connection.execute("PRAGMA journal_mode = WAL")
                    return
                except sqlite3.OperationalError as fault:  # this one does not wait by itself
                    busy = fault.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                    if not busy or time.monotonic() >= until_s:
                        raise
                time.sleep(_PAUSE_S)

    @contextmanager
    def transaction(self) -> Iterator[Self]:
        """All of it, on disk at the end, or nothing of it.

        Raises:
            StoreError: the disk is full or failing, or another process holds the store.
        """
        with self._explained():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self
                self.connection.execute("COMMIT")
            finally:
                if self.connection.in_transaction:  # something went wrong on the way
                    self.connection.execute("ROLLBACK")

    def next_number(self, table: Table) -> int:
        """The number that the next row of a table gets; ask inside its transaction."""
        found = self.connection.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)
        ).fetchone()
        return 1 + (found[0] if found else 0)

    def insert(self, table: Table, row: Row) -> None:
        """Add a row under its own number."""
        self.connection.execute(f"INSERT INTO {table} VALUES (?, ?, ?)", row)

    def replace(self, table: Table, row: Row) -> None:
        """Write a row that exists again."""
        number, day, sealed = row
        self.connection.execute(
            f"UPDATE {table} SET day = ?, sealed = ? WHERE number = ?", (day, sealed, number)
        )

    def rows(self, table: Table, days: range | None = None) -> list[Row]:
        """The rows of a table, or those of some days, oldest first."""
        where, bounds = ("", ()) if days is None else ("WHERE day >= ? AND day < ? ",
                                                      (days.start, days.stop))  # fmt: skip
        with self._explained():
            return self.connection.execute(
                f"SELECT number, day, sealed FROM {table} {where}ORDER BY day, number", bounds
            ).fetchall()

    def days(self, table: Table) -> list[int]:
        """The days of which a table holds anything."""
        with self._explained():
            found = self.connection.execute(f"SELECT DISTINCT day FROM {table} ORDER BY day")
            return [day for (day,) in found]

    def span(self, table: Table) -> range:
        """From the first to the last day of which a table holds anything."""
        with self._explained():
            (first,) = self.connection.execute(f"SELECT min(day) FROM {table}").fetchone()
            (last,) = self.connection.execute(f"SELECT max(day) FROM {table}").fetchone()
        return range(0) if first is None else range(first, last + 1)

    def last(self, table: Table, day: int) -> int:
        """The number of a day's newest row; 0 when there is none."""
        with self._explained():
            (found,) = self.connection.execute(
                f"SELECT ifnull(max(number), 0) FROM {table} WHERE day = ?", (day,)
            ).fetchone()
        return int(found)

    def row(self, table: Table, number: int) -> Row | None:
        """One row, where it exists."""
        with self._explained():
            found: Row | None = self.connection.execute(
                f"SELECT number, day, sealed FROM {table} WHERE number = ?", (number,)
            ).fetchone()
        return found

    def delete_before(self, table: Table, day: int) -> int:
        """Forget the rows of earlier days; returns how many."""
        return self.connection.execute(f"DELETE FROM {table} WHERE day < ?", (day,)).rowcount

    def single(self, name: str) -> bytes | None:
        """What there is one of, where it exists."""
        with self._explained():
            found = self.connection.execute(
                "SELECT sealed FROM singles WHERE name = ?", (name,)
            ).fetchone()
        return bytes(found[0]) if found else None

    def set_single(self, name: str, sealed: bytes) -> None:
        """Write what there is one of."""
        with self._explained():
            self.connection.execute("INSERT OR REPLACE INTO singles VALUES (?, ?)", (name, sealed))

    def delete_single(self, name: str) -> None:
        """Forget what there is one of."""
        with self._explained():
            self.connection.execute("DELETE FROM singles WHERE name = ?", (name,))

    def single_names(self, prefix: str) -> list[str]:
        """The names that begin so, in order."""
        with self._explained():
            found = self.connection.execute(
                "SELECT name FROM singles WHERE substr(name, 1, ?) = ? ORDER BY name",
                (len(prefix), prefix),
            )
            return [name for (name,) in found]

    def shrink(self) -> None:
        """Give free pages back and empty the write-ahead log, so that neither holds old records."""
        with self._explained():
            # A plain `execute` stops after the first page that is given back.
            self.connection.executescript("PRAGMA incremental_vacuum")
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """End the connection."""
        self.connection.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:
            raise  # our bug: a closed store, or one used by two threads
        except sqlite3.Error as fault:
            raise self._fault(fault) from fault

    def _fault(self, fault: sqlite3.Error) -> StoreError:
        code = getattr(fault, "sqlite_errorcode", None)
        if code in _FULL:
            return StoreError(
                f"The disk of the store '{self._path}' is full.",
                "Make room on it; what was recorded is safe, and recording goes on then.",
            )
        if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreError(
                f"Another process holds the store '{self._path}'.",
                "End it, or wait for it; two agents can't share a state folder.",
            )
        if code is not None and code & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return StoreError(
                f"'{self._path}' is not a store, or it is damaged.",
                "Put it back from a backup, or move it away to start anew.",
            )
        name = getattr(fault, "sqlite_errorname", type(fault).__name__)
        return StoreError(
            f"The store '{self._path}' can't be read or written ({name}).",
            "Check its disk and its permissions; what was recorded is left as it was.",
        )


def _make_private(path: Path) -> None:
    """An empty file of mode 0600 where there is none; SQLite gives its helper files that mode.

    An existing file is not touched: closing *any* descriptor of it would take away the locks by
    which this process's other connections tell other processes that they are there.
    """
    try:
        if path.exists():
            return
        handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        os.close(handle)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process of ours was first
        finally:
            Path(draft).unlink()
    except OSError as fault:
        raise StoreError(
            f"The store '{path}' can't be opened: {fault.strerror}.",
            "Check that the state folder exists, who owns it and whether its disk is full.",
        ) from fault
