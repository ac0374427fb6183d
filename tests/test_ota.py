"""`sottovoce ota` as a person at the device uses it: what runs, take it, answer, take it back."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import SettingError, SlotError
from agent.updates import ota, own
from agent.updates.locks import held_by_the_agent
from edge_models.errors import Explained
from sync.updates.rejected import UpdateRejected
from tests.founding import Clock
from tests.press import Press
from tests.updating import SHIPPED_VERSION, Change, home_in, text, write_variant


@pytest.fixture
def press(tmp_path: Path) -> Press:
    return Press.founded(tmp_path / "stick", "north", Clock()())


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def trusting(press: Press, state: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Path]:
    assert said("init", str(press.repository.folder / "metadata" / "1.root.json"), state=state) == 0
    assert "trusted from that root on" in capsys.readouterr().out
    yield state


def said(*words: str, state: Path) -> int:
    """Run the command in this process."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    ota.add_arguments(parser)
    return ota.run(parser.parse_args([*words, "--state", str(state)]))


def publish(press: Press, folder: Path, *changes: Change, **manifest: object) -> None:
    press.bundle(write_variant(folder, *changes, **manifest), Clock()())  # type: ignore[arg-type]


def heard(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_a_new_device_says_what_it_has(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said("status", state=state)
    out = heard(capsys)
    assert f"Runs:    affect-1 {SHIPPED_VERSION}, as shipped" in out and "no keys yet" in out
    said("history", state=state)
    assert heard(capsys) == "No update has come to this device yet.\n"


def test_a_stick_brings_an_update_and_the_person_goes_back(
    trusting: Path, press: Press, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stick = str(press.repository.folder)
    publish(press, tmp_path / "new", text("CARD.md", "# Better"))
    said("refresh", "--from", stick, state=trusting)
    assert "Offered: affect-1 1.0.1, update 1" in heard(capsys)
    said("apply", "--from", stick, state=trusting)
    assert "Switched to affect-1 1.0.1, update 1." in heard(capsys)
    said("status", state=trusting)
    out = heard(capsys)
    assert (
        "update 1 (on probation)" in out
        and f"Before:  affect-1 {SHIPPED_VERSION}, as shipped" in out
    )
    said("apply", "--from", stick, state=trusting)
    assert "What runs is the newest" in heard(capsys)
    said("rollback", state=trusting)
    assert f"affect-1 {SHIPPED_VERSION}, as shipped runs now" in heard(capsys)
    assert home_in(trusting).serial == 0
    said("history", state=trusting)
    out = heard(capsys)
    assert "fetched and checked" in out and "gone back from: The person at the device" in out
    with pytest.raises(SlotError):
        said("rollback", state=trusting)


def test_what_asks_for_a_yes_is_shown_whole_and_waits(
    trusting: Path, press: Press, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    stick = str(press.repository.folder)
    publish(press, tmp_path / "new", text("consent.md", "# Read me\nAll of it.\n"),
            consent_version=2)  # fmt: skip
    with pytest.raises(SettingError, match="Nobody is here"):
        said("apply", "--from", stick, state=trusting)
    assert "All of it." in heard(capsys)
    said("status", state=trusting)
    assert "for your yes" in heard(capsys)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "y")
    said("apply", state=trusting)
    assert "Switched to affect-1 1.0.1" in heard(capsys)


def test_a_no_is_kept(
    trusting: Path, press: Press, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stick = str(press.repository.folder)
    publish(press, tmp_path / "new", text("consent.md", "# Other\n"), consent_version=2)
    said("apply", "--from", stick, "--no", state=trusting)
    assert "is not taken" in heard(capsys)
    assert home_in(trusting).serial == 0
    said("status", state=trusting)
    assert "for your yes" not in heard(capsys)
    said("apply", "--yes", state=trusting)  # by hand, one may think again
    assert home_in(trusting).serial == 1


@pytest.mark.parametrize("words", [("refresh",), ("apply",)])
def test_a_device_in_no_study_has_to_be_told_where_updates_lie(
    state: Path, words: tuple[str, ...]
) -> None:
    with pytest.raises(SettingError, match="--from"):
        said(*words, state=state)


def test_where_the_settings_name_a_bundle_none_is_taken(
    press: Press, state: Path, tmp_path: Path
) -> None:
    home = home_in(state, bundle=str(write_variant(tmp_path / "own")))
    with pytest.raises(SettingError, match="not taken"):
        own.apply(home, str(press.repository.folder), answer=True, ask=lambda _: True)
    assert home.slots.staged() is None and home.slots.current() is None


def test_an_unknown_root_is_not_trusted(state: Path, tmp_path: Path) -> None:
    (file := tmp_path / "root.json").write_bytes(b"{}")
    with pytest.raises(SettingError, match="not a repository's root"):
        said("init", str(file), state=state)
    with pytest.raises(Explained, match="can't be read"):
        said("init", str(tmp_path / "none.json"), state=state)


def test_a_folder_without_updates_is_said_so(state: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="holds no updates"):
        said("apply", "--from", str(tmp_path / "nothing"), state=state)


def test_without_a_root_nothing_is_taken(state: Path, press: Press) -> None:
    with pytest.raises(UpdateRejected, match="knows no keys"):
        said("apply", "--from", str(press.repository.folder), state=state)


def test_one_agent_runs_with_a_state_folder(state: Path) -> None:
    home = home_in(state)
    with (
        held_by_the_agent(home),
        pytest.raises(SlotError, match="Another agent"),
        held_by_the_agent(home),
    ):
        pass
    assert own.status(home)[0].startswith("Runs:")
