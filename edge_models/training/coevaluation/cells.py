"""Finished parts of an evaluation on disk, so that an interrupted run resumes.

Rules it upholds: a part is written beside and renamed; parts of other recordings, another seed,
other options or other code are never mixed in: they are removed; only numbers and words are kept
(no pickle), readable by their owner alone, until the evaluation is complete.
"""

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import RecordingError
from edge_models.training.whole import written_whole

Arrays = Mapping[str, npt.NDArray[Any]]

_NAME: Final = "unfinished"
_KEY: Final = "key.txt"


def key_of(arrays: Iterable[npt.NDArray[Any]], words: Iterable[str]) -> str:
    """What a run depends on, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    for word in words:
        digest.update(word.encode() + b"\0")
    return digest.hexdigest()


def code_of(folder: Path, without: Iterable[str] = ()) -> str:
    """A hash of the Python sources below a folder, `without` some named modules."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        if path.name not in without:
            digest.update(path.read_bytes())
    return digest.hexdigest()


class Cells:
    """A folder `unfinished`, or another name, of named parts, for one key."""

    def __init__(self, out: Path, key: str, name: str = _NAME) -> None:
        """Open or begin.

        Raises:
            RecordingError: the folder can't be made or written.
        """
        self._folder = out / name
        told = self._folder / _KEY
        try:
            if not told.exists() or told.read_text(encoding="utf-8") != key:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder.mkdir(parents=True, mode=0o700)
                told.write_text(key, encoding="utf-8")
        except OSError as fault:
            raise RecordingError(
                f"'{out}' can't be written.", "Give --out a folder of yours."
            ) from fault

    def get(self, name: str) -> dict[str, npt.NDArray[Any]] | None:
        """A finished part, or None."""
        path = self._folder / f"{name}.npz"
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as told:
            return {str(key): told[key] for key in told.files}

    def put(self, name: str, arrays: Arrays) -> None:
        """Keep a part."""
        with written_whole(self._folder / f"{name}.npz") as part, part.open("wb") as file:
            np.savez(file, **arrays)

    def remove(self) -> None:
        """Forget everything: the evaluation is written."""
        shutil.rmtree(self._folder, ignore_errors=True)
