"""The files of a bundle's folder: listed, plain, of the size and hash that the manifest says.

Rules it upholds: a file's size and hash are checked before a byte of it is parsed; a file too
many, too few or altered is refused by name; no link is followed, and no more is read than allowed.

Place in the life of a bundle: folder → manifest → **verified files** → what they hold.
"""

import hashlib
from pathlib import Path
from typing import Final

from edge_models.errors import BundleError
from edge_models.manifest import (
    LARGEST_MANIFEST_BYTES,
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    parse_manifest,
)

_AGAIN: Final = "Install the bundle again."


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder.

    Raises:
        BundleError: there is none, or none that is understood.
    """
    return parse_manifest(read_plain(folder, MANIFEST_NAME, LARGEST_MANIFEST_BYTES))


def verified(folder: Path, entry: FileEntry) -> bytes:
    """The bytes of one file.

    Raises:
        BundleError: it is missing, not a plain file, or not the one that the manifest describes.
    """
    raw = read_plain(folder, entry.name, entry.bytes)
    if len(raw) != entry.bytes or hashlib.sha256(raw).hexdigest() != entry.sha256:
        raise BundleError(
            f"The bundle's file '{entry.name}' is not the one that its manifest describes.",
            f"{_AGAIN} It was altered or damaged.",
        )
    return raw


def refuse_unlisted(folder: Path, manifest: Manifest) -> None:
    """See that the folder holds nothing but what the manifest lists.

    Raises:
        BundleError: it does; the cause names the first such file.
    """
    listed = {entry.name for entry in manifest.files} | {MANIFEST_NAME}
    extra = sorted(path.name for path in folder.iterdir() if path.name not in listed)
    if extra:
        raise BundleError(
            f"The bundle's folder holds a file that its manifest doesn't list: {extra[0]!a}.",
            "Remove it, or install the bundle again.",
        )


def read_plain(folder: Path, name: str, largest_bytes: int) -> bytes:
    """At most one byte more than allowed of a plain file: enough to notice.

    Raises:
        BundleError: it can't be read, or is a link, a folder or a pipe.
    """
    path = folder / name
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise BundleError(f"The bundle's '{name}' is not a plain file.", _AGAIN)
    try:
        with path.open("rb") as file:
            return file.read(largest_bytes + 1)
    except OSError as fault:
        raise BundleError(
            f"The bundle's file '{name}' can't be read from '{folder}'.",
            f"{_AGAIN} Or give the folder that holds {MANIFEST_NAME}.",
        ) from fault
