"""deploy/mosquitto.conf and its access list, run by a real Mosquitto with fresh certificates."""

import os
import pwd
import queue
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sync.broker import mosquitto_path

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
NOT_AUTHORIZED = 0x87  # MQTT 5, 3.4.2.1


@dataclass(frozen=True)
class Authority:
    """A certificate authority for one test; writes `<name>.crt` and `<name>.key`."""

    folder: Path
    key: ec.EllipticCurvePrivateKey

    @property
    def name(self) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "study")])

    def certify(self, file: str, common_name: str, *, authority: bool = False) -> None:
        key = self.key if authority else ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        (self.folder / f"{file}.crt").write_bytes(pem)
        (self.folder / f"{file}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


@dataclass(frozen=True)
class StudyBroker:
    """The broker of the deployed configuration, on another port and folder."""

    port: int
    folder: Path

    def client(self, identity: str | None) -> "Client":
        return Client(self, identity)


class Client:
    """A connected client with the certificate of `identity`, or with none."""

    def __init__(self, broker: StudyBroker, identity: str | None) -> None:
        self.got: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.answers: queue.Queue[int] = queue.Queue()
        self.mqtt = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=identity or "", protocol=paho.MQTTv5
        )
        context = ssl.create_default_context(cafile=broker.folder / "study-ca.crt")
        if identity is not None:
            context.load_cert_chain(
                broker.folder / f"{identity}.crt", broker.folder / f"{identity}.key"
            )
        self.mqtt.tls_set_context(context)
        self.mqtt.on_message = lambda *seen: self.got.put((seen[2].topic, seen[2].payload))
        self.mqtt.on_publish = lambda *seen: self.answers.put(seen[3].value)
        self.mqtt.on_subscribe = lambda *seen: self.answers.put(seen[3][0].value)
        self.mqtt.on_connect = lambda *seen: self.answers.put(seen[3].value)
        self.mqtt.connect("127.0.0.1", broker.port)
        self.mqtt.loop_start()

    def answer(self) -> int:
        return self.answers.get(timeout=10)

    def published(self, topic: str) -> int:
        self.mqtt.publish(topic, b"{}", qos=1)
        return self.answer()

    def left(self) -> None:
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudyBroker]:
    program = mosquitto_path()
    if program is None:
        pytest.skip("needs Mosquitto (Debian: apt-get install mosquitto)")
    folder = tmp_path_factory.mktemp("broker")
    authority = Authority(folder, ec.generate_private_key(ec.SECP256R1()))
    authority.certify("study-ca", "study", authority=True)
    for name in ("broker", "coordinator", "p-one", "p-two"):
        authority.certify(name, name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = (DEPLOY / "mosquitto.conf").read_text(encoding="utf-8")
    assert "listener 8883\n" in settings
    settings = (
        settings.replace("listener 8883\n", f"listener {port} 127.0.0.1\n")
        .replace("/etc/sottovoce/broker/", f"{folder}/")
        .replace("/var/lib/mosquitto/", f"{folder}/")
        .replace("log_dest syslog", "log_dest stderr")
    )
    settings += f"user {pwd.getpwuid(os.geteuid()).pw_name}\n"
    (folder / "mosquitto.conf").write_text(settings, encoding="utf-8")
    rules = (DEPLOY / "mosquitto.acl").read_text(encoding="utf-8")
    (folder / "mosquitto.acl").write_text(rules.replace("STUDY", "north"), encoding="utf-8")
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen([str(program), "-c", str(folder / "mosquitto.conf")], stderr=log)
    try:
        deadline = time.monotonic() + 10
        while True:
            words = (folder / "log.txt").read_text(encoding="utf-8")
            assert process.poll() is None, words
            assert "Unknown" not in words
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, words
                time.sleep(0.02)
        yield StudyBroker(port, folder)
    finally:
        process.terminate()
        process.wait(timeout=10)


def test_a_device_publishes_its_own_reports_and_the_coordinator_reads_them(
    broker: StudyBroker,
) -> None:
    coordinator, device = broker.client("coordinator"), broker.client("p-one")
    assert coordinator.answer() == device.answer() == 0
    coordinator.mqtt.subscribe("sottovoce/v1/north/report/+", qos=1)
    assert coordinator.answer() == 1
    assert device.published("sottovoce/v1/north/report/p-one") == 0
    assert coordinator.got.get(timeout=10) == ("sottovoce/v1/north/report/p-one", b"{}")
    coordinator.left()
    device.left()


def test_a_device_speaks_for_nobody_else_and_reads_nothing(broker: StudyBroker) -> None:
    one, two = broker.client("p-one"), broker.client("p-two")
    assert one.answer() == two.answer() == 0
    for others in (
        "sottovoce/v1/north/report/p-two",
        "sottovoce/v1/south/report/p-one",
        "sottovoce/v1/north/report/p-one/more",
        "$SYS/broker/uptime",
    ):
        assert one.published(others) == NOT_AUTHORIZED
    two.mqtt.subscribe("#", qos=1)
    two.answer()
    assert one.published("sottovoce/v1/north/report/p-one") == 0
    assert two.published("sottovoce/v1/north/report/p-two") == 0  # and the broker has answered
    assert two.got.empty()
    one.left()
    two.left()


def test_the_coordinator_cannot_forge_a_report(broker: StudyBroker) -> None:
    coordinator = broker.client("coordinator")
    assert coordinator.answer() == 0
    assert coordinator.published("sottovoce/v1/north/report/p-one") == NOT_AUTHORIZED
    coordinator.left()


def test_nobody_enters_without_a_certificate(broker: StudyBroker) -> None:
    stranger = broker.client(None)
    with pytest.raises(queue.Empty):
        stranger.answers.get(timeout=0.5)
    stranger.left()


def test_nobody_enters_without_encryption(broker: StudyBroker) -> None:
    plain = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    refused: queue.Queue[str] = queue.Queue()
    plain.on_connect = lambda *_: refused.put("connected")
    plain.on_disconnect = lambda *_: refused.put("refused")
    plain.connect("127.0.0.1", broker.port)
    plain.loop_start()
    assert refused.get(timeout=10) == "refused"
    plain.loop_stop()
