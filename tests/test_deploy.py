"""What is deployed: the scripts parse, the unit keeps the promise, the locks hold what is imported.

Read from the files alone; nothing is installed and no network is used.
"""

import ast
import importlib
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from agent.config import load_settings
from agent.keys import CREDENTIAL
from agent.updates import launch
from agent.updates.release_desk import KEPT, STARTS, WANTED

ROOT: Final = Path(__file__).resolve().parent.parent
DEPLOY: Final = ROOT / "deploy"
LOCKS: Final = DEPLOY / "requirements"
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SCRIPTS: Final = ("install.sh", "set_up.sh")
UNITS: Final = ("sottovoce.service", "sottovoce-update.service", "sottovoce-update.path")

OFF_THE_DEVICE: Final = (
    "edge_models/training",
    "edge_models/threats",
    "sync/coordinator",
    "sync/publishing",
)
OUR_ROOMS: Final = {"agent", "edge_models", "sync"}

LAUNCHERS_NOTES: Final = (STARTS, KEPT)

PACKAGE_OF: Final = {
    "cv2": "opencv-python-headless",
    "google": "protobuf",
    "paho": "paho-mqtt",
    "webrtcvad": "webrtcvad-wheels",
}
"""The package that carries a module of another name."""

ONLY_WHERE_ASKED_FOR: Final = {
    "amqtt": "sync.broker: an embedded broker is the coordinator's and the demo's",
    "pyarrow": "agent.tables: Parquet is a researcher's; CSV needs nothing",
}
"""What a device does without: imported inside a function, never when a module loads."""


def _pins(lock: str) -> dict[str, str]:
    lines = (LOCKS / lock).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line.strip() and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def _unit(name: str = "sottovoce.service") -> dict[str, list[str]]:
    """Every key of a unit with its values in order; comments are left out."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / name).read_text(encoding="utf-8").splitlines():
        key, is_pair, value = line.partition("=")
        if is_pair and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def _device_modules() -> list[Path]:
    return [
        path
        for room in sorted(OUR_ROOMS)
        for path in sorted((ROOT / room).rglob("*.py"))
        if not path.relative_to(ROOT).as_posix().startswith(OFF_THE_DEVICE)
    ]


def _imports(nodes: Iterator[ast.AST]) -> set[str]:
    """The first names of what is imported, without our own and the standard library's."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names - OUR_ROOMS - set(sys.stdlib_module_names)


def _while_loading(tree: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported: everything outside functions."""
    for child in ast.iter_child_nodes(tree):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _while_loading(child)


def _package(module: str) -> str:
    return canonicalize_name(PACKAGE_OF.get(module, module))


# The scripts.


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_parse_and_stop_at_the_first_failure(script: str) -> None:
    subprocess.run(["bash", "-n", DEPLOY / script], check=True, timeout=10)
    assert "set -euo pipefail" in (DEPLOY / script).read_text(encoding="utf-8")


def test_the_device_gets_the_device_lock_and_nothing_that_pip_would_add() -> None:
    script = (DEPLOY / "install.sh").read_text(encoding="utf-8")
    fetches = [line for line in script.splitlines() if line.startswith("pip wheel ")]
    installs = [line for line in script.splitlines() if line.startswith("pip install ")]
    assert [line.split()[-1] for line in fetches] == [
        "deploy/requirements/device.txt", '"$source"',
    ]  # fmt: skip
    assert [line.split()[-1] for line in installs] == ['"$house"/*.whl']
    assert all("--no-deps" in line for line in fetches + installs)
    assert all("--no-index" in line for line in installs)
    assert sum("-m pip" in line for line in script.splitlines()) == 1  # what these lines call


def _set_up(folder: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """Run set_up.sh with these programs alone on the path, as somebody who is not root."""
    for name, body in {"id": "echo 1000", "find": "exit 0", **programs}.items():
        program = folder / name
        program.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return subprocess.run(
        [shutil.which("bash") or "bash", DEPLOY / "set_up.sh", folder / "venv", "lock"],
        env={"PATH": str(folder), "PYTHON": "python3.11"},
        capture_output=True,
        text=True,
        timeout=20,
    )


def test_who_may_install_nothing_is_told_what_is_missing_and_by_which_command(
    tmp_path: Path,
) -> None:
    done = _set_up(tmp_path, **{"apt-get": "exit 100"})
    assert done.returncode == 1
    cause, remedy = done.stderr.strip().splitlines()
    assert "gcc" in cause
    assert remedy.startswith("Remedy: sudo apt-get install gcc libc6-dev")
    assert not (tmp_path / "venv").exists()


def test_another_python_is_refused_by_its_version(tmp_path: Path) -> None:
    other = 'case "$2" in *version_info*) echo 3.13;; esac'
    done = _set_up(tmp_path, gcc="exit 0", **{"python3.11": other})
    if not Path("/usr/include/portaudio.h").exists():
        pytest.skip("needs portaudio19-dev: without it, the script asks for that first")
    assert done.returncode == 1
    *before, cause, remedy = done.stderr.strip().splitlines()
    assert "Going on without" in before[0]  # what only tests use is named, and not insisted on
    assert "strace" in before[0]
    assert "3.11 is needed" in cause
    assert "is 3.13" in cause
    assert "make PYTHON=" in remedy


def test_the_torch_of_the_set_up_is_the_torch_of_the_extra() -> None:
    script = (DEPLOY / "set_up.sh").read_text(encoding="utf-8")
    extra = [line for line in PROJECT["optional-dependencies"]["train"] if "torch" in line]
    assert set(re.findall(r"torch==[\d.]+", script)) == set(extra)
    assert f"torch={extra[0]}+cpu\n" in script  # PyPI's own build wants CUDA


# The unit.


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("LimitCORE", "0"),  # no core dump
        ("MemorySwapMax", "0"),  # no page on a disk
        ("ProtectSystem", "strict"),  # nothing writable but the state
        ("ProtectHome", "yes"),
        ("StateDirectory", "sottovoce"),
        ("StateDirectoryMode", "0700"),
        ("CacheDirectoryMode", "0700"),
        ("UMask", "0077"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("User", "sottovoce"),
        ("DevicePolicy", "closed"),
    ],
)
def test_the_unit_keeps_the_promise(key: str, value: str) -> None:
    assert _unit()[key] == [value]


def test_the_service_lets_no_library_report_to_its_maker() -> None:
    assert "ORT_DISABLE_TELEMETRY=1" in _unit()["Environment"]


def test_temporary_files_of_the_service_are_in_memory() -> None:
    (places,) = _unit()["TemporaryFileSystem"]
    assert [place.partition(":")[0] for place in places.split()] == ["/tmp", "/var/tmp"]


def test_the_unit_leaves_the_agent_what_it_works_with() -> None:
    unit = _unit()
    assert "MemoryDenyWriteExecute" not in unit  # ctypes' callbacks are made at run time
    assert "PrivateDevices" not in unit
    assert "PrivateNetwork" not in unit
    assert set(unit["DeviceAllow"]) == {"char-alsa rw", "char-video4linux rw"}
    assert {"AF_UNIX", "AF_INET", "AF_INET6"} <= set(unit["RestrictAddressFamilies"][0].split())
    assert unit["SupplementaryGroups"] == ["audio video"]


def test_the_units_credential_is_the_one_that_the_agent_looks_for() -> None:
    text = (DEPLOY / "sottovoce.service").read_text(encoding="utf-8")
    assert re.findall(r"^#?LoadCredentialEncrypted=([^:\n]+):", text, re.M) == [CREDENTIAL]


@pytest.mark.parametrize("name", UNITS)
def test_systemd_knows_every_line_of_the_units(tmp_path: Path, name: str) -> None:
    analyse = shutil.which("systemd-analyze")
    if analyse is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    for other in UNITS:
        text = (DEPLOY / other).read_text(encoding="utf-8")
        unit = re.sub(r"^ExecStart=(-?)\S+", r"ExecStart=\1/bin/true", text, flags=re.M)
        (tmp_path / other).write_text(unit)
    said = subprocess.run(
        [analyse, "verify", "--recursive-errors=no", tmp_path / name],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "sottovoce" not in said.stderr
    assert said.returncode == 0, said.stderr


# Who writes code, and who runs it.


def test_the_agent_can_not_write_its_own_code() -> None:
    unit = _unit()
    assert unit["ProtectSystem"] == ["strict"]
    assert "ReadWritePaths" not in unit
    assert "BindPaths" not in unit
    (start,) = unit["ExecStart"]
    assert start.startswith("/usr/bin/python3.11 -I /opt/sottovoce/launch.py ")
    assert unit["KillMode"] == ["mixed"]  # the launcher alone is told, and passes it on, once
    assert unit["RestartPreventExitStatus"] == ["2"]


def test_what_installs_releases_has_no_network_and_writes_there_only() -> None:
    unit = _unit("sottovoce-update.service")
    assert unit["PrivateNetwork"] == ["yes"]
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["ReadWritePaths"] == ["/opt/sottovoce/releases /opt/sottovoce/wheels"]
    assert set(unit["CapabilityBoundingSet"][0].split()) == {
        "CAP_DAC_READ_SEARCH", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
    }  # fmt: skip
    assert unit["NoNewPrivileges"] == ["yes"]
    assert "--user sottovoce work" in unit["ExecStart"][-1]


def test_a_broken_release_can_not_keep_the_other_from_settling() -> None:
    starts = _unit("sottovoce-update.service")["ExecStart"]
    for start, slot in zip(starts[:2], "ab", strict=True):
        assert start.startswith(f"-/opt/sottovoce/releases/{slot}/bin/python ")
        assert start.endswith(" settle")


def test_the_installer_is_woken_by_the_notes_that_are_written() -> None:
    unit = _unit("sottovoce-update.path")
    written = {f"/var/lib/sottovoce/updates/{name}" for name in (WANTED, *LAUNCHERS_NOTES)}
    assert set(unit["PathChanged"]) == written
    source = Path(launch.__file__).read_text(encoding="utf-8")
    assert all(f'"{name.partition("/")[2]}"' in source for name in LAUNCHERS_NOTES)


def test_the_script_puts_each_unit_in_place_and_nothing_else_of_the_same_name() -> None:
    script = (DEPLOY / "install.sh").read_text(encoding="utf-8")
    (named,) = re.findall(r"for unit in (.*); do", script)
    assert set(named.split()) == set(UNITS)
    assert {path.name for path in DEPLOY.glob("sottovoce*.*")} == {*UNITS, "sottovoce.toml"}


# The settings.


def test_the_settings_file_is_valid_and_says_the_defaults() -> None:
    assert load_settings(DEPLOY / "sottovoce.toml") == load_settings(None)


def test_the_installed_settings_differ_in_the_state_folder_only(tmp_path: Path) -> None:
    script = (DEPLOY / "install.sh").read_text(encoding="utf-8")
    sed = re.search(r'sed "(s\|\^state.*)" deploy/sottovoce\.toml', script)
    state = re.search(r"^state=(\S+)$", script, re.M)
    assert sed is not None
    assert state is not None
    edit = sed[1].replace("$state", state[1]).replace('\\"', '"')
    installed = tmp_path / "sottovoce.toml"
    installed.write_bytes(
        subprocess.check_output(["sed", edit, DEPLOY / "sottovoce.toml"], timeout=10)
    )
    found = load_settings(installed)
    assert found.state == "/var/lib/sottovoce"
    assert found.model_copy(update={"state": load_settings(None).state}) == load_settings(None)


# The locks.


@pytest.mark.parametrize("lock", ["device.txt", "coordinator.txt"])
def test_a_smaller_lock_agrees_with_the_one_that_the_tests_run_on(lock: str) -> None:
    assert _pins(lock).items() <= _pins("everything.txt").items()


def test_every_dependency_of_the_device_is_locked_at_a_version_that_it_allows() -> None:
    device = _pins("device.txt")
    for requirement in map(Requirement, PROJECT["dependencies"]):
        assert device[canonicalize_name(requirement.name)] in requirement.specifier


def test_everything_that_the_device_imports_is_in_its_lock_and_in_its_dependencies() -> None:
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in _device_modules()]
    imported = set().union(*(_imports(ast.walk(tree)) for tree in trees))
    assert {"numpy", "onnxruntime", "cv2", "paho"} <= imported  # the reader does read
    needed = {_package(module) for module in imported - set(ONLY_WHERE_ASKED_FOR)}
    assert needed <= set(_pins("device.txt"))
    assert needed <= declared


def test_what_a_device_does_without_is_imported_only_where_it_is_asked_for() -> None:
    for path in _device_modules():
        loading = _imports(_while_loading(ast.parse(path.read_text(encoding="utf-8"))))
        assert not loading & set(ONLY_WHERE_ASKED_FOR), path
    assert not {_package(module) for module in ONLY_WHERE_ASKED_FOR} & set(_pins("device.txt"))


@pytest.mark.parametrize(
    "package",
    [
        "jax", "jaxlib", "torch", "sentencepiece", "opencv-contrib-python", "opencv-python",
        "fastapi", "uvicorn", "amqtt", "pyarrow", "pandas", "scipy", "opensmile", "pytest",
    ],
)  # fmt: skip
def test_nothing_heavy_or_foreign_reaches_the_device(package: str) -> None:
    assert package not in _pins("device.txt")


# The commands.


@pytest.mark.parametrize(
    ("name", "module"), sorted(PROJECT["entry-points"]["sottovoce.commands"].items())
)
def test_every_command_can_be_started(name: str, module: str) -> None:
    found = importlib.import_module(module)
    assert callable(found.add_arguments), name
    assert callable(found.run), name
    assert (found.__doc__ or "").strip(), name
