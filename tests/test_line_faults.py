"""A line whose broker restarts, whose network drops, and whose receiver dies: whole, once."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from edge_models.errors import ContractError, Explained
from sync.broker import Broker, embedded_broker
from sync.coordinator.announce import Announcement, announcements
from sync.endpoint import Endpoint
from sync.errors import BrokerError, DoorError, SyncError
from sync.inbox import Inbox
from sync.line import Line
from sync.parcels import Kind as Of
from sync.parcels import Parcel, parse_resend
from sync.release import Released, release_protocol
from sync.wire import Session
from tests.cut_link import CutLink
from tests.fake_broker import FakeBroker, Peer
from tests.releasing import released
from tests.two_ends import (
    ALL,
    LONG_S,
    MEGABYTE,
    PERSON,
    UP,
    Collecting,
    Heard,
    coordinator,
    device,
    greets,
    needed,
    of_round,
    unheard,
)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with embedded_broker(tmp_path / "broker", kind=needed("mosquitto")) as running:
        yield running


def test_a_line_opens_before_its_broker_does(tmp_path: Path) -> None:
    collecting, faults = Collecting(), list[Explained]()
    with embedded_broker(tmp_path / "broker", kind=needed("mosquitto")) as first:
        port = first.port
        with coordinator(first, collecting, must_connect=True):
            pass
    with device(first, unheard, on_fault=faults.append) as line:
        assert not line.connected
        with embedded_broker(tmp_path / "broker", port=port) as second:
            line.send(*release_protocol(of_round(), UP))
            with coordinator(second, collecting):
                assert collecting.wait_parcels(1)
    assert all(isinstance(fault, BrokerError) for fault in faults)


def test_a_megabyte_through_a_broker_killed_half_way_arrives_once(tmp_path: Path) -> None:
    """The broker dies without a chance to save; what it had acknowledged is asked for again."""
    collecting, questions = Collecting(), Heard()
    parcel = of_round(MEGABYTE)
    frames = release_protocol(parcel, UP)
    dead = threading.Event()

    def slow_at_half(topic: str, payload: bytes) -> None:
        collecting(topic, payload)
        if collecting.frames == len(frames) // 2:
            dead.wait(LONG_S)

    with ExitStack() as stack:
        first = stack.enter_context(embedded_broker(tmp_path / "broker", kind=needed("mosquitto")))
        podium = stack.enter_context(coordinator(first, slow_at_half, must_connect=True))
        line = stack.enter_context(device(first, questions, must_connect=True))
        posting = threading.Thread(target=line.send, args=frames)
        posting.start()
        collecting.wait_frames(len(frames) // 2)
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait(LONG_S)
        stack.enter_context(embedded_broker(tmp_path / "broker", port=first.port))
        dead.set()
        posting.join()
        until = time.monotonic() + LONG_S
        asked = 0
        while not collecting.wait_parcels(1, 0.3) and time.monotonic() < until:
            podium.send(*collecting.missing())
            for _, question in questions.messages[asked:]:
                asked += 1
                resend = parse_resend(Inbox().receive("", question, 0.0).parcel.content)  # type: ignore[union-attr]
                line.send(*resend.of(frames))
        assert [p == parcel for _, p in collecting.parcels] == [True]
        line.send(*frames)  # all of it again, late
        time.sleep(0.2)
        assert len(collecting.parcels) == 1 and not collecting.rows


def test_a_megabyte_through_links_that_drop_arrives_once(broker: Broker) -> None:
    collecting, parcel, chance = Collecting(), of_round(MEGABYTE), random.Random("drops")
    limits = [MEGABYTE, *(chance.randrange(40_000, 200_000) for _ in range(5))]
    with coordinator(broker, unheard, must_connect=True):
        pass  # the session exists: what is sent waits for it
    with (
        CutLink(broker.port, limits) as up,
        CutLink(broker.port, [1000, *(chance.randrange(100, 160) for _ in range(4))]) as down,
        coordinator(down, collecting),
        device(up, unheard) as line,
    ):
        line.send(*release_protocol(parcel, UP))
        assert collecting.wait_parcels(1)
        assert up.cuts == 5 and down.cuts >= 1
    assert collecting.parcels == [(PERSON, parcel)] and not collecting.rows


def test_frames_out_of_order_and_twice_make_one_parcel(broker: Broker) -> None:
    collecting, parcel = Collecting(), of_round(MEGABYTE // 4)
    frames = [*release_protocol(parcel, UP)] * 2
    random.Random("order").shuffle(frames)
    with coordinator(broker, collecting, must_connect=True), device(broker, unheard) as line:
        line.send(*frames)
        collecting.wait_frames(len(frames))
    assert collecting.parcels == [(PERSON, parcel)] and not collecting.rows


def test_a_receiver_that_restarts_goes_on_from_the_frames_it_kept(broker: Broker) -> None:
    collecting, parcel = Collecting(), of_round(MEGABYTE)
    frames = release_protocol(parcel, UP)

    def dies_at_ten(topic: str, payload: bytes) -> None:
        if collecting.frames == 10:
            raise SyncError("The power is gone.", "Wait.")
        collecting(topic, payload)

    with device(broker, unheard) as line:
        with coordinator(broker, dies_at_ten, must_connect=True):
            line.send(*frames)
            collecting.wait_frames(10)
        woken = collecting.restarted()
        assert len(woken.rows) == 10 and not woken.parcels
        with coordinator(broker, woken):
            assert woken.wait_parcels(1)
    assert woken.parcels == [(PERSON, parcel)] and not woken.rows
    assert len(frames) - 10 <= woken.frames <= len(frames)  # a lost acknowledgement or two


def test_never_more_than_twenty_are_on_their_way() -> None:
    frames = [released(week) for week in range(1, 51)]
    seen = list[int]()

    def act(peer: Peer) -> None:
        peer.greeted()
        for _ in range(20):
            peer.took(acknowledge=False)
        peer.connection.settimeout(0.3)
        try:
            peer.packet()
        except TimeoutError:
            seen.append(len(peer.published))
        # The next connection has the same again, first those on their way.

    def takes(peer: Peer) -> None:
        peer.greeted()
        for _ in frames:
            peer.took()
        peer.stays()

    with FakeBroker(lambda peer: peer.greeted(), act, takes) as fake:
        session = Session(Endpoint(fake.host, fake.port), PERSON, (), unheard,
                          on_fault=lambda fault: None, first_pause_s=0.01)  # fmt: skip
        with Line(session) as line:
            line.send(*frames)
    assert seen == [20]
    sent = [(frame.topic, frame.payload) for frame in frames]
    assert fake.published == sent[:20] + sent


def test_what_waits_behind_others_has_the_patience_that_they_have() -> None:
    """Each answer takes a while: all of them longer than the broker may take for one."""
    frames = [released(week) for week in range(1, 41)]

    def act(peer: Peer) -> None:
        peer.greeted()
        for _ in range(len(frames) + 1):
            time.sleep(0.03)
            peer.took()
        peer.stays()

    with FakeBroker(lambda peer: peer.greeted(), act) as fake:
        session = Session(Endpoint(fake.host, fake.port), PERSON, (), unheard, timeout_s=0.5)
        with Line(session) as line:
            crowd = threading.Thread(target=line.send, args=frames)
            crowd.start()
            while not fake.published:
                time.sleep(0.01)
            line.send(released(41))
            crowd.join()
    assert len(fake.published) == len(frames) + 1


def test_two_devices_with_one_identity_take_turns_and_lose_nothing(broker: Broker) -> None:
    collecting, parcels = Collecting(), [of_round(), of_round()]
    with (
        coordinator(broker, collecting, must_connect=True),
        device(broker, unheard) as one,
        device(broker, unheard) as other,
    ):
        one.send(*release_protocol(parcels[0], UP))
        other.send(*release_protocol(parcels[1], UP))
        assert collecting.wait_parcels(2)
    assert {parcel.digest for _, parcel in collecting.parcels} == {p.digest for p in parcels}


def test_a_broker_that_refuses_a_message_says_why() -> None:
    def act(peer: Peer) -> None:
        peer.greeted()
        peer.took(reason=0x87)
        peer.took()
        peer.stays()

    with FakeBroker(lambda peer: peer.greeted(), act) as fake:
        session = Session(Endpoint(fake.host, fake.port), PERSON, (), unheard)
        with Line(session) as line:
            with pytest.raises(BrokerError, match="Not authorized"):
                line.send(released(1))
            line.send(released(2))  # the line still works


def test_a_silent_or_absent_broker_is_waited_for_no_longer_than_said() -> None:
    with FakeBroker(lambda peer: peer.stays()) as fake:
        since = time.monotonic()
        with (
            device(fake, unheard, timeout_s=0.2) as line,
            pytest.raises(BrokerError, match="in time"),
        ):
            line.send(released())
        assert time.monotonic() - since < 5
    with (
        device(fake, unheard, timeout_s=0.2) as line,
        pytest.raises(BrokerError) as refused,
    ):
        line.send(released())
    assert "No broker listens" in str(refused.value.__cause__)
    with (
        pytest.raises(BrokerError, match="No broker listens"),
        device(fake, unheard, must_connect=True),
    ):
        pass


def test_a_closed_line_takes_nothing(broker: Broker) -> None:
    line = device(broker, unheard)
    for _ in range(2):
        with pytest.raises(BrokerError, match="closed"):
            line.send(released())
        with line:
            line.send(released())


def test_a_receiver_does_not_send_on_its_own_thread(broker: Broker) -> None:
    refused = list[ContractError]()
    with ExitStack() as stack:
        heard = Heard()

        def answers(topic: str, payload: bytes) -> None:
            with pytest.raises(ContractError) as fault:
                line.send(released())
            refused.append(fault.value)
            heard(topic, payload)

        line = stack.enter_context(device(broker, answers, must_connect=True))
        podium = stack.enter_context(coordinator(broker, unheard))
        podium.send(*announcements(Parcel(Of.NOTICE, b"well"), ALL))
        heard.wait(1)
    assert len(refused) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"raw",
        lambda: ("topic", b"raw"),
        lambda: Announcement(ALL, b"raw"),
        lambda: object.__new__(Released),
        lambda: Released,
    ],
    ids=["bytes", "pair", "announcement", "hollow", "class"],
)
def test_nothing_but_a_released_message_is_sent(make: Callable[[], Any]) -> None:
    with (
        FakeBroker(lambda peer: peer.greeted(), greets) as fake,
        Line(Session(Endpoint(fake.host, fake.port), PERSON, (), unheard)) as line,
        pytest.raises(DoorError),
    ):
        line.send(released(), make())
    assert fake.published == []


def test_an_announcement_goes_down_or_to_all_and_is_not_shown() -> None:
    (said,) = announcements(Parcel(Of.NOTICE, b"words"), ALL)
    assert said.topic == ALL and "words" not in repr(said)
