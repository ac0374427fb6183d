"""The reporter: paid, kept and only then sent; sent again unchanged; refused when used up."""

import random
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from agent.errors import StoreError
from agent.keys import Purpose, sub_key
from agent.reporter import (
    OLDEST,
    SETTLED,
    Prepared,
    Study,
    periods_due,
    prepare_reports,
    send_outbox,
)
from agent.store import Store
from agent.tally import counts_of
from sync.broker import embedded_broker
from sync.budget import Ledger
from sync.errors import BrokerError, BudgetExhausted, DoorError
from sync.messages import parse_report
from sync.noise import RandBelow
from sync.periods import period_end, period_of, period_start
from sync.release import Released, Seal, release_report
from sync.topics import all_reports
from sync.transport import Subscription, Transport
from tests.stored import KEY, LAST_MONDAY, NOW, POLICY, THRESHOLDS, Device, fill_week, scored

STUDY = Study("home", POLICY, "affect-1", THRESHOLDS)
SEAL = Seal(sub_key(KEY, Purpose.SEAL))
WEEK = timedelta(days=7)
LONG_S = 30.0  # a bound, never waited for


class FakeCarrier:
    """A broker that takes everything, or goes away after `takes` reports."""

    def __init__(self, takes: int = 1_000, before_failing: bool = False) -> None:
        self.arrived: list[tuple[str, bytes]] = []
        self._takes = takes
        self._before_failing = before_failing

    def publish(self, released: Released) -> None:
        if len(self.arrived) == self._takes:
            if self._before_failing:  # it arrived, but nobody told us
                self.arrived.append((released.topic, released.payload))
            raise BrokerError("The broker went away.", "It is tried again.")
        self.arrived.append((released.topic, released.payload))


def prepared(
    store: Store,
    now: datetime = NOW,
    randbelow: RandBelow = secrets.randbelow,
    *,
    current: bool = False,
) -> Prepared:
    return prepare_reports(
        store,
        STUDY,
        SEAL,
        now=now,
        randbelow=randbelow,
        random_bytes=secrets.token_bytes,
        finish_current=current,
    )


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


@pytest.fixture
def store(device: Device) -> Iterator[Store]:
    with device.store() as store:
        yield store


def weeks(store: Store, count: int) -> None:
    """One talkative minute in each of the last weeks before this one."""
    for week in range(count):
        for place in range(7):
            moment = LAST_MONDAY - week * WEEK + timedelta(hours=9, seconds=10 * place)
            store.add_window(scored(moment))


def test_a_finished_week_is_counted_paid_for_and_kept_but_not_sent(store: Store) -> None:
    fill_week(store, LAST_MONDAY)
    assert prepared(store).made == ("2026-W47",)
    (waiting,) = store.outbox()
    assert (waiting.period, waiting.made_at, waiting.sent_at) == ("2026-W47", NOW, None)
    report = parse_report(SEAL.reopen(waiting.sealed).payload)
    assert (report.period, report.study, report.bundle) == ("2026-W47", "home", "affect-1")
    assert report.policy == POLICY.reference
    assert report.pseudonym == store.pseudonym("home", secrets.token_bytes)
    assert store.ledger().spent_rho == POLICY.rho_per_report


def test_a_report_is_the_tally_of_its_week_plus_the_noise_and_nothing_else(store: Store) -> None:
    fill_week(store, LAST_MONDAY)
    fill_week(store, LAST_MONDAY - WEEK, days=1)
    fill_week(store, LAST_MONDAY + WEEK, days=1)
    prepared(store, randbelow=random.Random(5).randrange)
    earlier, waiting = store.outbox()
    noise = random.Random(5).randrange
    ledger = Ledger()
    for outgoing in (earlier, waiting):
        start, end = period_start(outgoing.period), period_end(outgoing.period)
        counts = counts_of(
            store.windows(start, end), store.gaps(start, end), THRESHOLDS, start, end
        )
        expected, _, ledger = release_report(
            counts,
            study="home",
            pseudonym=store.pseudonym("home", secrets.token_bytes),
            period=outgoing.period,
            bundle="affect-1",
            policy=POLICY,
            ledger=ledger,
            randbelow=noise,
        )
        assert SEAL.reopen(outgoing.sealed) == expected


def test_a_week_is_reported_once(store: Store, device: Device) -> None:
    fill_week(store, LAST_MONDAY)
    prepared(store)
    (first,) = store.outbox()
    assert prepared(store).made == ()
    store.add_window(scored(LAST_MONDAY + timedelta(hours=20)))  # a late record changes nothing
    with device.store() as restarted:
        assert prepared(restarted).made == ()
        assert restarted.outbox() == [first]


def test_the_running_week_waits_until_it_is_over_and_settled(store: Store) -> None:
    fill_week(store, LAST_MONDAY, days=2)
    end = LAST_MONDAY + WEEK
    assert periods_due(store, end - timedelta(seconds=1)) == []
    assert periods_due(store, end + SETTLED - timedelta(seconds=1)) == []
    assert periods_due(store, end + SETTLED) == ["2026-W47"]


def test_the_running_week_can_be_finished_early_and_then_only_once(store: Store) -> None:
    fill_week(store, LAST_MONDAY, days=2)
    midweek = LAST_MONDAY + timedelta(days=3)
    assert prepared(store, midweek, current=True).made == ("2026-W47",)
    store.add_window(scored(midweek))
    assert prepared(store, midweek, current=True).made == ()
    assert prepared(store, NOW).made == ()


def test_weeks_without_records_weeks_to_come_and_weeks_long_past_are_not_due(store: Store) -> None:
    for moment in (NOW - OLDEST - WEEK, NOW - 3 * WEEK, NOW - WEEK, NOW + 2 * WEEK):
        store.add_window(scored(moment))
    assert periods_due(store, NOW) == [period_of(NOW - 3 * WEEK), "2026-W47"]
    assert periods_due(store, NOW, finish_current=True) == periods_due(store, NOW)


def test_a_device_that_was_off_makes_one_report_for_each_week_in_order(store: Store) -> None:
    weeks(store, 3)
    assert prepared(store).made == ("2026-W45", "2026-W46", "2026-W47")
    assert [each.period for each in store.outbox()] == ["2026-W45", "2026-W46", "2026-W47"]


def test_a_used_up_budget_refuses_and_screening_goes_on(store: Store) -> None:
    start = LAST_MONDAY - 20 * WEEK
    outcomes = []
    for week in range(14):
        monday = start + week * WEEK
        store.add_window(scored(monday))
        outcomes.append(prepared(store, monday + WEEK + SETTLED))
    assert [len(outcome.made) for outcome in outcomes] == [1] * 12 + [0, 0]
    assert all(outcome.refused is None for outcome in outcomes[:12])
    assert isinstance(outcomes[-1].refused, BudgetExhausted)
    assert store.ledger().spent_rho == POLICY.rho_budget and len(store.outbox()) == 12
    store.add_window(scored(NOW))


def test_a_record_that_cannot_be_read_is_left_out_and_counted(device: Device) -> None:
    with device.store() as store:
        fill_week(store, LAST_MONDAY)
    with sqlite3.connect(device.path) as connection:
        connection.execute("UPDATE windows SET sealed = zeroblob(99) WHERE number IN (3, 4)")
    connection.close()
    with device.store() as store:
        outcome = prepared(store)
    assert outcome.made == ("2026-W47",) and outcome.damaged == 2


def meanwhile(device: Device, period: str) -> RandBelow:
    """Chance, during which another process of ours makes a report."""
    pending = [period]

    def randbelow(n: int) -> int:
        if pending:
            with device.store() as other:
                counts = counts_of([], [], THRESHOLDS, LAST_MONDAY, LAST_MONDAY + WEEK)
                released, _, charged = release_report(
                    counts,
                    study="home",
                    pseudonym="ab" * 16,
                    period=pending.pop(),
                    bundle="affect-1",
                    policy=POLICY,
                    ledger=other.ledger(),
                    randbelow=secrets.randbelow,
                )
                other.commit_release(SEAL.close(released), charged, NOW)
        return secrets.randbelow(n)

    return randbelow


def test_two_processes_never_report_one_week_twice(store: Store, device: Device) -> None:
    fill_week(store, LAST_MONDAY)
    outcome = prepared(store, randbelow=meanwhile(device, "2026-W47"))
    assert outcome.made == () and outcome.refused is None
    assert len(store.outbox()) == len(store.ledger().spends) == 1


def test_two_processes_never_spend_the_same_rest_of_the_budget(
    store: Store, device: Device
) -> None:
    fill_week(store, LAST_MONDAY)
    with pytest.raises(StoreError, match="meanwhile"):
        prepared(store, randbelow=meanwhile(device, "2026-W40"))
    assert [spend.subject for spend in store.ledger().spends] == ["2026-W40"]
    assert prepared(store).made == ("2026-W47",)


def test_what_is_sent_are_the_kept_bytes_in_order_and_then_nothing(store: Store) -> None:
    weeks(store, 3)
    prepared(store)
    kept = [SEAL.reopen(each.sealed) for each in store.outbox()]
    broker = FakeCarrier()
    outcome = send_outbox(store, broker, SEAL, NOW)
    assert broker.arrived == [(each.topic, each.payload) for each in kept]
    assert outcome.sent == ("2026-W45", "2026-W46", "2026-W47") and outcome.waiting == ()
    assert outcome.sent_bytes == sum(len(each.payload) for each in kept) and outcome.why is None
    assert [each.sent_at for each in store.sent()] == [NOW] * 3
    assert send_outbox(store, broker, SEAL, NOW).sent == () and len(broker.arrived) == 3


def test_what_the_broker_did_not_take_waits_with_the_reason(store: Store) -> None:
    weeks(store, 3)
    prepared(store)
    outcome = send_outbox(store, FakeCarrier(takes=1), SEAL, NOW)
    assert outcome.sent == ("2026-W45",) and outcome.waiting == ("2026-W46", "2026-W47")
    assert isinstance(outcome.why, BrokerError)
    assert [each.period for each in store.outbox()] == ["2026-W46", "2026-W47"]


def test_a_retry_after_a_lost_acknowledgement_and_a_restart_sends_the_same_bytes(
    device: Device,
) -> None:
    with device.store() as store:
        fill_week(store, LAST_MONDAY)
        prepared(store)
        broker = FakeCarrier(takes=0, before_failing=True)
        assert send_outbox(store, broker, SEAL, NOW).sent == ()
    with device.store() as restarted:
        again = FakeCarrier()
        assert prepared(restarted).made == ()
        assert send_outbox(restarted, again, Seal(sub_key(KEY, Purpose.SEAL)), NOW).why is None
    assert again.arrived == broker.arrived and len(again.arrived) == 1


def test_a_report_that_was_sent_but_could_not_be_noted_goes_out_again_unchanged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_week(store, LAST_MONDAY)
    prepared(store)
    broker = FakeCarrier()
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise StoreError("The disk is full.", "Make room.")

        patch.setattr(Store, "mark_sent", full)
        outcome = send_outbox(store, broker, SEAL, NOW)
    assert outcome.waiting == ("2026-W47",) and isinstance(outcome.why, StoreError)
    assert send_outbox(store, broker, SEAL, NOW).sent == ("2026-W47",)
    assert broker.arrived[0] == broker.arrived[1]


def test_an_altered_report_stays_and_does_not_hold_up_the_others(store: Store) -> None:
    weeks(store, 2)
    prepared(store)
    other = Seal(bytes(32))
    broker = FakeCarrier()
    outcome = send_outbox(store, broker, other, NOW)
    assert broker.arrived == [] and isinstance(outcome.why, DoorError)
    assert outcome.waiting == ("2026-W46", "2026-W47")
    assert send_outbox(store, broker, SEAL, NOW).sent == ("2026-W46", "2026-W47")


def test_a_damaged_row_of_the_outbox_does_not_hold_up_the_others(device: Device) -> None:
    with device.store() as store:
        weeks(store, 2)
        prepared(store)
    with sqlite3.connect(device.path) as connection:
        connection.execute("UPDATE outbox SET sealed = zeroblob(99) WHERE number = 1")
    connection.close()
    with device.store() as store:
        outcome = send_outbox(store, FakeCarrier(), SEAL, NOW)
    assert outcome.sent == ("2026-W47",)
    assert outcome.why is not None and "report 1" in outcome.why.cause


def test_an_absent_broker_is_named_and_a_real_one_gets_the_report(
    store: Store, tmp_path: Path
) -> None:
    fill_week(store, LAST_MONDAY)
    prepared(store)
    (waiting,) = store.outbox()
    kept = SEAL.reopen(waiting.sealed)
    arrived: list[tuple[str, bytes]] = []
    there = threading.Event()

    def take(topic: str, payload: bytes) -> None:
        arrived.append((topic, payload))
        there.set()

    with embedded_broker(tmp_path / "broker") as broker:
        host, port = broker.host, broker.port
        with (
            Subscription(host, port, "coordinator", all_reports("home"), take),
            Transport(host, port, "device") as transport,
        ):
            assert send_outbox(store, transport, SEAL, NOW).sent == ("2026-W47",)
            assert there.wait(LONG_S)
    assert arrived == [(kept.topic, kept.payload)]
    store.add_window(scored(NOW))
    prepared(store, current=True)
    with Transport(host, port, "device") as transport:
        outcome = send_outbox(store, transport, SEAL, NOW)
    assert outcome.waiting == ("2026-W48",) and isinstance(outcome.why, BrokerError)
    assert outcome.why.remedy
