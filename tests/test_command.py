"""The command is assembled: found by entry point, loaded lazily, and kind about what is missing."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from edge_models import command
from edge_models.errors import Explained


def _with_command(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setattr(command, "entry_points", lambda group: [EntryPoint("probe", module, group)])


def test_help_lists_every_command_with_its_first_line_and_imports_none_of_them() -> None:
    code = (
        "import sys\nfrom edge_models.command import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'fastapi', 'mediapipe', 'cv2', 'onnxruntime', 'pyaudio'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    for name in ("run", "describe", "demo", "coordinator", "train", "page"):
        assert f"\n    {name}" in said
    assert "LOADED []" in said


def test_a_missing_package_is_answered_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    def absent(name: str) -> object:
        raise ModuleNotFoundError("No module named 'fastapi'", name="fastapi")

    _with_command(monkeypatch, "sync.coordinator.serve")
    monkeypatch.setattr("importlib.import_module", absent)
    assert command.main(["probe"]) == 1
    assert "pip install --no-deps -r deploy/requirements/coordinator.txt" in capsys.readouterr().err


def test_our_own_missing_module_is_a_bug_and_is_not_disguised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _with_command(monkeypatch, "agent.nothing_of_that_name")
    with pytest.raises(ModuleNotFoundError):
        command.main(["probe"])


def test_an_explained_failure_prints_cause_and_remedy_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Module:
        """A probe."""

        @staticmethod
        def add_arguments(parser: object) -> None:
            pass

        @staticmethod
        def run(arguments: object) -> int:
            raise Explained("The lamp is dark.", "Change the bulb.")

    _with_command(monkeypatch, "agent.run")
    monkeypatch.setattr("importlib.import_module", lambda name: Module)
    assert command.main(["probe"]) == 1
    assert "The lamp is dark. Change the bulb." in capsys.readouterr().err


def test_an_unknown_command_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        command.main(["sing"])
    assert left.value.code == 2
    assert "describe" in capsys.readouterr().err
