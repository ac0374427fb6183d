"""The line: one connection, both ways, and what is kept for whom."""

import getpass
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from edge_models.errors import Explained
from sync.broker import Broker, Kind, embedded_broker, mosquitto_path
from sync.coordinator.announce import Podium, announcements
from sync.endpoint import Endpoint, Tls
from sync.errors import SyncError
from sync.inbox import Bounds
from sync.line import Line
from sync.parcels import Kind as Of
from sync.parcels import Parcel, frames_of
from sync.release import release_protocol
from sync.topics import all_up
from sync.wire import Session
from tests.cut_link import CutLink
from tests.fake_broker import FakeBroker, Peer
from tests.test_transport_faults import certificate
from tests.two_ends import (
    ALL,
    DOWN,
    MEGABYTE,
    PERSON,
    UP,
    Collecting,
    Heard,
    coordinator,
    device,
    needed,
    of_round,
    unheard,
)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with embedded_broker(tmp_path / "broker", kind=needed("mosquitto")) as running:
        yield running


@pytest.mark.parametrize("kind", ["mosquitto", "amqtt"])
def test_one_connection_sends_and_hears(kind: Kind, tmp_path: Path) -> None:
    said, heard = Parcel(Of.NOTICE, b"to one"), Heard()
    collecting, mine = Collecting(), of_round()
    with ExitStack() as stack:
        broker = stack.enter_context(embedded_broker(tmp_path / "broker", kind=needed(kind)))
        relay = stack.enter_context(CutLink(broker.port, []))
        podium = stack.enter_context(coordinator(broker, collecting, must_connect=True))
        line = stack.enter_context(device(relay, heard, must_connect=True))
        assert line.connected and podium.connected
        line.send(*release_protocol(mine, UP))
        podium.send(*announcements(said, DOWN))
        podium.send(*announcements(said, ALL))
        assert collecting.wait_parcels(1) and collecting.parcels == [(PERSON, mine)]
        frame = frames_of(said)[0]
        assert heard.wait(2) == [(str(DOWN), frame), (str(ALL), frame)]
        assert relay.connections == 2  # the second asks nothing: see DECISIONS 16
    assert not line.connected and not podium.connected


def test_a_device_that_was_away_hears_what_was_said(broker: Broker) -> None:
    heard, said = Heard(), announcements(Parcel(Of.NOTICE, b"soon"), ALL)
    with device(broker, unheard, must_connect=True):
        pass
    with coordinator(broker, unheard) as podium:
        podium.send(*said)
    with device(broker, heard):
        assert heard.wait(1) == [(str(ALL), said[0].payload)]


def test_what_is_said_expires(broker: Broker) -> None:
    heard = Heard()
    with device(broker, unheard, must_connect=True):
        pass
    early, late = (announcements(Parcel(Of.NOTICE, word), ALL) for word in (b"a", b"b"))
    with coordinator(broker, unheard) as podium:
        podium.send(*early, expiry_s=1)
        podium.send(*late)
        time.sleep(2.1)  # whole seconds in MQTT
    with device(broker, heard):
        assert heard.wait(1) == [(str(ALL), late[0].payload)]


def test_a_message_that_could_not_be_kept_comes_again(broker: Broker) -> None:
    heard, faults = Heard(), list[Explained]()

    def full_at_first(topic: str, payload: bytes) -> None:
        if not faults:
            raise SyncError("The disk is full.", "Free some space.")
        heard(topic, payload)

    with (
        device(broker, full_at_first, on_fault=faults.append, must_connect=True),
        coordinator(broker, unheard) as podium,
    ):
        podium.send(*announcements(Parcel(Of.NOTICE, b"well"), ALL))
        assert len(heard.wait(1)) == 1
    assert [fault.cause for fault in faults] == ["The disk is full."]


def test_several_threads_send_at_once(broker: Broker) -> None:
    collecting = Collecting(Bounds(parcels=64))
    parcels = [of_round(50_000) for _ in range(8)]
    with coordinator(broker, collecting, must_connect=True), device(broker, unheard) as line:
        threads = [
            threading.Thread(target=line.send, args=release_protocol(parcel, UP))
            for parcel in parcels
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert collecting.wait_parcels(8)
    key = Parcel.to_bytes
    assert sorted((p for _, p in collecting.parcels), key=key) == sorted(parcels, key=key)


@contextmanager
def with_tls(folder: Path, tls: Path) -> Iterator[Endpoint]:
    """Mosquitto behind TLS, for whoever trusts the certificate in `tls`."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    needed("mosquitto")
    (folder / "conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nuser {getpass.getuser()}\n"
        f"certfile {tls / 'cert.pem'}\nkeyfile {tls / 'key.pem'}\n"
    )
    words = [str(mosquitto_path()), "-c", str(folder / "conf")]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if b"running" in line:
                    break
            yield Endpoint("localhost", port, Tls(tls / "cert.pem"))
        finally:
            process.terminate()


def test_messages_in_one_tls_record_do_not_wait_for_more(tmp_path: Path) -> None:
    """`poll` does not see what is decrypted already."""
    ca, heard, words = certificate(tmp_path, "localhost"), Heard(), [b"one", b"two", b"three"]
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    def secured(act: Callable[[Peer], None]) -> Callable[[Peer], None]:
        def acted(peer: Peer) -> None:
            with served.wrap_socket(peer.connection, server_side=True) as safe:
                act(Peer(safe, peer.published))

        return acted

    def says(peer: Peer) -> None:
        peer.greeted()
        peer.subscribed()
        peer.says(str(ALL), *words)
        peer.stays()

    with FakeBroker(secured(says)) as fake:
        at = Endpoint("localhost", fake.port, Tls(ca))
        since = time.monotonic()
        with Line(Session(at, PERSON, (str(ALL),), heard)):
            assert [payload for _, payload in heard.wait(3)] == words
        assert time.monotonic() - since < 5


def test_a_line_works_through_tls(tmp_path: Path) -> None:
    certificate(tmp_path, "localhost")
    heard, big = Heard(), of_round(MEGABYTE // 4)
    collecting = Collecting()
    said = [announcements(Parcel(Of.NOTICE, bytes([n])), ALL)[0] for n in range(200)]
    with with_tls(tmp_path, tmp_path) as at, ExitStack() as stack:
        line = stack.enter_context(Line(Session(at, PERSON, (str(ALL),), heard, must_connect=True)))
        podium = stack.enter_context(
            Podium(Session(at, "study", (all_up("home"),), collecting, must_connect=True))
        )
        podium.send(*said)
        line.send(*release_protocol(big, UP))
        assert len(heard.wait(len(said))) == len(said) and collecting.wait_parcels(1)
