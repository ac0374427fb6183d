"""Transport: only what was released goes out, and each way a broker can fail has its sentence."""

import copy
import importlib.util
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge_models.errors import Explained
from sync.broker import Broker, Kind, embedded_broker, mosquitto_path
from sync.errors import DoorError, SyncError
from sync.messages import HISTOGRAMS, parse_report
from sync.release import Counts, Released
from sync.retry import keep_trying
from sync.topics import all_reports
from sync.transport import Subscription
from tests.fake_broker import FakeBroker
from tests.releasing import released, transport_to

LONG_S = 30.0  # a bound, never waited for


@pytest.fixture(params=["mosquitto", "amqtt"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    kind: Kind = request.param
    if kind == "mosquitto" and mosquitto_path() is None:
        pytest.skip("needs Mosquitto (Debian: apt-get install mosquitto)")
    if kind == "amqtt" and importlib.util.find_spec("amqtt") is None:
        pytest.skip("needs amqtt (pip install 'sottovoce[coordinator]')")
    with embedded_broker(tmp_path / "broker", kind=kind) as running:
        yield running


class Inbox:
    """Keeps what arrives; `wait` until there are so many."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()

    def __call__(self, topic: str, payload: bytes) -> None:
        with self._changed:
            self.messages.append((topic, payload))
            self._changed.notify_all()

    def wait(self, count: int) -> list[tuple[str, bytes]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.messages) >= count, LONG_S)
        return self.messages


# What it takes.


@dataclass
class LooksLikeReleased:
    topic: str = "sottovoce/v1/home/report/" + "ab" * 16
    payload: bytes = b"raw"
    _topic: str = ""
    _payload: bytes = b"raw"
    _mark: bytes = bytes(32)

    @property
    def __class__(self) -> type:  # type: ignore[override]
        return Released


def hollow() -> object:
    return object.__new__(Released)


def altered() -> object:
    message = released()
    object.__setattr__(message, "_payload", b"raw")
    return message


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"raw",
        lambda: "raw",
        lambda: None,
        lambda: bytearray(b"raw"),
        lambda: ("topic", b"raw"),
        lambda: parse_report(released().payload),
        lambda: Counts.of({histogram.name: 0 for histogram in HISTOGRAMS}),
        lambda: Released,
        LooksLikeReleased,
        hollow,
        altered,
    ],
    ids=["bytes", "text", "none", "bytearray", "pair", "report", "counts", "class", "look-alike",
         "hollow", "altered"],
)  # fmt: skip
def test_nothing_but_a_released_message_is_sent(make: Callable[[], Any]) -> None:
    with FakeBroker(lambda peer: peer.stays()) as fake, transport_to(fake) as transport:
        with pytest.raises(DoorError):
            transport.publish(make())
        assert fake.connections == 0  # not even a connection


def test_a_copy_never_reaches_the_transport() -> None:
    with pytest.raises(DoorError):
        copy.copy(released())


# Real brokers.


def test_a_released_message_arrives_as_its_bytes(broker: Broker) -> None:
    inbox, message = Inbox(), released()
    listening = Subscription(broker.host, broker.port, "study", all_reports("home"), inbox)
    with listening, transport_to(broker) as transport:
        transport.publish(message)
        assert inbox.wait(1) == [(message.topic, message.payload)]


def test_a_retry_sends_the_same_bytes(broker: Broker) -> None:
    inbox, message = Inbox(), released()
    listening = Subscription(broker.host, broker.port, "study", all_reports("home"), inbox)
    with listening, transport_to(broker) as transport:
        transport.publish(message)
        transport.close()
        transport.publish(message)
        first, second = inbox.wait(2)
        assert first == second == (message.topic, message.payload)


def test_many_reports_arrive_once_each_over_one_connection(broker: Broker) -> None:
    inbox, messages = Inbox(), [released(week) for week in range(1, 51)]
    listening = Subscription(broker.host, broker.port, "study", all_reports("home"), inbox)
    with listening, transport_to(broker) as transport:
        for message in messages:
            transport.publish(message)
        inbox.wait(len(messages))
    assert [payload for _, payload in inbox.messages] == [m.payload for m in messages]


def test_what_is_sent_while_the_coordinator_is_away_waits_for_it(broker: Broker) -> None:
    inbox, message = Inbox(), released()

    def listening() -> Subscription:
        return Subscription(broker.host, broker.port, "study", all_reports("home"), inbox)

    with listening():
        pass
    with transport_to(broker) as transport:
        transport.publish(message)
    assert inbox.messages == []
    with listening():
        assert inbox.wait(1) == [(message.topic, message.payload)]


def test_what_the_store_could_not_keep_comes_again(broker: Broker) -> None:
    inbox, message, faults = Inbox(), released(), list[Explained]()

    def full_at_first(topic: str, payload: bytes) -> None:
        if not faults:
            raise SyncError("The disk is full.", "Free some space.")
        inbox(topic, payload)

    listening = Subscription(
        broker.host, broker.port, "study", all_reports("home"), full_at_first,
        on_fault=faults.append, first_pause_s=0.01,
    )  # fmt: skip
    with listening, transport_to(broker) as transport:
        transport.publish(message)
        assert inbox.wait(1) == [(message.topic, message.payload)]
    assert [fault.cause for fault in faults] == ["The disk is full."]


def test_a_subscription_listens_again_after_the_broker_restarts(tmp_path: Path) -> None:
    if mosquitto_path() is None:
        pytest.skip("needs Mosquitto (Debian: apt-get install mosquitto)")
    inbox, noticed = Inbox(), threading.Event()
    with embedded_broker(tmp_path / "broker") as first:
        listening = Subscription(
            first.host, first.port, "study", all_reports("home"), inbox,
            on_fault=lambda fault: noticed.set(), first_pause_s=0.05,
        ).__enter__()  # fmt: skip
        port = first.port
    try:
        assert noticed.wait(LONG_S)
        with embedded_broker(tmp_path / "broker", port=port) as second:
            with transport_to(second) as transport:
                transport.publish(released())
            inbox.wait(1)
    finally:
        listening.__exit__()
    assert not listening.connected


def test_a_transport_notices_that_its_idle_connection_had_ended(tmp_path: Path) -> None:
    if mosquitto_path() is None:
        pytest.skip("needs Mosquitto (Debian: apt-get install mosquitto)")
    with embedded_broker(tmp_path / "broker") as first:
        transport, port = transport_to(first), first.port
        transport.publish(released(1))
    with embedded_broker(tmp_path / "broker", port=port), transport:
        transport.publish(released(2))


# Trying again.


def test_trying_again_tells_each_fault_and_stops_when_told() -> None:
    stop, told, attempts = threading.Event(), list[Explained](), list[int]()

    def attempt() -> None:
        attempts.append(1)
        if len(attempts) == 3:
            stop.set()
        raise SyncError("Not yet.", "Wait.")

    keep_trying(attempt, stop, on_fault=told.append, first_pause_s=0.001)
    assert len(attempts) == len(told) == 3


def test_a_bug_is_not_tried_again() -> None:
    def attempt() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        keep_trying(attempt, threading.Event(), first_pause_s=0.001)
