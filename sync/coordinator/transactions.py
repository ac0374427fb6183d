"""A transaction of one of the coordinator's databases: all of it, on disk at the end, or nothing.

In the life of a round: what `members`, `round_book` and `store` keep, they keep through this.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def transaction(connection: sqlite3.Connection, *, writes: bool = True) -> Iterator[sqlite3.Cursor]:
    """Rows to read and write with; whoever calls holds the connection's lock.

    Raises:
        sqlite3.Error: as SQLite says; what was written in it is gone.
    """
    rows = connection.cursor()
    rows.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
    try:
        yield rows
        rows.execute("COMMIT")
    finally:
        if connection.in_transaction:
            rows.execute("ROLLBACK")
