"""`sottovoce publish`: what it says, and that it says what to do next."""

from pathlib import Path

import pytest

from edge_models.command import main
from sync.publishing.repository import Repository
from tests.signing import PEOPLE, founded, keys_of, said
from tests.test_publishing_kinds import COMMON, NATIVE, bundle_folder, head, own, wheelhouse


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One machine with all keys and a repository, as in a trial."""
    monkeypatch.chdir(tmp_path)
    founded(tmp_path / "repository", keys_of(tmp_path, *PEOPLE, "online"))
    return tmp_path


REPOSITORY = ("--repository", "repository")
ONLINE = (*REPOSITORY, "--key", "online.key.pem")
ALL = (*ONLINE, "--key", "asha.key.pem", "--key", "ben.key.pem")


def test_with_all_keys_at_hand_one_command_publishes(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle_folder(here / "next", "9.0.0")
    (here / "policy.sig").write_bytes(bytes(64))
    said("bundle", "next", "--policy-signature", "policy.sig", *ALL)
    out = capsys.readouterr().out
    assert "Published: bundle affect-1 1 9.0.0" in out and "sottovoce rollout start" in out
    assert "% of the whole" in out
    assert not list(here.glob("staged-*.json"))
    (listed, *_) = Repository(here / "repository").state().bundles.listed
    assert listed.offer is not None and listed.offer.policy_signature == "00" * 64


def test_a_release_and_a_head_are_published(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheelhouse(here / "wheels", own("0.2.0"), *COMMON, *NATIVE)
    said("release", "wheels", *ALL)
    (here / "head.json").write_bytes(head(4))
    said("head", "head.json", *ONLINE)
    out = capsys.readouterr().out
    assert "For cp311-linux-aarch64, cp311-linux-x86_64." in out
    assert "Published: release sottovoce 1 0.2.0" in out
    assert "Published head 4 of affect-1." in out


def test_it_says_who_has_to_sign_yet(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheelhouse(here / "wheels", own("0.2.0"), *COMMON, *NATIVE)
    said("release", "wheels", *ONLINE, "--key", "cleo.key.pem", "--platform", "cp311-linux-aarch64")
    out = capsys.readouterr().out
    assert "'staged-release.json' waits; it is signed by cleo (" in out
    assert "Still needed is one of: asha, ben." in out
    said("sign", "staged-release.json", "--yes", "--repository", "elsewhere", "--key",
         "ben.key.pem")  # fmt: skip
    out = capsys.readouterr().out
    assert "releases/1.json (0.2.0, " in out
    assert "It has all signatures of people." in out
    said("root", "sign", "staged-release.json", *ONLINE)
    assert "Published: release sottovoce 1 0.2.0" in capsys.readouterr().out


def test_it_shows_keys_roles_the_log_and_how_long_all_is_fresh(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "cleo.key.pem").unlink()
    said("key", "list")
    out = capsys.readouterr().out
    assert out.count("signs here") == 3 and out.count("public half only") == 1
    said("root", "show", *REPOSITORY)
    assert capsys.readouterr().out.count("signed by 2 of: asha (") == 4
    said("refresh", *ONLINE)
    assert "Nothing was due: fresh until" in capsys.readouterr().out
    said("refresh", "--always", *ONLINE)
    assert "Renewed: fresh until" in capsys.readouterr().out
    said("log", *REPOSITORY)
    out = capsys.readouterr().out
    assert "online: root-init" in out and "The log is whole: 2 acts" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("log", "--repository", "nowhere"), "There is no repository in 'nowhere'"),
        (("refresh", "--always", *REPOSITORY), "online key of: online"),
        (("refresh", *REPOSITORY, "--key", "none.key.pem"), "'none.key.pem' can't be used"),
        (("root", "init", "north", "--person", "asha.pub.json", "--online", "online.pub.json",
          *REPOSITORY), "There is a repository in 'repository' already"),
        (("root", "rotate", "--replace", "zoe=asha.pub.json", *REPOSITORY), "Nobody called 'zoe'"),
        (("root", "rotate", "--add", "asha.pub.json", *REPOSITORY), "is one of the keys in use"),
        (("root", "rotate", "--remove", "asha", "--remove", "ben", *REPOSITORY), "2 signatures"),
        (("bundle", "nothing", *ALL), "can't be read"),
        (("head", "asha.pub.json", *ONLINE), "not a head that a coordinator signed"),
        (("release", "nothing", *ALL), "'nothing' is not a folder of wheels"),
        (("root", "rotate", "--replace", "ben=ben.pub.json", *REPOSITORY), "not a new one"),
        (("root", "rotate", "--add", "online.pub.json", *REPOSITORY), "not a new one"),
        (("sign", "asha.pub.json"), "not a staged draft"),
    ],
)  # fmt: skip
def test_what_can_not_be_done_is_said_in_two_sentences(
    words: tuple[str, ...], says: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in here.rglob("*.json*") if path.is_file()}
    assert main(["publish", *words]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("sottovoce publish: ") and says in shown and "Traceback" not in shown
    after = {path: path.read_bytes() for path in here.rglob("*.json*") if path.is_file()}
    assert after == before


def test_a_repository_that_is_damaged_is_said_so(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "repository" / "audit.jsonl").unlink()
    (here / "repository" / "audit.jsonl").mkdir()
    assert main(["publish", "refresh", "--always", *ONLINE]) == 1
    assert "audit.jsonl' can't be used" in capsys.readouterr().err
    (here / "repository" / "metadata" / "timestamp.json").unlink()
    assert main(["publish", "refresh", "--always", *ONLINE]) == 1
    assert "There is no repository in 'repository'" in capsys.readouterr().err
