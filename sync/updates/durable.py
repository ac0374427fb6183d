"""Files that are on disk when a call returns: the old bytes or the new ones, their names with them.

Rules it upholds: the new bytes are on the disk before they get the name, and the name is on the
disk before the caller goes on; a draft has one fixed name, so that none are left over after many
cuts of the power, and is never followed as a link; a lock ends with its process, however it ends.

In the life of a bundle: metadata, the floor of time, downloads, slots and history are kept so.

Source: rename(2) ("atomically replaced"), fsync(2) (a name needs its folder's), syncfs, flock.
"""

import contextlib
import ctypes
import fcntl
import os
from pathlib import Path
from typing import BinaryIO, Final

DRAFT: Final = ".draft"
"""How the name of a file or link begins before it is put in place by one rename."""


def write_durably(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a small file at once, even if the power fails at any moment.

    Raises:
        OSError: the folder can't be written, or the disk is full; the old file is as it was.
    """
    draft = path.with_name(f"{DRAFT}.{path.name}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, flags, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def locked_file(path: Path, *, wait: bool = True) -> BinaryIO:
    """An open file (mode 0600) that no other holder of this lock has; closing it lets it go.

    Raises:
        BlockingIOError: another one has it, and it is not waited for.
        OSError: it can't be opened.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    file = os.fdopen(handle, "r+b", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        file.close()
        raise
    return file


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
    """Have a file, or the names in a folder, on disk; a link is refused.

    Raises:
        OSError: the disk fails, or is full.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
