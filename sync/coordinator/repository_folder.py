"""The study's repository on the coordinator's disk: plain files, opened by name and never beyond.

Rules upheld here: a name is one that a repository may have (`asks.is_of_repository`); no step of
the way to a file is a link; what is opened is a plain file. Whatever else lies in or beside the
folder (keys, drafts, the members) is given to nobody. It is only read.

In the life of a bundle: where `publishing` has put it, until `file_desk` or the page gives it out.
"""

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sync.updates.asks import Look, is_of_repository

UPDATES_FOLDER: Final = "updates"
"""Of a coordinator's state folder, unless it is told another."""

_TIMESTAMP: Final = "metadata/timestamp.json"
_ROLLOUT: Final = "rollout.json"
_MOST_NOTED_BYTES: Final = 256 * 1024
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_THERE: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG}


@contextmanager
def opened(folder: Path, path: str) -> Iterator[tuple[int, int]]:
    """A descriptor of a repository's file, and its length in bytes.

    Raises:
        FileNotFoundError: there is none that may be given out.
        OSError: there is one, and it can't be read.
    """
    handle = _handle(folder, path)
    try:
        told = os.fstat(handle)
        if not stat.S_ISREG(told.st_mode):
            raise FileNotFoundError(path)
        yield handle, told.st_size
    finally:
        os.close(handle)


def _handle(folder: Path, path: str) -> int:
    if not is_of_repository(path):
        raise FileNotFoundError(path)
    *steps, name = path.split("/")
    try:
        at = os.open(folder, _FOLDER)
        try:
            for step in steps:
                inner = os.open(step, _FOLDER | os.O_NOFOLLOW, dir_fd=at)
                os.close(at)
                at = inner
            return os.open(name, _FILE, dir_fd=at)
        finally:
            os.close(at)
    except OSError as fault:
        if fault.errno in _NOT_THERE:
            raise FileNotFoundError(path) from fault
        raise


class Lookout:
    """Notices that a repository's timestamp or rollout was replaced. One thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._marks: tuple[tuple[int, ...], ...] = ((), ())
        self._newest: tuple[int, int] | None = None

    def newest(self, now: int) -> Look | None:
        """What was there at the last look, told at `now`; None where there is no repository."""
        return None if self._newest is None else Look(*self._newest, now)

    def news(self, now: int) -> Look | None:
        """Look: what is there, if it is another than at the last look."""
        marks = (_mark(self._folder, _TIMESTAMP), _mark(self._folder, _ROLLOUT))
        if marks == self._marks:
            return None
        self._marks = marks
        if not marks[0]:
            self._newest = None
            return None
        self._newest = _version(self._folder), _directive(self._folder)
        return self.newest(now)


def _mark(folder: Path, path: str) -> tuple[int, ...]:
    """What changes whenever a file is replaced; nothing where there is none to be had."""
    try:
        with opened(folder, path) as (handle, _):
            told = os.fstat(handle)
            return told.st_ino, told.st_size, told.st_mtime_ns
    except OSError:
        return ()


def _version(folder: Path) -> int:
    """The version that the timestamp says it has; 0 where it says none."""
    noted = _noted(folder, _TIMESTAMP)
    signed = noted.get("signed") if isinstance(noted, dict) else None
    return _number(signed.get("version")) if isinstance(signed, dict) else 0


def _directive(folder: Path) -> int:
    """The highest `number` that is anywhere in the rollout's file; 0 where there is none."""
    highest, pending = 0, [_noted(folder, _ROLLOUT)]
    while pending:
        found = pending.pop()
        if isinstance(found, dict):
            highest = max(highest, _number(found.get("number")))
            pending += found.values()
        elif isinstance(found, list):
            pending += found
    return highest


def _noted(folder: Path, path: str) -> object:
    """A file's JSON; it is our own, and only a hint is made of it."""
    try:
        with opened(folder, path) as (handle, _):
            return json.loads(os.pread(handle, _MOST_NOTED_BYTES, 0))
    except (OSError, ValueError, RecursionError):
        return None


def _number(found: object) -> int:
    return found if type(found) is int and 0 <= found < 2**64 else 0
