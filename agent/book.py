"""The privacy ledger as the device keeps it: chained in the store, anchored outside it.

Rules it upholds: a spend, and all that it pays for, are one transaction; the anchor moves after
it and before anything is sent; a ledger that is older than its anchor, contradicts it, lacks what
the study has seen, or was altered, pays for nothing more. It reads a ledger of an older version,
which had no chain, and anchors it from then on.

Place in the life of a release: charged by `sync.budget` → **kept here** → sent.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent.anchor import Anchor, Mark, anchor_is_gone, must_reach
from agent.codec import decode_single, decode_spend, encode_single, encode_spend
from agent.errors import StoreError
from agent.keys import Purpose, sub_key
from agent.rows import Rows
from agent.sealed import Sealed
from sync.budget import Ledger, already_paid
from sync.errors import LedgerRefused
from sync.ledger_head import LedgerHead, LedgerNotice, head_of, heed

_NO_DAY: Final = 0
_COUNT: Final = "spends"
_ANCHORED: Final = "anchored"
_HALTED: Final = "halted"


class Book:
    """The ledger in a connection's rows; `key` is the device's, `anchor_folder` the anchor's."""

    def __init__(self, sealed: Sealed, key: bytes, anchor_folder: Path) -> None:
        self._sealed = sealed
        self._start = sub_key(key, Purpose.LEDGER)
        self._anchor_folder = anchor_folder
        self._anchor = Anchor(anchor_folder, sub_key(key, Purpose.ANCHOR))

    def begin(self) -> None:
        """Lay out an empty ledger, in the transaction that makes the store."""
        self._sealed.set_single(_COUNT, _count(0))

    def ledger(self) -> Ledger:
        """What this device's releases have spent, in all studies together.

        Whether that is all that was ever spent, `check` says.

        Raises:
            StoreError: a spend is missing or can't be read; then nothing more may be released.
            PeriodSpent: a subject is in it twice.
        """
        rows = self._sealed.rows.rows("spends")
        kept = [decode_spend(self._sealed.opened("spends", row)) for row in rows]
        ledger = Ledger.of(spend for spend, _ in kept)
        chain = ledger.chain(self._start)[1:]
        fits = all(digest in (None, link) for (_, digest), link in zip(kept, chain, strict=True))
        if not fits or self._sealed.single(_COUNT) != _count(len(kept)):
            raise StoreError(
                "The privacy ledger is not whole: it was altered from outside.",
                "No report is made from it. Put the store back from a backup.",
            )
        return ledger

    def check(self) -> Ledger:
        """The ledger, if it is all that this device has spent; its anchor then stands at its end.

        Nothing is released, and nothing that waits is sent, before this has returned.

        Raises:
            LedgerRefused: it is older than the anchor or the study know, or was altered.
            StoreError: the ledger or its anchor can't be read or written.
        """
        with self._sealed.rows.transaction():
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

    def head(self, study: str, pseudonym: str) -> LedgerHead:
        """What is said of the ledger to a study; raises as `ledger`."""
        return head_of(self.ledger(), self._start, study=study, pseudonym=pseudonym)

    def heed(self, notice: LedgerNotice) -> None:
        """Compare the ledger with what a study has seen of it; for good, if they don't fit.

        Raises:
            LedgerRefused: the study has seen what this ledger does not hold; so it stays.
            StoreError: the ledger can't be read, or the refusal not be kept.
        """
        with self._sealed.rows.transaction():
            try:
                heed(notice, self.ledger(), self._start)
                return
            except LedgerRefused as refused:
                refusal = refused
                content = encode_single(refused.cause, refused.remedy.encode())
                self._sealed.set_single(_HALTED, content)
        raise refusal

    @contextmanager
    def spending(self, charged: Ledger) -> Iterator[Rows]:
        """Keep a price (the last of `charged`) and all that the body keeps, in one transaction.

        `charged` must be the stored ledger and one more spend, so that two processes can't both
        spend what is left. When the context has ended the anchor has moved, too, and what was
        paid for may be sent; if it raises, nothing is sent before `check` has returned.

        Raises:
            PeriodSpent: the subject was paid for meanwhile; nothing was kept.
            LedgerRefused: as `check`; nothing was kept.
            StoreError: another release was made meanwhile, or it could not be kept; throw it away.
        """
        *before, spend = charged.spends
        with self._sealed.rows.transaction() as rows:
            ledger = self._checked()
            if spend.subject in ledger.subjects(spend.purpose):
                raise already_paid(spend)
            if ledger.spends != tuple(before):
                raise StoreError(
                    "Another program made a release meanwhile.",
                    "Nothing was spent for this one; it is made anew next time.",
                )
            self._sealed.set_single(_COUNT, _count(len(charged.spends)))
            digest = charged.chain(self._start)[-1]
            self._sealed.add("spends", _NO_DAY, encode_spend(spend, digest))
            yield rows
        self.check()

    def _checked(self) -> Ledger:
        """`check`, inside a transaction that has spent nothing yet."""
        mark, ledger = self._anchor.read(), self.ledger()
        self._judge(mark, ledger)
        count = len(ledger.spends)
        if mark is None or mark.count < count:
            self._anchor.move(Mark(count, ledger.chain(self._start)[-1]))
        if self._sealed.single(_ANCHORED) is None:
            self._sealed.set_single(_ANCHORED, b"")
        return ledger

    def _judge(self, mark: Mark | None, ledger: Ledger) -> None:
        halted = self._sealed.single(_HALTED)
        if halted is not None:
            cause, remedy = decode_single(halted)
            raise LedgerRefused(cause, remedy.decode("utf-8", "replace"))
        if mark is not None:
            must_reach(mark, ledger.chain(self._start))
        elif self._sealed.single(_ANCHORED) is not None:
            raise anchor_is_gone(self._anchor_folder)


def _count(spends: int) -> bytes:
    return str(spends).encode()
