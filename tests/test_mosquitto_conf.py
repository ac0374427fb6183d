"""A study's broker and its access list, run by a real Mosquitto; the intruder has mosquitto_pub.

Every member here has a real certificate from a real enrolment.
"""

import dataclasses
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from agent.membership import Membership
from sync.broker import Broker, mosquitto_path
from sync.coordinator.broker_files import BrokerSettings, mosquitto_acl, mosquitto_conf
from sync.coordinator.desk import renew_revocations
from sync.endpoint import Tls
from sync.errors import BrokerError, Revoked
from sync.transport import Subscription, Transport
from tests.founding import World, founded_study
from tests.releasing import released

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
ROOT = "sottovoce/v1/north"
ENDS = f"{ROOT}/all"
"""What is said last, to everybody, so that nothing needs to be waited for."""
PATIENCE_S = 10.0

needs_mosquitto = pytest.mark.skipif(
    mosquitto_path() is None
    or shutil.which("mosquitto_pub") is None
    or shutil.which("mosquitto_sub") is None,
    reason="needs Mosquitto (Debian: apt-get install mosquitto mosquitto-clients)",
)
pytestmark = pytest.mark.xdist_group("mosquitto_conf")


@dataclass
class Scene:
    """A study with its broker running, two members, and tools for whoever wants in."""

    world: World
    broker: Broker
    one: Membership
    two: Membership

    def publishes(self, tls: Tls | None, topic: str, *more: str) -> bool:
        """Whether the broker takes a message from whoever connects so."""
        done = subprocess.run(
            ["mosquitto_pub", *self._to(tls), "-q", "1", "-t", topic, "-m", "hello", *more],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        return done.returncode == 0 and "Not authorized" not in done.stderr

    def hears(self, tls: Tls | None, topics: list[str], said: Callable[[], None]) -> list[str]:
        """The topics of what a listener with these credentials gets while something is `said`."""
        heard: list[str] = []
        with self.listening(tls, [*topics, ENDS]) as lines:
            said()
            assert self.publishes(self.coordinator, ENDS)
            for line in lines:
                if line == ENDS:
                    return heard
                heard += [line] if line.startswith(("sottovoce/", "$SYS/")) else []
        raise AssertionError("the listener was thrown out")

    @contextmanager
    def listening(
        self, tls: Tls | None, topics: list[str], longest_s: int = int(PATIENCE_S)
    ) -> Iterator[Iterator[str]]:
        """The lines of a listener that has subscribed; each message is its topic."""
        words = [word for topic in topics for word in ("-t", topic)]
        listener = subprocess.Popen(
            ["stdbuf", "-oL", "mosquitto_sub", *self._to(tls), "-q", "1", "-F", "%t", "-d",
             "-W", str(longest_s), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip
        assert listener.stdout is not None
        lines = (line.strip() for line in listener.stdout)
        try:
            assert any(line.startswith("Subscribed") for line in lines)
            yield lines
        finally:
            listener.kill()
            listener.communicate()

    @property
    def coordinator(self) -> Tls:
        return self.world.authority.tls

    def told(self) -> None:
        """Have the broker know of revocations, as `sottovoce coordinator` does."""
        renew_revocations(self.world.authority, self.world.founded.members, self.world.clock())
        self.world.founded.tell(self.broker)

    def _to(self, tls: Tls | None) -> list[str]:
        place = ["-h", "127.0.0.1", "-p", str(self.broker.port), "-V", "mqttv5"]
        if tls is None:
            return place
        place += ["--cafile", str(tls.ca_file)]
        if tls.certificate_file is not None:
            place += ["--cert", str(tls.certificate_file), "--key", str(tls.key_file)]
        return place


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with founded_study(tmp_path_factory.mktemp("study")) as world, world.broker() as broker:
        yield Scene(world, broker, world.enrol("one"), world.enrol("two"))


def test_the_deployed_files_are_those_of_a_founded_study() -> None:
    conf = (DEPLOY / "mosquitto.conf").read_text(encoding="utf-8")
    assert conf == mosquitto_conf(BrokerSettings())
    assert (DEPLOY / "mosquitto.acl").read_text(encoding="utf-8") == mosquitto_acl("STUDY")


@needs_mosquitto
def test_a_device_publishes_under_its_own_name_and_the_coordinator_hears(scene: Scene) -> None:
    for kind in ("report", "up"):
        topic = f"{ROOT}/{kind}/{scene.one.pseudonym}"
        with scene.listening(scene.coordinator, [f"{ROOT}/{kind}/+"]) as lines:
            assert scene.publishes(scene.one.tls, topic)
            assert any(line == topic for line in lines)


@needs_mosquitto
def test_a_device_writes_to_nobody_elses_topic(scene: Scene) -> None:
    mine, others = scene.one.pseudonym, scene.two.pseudonym
    for topic in (
        f"{ROOT}/up/{others}",
        f"{ROOT}/report/{others}",
        f"{ROOT}/down/{others}",
        f"{ROOT}/down/{mine}",
        f"{ROOT}/file/{others}",
        f"{ROOT}/file/{mine}",
        f"{ROOT}/all",
        f"{ROOT}/up/{mine}/more",
        f"{ROOT}/up",
        f"sottovoce/v1/south/up/{mine}",
        "$SYS/broker/uptime",
        "anything",
    ):
        assert not scene.publishes(scene.one.tls, topic), topic
    assert scene.publishes(scene.one.tls, f"{ROOT}/up/{mine}")


@needs_mosquitto
def test_a_device_reads_what_is_said_to_it_and_to_all_and_nothing_else(scene: Scene) -> None:
    mine, others = scene.one.pseudonym, scene.two.pseudonym

    for topics in (
        ["#"],
        [f"{ROOT}/+/+"],
        [f"{ROOT}/down/{others}"],
        [f"{ROOT}/file/{others}", f"{ROOT}/file/+"],
        ["$SYS/#"],
    ):

        def said() -> None:
            for who in (mine, others):
                assert scene.publishes(scene.coordinator, f"{ROOT}/down/{who}")
                assert scene.publishes(scene.coordinator, f"{ROOT}/file/{who}")
            assert scene.publishes(scene.two.tls, f"{ROOT}/report/{others}")
            assert scene.publishes(scene.two.tls, f"{ROOT}/up/{others}")

        heard = scene.hears(scene.one.tls, topics, said)
        everything = topics[0] in ("#", f"{ROOT}/+/+")
        own_files = everything or f"{ROOT}/file/+" in topics
        wanted = [f"{ROOT}/down/{mine}"] * everything + [f"{ROOT}/file/{mine}"] * own_files
        assert heard == wanted, topics


@needs_mosquitto
def test_the_coordinator_cannot_speak_for_a_device(scene: Scene) -> None:
    who = scene.one.pseudonym
    assert not scene.publishes(scene.coordinator, f"{ROOT}/report/{who}")
    assert not scene.publishes(scene.coordinator, f"{ROOT}/up/{who}")
    assert scene.publishes(scene.coordinator, f"{ROOT}/down/{who}")


@needs_mosquitto
def test_a_user_name_or_client_id_of_another_gives_nothing(scene: Scene) -> None:
    mine, others = scene.one.pseudonym, scene.two.pseudonym
    for spoof in (["-i", others], ["-u", others], ["-i", others, "-u", others, "-P", "x"]):
        assert not scene.publishes(scene.one.tls, f"{ROOT}/up/{others}", *spoof), spoof
        assert scene.publishes(scene.one.tls, f"{ROOT}/up/{mine}", *spoof), spoof


@needs_mosquitto
def test_nobody_ends_the_session_of_another_by_its_client_id(scene: Scene) -> None:
    def said() -> None:
        for name in (scene.two.pseudonym, "coordinator"):
            assert scene.publishes(scene.one.tls, f"{ROOT}/up/{scene.one.pseudonym}", "-i", name)

    # Were the listener thrown out by its name, it would end without hearing the last word.
    assert scene.hears(scene.two.tls, [f"{ROOT}/down/{scene.two.pseudonym}"], said) == []


@needs_mosquitto
def test_nobody_enters_without_a_certificate_of_the_study(scene: Scene, tmp_path: Path) -> None:
    topic = f"{ROOT}/up/{scene.one.pseudonym}"
    no_certificate = dataclasses.replace(scene.one.tls, certificate_file=None, key_file=None)
    assert not scene.publishes(None, topic)  # no encryption either
    assert not scene.publishes(no_certificate, topic)
    with founded_study(tmp_path, "north") as other:  # the same names, another CA
        theirs = other.enrol("one")
        for tls in (theirs.tls, other.authority.tls):
            assert not scene.publishes(
                dataclasses.replace(tls, ca_file=scene.one.tls.ca_file), topic
            )
            assert not scene.publishes(tls, topic)  # nor does it take our broker for its own
    assert scene.publishes(scene.one.tls, topic)


@needs_mosquitto
def test_a_broker_certificate_is_no_client_and_a_device_is_no_broker(scene: Scene) -> None:
    folder = scene.world.authority.broker_folder
    broker = dataclasses.replace(
        scene.one.tls, certificate_file=folder / "broker.crt", key_file=folder / "broker.key"
    )
    assert not scene.publishes(broker, f"{ROOT}/up/broker")


@needs_mosquitto
def test_a_revoked_device_is_out_its_open_session_falls_silent_and_ends(scene: Scene) -> None:
    three, five = scene.world.enrol("three"), scene.world.enrol("five")
    up, down = (f"{ROOT}/{way}/{three.pseudonym}" for way in ("up", "down"))
    assert scene.publishes(three.tls, up)
    with scene.listening(three.tls, [down, ENDS], 3) as lines:
        assert scene.publishes(scene.coordinator, down)
        assert any(line == down for line in lines)
        for gone in (three, five):
            now = int(scene.world.clock().timestamp())
            scene.world.founded.members.revoke(gone.pseudonym, now)
        scene.told()
        # Asked with the other's certificate: one's own would take the open session over.
        assert until(lambda: not scene.publishes(five.tls, f"{ROOT}/up/{five.pseudonym}"))
        for topic in (down, ENDS):
            assert scene.publishes(scene.coordinator, topic)
        assert scene.publishes(scene.one.tls, f"{ROOT}/up/{scene.one.pseudonym}")
        assert not scene.publishes(three.tls, up)
        scene.world.founded.tell(scene.broker)  # the next look
        rest = list(lines)  # until it is thrown out, and gives up
    assert not [line for line in rest if line.startswith("sottovoce/")]
    assert any("sending CONNECT" in line for line in rest)  # it tried to come back
    assert not list(scene.world.authority.folder.glob("tmp*"))
    assert not scene.world.founded.is_member(three.pseudonym)


@needs_mosquitto
def test_a_renewed_device_enters_with_its_new_certificate_only(scene: Scene) -> None:
    old = scene.world.enrol("four")
    kept = scene.world.folder / "kept.pem"
    assert old.tls.certificate_file is not None
    shutil.copy(old.tls.certificate_file, kept)
    new = scene.world.enrol("four", again=True)
    scene.told()
    up = f"{ROOT}/up/{new.pseudonym}"
    stale = dataclasses.replace(new.tls, certificate_file=kept, key_file=kept)
    assert until(lambda: not scene.publishes(stale, up))
    assert scene.publishes(new.tls, up)


@needs_mosquitto
def test_the_desk_lets_nobody_into_the_broker(scene: Scene) -> None:
    port = scene.world.authority.about.desk_port
    words = ["-h", "127.0.0.1", "-p", str(port), "--cafile", str(scene.one.tls.ca_file)]
    done = subprocess.run(
        ["mosquitto_pub", *words, "--insecure", "-t", f"{ROOT}/all", "-m", "x"],
        capture_output=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode != 0


@needs_mosquitto
def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    with founded_study(tmp_path) as world, world.broker() as broker:
        now = world.clock()
        world.clock.pass_(timedelta(days=-399))
        fresh = world.enrol("fresh")
        world.clock.now = now - timedelta(days=401)
        ended = world.enrol("ended")
        world.clock.now = now
        scene = Scene(world, broker, fresh, ended)
        assert scene.publishes(fresh.tls, f"{ROOT}/up/{fresh.pseudonym}")
        assert not scene.publishes(ended.tls, f"{ROOT}/up/{ended.pseudonym}")
        assert not world.founded.is_member(ended.pseudonym)


@needs_mosquitto
def test_a_refused_device_is_told_why_by_its_own_transport(scene: Scene, tmp_path: Path) -> None:
    def told(member: Membership, tls: Tls | None = None) -> BrokerError:
        place = ("127.0.0.1", scene.broker.port, member.pseudonym)
        with Transport(*place, tls=tls or member.tls) as transport, pytest.raises(BrokerError) as e:
            transport.publish(released())
        return e.value

    six = scene.world.enrol("six")
    assert "Not authorized" in told(six).cause  # enrolled, but this report is of another study
    scene.world.founded.members.revoke(six.pseudonym, int(scene.world.clock().timestamp()))
    scene.told()
    assert until(lambda: isinstance(told(six), Revoked))
    assert "The study has revoked this device" in str(told(six))
    scene.world.clock.pass_(timedelta(days=-401))
    ended = scene.world.enrol("ended")
    scene.world.clock.pass_(timedelta(days=401))
    assert "sottovoce enrol INVITE --again" in told(ended).remedy
    with founded_study(tmp_path, "north") as other:
        theirs = other.enrol("one")
    stranger = dataclasses.replace(theirs.tls, ca_file=scene.one.tls.ca_file)
    assert "does not know the certificate" in told(theirs, stranger).cause
    assert "is not the study's" in told(theirs).cause


@needs_mosquitto
def test_the_coordinators_session_outlives_its_connection(scene: Scene) -> None:
    heard: list[str] = []
    filter_ = f"{ROOT}/report/+"

    def coordinator() -> Subscription:
        return Subscription(
            "127.0.0.1", scene.broker.port, "coordinator", filter_,
            lambda topic, _: heard.append(topic), tls=scene.coordinator,
        )  # fmt: skip

    with coordinator():
        pass
    topic = f"{ROOT}/report/{scene.one.pseudonym}"
    assert scene.publishes(scene.one.tls, topic)  # while nobody listens
    with coordinator():
        assert until(lambda: heard == [topic])


@needs_mosquitto
def test_there_is_no_door_without_encryption(scene: Scene) -> None:
    with socket.create_connection(("127.0.0.1", scene.broker.port), PATIENCE_S) as plain:
        plain.sendall(bytes.fromhex("101000044d5154540402003c000468657265"))  # MQTT's CONNECT
        try:
            answer = plain.recv(64)
        except ConnectionResetError:
            answer = b""
        assert answer[:1] != b"\x20"  # CONNACK
