"""Who was invited, who is a member, and whom the study took back: one small database.

Rules upheld here: an invite makes one member, whenever the machine stops: its secret is erased,
the member noted and the answer kept in one transaction, before the answer is sent; the same ask
gets the same answer again, any other is a replay; a revocation is for good.

In the life of a device: `desk` judges, this keeps. The file holds no name of anybody.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sync.coordinator.transactions import transaction
from sync.enrolment import Ask, Reason
from sync.errors import StudyError, SyncError
from sync.invites import invite_name

_APPLICATION_ID: Final = 0x50544D42  # marks the file as ours
_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = f"""
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_SCHEMA_VERSION};
CREATE TABLE invites (
    name BLOB PRIMARY KEY, secret BLOB, made INTEGER NOT NULL, expires INTEGER NOT NULL,
    ask BLOB, answer BLOB, pseudonym TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE members (
    pseudonym TEXT PRIMARY KEY, signing_key BLOB NOT NULL, serial TEXT NOT NULL,
    enrolled INTEGER NOT NULL, expires INTEGER NOT NULL, revoked INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE withdrawn (serial TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
"""


class MembersError(SyncError):
    """The world: the members' file can't be read or written."""


@dataclass(frozen=True, slots=True)
class Member:
    """One device: its names and keys; times in seconds since 1970.

    `signing_key` is public (32 bytes), `serial` its certificate's number; `revoked` is when the
    study took it back, None while it is a member.
    """

    pseudonym: str
    signing_key: bytes
    serial: int
    enrolled: int
    expires: int
    revoked: int | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """A judge's yes: the member, and the bytes that tell it so."""

    member: Member
    answer: bytes = field(repr=False)


Judge = Callable[[bytes, Callable[[str], Member | None]], Admission | Reason]
"""Given an invite's secret and who has a pseudonym already, decides; it must not send anything."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The serial numbers of certificates that are good no longer, and who was revoked."""

    serials: frozenset[int]
    pseudonyms: frozenset[str]


@dataclass(frozen=True, slots=True)
class Invited:
    """How many invites are open, used up, and past their end."""

    open: int
    used: int
    expired: int


class Members:
    """SQLite behind one lock; made by `open_members`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._lock = threading.Lock()

    def invite(self, secret: bytes, *, made: int, expires: int) -> None:
        """Keep a fresh invite's secret; only then may it be handed out.

        Raises:
            MembersError: it could not be kept.
        """
        with self._transaction() as rows:
            rows.execute(
                "INSERT INTO invites (name, secret, made, expires) VALUES (?, ?, ?, ?)",
                (invite_name(secret), secret, made, expires),
            )

    def admit(self, ask: Ask, now: int, judge: Judge) -> bytes | Reason:
        """The answer to an ask: kept already, or `judge`'s and from now on kept.

        Whatever `judge` raises leaves the invite as it was, as does a refusal.

        Raises:
            MembersError: nothing was kept, and nothing may be answered.
        """
        with self._transaction() as rows:
            rows.execute(  # a secret that is good for nothing is not kept
                "UPDATE invites SET secret = NULL WHERE expires <= ? AND secret NOT NULL", (now,)
            )
            found = rows.execute(
                "SELECT secret, ask, answer, expires FROM invites WHERE name = ?",
                (ask.invite_name,),
            ).fetchone()
            if found is None:
                return Reason.UNKNOWN
            secret, asked, answer, expires = found
            if asked is not None:
                return bytes(answer) if asked == ask.digest else Reason.USED
            if now >= expires or secret is None:
                return Reason.EXPIRED
            judged = judge(secret, lambda pseudonym: _member(rows, pseudonym))
            if isinstance(judged, Reason):
                return judged
            self._keep(rows, ask, judged)
            return judged.answer

    def _keep(self, rows: sqlite3.Cursor, ask: Ask, admission: Admission) -> None:
        member = admission.member
        before = _member(rows, member.pseudonym)
        if before is not None:  # it renews: its old certificate is good no longer
            rows.execute("INSERT OR IGNORE INTO withdrawn VALUES (?)", (str(before.serial),))
        rows.execute(
            "INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?, ?, NULL)",
            (
                member.pseudonym,
                member.signing_key,
                str(member.serial),
                member.enrolled,
                member.expires,
            ),
        )
        rows.execute(
            "UPDATE invites SET secret = NULL, ask = ?, answer = ?, pseudonym = ? WHERE name = ?",
            (ask.digest, admission.answer, member.pseudonym, ask.invite_name),
        )

    def revoke(self, pseudonym: str, now: int) -> Member:
        """Take a member back, for good; again is the same.

        Raises:
            StudyError: there is no such member.
            MembersError: it could not be kept.
        """
        with self._transaction() as rows:
            member = _member(rows, pseudonym)
            if member is None:
                raise StudyError(
                    f"The study has no member '{pseudonym[:32]}'.",
                    "See who there is: sottovoce study list",
                )
            rows.execute("INSERT OR IGNORE INTO withdrawn VALUES (?)", (str(member.serial),))
            rows.execute(
                "UPDATE members SET revoked = coalesce(revoked, ?) WHERE pseudonym = ?",
                (now, pseudonym),
            )
            return member

    def withdraw_invites(self) -> int:
        """Make every open invite useless; returns how many there were."""
        with self._transaction() as rows:
            return rows.execute(
                "DELETE FROM invites WHERE ask IS NULL AND secret NOT NULL"
            ).rowcount

    def members(self) -> tuple[Member, ...]:
        """Everybody who ever was one, in the order of enrolment."""
        with self._transaction() as rows:
            found = rows.execute(f"{_SELECT} ORDER BY enrolled, pseudonym").fetchall()
        return tuple(_of(row) for row in found)

    def member(self, pseudonym: str, now: int) -> Member | None:
        """The member of this name, if it is one now: not revoked, not past its end."""
        with self._transaction() as rows:
            found = _member(rows, pseudonym)
        if found is None or found.revoked is not None or now >= found.expires:
            return None
        return found

    def gone(self) -> Gone:
        """What the broker must not let in any more."""
        with self._transaction() as rows:
            serials = rows.execute("SELECT serial FROM withdrawn").fetchall()
            names = rows.execute("SELECT pseudonym FROM members WHERE revoked NOT NULL").fetchall()
        return Gone(
            frozenset(int(serial) for (serial,) in serials), frozenset(name for (name,) in names)
        )

    def invited(self, now: int) -> Invited:
        """What became of the invites."""
        with self._transaction() as rows:
            return Invited(
                *rows.execute(
                    "SELECT count(*) FILTER (WHERE ask IS NULL AND expires > :now), "
                    "count(*) FILTER (WHERE ask NOT NULL), "
                    "count(*) FILTER (WHERE ask IS NULL AND expires <= :now) FROM invites",
                    {"now": now},
                ).fetchone()
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with self._lock, _explained(self._path), transaction(self._connection) as rows:
            yield rows


def current_members(members: Members, now: int) -> tuple[str, ...]:
    """The pseudonyms of who is a member at `now`, in the order of enrolment.

    Raises:
        MembersError: the members can't be read.
    """
    return tuple(
        each.pseudonym for each in members.members() if each.revoked is None and now < each.expires
    )


_SELECT: Final = "SELECT pseudonym, signing_key, serial, enrolled, expires, revoked FROM members"


def _member(rows: sqlite3.Cursor, pseudonym: str) -> Member | None:
    found = rows.execute(f"{_SELECT} WHERE pseudonym = ?", (pseudonym,)).fetchone()
    return None if found is None else _of(found)


def _of(row: tuple[str, bytes, str, int, int, int | None]) -> Member:
    pseudonym, signing_key, serial, enrolled, expires, revoked = row
    return Member(pseudonym, signing_key, int(serial), enrolled, expires, revoked)


@contextmanager
def open_members(path: Path) -> Iterator[Members]:
    """The members' file, made if need be (mode 0600); any thread may use it.

    Raises:
        MembersError: it can't be used, or is another program's.
    """
    with _explained(path):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            path, timeout=10, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    try:
        yield Members(connection, path)
    finally:
        connection.close()


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # answered means on disk
    connection.execute("PRAGMA secure_delete = ON")  # a secret that was used is overwritten
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    (ours,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if (ours, version) != (_APPLICATION_ID, _SCHEMA_VERSION):
        raise MembersError(
            f"'{path}' is not a members' file of this version.",
            "Use the version of sottovoce that made it.",
        )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        raise MembersError(
            f"The members' file '{path}' can't be opened ({fault.strerror}).",
            "Name a folder that you may write to with --state.",
        ) from fault
    except sqlite3.OperationalError as fault:
        raise MembersError(
            f"The members' file '{path}' can't be used now ({fault}).",
            "Free some space, or end the other program that holds it.",
        ) from fault
    except sqlite3.DatabaseError as fault:
        raise MembersError(
            f"The members' file '{path}' is damaged ({fault}).", "Put it back from a backup."
        ) from fault
