"""Makes the week's report when a week is over, and sends what waits.

Rules it upholds: a report is charged, sealed and committed before anything is sent; a retry sends
the same bytes; when the budget is used up, or the ledger is not the newest, it says so and
screening goes on; what the broker did
not take stays, in order.

Place in the life of a report: tally → `release` → **store's outbox** → `transport`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from agent.errors import DamagedRecord, StoreError
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
    """`sent`: the periods whose reports left now, `sent_bytes` in all; `waiting`: those that wait.

    `why` is what keeps them, None when nothing waits.
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

    A report that can't be opened, or was altered, is passed over and stays.

    Raises:
        StoreError: the outbox can't be read.
    """
    kept: list[Explained] = []
    sent: list[str] = []
    sent_bytes = 0
    waiting = store.outbox(kept.append)
    try:
        store.book.check()
    except LedgerRefused as refusal:
        return Sending((), 0, tuple(outgoing.period for outgoing in waiting), refusal)
    held: list[str] = []
    for place, outgoing in enumerate(waiting):
        try:
            released = seal.reopen(outgoing.sealed)
            carrier.publish(released)
            sent_bytes += len(released.payload)
            store.mark_sent(outgoing.number, now)
        except DoorError as fault:
            kept.append(fault)
            held.append(outgoing.period)
            continue
        except (BrokerError, StoreError) as fault:  # StoreError: sent, not noted; goes out again
            held.extend(later.period for later in waiting[place:])
            return Sending(tuple(sent), sent_bytes, tuple(held), fault)
        sent.append(outgoing.period)
    return Sending(tuple(sent), sent_bytes, tuple(held), kept[0] if kept else None)
