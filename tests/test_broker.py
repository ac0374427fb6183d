"""The embedded broker: it carries messages, stays on loopback, and never outlives its parent."""

import importlib.util
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from sync.broker import Broker, Kind, embedded_broker, mosquitto_path
from sync.errors import BrokerError


@pytest.fixture(params=["mosquitto", "amqtt"])
def kind(request: pytest.FixtureRequest) -> Kind:
    wanted: Kind = request.param
    if wanted == "mosquitto" and mosquitto_path() is None:
        pytest.skip("needs Mosquitto (Debian: apt-get install mosquitto)")
    if wanted == "amqtt" and importlib.util.find_spec("amqtt") is None:
        pytest.skip("needs amqtt (pip install 'sottovoce[coordinator]')")
    return wanted


def until(condition: Callable[[], bool], patience_s: float = 10.0) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def connected(broker: Broker, name: str, *, clean: bool = True) -> paho.Client:
    modern = broker.kind == "mosquitto"
    client = paho.Client(
        paho.CallbackAPIVersion.VERSION2,
        client_id=name,
        protocol=paho.MQTTv5 if modern else paho.MQTTv311,
        clean_session=None if modern else clean,
    )
    if modern:
        lasting = paho.Properties(paho.PacketTypes.CONNECT)
        lasting.SessionExpiryInterval = 0 if clean else 3600
        client.connect(broker.host, broker.port, clean_start=clean, properties=lasting)
    else:
        client.username_pw_set(name)
        client.connect(broker.host, broker.port)
    client.loop_start()
    assert until(client.is_connected)
    return client


def left(client: paho.Client) -> None:
    client.disconnect()
    client.loop_stop()


def test_a_message_crosses_and_the_kind_is_said(tmp_path: Path, kind: Kind) -> None:
    with embedded_broker(tmp_path / "a broker's földer", kind=kind) as broker:
        assert broker.kind == kind
        assert kind in broker.note.lower()
        reader, writer = connected(broker, "reader"), connected(broker, "writer")
        got: list[bytes] = []
        granted = threading.Event()
        reader.on_message = lambda *seen: got.append(seen[2].payload)
        reader.on_subscribe = lambda *_: granted.set()
        reader.subscribe("a/#", qos=1)
        assert granted.wait(10)
        writer.publish("a/b", b"hello", qos=1).wait_for_publish(10)
        assert until(lambda: got == [b"hello"])
        left(reader)
        left(writer)
    assert broker.process.returncode == 0
    with pytest.raises(OSError):
        socket.create_connection((broker.host, broker.port), timeout=1)


def test_it_listens_on_loopback_only(tmp_path: Path, kind: Kind) -> None:
    with embedded_broker(tmp_path, kind=kind) as broker:
        rows = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
        rows += Path("/proc/net/tcp6").read_text(encoding="ascii").splitlines()[1:]
        listening = [row.split()[1] for row in rows if row.split()[3] == "0A"]
        ours = [place for place in listening if place.endswith(f":{broker.port:04X}")]
        assert ours == [f"0100007F:{broker.port:04X}"]


def test_a_taken_port_is_named_with_a_remedy(tmp_path: Path, kind: Kind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(BrokerError, match=rf"Port {port} .*--port-mqtt"),
            embedded_broker(tmp_path, port, kind),
        ):
            pass


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_refused(tmp_path: Path, port: int) -> None:
    with pytest.raises(BrokerError, match="not a port"), embedded_broker(tmp_path, port):
        pass


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BrokerError, match="can't be made"), embedded_broker(tmp_path / "file"):
        pass
    with pytest.raises(BrokerError, match="control"), embedded_broker(tmp_path / "a\nlistener 1"):
        pass


def test_a_broker_that_dies_is_noticed_and_leaving_still_works(tmp_path: Path, kind: Kind) -> None:
    with embedded_broker(tmp_path, kind=kind) as broker:
        assert broker.running
        broker.process.kill()
        assert until(lambda: not broker.running)


def test_a_body_that_raises_still_ends_the_broker(tmp_path: Path, kind: Kind) -> None:
    with pytest.raises(KeyError), embedded_broker(tmp_path, kind=kind) as broker:
        raise KeyError
    assert not broker.running


def test_the_broker_does_not_outlive_a_killed_parent(tmp_path: Path, kind: Kind) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time, pathlib\n"
            "from sync.broker import embedded_broker\n"
            "with embedded_broker(pathlib.Path(sys.argv[1]), kind=sys.argv[2]) as broker:\n"
            "    print(broker.process.pid, flush=True)\n"
            "    time.sleep(60)\n",
            str(tmp_path),
            kind,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert _alive(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert until(lambda: not _alive(child))


def _alive(process_id: int) -> bool:
    try:
        status = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def test_a_crash_while_starting_leaves_no_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    started: list[int] = []
    real = subprocess.Popen

    def remembered(*words: object, **settings: object) -> object:
        process = real(*words, **settings)  # type: ignore[call-overload]
        started.append(process.pid)
        return process

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", remembered)
    monkeypatch.setattr(socket, "create_connection", interrupted)
    with pytest.raises(KeyboardInterrupt), embedded_broker(tmp_path, kind=kind):
        pass
    assert [_alive(process_id) for process_id in started] == [False]


def test_mosquitto_keeps_a_queued_message_over_its_own_restart(tmp_path: Path) -> None:
    if mosquitto_path() is None:
        pytest.skip("needs Mosquitto (Debian: apt-get install mosquitto)")
    with embedded_broker(tmp_path, kind="mosquitto") as broker:
        reader = connected(broker, "coordinator", clean=False)
        granted = threading.Event()
        reader.on_subscribe = lambda *_: granted.set()
        reader.subscribe("a/#", qos=1)
        assert granted.wait(10)
        left(reader)
        writer = connected(broker, "writer")
        writer.publish("a/b", b"queued", qos=1).wait_for_publish(10)
        left(writer)
    with embedded_broker(tmp_path, kind="mosquitto") as again:
        got: list[bytes] = []
        reader = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id="coordinator", protocol=paho.MQTTv5
        )
        reader.on_message = lambda *seen: got.append(seen[2].payload)
        reader.connect(again.host, again.port, clean_start=False)
        reader.loop_start()
        assert until(lambda: got == [b"queued"])
        left(reader)


def test_the_state_is_its_owners_alone(tmp_path: Path) -> None:
    with embedded_broker(tmp_path / "state") as broker:
        assert broker.running
        assert (tmp_path / "state").stat().st_mode & 0o077 == 0
