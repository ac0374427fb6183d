"""A file of the coordinator's that outlives it: opened or begun, and every fault in two sentences.

Rules it upholds: a file of another program, or of a version that is not known, is refused and never
changed; what is acknowledged is on disk; what was deleted is overwritten; a second process waits.

In the life of a round, and of a rollout: below `round_book` and `rollout_book`.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sync.errors import SyncError


@dataclass(frozen=True, slots=True)
class BookForm:
    """What a book is: `what` it holds, for a person, and whose error says what is wrong.

    `schema` makes its tables, statements ending in ";" and a new line; `changes` brings an older
    version up to date, by a statement for each.
    """

    what: str
    error: type[SyncError]
    application_id: int
    version: int
    schema: str
    changes: Mapping[int, str] = field(default_factory=dict)

    @contextmanager
    def opened(self, path: Path, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """The book at `path`, begun if need be (mode 0600); closed when the context ends.

        `durable` False: of a simulation, which waits for no disk.

        Raises:
            SyncError: the form's own: damaged, not ours, or its folder can't be written.
        """
        with self.explained(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            with self.explained(path):
                self._prepare(connection, path, durable)
            yield connection
        finally:
            connection.close()

    @contextmanager
    def explained(self, path: Path) -> Iterator[None]:
        """Turn what SQLite and the file system say into a cause and a remedy."""
        try:
            yield
        except OSError as fault:
            raise self.error(
                f"The {self.what} in '{path}' can't be opened ({fault.strerror}).",
                "Name a folder that you may write to with --state.",
            ) from fault
        except sqlite3.Error as fault:
            raise self.error(
                f"The {self.what} in '{path}' can't be kept or read ({fault}).",
                "Free some space, or put the file back from a backup; devices say again what was "
                "not acknowledged.",
            ) from fault

    def _prepare(self, connection: sqlite3.Connection, path: Path, durable: bool) -> None:
        connection.execute("PRAGMA busy_timeout = 10000")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN IMMEDIATE")
        (ours,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables:
            for statement in self.schema.strip().split(";\n"):
                connection.execute(statement)
        elif ours == self.application_id and version in self.changes:
            connection.execute(self.changes[version])
            connection.execute(f"PRAGMA user_version = {self.version}")
        elif (ours, version) != (self.application_id, self.version):
            connection.execute("ROLLBACK")
            raise self.error(
                f"'{path}' does not hold the {self.what} of this version.",
                "Name another folder with --state, or use the version that made it.",
            )
        connection.execute("COMMIT")
