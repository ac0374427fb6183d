"""A report from the encrypted store to a real broker and out again, with things going wrong."""

import queue
import secrets
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agent.reporter import Prepared, Sending, prepare_reports, send_outbox
from agent.store import Store
from sync.broker import Broker, embedded_broker
from sync.errors import BrokerError, BudgetExhausted
from sync.messages import CELLS, parse_report
from sync.topics import all_reports, parse_report_topic
from sync.transport import Subscription, Transport
from tests.participant import SEAL, STUDY
from tests.stored import LAST_MONDAY, NOW, Device, fill_week

Arrived = queue.Queue[tuple[str, bytes]]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with embedded_broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def arrived(broker: Broker) -> Iterator[Arrived]:
    """What a coordinator of the study receives."""
    found: Arrived = queue.Queue()
    name = f"coordinator-{secrets.token_hex(4)}"
    with Subscription(
        broker.host,
        broker.port,
        name,
        all_reports(STUDY.name),
        lambda topic, payload: found.put((topic, payload)),
    ):
        yield found


def prepared(store: Store, weeks_later: int = 0) -> Prepared:
    now = NOW + timedelta(weeks=weeks_later)
    return prepare_reports(
        store,
        STUDY,
        SEAL,
        now=now,
        randbelow=secrets.randbelow,
        random_bytes=secrets.token_bytes,
    )


def sending(store: Store, host: str, port: int) -> Sending:
    with Transport(host, port, f"device-{secrets.token_hex(4)}", timeout_s=5.0) as transport:
        return send_outbox(store, transport, SEAL, NOW)


def nobody_listens() -> int:
    """A port on which there is no broker."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_week_arrives_as_the_bytes_that_were_stored(
    tmp_path: Path, broker: Broker, arrived: Arrived
) -> None:
    with Device(tmp_path).store() as store:
        fill_week(store, LAST_MONDAY)
        assert prepared(store).made == ("2026-W47",)
        (waiting,) = store.outbox()
        done = sending(store, broker.host, broker.port)
        assert done.sent == ("2026-W47",) and done.waiting == () and done.why is None
        topic, payload = arrived.get(timeout=20)
        stored = SEAL.reopen(waiting.sealed)
        assert (topic, payload) == (stored.topic, stored.payload)
        assert done.sent_bytes == len(payload)
        report = parse_report(payload)
        assert report.period == "2026-W47" and len(report.counts) == CELLS
        assert parse_report_topic(topic).pseudonym == report.pseudonym
        assert store.outbox() == [] and store.sent()[0].sent_at == NOW
        again = sending(store, broker.host, broker.port)
        assert again.sent == () and again.sent_bytes == 0


def test_reports_wait_for_a_broker_and_then_leave_in_order_as_they_were(
    tmp_path: Path, broker: Broker, arrived: Arrived
) -> None:
    device = Device(tmp_path)
    with device.store() as store:
        for weeks in (1, 0):
            fill_week(store, LAST_MONDAY - timedelta(weeks=weeks), days=2)
        assert prepared(store).made == ("2026-W46", "2026-W47")
        kept = [outgoing.sealed for outgoing in store.outbox()]
        absent = sending(store, "127.0.0.1", nobody_listens())
        assert absent.sent == () and absent.waiting == ("2026-W46", "2026-W47")
        assert isinstance(absent.why, BrokerError) and absent.why.remedy
        assert prepared(store).made == ()  # no second draw for a period that waits
    with device.store() as store:  # after a restart
        assert [outgoing.sealed for outgoing in store.outbox()] == kept
        assert sending(store, broker.host, broker.port).sent == ("2026-W46", "2026-W47")
    payloads = [arrived.get(timeout=20)[1] for _ in range(2)]
    assert payloads == [SEAL.reopen(sealed).payload for sealed in kept]


def test_a_retry_after_a_lost_note_sends_the_same_bytes_and_costs_nothing(
    tmp_path: Path, broker: Broker, arrived: Arrived
) -> None:
    """The broker had it, but the device died before it could note that."""
    with Device(tmp_path).store() as store:
        fill_week(store, LAST_MONDAY, days=1)
        prepared(store)
        (waiting,) = store.outbox()
        spent = store.ledger().spent_rho
        with Transport(broker.host, broker.port, "device-retry") as transport:
            transport.publish(SEAL.reopen(waiting.sealed))
        sending(store, broker.host, broker.port)
        first, second = (arrived.get(timeout=20) for _ in range(2))
        assert first == second
        assert store.ledger().spent_rho == spent == STUDY.policy.rho_per_report


def test_a_year_sends_as_many_reports_as_the_budget_pays_for(
    tmp_path: Path, broker: Broker, arrived: Arrived
) -> None:
    with Device(tmp_path).store() as store:
        refusals = []
        for weeks in range(16):
            fill_week(store, LAST_MONDAY + timedelta(weeks=weeks), days=1, a_day=1)
            refusals.append(prepared(store, weeks).refused)
            sending(store, broker.host, broker.port)
        paid_for = STUDY.policy.reports_in_budget
        assert refusals[:paid_for] == [None] * paid_for
        assert all(isinstance(refusal, BudgetExhausted) for refusal in refusals[paid_for:])
        periods = [parse_report(arrived.get(timeout=20)[1]).period for _ in range(paid_for)]
        assert len(set(periods)) == paid_for and arrived.empty()
        assert store.ledger().spent_rho == STUDY.policy.rho_budget
