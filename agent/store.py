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
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final, Self, TypeVar

from agent.anchor import Anchor, Mark, anchor_is_gone, must_reach
from agent.cipher import Cipher
from agent.codec import (
    Outgoing,
    decode_gap,
    decode_outgoing,
    decode_single,
    decode_spend,
    decode_window,
    encode_gap,
    encode_outgoing,
    encode_single,
    encode_spend,
    encode_window,
)
from agent.errors import DamagedRecord, KeyMismatch, StoreError
from agent.keys import Purpose, sub_key
from agent.records import GapRecord, WindowRecord
from agent.rows import Row, Rows, Table
from agent.shelf import Kind, Shelf
from sync.budget import Ledger, already_paid
from sync.errors import LedgerRefused
from sync.ledger_head import LedgerHead, LedgerNotice, head_of, heed
from sync.messages import new_pseudonym

Record = TypeVar("Record", WindowRecord, GapRecord)
OnDamage = Callable[[DamagedRecord], None]
RandomBytes = Callable[[int], bytes]

ROUND_LABEL: Final = "round/"
"""In the outbox, in the place of a report's period: what a round's messages are labelled with."""
_CANARY: Final = b"sottovoce store 1"
ANCHOR_FOLDER: Final = "anchor"
"""Where the ledger's anchor lies, beside the store, unless it is told otherwise."""
_FIRST_DAY: Final = date(1970, 1, 1)
_NO_DAY: Final = 0
_SHIFT_BYTES: Final = 4
_NAMES: Final[dict[Table, str]] = {
    "windows": "window",
    "gaps": "gap",
    "spends": "spend of the privacy budget",
    "outbox": "report",
    "pseudonyms": "pseudonym",
}


class Store:
    """One thread's connection to the encrypted store; a context manager.

    Several may be open at once, in threads and processes. `key` is the device's, 32 bytes;
    `anchor_folder` holds the ledger's anchor, best where no backup of the store reaches.

    Raises:
        KeyMismatch: the store was made with another key; nothing in it was changed.
        StoreError: it can't be opened, is damaged, or is of another version.
    """

    def __init__(self, path: Path, key: bytes, anchor_folder: Path | None = None) -> None:
        self._cipher = Cipher(sub_key(key, Purpose.STORE))
        self._chain_start = sub_key(key, Purpose.LEDGER)
        self._anchor_folder = anchor_folder or path.parent / ANCHOR_FOLDER
        self._anchor = Anchor(self._anchor_folder, sub_key(key, Purpose.ANCHOR))
        shift = sub_key(key, Purpose.VEIL)[:_SHIFT_BYTES]
        self._shift = int.from_bytes(shift, "big")
        self._rows = Rows(path)
        self.shelf = Shelf(self._rows, self._cipher, sub_key(key, Purpose.SHELF))
        try:
            if self._rows.is_new:
                self._begin()
            self._know_the_key(path)
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
                self._set_single("canary", _CANARY)
                self._set_single("spends", _count(0))

    def _know_the_key(self, path: Path) -> None:
        sealed = self._rows.single("canary")
        if sealed is None:
            raise StoreError(
                f"The store '{path}' is damaged: it does not say which key opens it.",
                "Put it back from a backup, or move it away to start anew.",
            )
        try:
            self._cipher.open(sealed, _single_place("canary"))
        except DamagedRecord:
            raise KeyMismatch(
                f"The store '{path}' was made with another key; nothing in it was changed.",
                "Put the key that belongs to it back, or move the store away to start anew.",
            ) from None

    def add_window(self, record: WindowRecord, baseline: bytes | None = None) -> None:
        """Keep a window, and the baseline that now includes it, in one transaction.

        Raises:
            StoreError: it could not be kept; what was recorded before is safe.
        """
        with self._rows.transaction():
            self._add("windows", self._day(record.started_at), encode_window(record))
            if baseline is not None:
                self._set_single("baseline", encode_single(record.bundle, baseline))

    def add_gap(self, record: GapRecord) -> None:
        """Keep a gap; raises as `add_window`."""
        with self._rows.transaction():
            self._add("gaps", self._day(record.started_at), encode_gap(record))

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

    def baseline(self, bundle: str) -> bytes | None:
        """The person's baseline under this bundle; None when there is none yet.

        Raises:
            StoreError: it is damaged.
        """
        content = self._single("baseline")
        if content is None:
            return None
        of_bundle, baseline = decode_single(content)
        return baseline if of_bundle == bundle else None

    def forget_before(self, moment: datetime) -> int:
        """Overwrite the windows and gaps of the days before this one; returns how many.

        What was sent, and the ledger, stay for good. (A flash disk may keep old copies of its
        own; they are ciphertext.)

        Raises:
            StoreError: the disk fails.
        """
        day = self._day(moment)
        with self._rows.transaction() as rows:
            gone = rows.delete_before("windows", day) + rows.delete_before("gaps", day)
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
                of_study, pseudonym = decode_single(self._opened("pseudonyms", row))
                if of_study == study:
                    return pseudonym.decode("ascii")
            drawn = new_pseudonym(random_bytes)
            self._add("pseudonyms", _NO_DAY, encode_single(study, drawn.encode("ascii")))
            return drawn

    def ledger(self) -> Ledger:
        """What this device's releases have spent, in all studies together.

        Whether that is all that was ever spent, `check_ledger` says.

        Raises:
            StoreError: a spend is missing or can't be read; then nothing more may be released.
            PeriodSpent: a subject is in it twice.
        """
        kept = [decode_spend(self._opened("spends", row)) for row in self._rows.rows("spends")]
        ledger = Ledger.of(spend for spend, _ in kept)
        chain = ledger.chain(self._chain_start)[1:]
        fits = all(digest in (None, link) for (_, digest), link in zip(kept, chain, strict=True))
        if not fits or self._single("spends") != _count(len(kept)):
            raise StoreError(
                "The privacy ledger is not whole: it was altered from outside.",
                "No report is made from it. Put the store back from a backup.",
            )
        return ledger

    def check_ledger(self) -> Ledger:
        """The ledger, if it is all that this device has spent; its anchor then stands at its end.

        Nothing is released, and nothing that waits is sent, before this has returned.

        Raises:
            LedgerRefused: it is older than the anchor or the study know, or was altered.
            StoreError: the ledger or its anchor can't be read or written.
        """
        with self._rows.transaction():
            return self._checked()

    def refusal(self) -> LedgerRefused | None:
        """Why nothing is released from this ledger, None where nothing speaks against it.

        Raises:
            StoreError: the ledger or its anchor can't be read.
        """
        try:
            mark = self._anchor.read()  # first: the store is never behind it
            self._judge(mark, self.ledger())
        except LedgerRefused as refused:
            return refused
        return None

    def ledger_head(self, study: str, pseudonym: str) -> LedgerHead:
        """What is said of the ledger to a study; raises as `ledger`."""
        return head_of(self.ledger(), self._chain_start, study=study, pseudonym=pseudonym)

    def heed(self, notice: LedgerNotice) -> None:
        """Compare the ledger with what a study has seen of it; for good, if they don't fit.

        Raises:
            LedgerRefused: the study has seen what this ledger does not hold; so it stays.
            StoreError: the ledger can't be read, or the refusal not be kept.
        """
        with self._rows.transaction():
            try:
                heed(notice, self.ledger(), self._chain_start)
                return
            except LedgerRefused as refused:
                refusal = refused
                self._set_single("halted", encode_single(refused.cause, refused.remedy.encode()))
        raise refusal

    def _judge(self, mark: Mark | None, ledger: Ledger) -> None:
        halted = self._single("halted")
        if halted is not None:
            cause, remedy = decode_single(halted)
            raise LedgerRefused(cause, remedy.decode("utf-8", "replace"))
        if mark is not None:
            must_reach(mark, ledger.chain(self._chain_start))
        elif self._single("anchored") is not None:
            raise anchor_is_gone(self._anchor_folder)

    def _checked(self) -> Ledger:
        """`check_ledger`, inside a transaction that has spent nothing yet."""
        mark, ledger = self._anchor.read(), self.ledger()
        self._judge(mark, ledger)
        count = len(ledger.spends)
        if mark is None or mark.count < count:
            self._anchor.move(Mark(count, ledger.chain(self._chain_start)[-1]))
        if self._single("anchored") is None:
            self._set_single("anchored", b"")
        return ledger

    @contextmanager
    def spending(self, charged: Ledger) -> Iterator[Rows]:
        """Keep a price (the last of `charged`) and all that the body keeps, in one transaction.

        `charged` must be the stored ledger and one more spend, so that two processes can't both
        spend what is left. When the context has ended the anchor has moved, too, and what was
        paid for may be sent; if it raises, nothing is sent before `check_ledger` has returned.

        Raises:
            PeriodSpent: the subject was paid for meanwhile; nothing was kept.
            LedgerRefused: as `check_ledger`; nothing was kept.
            StoreError: another release was made meanwhile, or it could not be kept; throw it away.
        """
        *before, spend = charged.spends
        with self._rows.transaction() as rows:
            ledger = self._checked()
            if spend.subject in ledger.subjects(spend.purpose):
                raise already_paid(spend)
            if ledger.spends != tuple(before):
                raise StoreError(
                    "Another program made a report meanwhile.",
                    "Nothing was spent for this one; it is made anew next time.",
                )
            self._set_single("spends", _count(len(charged.spends)))
            digest = charged.chain(self._chain_start)[-1]
            self._add("spends", _NO_DAY, encode_spend(spend, digest))
            yield rows
        self.check_ledger()

    def commit_release(self, sealed: bytes, charged: Ledger, made_at: datetime) -> None:
        """Keep a sealed report and its price (the last of `charged`) in one transaction.

        Raises as `spending`.
        """
        with self.spending(charged) as rows:
            period = charged.spends[-1].subject
            outgoing = Outgoing(rows.next_number("outbox"), period, made_at, None, sealed)
            self._add("outbox", _NO_DAY, encode_outgoing(outgoing))

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

        All in one transaction. Raises as `spending`.
        """
        spends = self._rows.transaction() if charged is None else self.spending(charged)
        with spends as rows:
            if part is None:
                self.shelf.drop(Kind.PART, round_id)
            else:
                self.shelf.put(Kind.PART, round_id, part)
            for message in sealed:
                number = rows.next_number("outbox")
                outgoing = Outgoing(number, ROUND_LABEL + round_id, made_at, None, message)
                self._add("outbox", _NO_DAY, encode_outgoing(outgoing))

    def outgoing(self, on_damage: OnDamage | None = None) -> list[Outgoing]:
        """Every report that was made, sent or waiting, oldest first; raises as `windows`."""
        made: list[Outgoing] = []
        for row in self._rows.rows("outbox"):
            try:
                made.append(decode_outgoing(self._opened("outbox", row), row[0]))
            except DamagedRecord as damage:
                _tell(on_damage, _named("outbox", row, damage))
        return made

    def outbox(self, on_damage: OnDamage | None = None) -> list[Outgoing]:
        """The reports that wait, oldest first; raises as `windows`."""
        return [outgoing for outgoing in self.outgoing(on_damage) if outgoing.sent_at is None]

    def sent(self, on_damage: OnDamage | None = None) -> list[Outgoing]:
        """The reports that left, oldest first; raises as `windows`."""
        return [outgoing for outgoing in self.outgoing(on_damage) if outgoing.sent_at is not None]

    def mark_sent(self, number: int, sent_at: datetime) -> None:
        """Note that the broker has a report; the first time stays.

        Raises:
            StoreError: there is no such report, or it can't be noted: it would be sent again.
        """
        with self._rows.transaction() as rows:
            row = rows.row("outbox", number)
            if row is None:
                raise StoreError(f"The store has no report {number}.", "Nothing was changed.")
            waiting = decode_outgoing(self._opened("outbox", row), number)
            if waiting.sent_at is None:
                gone = Outgoing(number, waiting.period, waiting.made_at, sent_at, waiting.sealed)
                place = _place("outbox", number, _NO_DAY)
                sealed = self._cipher.close(encode_outgoing(gone), place)
                rows.replace("outbox", (number, _NO_DAY, sealed))

    def _day(self, moment: datetime) -> int:
        return (moment.astimezone(UTC).date() - _FIRST_DAY).days + self._shift

    def _add(self, table: Table, day: int, content: bytes) -> None:
        number = self._rows.next_number(table)
        sealed = self._cipher.close(content, _place(table, number, day))
        self._rows.insert(table, (number, day, sealed))

    def _opened(self, table: Table, row: Row) -> bytes:
        number, day, sealed = row
        try:
            return self._cipher.open(sealed, _place(table, number, day))
        except DamagedRecord as damage:
            raise _named(table, row, damage) from None

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
                    record = decode(self._opened(table, row))
                except DamagedRecord as damage:
                    _tell(on_damage, _named(table, row, damage))
                    continue
                if since <= record.started_at < until:
                    yield record

    def _single(self, name: str) -> bytes | None:
        sealed = self._rows.single(name)
        return None if sealed is None else self._cipher.open(sealed, _single_place(name))

    def _set_single(self, name: str, content: bytes) -> None:
        self._rows.set_single(name, self._cipher.close(content, _single_place(name)))


def _place(table: Table, number: int, day: int) -> bytes:
    return f"row/{table}/{number}/{day}".encode()


def _single_place(name: str) -> bytes:
    return f"single/{name}".encode()


def _count(spends: int) -> bytes:
    return str(spends).encode()


def _named(table: Table, row: Row, damage: DamagedRecord) -> DamagedRecord:
    return DamagedRecord(f"The stored {_NAMES[table]} {row[0]} can't be read.", damage.remedy)


def _tell(on_damage: OnDamage | None, damage: DamagedRecord) -> None:
    if on_damage is None:
        raise damage
    on_damage(damage)
