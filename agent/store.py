"""The device's memory: one SQLite file in which every record is encrypted by itself.

Rules it upholds: a record is AES-256-GCM ciphertext bound to its table, row and day, so rows can't
be swapped, moved or replayed under another number (numbers are never used again); a spend and its
report are one transaction, on disk before anything is sent; the wrong key changes nothing; what
was recorded stays, whatever the disk does; what is forgotten is overwritten.

In clear: how many records there are, in which order, and a day number shifted by a secret of the
key (retention and reading by time need it). A thief sees that some days have more windows than
others, but no date, time, feature, score, study or report. That a whole older copy of the file was
put back shows in the ledger's anchor (`agent.anchor`); that windows and gaps were cut out does not.

Place in the life of a record: screening → codec → cipher → **here** → tally, the person's page.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final, Self, TypeVar

from agent.book import Book
from agent.cipher import Cipher
from agent.codec import (
    Gone,
    Outgoing,
    decode_check_in,
    decode_gap,
    decode_outgoing,
    decode_single,
    decode_window,
    encode_check_in,
    encode_gap,
    encode_outgoing,
    encode_single,
    encode_window,
)
from agent.errors import DamagedRecord, KeyMismatch, StoreError
from agent.keys import Purpose, sub_key
from agent.records import CheckIn, GapRecord, OwnBaseline, WindowRecord
from agent.rows import Rows, Table
from agent.sealed import Sealed, named
from agent.shelf import Kind, Shelf
from sync.budget import Ledger
from sync.messages import new_pseudonym

Record = TypeVar("Record", WindowRecord, GapRecord, CheckIn)
OnDamage = Callable[[DamagedRecord], None]
RandomBytes = Callable[[int], bytes]

ANCHOR_FOLDER: Final = "anchor"
"""Where the ledger's anchor lies, beside the store, unless it is told otherwise."""

_CANARY: Final = b"sottovoce store 1"
_FIRST_DAY: Final = date(1970, 1, 1)
_NO_DAY: Final = 0
_SHIFT_BYTES: Final = 4


class Store:
    """One thread's connection to the encrypted store; a context manager.

    Several may be open at once, in threads and processes. `key` is the device's, 32 bytes;
    `anchor_folder` holds the ledger's anchor, best where no backup of the store reaches. `book` is
    the privacy ledger.

    Raises:
        KeyMismatch: the store was made with another key; nothing in it was changed.
        StoreError: it can't be opened, is damaged, or is of another version.
    """

    def __init__(self, path: Path, key: bytes, anchor_folder: Path | None = None) -> None:
        shift = sub_key(key, Purpose.VEIL)[:_SHIFT_BYTES]
        self._shift = int.from_bytes(shift, "big")
        self._rows = Rows(path)
        cipher = Cipher(sub_key(key, Purpose.STORE))
        self._sealed = Sealed(self._rows, cipher)
        self.shelf = Shelf(self._rows, cipher, sub_key(key, Purpose.SHELF))
        self.book = Book(self._sealed, key, anchor_folder or path.parent / ANCHOR_FOLDER)
        try:
            if self._rows.is_new:
                self._begin()
            self._know_the_key(path)
            self._rows.add_tables()
            self._rows.keep_log()
        except (StoreError, KeyMismatch):
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; what was added is on disk already."""
        self._rows.close()

    def _begin(self) -> None:
        with self._rows.transaction() as rows:
            if rows.lay_out():
                self._sealed.set_single("canary", _CANARY)
                self.book.begin()

    def _know_the_key(self, path: Path) -> None:
        try:
            if self._sealed.single("canary") is not None:
                return
        except DamagedRecord:
            raise KeyMismatch(
                f"The store '{path}' was made with another key; nothing in it was changed.",
                "Put the key that belongs to it back, or move the store away to start anew.",
            ) from None
        raise StoreError(
            f"The store '{path}' is damaged: it does not say which key opens it.",
            "Put it back from a backup, or move it away to start anew.",
        )

    def add_window(self, record: WindowRecord, baseline: OwnBaseline | None = None) -> None:
        """Keep a window, and the baseline that now includes it, in one transaction.

        The baseline by the measure before this one is kept beside it, for when an update is taken
        back.

        Raises:
            StoreError: it could not be kept; what was recorded before is safe.
        """
        with self._rows.transaction():
            self._sealed.add("windows", self._day(record.started_at), encode_window(record))
            if baseline is not None:
                self._keep_baseline(baseline)

    def _keep_baseline(self, baseline: OwnBaseline) -> None:
        former = self._sealed.single("baseline")
        if former is not None and decode_single(former)[0] != baseline.hearing:
            self._sealed.set_single("former baseline", former)
        kept = encode_single(baseline.hearing, baseline.content)
        self._sealed.set_single("baseline", kept)

    def add_gap(self, record: GapRecord) -> None:
        """Keep a gap; raises as `add_window`."""
        with self._rows.transaction():
            self._sealed.add("gaps", self._day(record.started_at), encode_gap(record))

    def add_check_in(self, record: CheckIn) -> None:
        """Keep the answers of a check-in; raises as `add_window`."""
        with self._rows.transaction():
            self._sealed.add("answers", self._day(record.started_at), encode_check_in(record))

    def check_ins(
        self, since: datetime, until: datetime, on_damage: OnDamage | None = None
    ) -> Iterator[CheckIn]:
        """The check-ins of [since, until), as they came; otherwise as `windows`."""
        return self._read("answers", decode_check_in, since, until, on_damage)

    def windows(
        self, since: datetime, until: datetime, on_damage: OnDamage | None = None
    ) -> Iterator[WindowRecord]:
        """The windows that started in [since, until), day by day, as they came.

        A record that can't be read goes to `on_damage`, and the others follow.

        Raises:
            DamagedRecord: one can't be read, and there is no `on_damage`.
            StoreError: the store can't be read.
        """
        return self._read("windows", decode_window, since, until, on_damage)

    def gaps(
        self, since: datetime, until: datetime, on_damage: OnDamage | None = None
    ) -> Iterator[GapRecord]:
        """The gaps that started in [since, until); otherwise as `windows`."""
        return self._read("gaps", decode_gap, since, until, on_damage)

    def days(self) -> list[date]:
        """The days (UTC) of which there is any window or gap, oldest first."""
        found = {*self._rows.days("windows"), *self._rows.days("gaps")}
        return [_FIRST_DAY + timedelta(days=day - self._shift) for day in sorted(found)]

    def stamp(self, day: date) -> tuple[int, int]:
        """Changes whenever a window or gap of this day (UTC) is added; the rest is kept apart.

        Raises:
            StoreError: the store can't be read.
        """
        number = (day - _FIRST_DAY).days + self._shift
        return self._rows.last("windows", number), self._rows.last("gaps", number)

    def baseline(self, hearing: str) -> bytes | None:
        """The person's baseline by this measure (`Bundle.hearing`); None when there is none yet.

        Raises:
            StoreError: it is damaged.
        """
        for name in ("baseline", "former baseline"):
            content = self._sealed.single(name)
            if content is not None:
                of_hearing, baseline = decode_single(content)
                if of_hearing == hearing:
                    return baseline
        return None

    def forget_before(self, moment: datetime) -> int:
        """Overwrite windows, gaps and answers of the days before this one; returns how many.

        What was sent, and the ledger, stay for good. (A flash disk may keep old copies of its
        own; they are ciphertext.)

        Raises:
            StoreError: the disk fails.
        """
        day = self._day(moment)
        with self._rows.transaction() as rows:
            gone = sum(rows.delete_before(table, day) for table in ("windows", "gaps", "answers"))
        if gone:
            self._rows.shrink()
        return gone

    def pseudonym(self, study: str, random_bytes: RandomBytes) -> str:
        """The person's pseudonym in a study; drawn when first asked for.

        Raises:
            StoreError: it can't be read or kept.
        """
        with self._rows.transaction() as rows:
            for row in rows.rows("pseudonyms"):
                of_study, pseudonym = decode_single(self._sealed.opened("pseudonyms", row))
                if of_study == study:
                    return pseudonym.decode("ascii")
            drawn = new_pseudonym(random_bytes)
            self._sealed.add("pseudonyms", _NO_DAY, encode_single(study, drawn.encode("ascii")))
            return drawn

    def ledger(self) -> Ledger:
        """What this device's releases have spent; raises as `Book.ledger`."""
        return self.book.ledger()

    def commit_release(self, sealed: bytes, charged: Ledger, made_at: datetime) -> None:
        """Keep a sealed report and its price (the last of `charged`) in one transaction.

        Raises as `Book.spending`.
        """
        with self.book.spending(charged) as rows:
            period = charged.spends[-1].subject
            outgoing = Outgoing(rows.next_number("outbox"), period, made_at, None, sealed)
            self._sealed.add("outbox", _NO_DAY, encode_outgoing(outgoing))

    def keep_part(
        self,
        round_id: str,
        part: bytes | None,
        made_at: datetime,
        *,
        sealed: Sequence[bytes] = (),
        charged: Ledger | None = None,
    ) -> None:
        """Replace what is kept of a round (None: forget it), with what it says and costs.

        All in one transaction. Raises as `Book.spending`.
        """
        spends = self._rows.transaction() if charged is None else self.book.spending(charged)
        with spends as rows:
            if part is None:
                self.shelf.drop(Kind.PART, round_id)
            else:
                self.shelf.put(Kind.PART, round_id, part)
            for message in sealed:
                number = rows.next_number("outbox")
                outgoing = Outgoing(number, "", made_at, None, message, round_id)
                self._sealed.add("outbox", _NO_DAY, encode_outgoing(outgoing))

    def outgoing(self, on_damage: OnDamage | None = None) -> list[Outgoing]:
        """Every message that was made, sent or waiting, oldest first; raises as `windows`."""
        made: list[Outgoing] = []
        for row in self._rows.rows("outbox"):
            try:
                made.append(decode_outgoing(self._sealed.opened("outbox", row), row[0]))
            except DamagedRecord as damage:
                _tell(on_damage, named("outbox", row, damage))
        return made

    def outbox(self, on_damage: OnDamage | None = None) -> list[Outgoing]:
        """The messages that wait, oldest first; raises as `windows`."""
        return [outgoing for outgoing in self.outgoing(on_damage) if outgoing.sent_at is None]

    def sent(self, on_damage: OnDamage | None = None) -> list[Outgoing]:
        """The messages that left, oldest first; raises as `windows`."""
        return [outgoing for outgoing in self.outgoing(on_damage) if outgoing.sent_at is not None]

    def mark_sent(self, number: int, sent_at: datetime, gone: Gone | None = None) -> None:
        """Note that the broker has a message; the first time stays.

        A report is kept as it left. Of a round's message only `gone` is kept from here on, where
        it is given: its bytes are overwritten in the same transaction.

        Raises:
            StoreError: there is no such message, or it can't be noted: it would be sent again.
        """
        with self._rows.transaction() as rows:
            row = rows.row("outbox", number)
            if row is None:
                raise StoreError(f"The store has no message {number}.", "Nothing was changed.")
            waiting = decode_outgoing(self._sealed.opened("outbox", row), number)
            if waiting.sent_at is None:
                kept = b"" if gone else waiting.sealed
                noted = replace(waiting, sent_at=sent_at, sealed=kept, gone=gone)
                self._sealed.replace("outbox", number, _NO_DAY, encode_outgoing(noted))

    def _day(self, moment: datetime) -> int:
        return (moment.astimezone(UTC).date() - _FIRST_DAY).days + self._shift

    def _read(
        self,
        table: Table,
        decode: Callable[[bytes], Record],
        since: datetime,
        until: datetime,
        on_damage: OnDamage | None,
    ) -> Iterator[Record]:
        kept = self._rows.span(table)
        end = self._day(until - timedelta(microseconds=1))  # `until` itself is left out
        first, last = max(self._day(since), kept.start), min(end, kept.stop - 1)
        for day in range(first, last + 1):
            for row in self._rows.rows(table, range(day, day + 1)):
                try:
                    record = decode(self._sealed.opened(table, row))
                except DamagedRecord as damage:
                    _tell(on_damage, named(table, row, damage))
                    continue
                if since <= record.started_at < until:
                    yield record


def _tell(on_damage: OnDamage | None, damage: DamagedRecord) -> None:
    if on_damage is None:
        raise damage
    on_damage(damage)
