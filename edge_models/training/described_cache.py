"""Remembers windows that were described, so that training runs again quickly and resumes.

Rules it upholds: only window functionals are kept, no sound and no descriptors; the folder is its
owner's alone (0700); an entry is written beside and renamed; an entry that is damaged in any way
is described anew.

    <folder>/CACHEDIR.TAG    what this is, and that it may be deleted
    <folder>/<sha256>        one entry: the SHA-256 of what follows, then a NumPy archive

Source: the tag is that of the Cache Directory Tagging Specification; backups leave it out.
"""

import hashlib
import io
import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edge_models.acoustic import SUMMARY_NAMES
from edge_models.errors import RecordingError
from edge_models.training.streams import Floats

_TAG: Final = """\
Signature: 8a477f597d28d172789f06886806bc55
# Functionals of windows of your recordings, kept by `sottovoce train`: delete this folder any time.
"""
_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """What was made of a recording: `summaries` float32 (W, 88), and its `rows` at 100 Hz."""

    summaries: Floats
    rows: int


def usual_folder() -> Path:
    """`sottovoce/described` in XDG_CACHE_HOME, else in ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    above = Path(home) if Path(home).is_absolute() else Path.home() / ".cache"
    return above / "sottovoce" / "described"


class Cache:
    """A folder of entries by key; a key is the SHA-256 of all that an entry depends on."""

    def __init__(self, folder: Path) -> None:
        """Make or open the folder.

        Raises:
            RecordingError: it can't be made or written.
        """
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)
            tag = folder / "CACHEDIR.TAG"
            if not tag.exists():
                tag.write_text(_TAG, encoding="utf-8")
        except OSError as fault:
            raise self._unwritable(fault) from fault

    def get(self, key: str) -> Entry | None:
        """The entry, or None: unknown, or damaged and so to be made again."""
        try:
            content = (self._folder / key).read_bytes()
        except OSError:
            return None
        digest, packed = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(packed).digest() != digest:
            return None
        try:
            with np.load(io.BytesIO(packed), allow_pickle=False) as told:
                entry = Entry(told["summaries"], int(told["rows"]))
        except (ValueError, KeyError, OSError, zipfile.BadZipFile):
            return None
        whole = entry.summaries.dtype == np.float32 and entry.summaries.ndim == 2
        return entry if whole and entry.summaries.shape[1] == len(SUMMARY_NAMES) else None

    def put(self, key: str, entry: Entry) -> None:
        """Keep an entry; it appears whole or not at all.

        Raises:
            RecordingError: the folder can't be written.
        """
        packed = io.BytesIO()
        np.savez(packed, summaries=entry.summaries, rows=entry.rows)
        content = packed.getvalue()
        try:
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as draft:
                draft.write(hashlib.sha256(content).digest() + content)
            Path(draft.name).replace(self._folder / key)
        except OSError as fault:
            raise self._unwritable(fault) from fault

    def _unwritable(self, fault: OSError) -> RecordingError:
        return RecordingError(
            f"The cache '{self._folder}' can't be written: {fault.strerror}.",
            "Name another folder by --cache.",
        )
