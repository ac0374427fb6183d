"""Makes wheels for tests, by the standard alone, and releases of them; nothing is built or fetched.

A small release is a package called `sottovoce` whose command and self-test say what they are told
to. The real one is this project, packed as `pip wheel` packs it.
"""

import base64
import hashlib
import json
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sync.updates.wheels import Platform, Wheel, WheelList, this_platform

ROOT: Final = Path(__file__).resolve().parent.parent
_COMMAND: Final = """
import sys, json, os, time

def main():
    if sys.argv[1:] == ["--version"]:
        print("sottovoce {says}")
        return
    {runs}
"""
_SELF_TEST: Final = """
{first}
print({answer!r})
"""


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, bytes | str],
    *,
    tag: str = "py3-none-any",
    entry_points: str = "",
) -> Path:
    """A wheel of these files, as the standard has it; returns where it lies."""
    info = f"{name}-{version}.dist-info"
    everything = {path: c.encode() if isinstance(c, str) else c for path, c in files.items()}
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    everything[f"{info}/METADATA"] = about.encode()
    pure = str(tag.endswith("-any")).lower()
    kind = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: {pure}\nTag: {tag}\n"
    everything[f"{info}/WHEEL"] = kind.encode()
    if entry_points:
        everything[f"{info}/entry_points.txt"] = entry_points.encode()
    rows = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(c).digest()).rstrip(b'=').decode()},{len(c)}"
        for path, c in everything.items()
    ]
    everything[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in everything.items():
            archive.writestr(path, content)
    return wheel


def small_release(
    folder: Path,
    says: str,
    *,
    runs: str = "",
    first: str = "",
    answer: Mapping[str, object] | None = None,
) -> Path:
    """The wheel of a small `sottovoce`: what its command does, and how its self-test answers."""
    files = {
        "edge_models/__init__.py": "",
        "edge_models/command.py": _COMMAND.format(says=says, runs=runs or "pass"),
        "agent/__init__.py": "",
        "agent/updates/__init__.py": "",
        "agent/updates/self_test.py": self_test_of(says, first, answer or {}),
    }
    commands = "[console_scripts]\nsottovoce = edge_models.command:main\n"
    return make_wheel(folder, "sottovoce", says, files, entry_points=commands)


def self_test_of(says: str, first: str = "", answer: Mapping[str, object] | None = None) -> str:
    """The source of a small release's self-test: what it does first, and what it answers."""
    said = {"says": says, "modules": 1, "golden": True, "store_reads": [3], "store_writes": 3}
    return _SELF_TEST.format(first=first, answer=json.dumps(said | dict(answer or {})))


def project_wheel(folder: Path) -> Path:
    """This project's own wheel: its packages, their files, its command and sub-commands."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    files = {
        path.relative_to(ROOT).as_posix(): path.read_bytes()
        for room in ("agent", "edge_models", "sync")
        for path in sorted((ROOT / room).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    groups = {"console_scripts": project["scripts"], **project["entry-points"]}
    entry_points = "\n".join(
        f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in entries.items())
        for group, entries in groups.items()
    )
    return make_wheel(folder, project["name"], project["version"], files, entry_points=entry_points)


def described(wheel: Path) -> Wheel:
    """A wheel as a list names it."""
    content = wheel.read_bytes()
    return Wheel(file=wheel.name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def list_of(says: str, serial: int, *wheels: Path, platform: str = "") -> WheelList:
    """A release of these wheels for one platform (default: this one)."""
    files = tuple(wheel.name for wheel in wheels)
    return WheelList(
        version=1,
        name="sottovoce",
        serial=serial,
        says=says,
        wheels=tuple(described(wheel) for wheel in wheels),
        platforms=(Platform(name=platform or this_platform(), files=files),),
    )
