"""Files that are on disk when a call returns: whole or not at all, their names with them.

Source: fsync(2): "explicit fsync() on a file descriptor for the directory is also needed";
syncfs(2): waits until all of the file system is written, and since Linux 5.8 says if it was not.
Place in the life of a bundle: below slots, probation and history.
"""

import contextlib
import ctypes
import os
from pathlib import Path
from typing import Final

DRAFT: Final = ".draft"
"""What a file or link is called before it is put in place by one rename."""


def write_durably(path: Path, content: bytes) -> None:
    """Put a small file in place, whole or not at all, and on disk when this returns.

    Raises:
        OSError: it can't be written; what was there stays.
    """
    draft = path.with_name(f"{DRAFT}.{path.name}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def settle(folder: Path) -> None:
    """Have everything in a folder on disk, and all else on that file system with it.

    One call for all: a release has 11,600 files, and to wait for each takes half a minute.

    Raises:
        OSError: the disk fails, or is full.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(handle):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(handle)


def sync(path: Path) -> None:
    """Have a file or folder on disk; a link is refused.

    Raises:
        OSError: the disk fails, or is full.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
