"""Each way in which a broker can fail has its own sentence, and nothing is sent twice by itself."""

import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync.broker import mosquitto_path
from sync.endpoint import Endpoint, Tls
from sync.errors import BrokerError
from sync.topics import all_reports
from sync.transport import Subscription, Transport
from tests.fake_broker import REFUSES_OLD_STYLE, FakeBroker, Peer
from tests.releasing import released, transport_to


def unheard(topic: str, payload: bytes) -> None:
    raise AssertionError("nothing was sent")


def refused_by(broker: Any, timeout_s: float = 10.0) -> BrokerError:
    with transport_to(broker, timeout_s) as transport, pytest.raises(BrokerError) as refused:
        transport.publish(released())
    assert refused.value.cause.endswith(".") and refused.value.remedy.endswith(".")
    return refused.value


def test_an_absent_broker_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host, port = taken.getsockname()
    assert f"No broker listens at {host}:{port}" in refused_by(Endpoint(host, port)).cause


def test_an_unknown_host_is_named() -> None:
    fault = refused_by(Endpoint("no-such-host.invalid", 1883))
    assert "'no-such-host.invalid' is not known here" in fault.cause


@pytest.mark.parametrize(("reason", "word"), [(0x86, "Bad user name"), (0x87, "Not authorized")])
def test_a_broker_that_refuses_us_says_why(reason: int, word: str) -> None:
    with FakeBroker(lambda peer: peer.greeted(reason)) as fake:
        assert f"refuses this client: {word}" in refused_by(fake).cause


@pytest.mark.parametrize("reason", ["bad credentials", "not authorised"])
def test_an_old_broker_that_refuses_us_says_why(reason: str) -> None:
    unknown, refusal = REFUSES_OLD_STYLE["unknown version"], REFUSES_OLD_STYLE[reason]
    with FakeBroker(lambda peer: peer.greeted(unknown), lambda peer: peer.greeted(refusal)) as fake:
        assert "refuses this client" in refused_by(fake).cause
        assert fake.connections == 2


def test_a_broker_that_knows_no_version_of_ours_is_named() -> None:
    with FakeBroker(lambda peer: peer.greeted(1)) as fake:
        assert refused_by(fake)
        assert fake.connections == 2


def test_mosquitto_that_wants_a_password_refuses_us_by_name(tmp_path: Path) -> None:
    import subprocess

    path = mosquitto_path()
    if path is None:
        pytest.skip("needs Mosquitto (Debian: apt-get install mosquitto)")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (tmp_path / "conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous false\n")
    with subprocess.Popen([path, "-c", tmp_path / "conf"], stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if b"running" in line:
                    break
            assert (
                "refuses this client: Not authorized"
                in refused_by(Endpoint("127.0.0.1", port)).cause
            )
        finally:
            process.terminate()


def test_a_refused_report_says_why() -> None:
    def act(peer: Peer) -> None:
        peer.greeted()
        peer.took(reason=0x87)
        peer.stays()

    with FakeBroker(act) as fake:
        assert "did not take the report: Not authorized" in refused_by(fake).cause


def test_a_report_that_nobody_listens_for_has_still_arrived() -> None:
    def act(peer: Peer) -> None:
        peer.greeted()
        peer.took(reason=0x10)  # "No matching subscribers" is a success
        peer.stays()

    with FakeBroker(act) as fake, transport_to(fake) as transport:
        transport.publish(released())


def test_a_broker_that_drops_mid_publish_gets_the_same_bytes_again() -> None:
    def drops(peer: Peer) -> None:
        peer.greeted()
        peer.took(acknowledge=False)

    def takes(peer: Peer) -> None:
        peer.greeted()
        peer.took()
        peer.stays()

    message = released()
    with FakeBroker(drops, takes) as fake, transport_to(fake) as transport:
        with pytest.raises(BrokerError, match="ended the connection before it answered"):
            transport.publish(message)
        assert fake.published == [(message.topic, message.payload)]  # no retry on its own
        transport.publish(message)
        assert fake.published == [(message.topic, message.payload)] * 2


@pytest.mark.parametrize("when", ["at once", "after connecting"])
def test_a_silent_broker_is_waited_for_no_longer_than_said(when: str) -> None:
    def act(peer: Peer) -> None:
        if when == "after connecting":
            peer.greeted()
        peer.stays()

    with FakeBroker(act) as fake:
        assert "in time" in refused_by(fake, timeout_s=0.2).cause


def test_a_broker_that_closes_at_once_is_named() -> None:
    with FakeBroker(lambda peer: peer.connection.close()) as fake:
        assert str(fake.port) in refused_by(fake).cause


def test_a_web_server_is_no_broker() -> None:
    def act(peer: Peer) -> None:
        peer.packet()
        peer.connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with FakeBroker(act) as fake:
        assert str(fake.port) in refused_by(fake).cause


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.booleans(), st.binary(min_size=1, max_size=40))
def test_garbage_from_a_broker_is_a_broker_error(greeted: bool, garbage: bytes) -> None:
    def act(peer: Peer) -> None:
        if greeted:
            peer.greeted()
            peer.took(acknowledge=False)
        else:
            peer.packet()
        peer.connection.sendall(garbage)

    with FakeBroker(act) as fake, transport_to(fake, timeout_s=0.3) as transport:
        try:
            transport.publish(released())
        except BrokerError as fault:
            assert fault.remedy


def test_a_filter_that_is_not_allowed_is_named() -> None:
    def act(peer: Peer) -> None:
        peer.greeted()
        peer.subscribed(reason=0x87)
        peer.stays()

    with (
        FakeBroker(lambda peer: peer.greeted(), act) as fake,
        pytest.raises(BrokerError, match="does not let this client listen: Not authorized"),
        Subscription(fake.host, fake.port, "study", all_reports("home"), unheard),
    ):
        pass


def test_a_subscription_to_an_absent_broker_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host, port = taken.getsockname()
    with (
        pytest.raises(BrokerError, match="No broker listens"),
        Subscription(host, port, "study", all_reports("home"), unheard),
    ):
        pass


@pytest.mark.parametrize(
    ("host", "port"),
    [("", 1883), ("two words", 1883), ("höst", 1883), ("host", 0), ("host", 65536)],
)
def test_what_cannot_be_an_address_is_refused(host: str, port: int) -> None:
    with pytest.raises(BrokerError):
        Transport(host, port, "device")


def test_tls_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    for ca in (tmp_path / "absent.pem", tmp_path / "ca.pem"):
        with pytest.raises(BrokerError, match="TLS files"):
            Tls(ca).context()


def test_a_broker_without_tls_is_not_spoken_to_with_tls(tmp_path: Path) -> None:
    ca = certificate(tmp_path, "localhost")
    with FakeBroker(lambda peer: peer.connection.close()) as fake:
        tls = Tls(ca)
        with (
            Transport(fake.host, fake.port, "device", tls=tls, timeout_s=2) as transport,
            pytest.raises(BrokerError) as refused,
        ):
            transport.publish(released())
        assert refused.value.remedy and fake.published == []


def test_a_broker_with_another_name_or_ca_is_not_the_studys(tmp_path: Path) -> None:
    import ssl

    ours = certificate(tmp_path, "localhost")
    (tmp_path / "other").mkdir()
    other = certificate(tmp_path / "other", "localhost")
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    def act(peer: Peer) -> None:
        with served.wrap_socket(peer.connection, server_side=True) as secured:
            safe = Peer(secured, peer.published)
            safe.greeted()
            safe.took()
            safe.stays()

    message = released()
    with FakeBroker(act) as fake:
        for host, ca in (("localhost", other), ("127.0.0.1", ours)):
            with (
                Transport(host, fake.port, "device", tls=Tls(ca), timeout_s=5) as wrong,
                pytest.raises(BrokerError, match="is not the study's"),
            ):
                wrong.publish(message)
        assert fake.published == []
        with Transport("localhost", fake.port, "device", tls=Tls(ours)) as right:
            right.publish(message)
        assert fake.published == [(message.topic, message.payload)]


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate in `cert.pem` with `key.pem`; it is its own CA."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "cert.pem"
