"""Writes a small file so that a reader finds the old bytes or the new ones, never a piece of them.

Rules it upholds: the new bytes are on the disk before they get the name, and the name is on the
disk before the caller goes on; a draft has one fixed name, so that none are left over after many
cuts of the power, and is never followed as a link.

In the life of a bundle: metadata, the floor of time and each finished download are kept so.
"""

import os
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """Replace the file (mode 600) at once, even if the power fails at any moment.

    Raises:
        OSError: the folder can't be written, or the disk is full; the old file is as it was.
    """
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            draft.unlink(missing_ok=True)
            raise
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have what was renamed or removed in a folder on the disk before going on.

    Raises:
        OSError: it can't be.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
