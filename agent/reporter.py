"""Makes the week's report when a week is over, and sends what waits.

Rules it upholds: a report is charged, sealed and committed before anything is sent; a retry sends
the same bytes; when the budget is used up, or the ledger is not the newest, it says so and
screening goes on; what the broker did
not take stays, in order.

Place in the life of a report: tally → `release` → **store's outbox** → `transport`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from agent.codec import Gone, Outgoing
from agent.errors import DamagedRecord, StoreError
from agent.parts import gone_of
from agent.shelf import Kind
from agent.store import Store
from agent.tally import counts_of
from edge_models.errors import Explained
from edge_models.manifest import Thresholds
from sync.errors import BrokerError, BudgetExhausted, DoorError, LedgerRefused, PeriodSpent
from sync.noise import RandBelow
from sync.periods import period_end, period_of, period_start
from sync.policy import Policy
from sync.release import Released, Seal, release_report

SETTLED: Final = timedelta(minutes=10)
"""How long after its end a week may still get its last records."""

OLDEST: Final = timedelta(days=35)
"""A week that began longer ago is not reported: the clock was wrong, or nobody waits for it."""


LONGEST_GAP: Final = timedelta(days=1)
"""A gap that began so long before the week may reach into it; devices tell them piece by piece."""


class Carrier(Protocol):
    """What sends: `sync.transport.Transport`."""

    def publish(self, released: Released) -> None:
        """Return when the broker has it; BrokerError otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class Study:
    """Whom reports go to, and what they say of themselves."""

    name: str
    policy: Policy
    bundle: str
    thresholds: Thresholds


@dataclass(frozen=True, slots=True)
class Prepared:
    """`made`: the periods whose reports now wait; `refused`: why there are no more.

    `damaged` counts records that could not be read and so are missing from the counts.
    """

    made: tuple[str, ...]
    refused: BudgetExhausted | None
    damaged: int


@dataclass(frozen=True, slots=True)
class Sending:
    """`sent`: the periods whose reports left now; `waiting`: those whose reports wait.

    `sent_bytes` left in all, messages of rounds included; `why` is what keeps the rest, None when
    nothing waits.
    """

    sent: tuple[str, ...]
    sent_bytes: int
    waiting: tuple[str, ...]
    why: Explained | None


def periods_due(store: Store, now: datetime, *, finish_current: bool = False) -> list[str]:
    """Finished periods with records that no report was made for, oldest first.

    `finish_current` counts the running one as finished (its later records are never reported).

    Raises:
        StoreError: the store or its ledger can't be read.
    """
    spent = store.ledger().periods
    known = {period_of(datetime(day.year, day.month, day.day, tzinfo=UTC)) for day in store.days()}
    return sorted(
        period
        for period in known - spent
        if now - OLDEST <= period_start(period) <= now
        and (finish_current or period_end(period) + SETTLED <= now)
    )


def prepare_reports(
    store: Store,
    study: Study,
    seal: Seal,
    *,
    now: datetime,
    randbelow: RandBelow,
    random_bytes: Callable[[int], bytes],
    finish_current: bool = False,
) -> Prepared:
    """Make, charge and keep the report of each period that is due; none is sent here.

    Pass `secrets.randbelow` and `secrets.token_bytes`.

    Raises:
        StoreError: the store can't be read or written; the report at hand was thrown away.
    """
    made: list[str] = []
    damaged: list[DamagedRecord] = []
    try:
        store.book.check()
    except LedgerRefused as refusal:
        return Prepared((), refusal, 0)
    for period in periods_due(store, now, finish_current=finish_current):
        start, end = period_start(period), period_end(period)
        counts = counts_of(
            store.windows(start, end, damaged.append),
            store.gaps(start - LONGEST_GAP, end, damaged.append),
            study.thresholds,
            start,
            end,
        )
        try:
            released, _, charged = release_report(
                counts,
                study=study.name,
                pseudonym=store.pseudonym(study.name, random_bytes),
                period=period,
                bundle=study.bundle,
                policy=study.policy,
                ledger=store.ledger(),
                randbelow=randbelow,
            )
            store.commit_release(seal.close(released), charged, now)
        except PeriodSpent:
            continue  # another process of ours was first
        except BudgetExhausted as refusal:
            return Prepared(tuple(made), refusal, len(damaged))
        made.append(period)
    return Prepared(tuple(made), None, len(damaged))


def send_outbox(store: Store, carrier: Carrier, seal: Seal, now: datetime) -> Sending:
    """Send what waits, oldest first, until the broker stops taking it.

    A message that can't be opened, or was altered, is passed over and stays. Of a round's message
    what it was is kept, no longer its bytes.

    Raises:
        StoreError: the outbox can't be read.
    """
    kept: list[Explained] = []
    sent: list[Outgoing] = []
    sent_bytes = 0
    waiting = store.outbox(kept.append)
    try:
        store.book.check()
    except LedgerRefused as refusal:
        return Sending((), 0, _periods(waiting), refusal)
    held: list[Outgoing] = []
    for place, outgoing in enumerate(waiting):
        try:
            released = seal.reopen(outgoing.sealed)
            carrier.publish(released)
            sent_bytes += len(released.payload)
            store.mark_sent(outgoing.number, now, _gone(store, outgoing, released))
        except DoorError as fault:
            kept.append(fault)
            held.append(outgoing)
            continue
        except (BrokerError, StoreError) as fault:  # StoreError: sent, not noted; goes out again
            held.extend(waiting[place:])
            return Sending(_periods(sent), sent_bytes, _periods(held), fault)
        sent.append(outgoing)
    return Sending(_periods(sent), sent_bytes, _periods(held), kept[0] if kept else None)


def _gone(store: Store, outgoing: Outgoing, released: Released) -> Gone | None:
    """What is kept of a message once it has left: of a report all, of a round's what it was."""
    if not outgoing.round:
        return None
    try:
        return gone_of(released, store.shelf.get(Kind.PART, outgoing.round))
    except DamagedRecord:
        return gone_of(released, None)


def _periods(outgoing: Iterable[Outgoing]) -> tuple[str, ...]:
    """Those of reports; a message of a round has none."""
    return tuple(each.period for each in outgoing if each.period)
