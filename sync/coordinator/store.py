"""What the coordinator keeps: noised reports, one per person and period, and what it refused.

The ledger of what each person's releases cost is in the same file (`sync.coordinator.ledger`).

Rules upheld here: the first report of a person for a period wins, because a second draw of noise
would wear the first one off; an identical retry is only counted; nothing is acknowledged that is
not on disk (one transaction, synchronous); a store belongs to one study and one policy.

In the life of a report: `intake` judged it, this keeps it, `estimate` sees only sums. Each row is
already differentially private by itself; the file is still its owner's alone (mode 0600).
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np

from sync.coordinator.transactions import transaction
from sync.errors import PolicyError, SyncError
from sync.messages import Report

_APPLICATION_ID: Final = 0x50544F56  # marks the file as ours, so that no other is written into
_SCHEMA_VERSION: Final = 2
_BEFORE_THE_LEDGER: Final = 1
_COUNT_TYPE: Final = "<i4"  # as messages.MOST_COUNT allows
_LEDGER: Final = f"""
PRAGMA user_version = {_SCHEMA_VERSION};
CREATE TABLE rounds (
    round TEXT PRIMARY KEY, purpose TEXT NOT NULL, rho TEXT NOT NULL,
    squared_sensitivity INTEGER NOT NULL, scale INTEGER NOT NULL, sigma2 TEXT NOT NULL,
    opened_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE members (
    pseudonym TEXT NOT NULL, round TEXT NOT NULL, PRIMARY KEY (pseudonym, round)
) STRICT, WITHOUT ROWID;
CREATE TABLE sums (
    period TEXT NOT NULL, round TEXT NOT NULL, people INTEGER NOT NULL, totals TEXT NOT NULL,
    noise TEXT NOT NULL, PRIMARY KEY (period, round)
) STRICT, WITHOUT ROWID;
CREATE TABLE heads (
    pseudonym TEXT PRIMARY KEY, head BLOB NOT NULL, spent TEXT NOT NULL, standing TEXT NOT NULL,
    seen_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""
_SCHEMA: Final = f"""
PRAGMA application_id = {_APPLICATION_ID};
CREATE TABLE study (
    name TEXT NOT NULL, policy TEXT NOT NULL, cells INTEGER NOT NULL, created_at TEXT NOT NULL
) STRICT;
CREATE TABLE reports (
    period TEXT NOT NULL, pseudonym TEXT NOT NULL, bundle TEXT NOT NULL, digest BLOB NOT NULL,
    counts BLOB NOT NULL, received_at TEXT NOT NULL, PRIMARY KEY (period, pseudonym)
) STRICT, WITHOUT ROWID;
CREATE INDEX reports_of_person ON reports (pseudonym);
CREATE TABLE tallies (
    reason TEXT PRIMARY KEY, count INTEGER NOT NULL, last_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
{_LEDGER}
"""
Rows = sqlite3.Cursor
"""What a transaction gives to read and write with."""


class ReportStoreError(SyncError):
    """The world: the coordinator's disk is full, or its store is damaged or not ours."""


class Outcome(StrEnum):
    """What became of a message, in the words that the page uses."""

    STORED = "stored"
    DUPLICATE = "identical retry"
    CONFLICT = "second, different report for the same period"
    OVER_BUDGET = "more reports than the person's privacy budget allows"
    UNREADABLE = "not a valid report"
    NO_MEMBER = "not from a member of the study"
    OTHER_PERSON = "topic and report name different people"
    OTHER_VERSION = "another version of the protocol"
    OTHER_STUDY = "another study"
    OTHER_POLICY = "another privacy policy"
    IMPLAUSIBLE = "a count that the noise can't explain"


@dataclass(frozen=True, slots=True)
class Tally:
    """How many messages had one outcome, and when the last one came (UTC)."""

    outcome: Outcome
    count: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class PeriodSum:
    """The cell-wise sum of a period's noised reports; `totals` has one entry a cell.

    `noise` is the variance parameter of a cell's noise, in people squared, where the sum was opened
    as one; None where each report brought its own.
    """

    period: str
    reports: int
    totals: tuple[int, ...]
    noise: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the store held at one moment; periods are oldest first."""

    sums: tuple[PeriodSum, ...]
    tallies: tuple[Tally, ...]


class ReportStore:
    """SQLite behind one lock; made by `open_store`."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, cells: int, clock: Callable[[], datetime]
    ) -> None:
        self._connection = connection
        self._path = path
        self._cells = cells
        self._clock = clock
        self._lock = threading.Lock()

    def add(self, report: Report, digest: bytes, most_per_person: int) -> Outcome:
        """Keep a report that intake accepted, or count why not, in one durable transaction.

        `digest` is the SHA-256 of the payload: a retry has the same.

        Raises:
            ReportStoreError: nothing was kept; the message must not be acknowledged.
        """
        counts = np.asarray(report.counts, dtype=_COUNT_TYPE).tobytes()
        key = (report.period, report.pseudonym)
        with self.transaction(writes=True) as rows:
            known = rows.execute(
                "SELECT digest FROM reports WHERE period = ? AND pseudonym = ?", key
            ).fetchone()
            if known is not None:
                outcome = Outcome.DUPLICATE if known[0] == digest else Outcome.CONFLICT
            else:
                (sent,) = rows.execute(
                    "SELECT count(*) FROM reports WHERE pseudonym = ?", (report.pseudonym,)
                ).fetchone()
                outcome = Outcome.STORED if sent < most_per_person else Outcome.OVER_BUDGET
            if outcome is Outcome.STORED:
                rows.execute(
                    "INSERT INTO reports VALUES (?, ?, ?, ?, ?, ?)",
                    (*key, report.bundle, digest, counts, self.now()),
                )
            self._tally(rows, outcome)
        return outcome

    def refuse(self, outcome: Outcome) -> Outcome:
        """Count a message that was not a report for this study.

        Raises:
            ReportStoreError: the count could not be kept.
        """
        with self.transaction(writes=True) as rows:
            self._tally(rows, outcome)
        return outcome

    def snapshot(self) -> Snapshot:
        """Everything that a page shows, of one moment.

        Raises:
            ReportStoreError: the store can't be read.
        """
        with self.transaction(writes=False) as rows:
            return Snapshot(self._sums(rows), _tallies(rows))

    def keep_sum(self, round_id: str, opened: PeriodSum) -> None:
        """Keep the sum that a round opened; it is shown instead of single reports of its period.

        A period may have several, of different people: they add up. One round counts once.

        Raises:
            ReportStoreError: it can't be kept.
        """
        with self.transaction(writes=True) as rows:
            totals = " ".join(map(str, opened.totals))
            rows.execute(
                "INSERT OR IGNORE INTO sums VALUES (?, ?, ?, ?, ?)",
                (opened.period, round_id, opened.reports, totals, str(opened.noise)),
            )

    def tallies(self) -> tuple[Tally, ...]:
        """What became of every message so far; outcomes that never happened are left out.

        Raises:
            ReportStoreError: the store can't be read.
        """
        with self.transaction(writes=False) as rows:
            return _tallies(rows)

    def _sums(self, rows: Rows) -> tuple[PeriodSum, ...]:
        by_period: dict[str, list[bytes]] = {}
        for period, counts in rows.execute("SELECT period, counts FROM reports ORDER BY period"):
            by_period.setdefault(period, []).append(counts)
        sums = {
            period: PeriodSum(period, len(blobs), self._total(blobs))
            for period, blobs in by_period.items()
        }
        opened: dict[str, PeriodSum] = {}
        for period, people, totals, noise in rows.execute(
            "SELECT period, people, totals, noise FROM sums"
        ):
            cells = tuple(int(total) for total in totals.split())
            one = PeriodSum(period, people, cells, Fraction(noise))
            opened[period] = _together(opened[period], one) if period in opened else one
        sums |= opened
        return tuple(sums[period] for period in sorted(sums))

    def _total(self, blobs: list[bytes]) -> tuple[int, ...]:
        table = np.frombuffer(b"".join(blobs), dtype=_COUNT_TYPE).reshape(-1, self._cells)
        return tuple(int(total) for total in table.sum(axis=0, dtype=np.int64))

    def _tally(self, rows: Rows, outcome: Outcome) -> None:
        rows.execute(
            "INSERT INTO tallies VALUES (?, 1, ?) ON CONFLICT (reason) "
            "DO UPDATE SET count = count + 1, last_at = excluded.last_at",
            (outcome.value, self.now()),
        )

    def now(self) -> str:
        """This moment, as it is kept."""
        return self._clock().isoformat()

    @contextmanager
    def transaction(self, *, writes: bool) -> Iterator[Rows]:
        """All of it, on disk at the end, or nothing of it.

        Raises:
            ReportStoreError: the store can't be read or written.
        """
        with (
            self._lock,
            _explained(self._path),
            transaction(self._connection, writes=writes) as rows,
        ):
            yield rows


def _together(one: PeriodSum, other: PeriodSum) -> PeriodSum:
    """Two sums over different people, and their noise."""
    return PeriodSum(
        one.period,
        one.reports + other.reports,
        tuple(a + b for a, b in zip(one.totals, other.totals, strict=True)),
        (one.noise or Fraction(0)) + (other.noise or Fraction(0)),
    )


def _tallies(rows: Rows) -> tuple[Tally, ...]:
    return tuple(
        Tally(Outcome(reason), count, datetime.fromisoformat(last_at))
        for reason, count, last_at in rows.execute("SELECT reason, count, last_at FROM tallies")
    )


@contextmanager
def open_store(
    path: Path, *, study: str, policy: str, cells: int, clock: Callable[[], datetime]
) -> Iterator[ReportStore]:
    """Open the study's store at `path`, or make it; closed when the context ends.

    `policy` is "name@version", `cells` the length of a report's vector; `clock` gives UTC. A store
    without single reports follows a policy that its study adopts: each opened sum has its price.

    Raises:
        ReportStoreError: the file is damaged, not ours, or its folder can't be written.
        PolicyError: the store was made for another study or vector, or has reports under another
            policy.
    """
    with _explained(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        with _explained(path):
            _prepare(connection, path, (study, policy, cells, clock().isoformat()))
        yield ReportStore(connection, path, cells, clock)
    finally:
        connection.close()


def _prepare(connection: sqlite3.Connection, path: Path, wanted: tuple[str, str, int, str]) -> None:
    (ours,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    known = (_BEFORE_THE_LEDGER, _SCHEMA_VERSION)
    if tables and (ours != _APPLICATION_ID or version not in known):
        raise ReportStoreError(
            f"'{path}' is not a report store of this version.",
            "Name another folder with --state, or use the version that made it.",
        )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # acknowledged means on disk
    if not tables:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        connection.execute("INSERT INTO study VALUES (?, ?, ?, ?)", wanted)
    elif version == _BEFORE_THE_LEDGER:
        connection.executescript(f"BEGIN IMMEDIATE; {_LEDGER} COMMIT;")
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
    connection.execute(
        "UPDATE study SET policy = ? WHERE name = ? AND cells = ? AND NOT EXISTS "
        "(SELECT * FROM reports)",
        (wanted[1], wanted[0], wanted[2]),
    )
    made_for = connection.execute("SELECT name, policy, cells FROM study").fetchone()
    if made_for != wanted[:3]:
        raise PolicyError(
            f"The store in '{path.parent}' belongs to study '{made_for[0]}' under policy "
            f"'{made_for[1]}', not to '{wanted[0]}' under '{wanted[1]}'.",
            "Sums under different noise don't add up: name another folder with --state.",
        )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say into a cause and a remedy."""
    try:
        yield
    except OSError as fault:
        raise ReportStoreError(
            f"The report store '{path}' can't be opened ({fault.strerror}).",
            "Name a folder that you may write to with --state.",
        ) from fault
    except sqlite3.OperationalError as fault:
        raise ReportStoreError(
            f"The report store '{path}' can't be used now ({fault}).",
            "Free some space or end the other program that holds it; reports not acknowledged "
            "stay with the broker and come again.",
        ) from fault
    except sqlite3.DatabaseError as fault:
        raise ReportStoreError(
            f"The report store '{path}' is damaged ({fault}).",
            "Restore it from a backup; devices keep what they sent, but never send it twice.",
        ) from fault
