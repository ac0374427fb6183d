"""`sottovoce study` and `sottovoce enrol` as people use them, and a founded study at work."""

import argparse
import json
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent import enrol
from agent.config import BrokerSettings, Settings
from agent.errors import SettingError, StoreError
from agent.home import Home, open_home
from edge_models.bundle import load_bundle
from edge_models.errors import Explained
from sync.agreement import SIGNATURE_FILE, signed_policy
from sync.broker import mosquitto_path
from sync.coordinator import study
from sync.coordinator.authority import open_study
from sync.coordinator.certificates import CertificateAuthority, Pair
from sync.coordinator.desk import renew_revocations
from sync.coordinator.intake import Intake
from sync.coordinator.store import Outcome, open_store
from sync.envelope import encoded
from sync.errors import InviteRefused, PolicyError, ProtocolError, Revoked, StudyError
from sync.messages import CELLS
from sync.transport import Transport
from sync.updates.first_root import AUTH_FILE, FIRST_ROOT_FILE, pinned_root
from sync.updates.rejected import UpdateRejected
from tests.founding import founded_study, free_port
from tests.press import Press
from tests.releasing import POLICY, released
from tests.test_serve import released as released_by
from tests.test_serve import until
from tests.updating import policy, write_variant


def said(module: object, *words: str) -> int:
    """Run one command in this process."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    module.add_arguments(parser)  # type: ignore[attr-defined]
    return int(module.run(parser.parse_args(list(words))))  # type: ignore[attr-defined]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    words = [
        "--host",
        "127.0.0.1",
        "--port-mqtt",
        str(free_port()),
        "--port-desk",
        str(free_port()),
    ]
    assert said(study, "init", "north", *words, "--state", str(folder)) == 0
    return folder


def test_a_study_is_founded_once_and_for_its_owner_alone(state: Path) -> None:
    folder = state / "study"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*.*")} == {0o600}
    with pytest.raises(StudyError, match="holds a study already"):
        said(study, "init", "south", "--host", "a.example", "--state", str(state))
    folder.chmod(0o750)
    with pytest.raises(StudyError, match="chmod 700"):
        open_study(state)


def test_a_study_that_could_not_be_made_whole_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sync.coordinator.authority._fill_broker", full)
    with pytest.raises(StudyError, match="No space left"):
        said(study, "init", "north", "--host", "a.example", "--state", str(tmp_path / "state"))
    assert not list((tmp_path / "state").iterdir())


def test_without_a_study_each_action_says_how_to_make_one(tmp_path: Path) -> None:
    for words in (["invite"], ["list"], ["revoke", "0" * 32], ["withdraw"]):
        with pytest.raises(StudyError, match="sottovoce study init NAME"):
            said(study, *words, "--state", str(tmp_path))


def test_damaged_keys_are_told(state: Path) -> None:
    for name in ("ca.key", "coordinator.credential", "study.json", "door.crt"):
        path = state / "study" / name
        kept = path.read_bytes()
        path.write_bytes(b"torn" + kept[:20])
        with pytest.raises(StudyError, match="damaged"):
            open_study(state)
        path.write_bytes(kept)
    open_study(state)


def test_invites_come_as_text_and_picture(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    picture = tmp_path / "invite.svg"
    words = ["--state", str(state)]
    assert said(study, "invite", "--expires", "2h", "--qr", str(picture), *words) == 0
    assert picture.read_bytes().startswith(b"<?xml")
    assert picture.stat().st_mode & 0o777 == 0o600
    assert said(study, "invite", "--count", "3", *words) == 0
    texts = capsys.readouterr().out.split()
    assert len(set(texts)) == 4
    assert all(text.startswith("SOTTOVOCE1-") for text in texts)
    with pytest.raises(StudyError, match="one invite"):
        said(study, "invite", "--count", "2", "--qr", str(picture), *words)
    with pytest.raises(StudyError, match="can't be written"):
        said(study, "invite", "--qr", str(tmp_path / "no" / "x.svg"), *words)
    said(study, "withdraw", *words)
    said(study, "list", *words)
    assert "5 open invites are useless now.\nInvites: 0 open" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["init", "No Name", "--host", "a"], ["init", "north", "--host", "a:8883"],
        ["init", "north", "--host", "fe80::1%eth0"], ["init", "north", "--host", "a b"],
        ["init", "north", "--host", "a", "--port-desk", "0"], ["invite", "--expires", "7"],
        ["invite", "--expires", "91d"], ["invite", "--count", "0"], ["invite", "--count", "1001"],
    ],
)  # fmt: skip
def test_wrong_words_are_refused(words: list[str], tmp_path: Path) -> None:
    with pytest.raises((SystemExit, argparse.ArgumentError)):
        said(study, *words, "--state", str(tmp_path))


def test_what_is_no_invite_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    for words in ("hello", "SOTTOVOCE1-AAAA", "SOTTOVOCE2-AAAA"):
        with pytest.raises(ProtocolError):
            said(enrol, words, "--state", str(tmp_path / "device"))
    assert not (tmp_path / "device").exists()


def home_of(folder: Path, **settings: object) -> Home:
    return open_home(Settings(state=str(folder), **settings), {})  # type: ignore[arg-type]


def test_an_enrolled_device_reports_to_its_study_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    device = tmp_path / "device"
    assert home_of(device).membership is None
    with founded_study(tmp_path) as world:
        text = world.invite().to_text()
        monkeypatch.setattr("sys.stdin", __import__("io").StringIO(f" {text.lower()}\n"))
        assert said(enrol, "-", "--state", str(device)) == 0
        about = world.authority.about
    home = home_of(device)
    assert home.membership is not None
    assert home.membership.pseudonym in capsys.readouterr().out
    assert home.study.name == "north"
    assert home.broker_address == f"127.0.0.1:{about.broker_port}"
    assert home.tls == home.membership.tls
    with home.open_store() as store:
        assert store.pseudonym("north", secrets.token_bytes) == home.membership.pseudonym
    for elsewhere in (
        {"study": "south"},
        {"broker": BrokerSettings(host="other.example", port=about.broker_port)},
    ):
        with pytest.raises(SettingError, match="another study or broker than 'north'"):
            home_of(device, **elsewhere)
    assert home_of(device, study="north").settings == home.settings
    (device / "identity" / "membership").write_bytes(secrets.token_bytes(200))
    with pytest.raises(StoreError, match="enrol --again"):
        home_of(device)


def test_reports_of_no_member_are_refused_and_counted(tmp_path: Path) -> None:
    with (
        founded_study(tmp_path) as world,
        open_store(
            tmp_path / "reports.db", study="north", policy=POLICY.reference, cells=CELLS,
            clock=lambda: datetime.now(UTC),
        ) as store,
    ):  # fmt: skip
        intake = Intake("north", POLICY, store, world.founded.is_member)
        stranger = released_by(1)
        assert intake.receive(stranger.topic, stranger.payload) is Outcome.NO_MEMBER


def test_broker_lists_that_vanish_are_told_and_made_again(tmp_path: Path) -> None:
    with founded_study(tmp_path) as world:
        lists = [world.authority.broker_folder / n for n in ("revoked.crl", "mosquitto.acl")]
        for path in lists:
            path.unlink()
        with pytest.raises(StudyError, match="Start the coordinator again"):
            world.founded._lists()
        renew_revocations(world.authority, world.founded.members, world.clock())
        assert all(path.exists() for path in lists)


def test_a_revocation_list_changes_only_with_what_is_on_it(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ca = CertificateAuthority.found("north", now)
    first = ca.revocation_list([1, 2**158], now)
    assert ca.revocation_list([2**158, 1], now, first) == first
    assert ca.revocation_list([1], now, first) != first
    with pytest.raises(StudyError, match=r"revoked\.crl"):
        ca.revocation_list([1], now, b"torn")
    with pytest.raises(StudyError, match="damaged"):
        CertificateAuthority.read(Pair(b"torn", b"torn"))
    assert CertificateAuthority.read(ca.pair).der == ca.der


@contextmanager
def coordinator(state: Path, *more: str) -> Iterator[dict[str, str]]:
    words = [sys.executable, "-m", "edge_models.command", "coordinator", "--state", str(state)]
    process = subprocess.Popen([*words, *more], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready ")
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield dict(word.split("=", 1) for word in line.split()[1:])
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


@pytest.mark.skipif(mosquitto_path() is None, reason="needs Mosquitto")
def test_a_study_from_its_founding_to_a_revocation(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(study, "invite", "--state", str(state))
    text = capsys.readouterr().out.split()[-1]
    device = tmp_path / "device"
    with coordinator(state) as ready:
        assert ready["mqtt"] == f"127.0.0.1:{open_study(state).about.broker_port}"
        assert said(enrol, text, "--state", str(device)) == 0
        with pytest.raises(InviteRefused, match="used already"):
            said(enrol, text, "--state", str(tmp_path / "thief"))
        home = home_of(device)
        assert home.membership is not None
        broker = home.settings.broker
        name = home.membership.pseudonym

        def told() -> str:
            with Transport(broker.host, broker.port, name, tls=home.tls) as transport:
                try:
                    transport.publish(released())  # another study's: connected, and not let in
                except Explained as fault:
                    return type(fault).__name__ + str(fault)
            return "taken"

        assert "Not authorized" in told()
        said(study, "revoke", name, "--state", str(state))
        assert until(lambda: told().startswith(Revoked.__name__))
        said(study, "list", "--state", str(state))
        assert f"{name}  enrolled" in capsys.readouterr().out


def test_a_coordinator_without_any_study_says_what_to_do(state: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "edge_models.command", "coordinator", "--state"]
    for where, more, expected in (
        (tmp_path / "empty", [], "Name one with --study, or found one"),
        (state, ["--study", "south"], "is 'north', not 'south'"),
    ):
        done = subprocess.run(
            [*words, str(where), *more], capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        assert expected in done.stderr


def test_a_study_names_the_first_root_of_its_updates(state: Path, tmp_path: Path) -> None:
    Press.founded(state / "updates", "north", datetime.now(UTC))
    root = state / "updates" / FIRST_ROOT_FILE
    assert said(study, "trust-root", str(root), "--state", str(state)) == 0
    auth = (state / "updates" / AUTH_FILE).read_bytes()
    authority, content = open_study(state).public_key, root.read_bytes()
    assert pinned_root(content, auth, study="north", authority=authority) == content
    with pytest.raises(UpdateRejected, match="not those that its study signed"):
        pinned_root(b"another", auth, study="north", authority=authority)
    with pytest.raises(StudyError, match="can't be used"):
        said(study, "trust-root", str(tmp_path / "none.json"), "--state", str(state))


def test_the_signature_of_a_bundles_policy_lies_beside_its_folder(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_variant(tmp_path / "next", policy(rho_per_report="1/16"))
    file = tmp_path / "next" / "policy.json"
    assert said(study, "sign-policy", str(file), "--state", str(state)) == 0
    assert "publish bundle next --policy-signature next.policy.sig" in capsys.readouterr().out
    load_bundle(tmp_path / "next")
    assert signed_policy(
        file.read_bytes(),
        (tmp_path / "next.policy.sig").read_bytes(),
        study="north",
        authority=open_study(state).public_key,
    ).name


def test_a_study_vouches_for_nothing_but_its_own_first_root(state: Path, tmp_path: Path) -> None:
    for name in ("north", "south"):
        Press.founded(tmp_path / name, name, datetime.now(UTC))
    Press.founded(tmp_path / "another", "north", datetime.now(UTC))
    (tmp_path / "letter").write_text("Dear north")
    unsigned = json.loads((tmp_path / "north" / FIRST_ROOT_FILE).read_bytes()) | {"signatures": []}
    (tmp_path / "unsigned").write_text(json.dumps(unsigned))
    for file, folder, why in (
        ("letter", "north", "is not a repository's root"),
        ("north/metadata/timestamp.json", "north", "is not a repository's root"),
        ("unsigned", "north", "is not a first root that its keyholders signed"),
        (f"south/{FIRST_ROOT_FILE}", "south", "is a root of the study 'south', not of 'north'"),
        (f"another/{FIRST_ROOT_FILE}", "north", "is not the first root of the repository"),
        (f"north/{FIRST_ROOT_FILE}", "nowhere", "can't be used"),
    ):
        words = (
            str(tmp_path / file),
            "--state",
            str(state),
            "--repository",
            str(tmp_path / folder),
        )
        with pytest.raises(StudyError, match=why) as fault:
            said(study, "trust-root", *words)
        assert fault.value.remedy
    assert not list(tmp_path.rglob(AUTH_FILE)) and not (tmp_path / "nowhere").exists()


def test_a_study_signs_another_policy_and_asks_for_it_once_it_is_adopted(
    state: Path, tmp_path: Path
) -> None:
    (file := tmp_path / "policy.json").write_bytes(encoded(POLICY))
    before = open_study(state)
    assert said(study, "sign-policy", str(file), "--state", str(state)) == 0
    signature = (tmp_path / SIGNATURE_FILE).read_bytes()
    assert signed_policy(
        file.read_bytes(), signature, study="north", authority=before.public_key
    ) == (POLICY)
    assert open_study(state).policy == before.policy
    assert said(study, "sign-policy", str(file), "--adopt", "--state", str(state)) == 0
    after = open_study(state)
    assert after.policy == file.read_bytes()
    assert after.policy_signature == before.policy_signature  # what newcomers have at first
    file.write_bytes(b"{}")
    with pytest.raises(PolicyError):
        said(study, "sign-policy", str(file), "--adopt", "--state", str(state))
    assert open_study(state).policy == after.policy
