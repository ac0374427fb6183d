"""This device's side of its study's rounds: what it hears is kept, and what it answers waits.

Rules it upholds: a frame is in the store before it is acknowledged, so a restart in the middle of
a round loses nothing; a weekly round gets the week's tally and nothing else, and only when the week
is over (`learner` speaks for the other rounds); whatever breaks the protocol changes nothing and is
told to the person.

Place in the life of a report: study → line → **here** → store's outbox → line → study.
"""

import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from agent.adopted import heed, lesson_of
from agent.errors import DamagedRecord
from agent.home import Home
from agent.learner import ByPurpose, own_sessions
from agent.membership import Membership
from agent.reporter import LONGEST_GAP, Study, periods_due
from agent.shelf import Kind as Kept
from agent.store import Store
from agent.tally import counts_of
from edge_models.errors import Explained
from edge_models.frame import Frame
from sync.budget import Ledger
from sync.errors import LedgerRefused, ProtocolError
from sync.federated.pupil import Pupil
from sync.identity import Acquaintances
from sync.inbox import Inbox
from sync.ledger_head import parse_notice
from sync.parcels import Kind, Parcel, parse_frame
from sync.participation import Enrolled, Participation
from sync.periods import period_end, period_start
from sync.policy import Purpose, policy_digest
from sync.secure_sum.terms import Terms
from sync.updates.asks import Look, parse_look

_COORDINATOR: Final = "coordinator"
_ALL: Final = "all"
_TROUBLE_LASTS: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Notes:
    """What `participation` keeps, in this device's store."""

    store: Store
    now: datetime

    def ledger(self) -> Ledger:
        """What has been spent; refuses where the ledger can't be trusted.

        Raises:
            LedgerRefused: the store is older than what was spent from it.
        """
        return self.store.book.check()

    def part(self, round_id: str) -> bytes | None:
        """What is kept of a round."""
        return self.store.shelf.get(Kept.PART, round_id)

    def parts(self) -> Iterable[tuple[str, bytes]]:
        """Everything that is kept of rounds."""
        return self.store.shelf.all(Kept.PART)

    def keep_part(
        self,
        round_id: str,
        part: bytes | None,
        *,
        sealed: Sequence[bytes] = (),
        charged: Ledger | None = None,
    ) -> None:
        """Replace it, with what it says and costs, in one transaction."""
        self.store.keep_part(round_id, part, self.now, sealed=sealed, charged=charged)


@dataclass(frozen=True, slots=True)
class Week:
    """What this person has to add to a weekly report; `finish_current`: also of a running week."""

    store: Store
    study: Study
    now: datetime
    finish_current: bool

    def is_willing(self, terms: Terms) -> bool:
        """Whether the week is over, has records, and was not reported."""
        return terms.purpose == Purpose.REPORT.value and terms.subject in periods_due(
            self.store, self.now, finish_current=self.finish_current
        )

    def numbers(self, terms: Terms) -> tuple[int, ...]:
        """The week as one-hot counts; a record that can't be read is missing from them."""
        start, end = period_start(terms.subject), period_end(terms.subject)
        damaged: list[DamagedRecord] = []
        return counts_of(
            self.store.windows(start, end, damaged.append),
            self.store.gaps(start - LONGEST_GAP, end, damaged.append),
            self.study.thresholds,
            start,
            end,
        ).cells


class Hearing:
    """Hears the study: `receive` is what a line calls, on its own thread.

    `on_kept` is told after something was kept that may have to be sent; `on_look` when the study
    says that there may be something new in its repository. Neither may wait.
    """

    def __init__(
        self,
        home: Home,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_kept: Callable[[], None],
        on_look: Callable[[Look], None] = lambda _: None,
        finish_current: bool = False,
    ) -> None:
        if home.membership is None:
            raise ProtocolError("Only a device that is enrolled takes part in rounds.")
        self._home = home
        self._enrolled = _enrolled(home, home.membership)
        self._clock = clock
        self._on_kept = on_kept
        self._on_look = on_look
        self._lock = threading.Lock()
        self._inbox = Inbox()
        self.finish_current = finish_current
        self._trouble: tuple[Explained, datetime] | None = None
        self._learns = home.settings.learning.take_part
        self._frame = _frame(home)
        damaged: list[DamagedRecord] = []  # a lost frame is one that never came
        with home.open_store() as store:
            self._acquaintances = Acquaintances(
                self._enrolled.study,
                self._enrolled.authority,
                store.shelf.get(Kept.MET, _ALL) or b"",
            )
            for _, frame in store.shelf.all(Kept.FRAME, damaged.append):
                self._inbox.receive(_COORDINATOR, frame, self._seconds())

    def adopt(self, home: Home) -> None:
        """From now on, answer by this home's policy and bundle.

        A round that was joined under another policy is left before anything is charged for it.
        """
        if home.membership is None:
            raise ProtocolError("Only a device that is enrolled takes part in rounds.")
        with self._lock:
            self._home = home
            self._enrolled = _enrolled(home, home.membership)
            self._frame = _frame(home)

    @property
    def trouble(self) -> Explained | None:
        """The newest thing that went wrong, for a day; None: nothing."""
        if self._trouble is None or self._clock() - self._trouble[1] > _TROUBLE_LASTS:
            return None
        return self._trouble[0]

    def receive(self, _topic: str, payload: bytes) -> None:
        """Take in a frame; kept, with all that follows from it, when this returns.

        Raises:
            StoreError: it can't be kept; leave it unacknowledged.
        """
        with self._lock, self._home.open_store() as store:
            try:
                heard = self._inbox.receive(_COORDINATOR, payload, self._seconds())
            except ProtocolError as fault:
                self._trouble = fault, self._clock()
                self._drop_given_up(store)  # its parcel may have gone as a whole
                return
            if heard.keep:
                store.shelf.put(Kept.FRAME, _frame_name(payload), payload)
            if heard.dropped:
                self._drop_given_up(store)
            if heard.parcel is None:
                return
            look = self._act(store, heard.parcel)
            self._inbox.finish(_COORDINATOR, heard.digest, self._seconds())
            self._drop_given_up(store)
        self._on_kept()
        if look is not None:
            self._on_look(look)

    def _act(self, store: Store, parcel: Parcel) -> Look | None:
        """Do what the parcel is about; a hint is for others, once nothing here is locked."""
        try:
            if parcel.kind is Kind.NOTICE:
                store.book.heed(
                    parse_notice(
                        parcel.content,
                        study=self._enrolled.study,
                        pseudonym=self._enrolled.identity.credential.name.hex(),
                        authority=self._enrolled.authority,
                        now=self._seconds(),
                    )
                )
                return None
            if parcel.kind is Kind.HEAD:
                heed(
                    store,
                    parcel.content,
                    enrolled=self._enrolled,
                    bundle=self._home.bundle,
                    learns=self._learns,
                    now=self._seconds(),
                )
                return None
            if parcel.kind is Kind.LOOK:
                return parse_look(parcel.content)
            before = self._acquaintances.to_bytes()
            self._participation(store).hear(parcel, self._seconds())
            after = self._acquaintances.to_bytes()
            if after != before:
                store.shelf.put(Kept.MET, _ALL, after)
        except (ProtocolError, LedgerRefused) as fault:
            self._trouble = fault, self._clock()
        return None

    def forget(self) -> None:
        """Drop what was kept of rounds that were over long ago.

        Raises:
            StoreError: the store can't be written.
        """
        with self._lock, self._home.open_store() as store:
            self._participation(store).forget(self._seconds())
            self._inbox.expire(self._seconds())
            self._drop_given_up(store)

    def _drop_given_up(self, store: Store) -> None:
        """Drop kept frames of parcels that are finished, or not waited for any more."""
        awaited = {digest.hex() for digest in self._inbox.unfinished(_COORDINATOR)}
        for name, _ in store.shelf.all(Kept.FRAME):
            if name.split("/")[0] not in awaited:
                store.shelf.drop(Kept.FRAME, name)

    def _participation(self, store: Store) -> Participation:
        now = self._clock()
        return Participation(
            self._enrolled,
            self._acquaintances,
            Notes(store, now),
            self._home.seal,
            ByPurpose(
                Week(store, self._home.study, now, self.finish_current),
                self._pupil(store, now),
            ),
            secrets.token_bytes,
            secrets.randbelow,
        )

    def _pupil(self, store: Store, now: datetime) -> Pupil | None:
        """This person's part in rounds of the head; None unless they have consented."""
        if self._frame is None:
            return None
        return Pupil(
            self._enrolled.policy,
            self._home.bundle.space,
            self._frame,
            lambda digest: lesson_of(store, digest),
            lambda: own_sessions(store, self._home.bundle, now),
        )

    def _seconds(self) -> int:
        return int(self._clock().timestamp())


def _enrolled(home: Home, membership: Membership) -> Enrolled:
    return Enrolled(
        membership.study,
        membership.identity,
        membership.authority,
        home.study.policy,
        policy_digest(home.bundle.policy),
    )


def _frame(home: Home) -> Frame | None:
    """Where heads are trained here; None unless the person has consented."""
    learns = home.settings.learning.take_part
    return home.bundle.frame.along(home.bundle.head) if learns else None


def _frame_name(payload: bytes) -> str:
    frame = parse_frame(payload)
    return f"{frame.digest.hex()}/{frame.index}"
