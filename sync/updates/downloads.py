"""Fetches one file to the disk: resumable, counted, and nameless until every byte is right.

Rules it upholds: what has not been verified lies in a hidden `.part` that nothing else opens; a
part belongs to one hash, and parts of another are thrown away; a cut costs only what was on its
way; more than was signed for is never written; no link is followed and no name leads outside of
the folder; the disk is asked for room before it is filled.

In the life of a bundle: `trust` says which bytes are wanted, a `Source` gives them, this keeps
them, and only then may anything look inside.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from sync.updates.durable import sync
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.source import Source

_PIECE_BYTES: Final = 256 * 1024
_MOST_NAME_BYTES: Final = 200
_SPARE_BYTES: Final = 4 * 1024 * 1024
"""What a download leaves free on the disk, for the store and its journal."""

Hashes = Sequence[tuple[str, str]]
"""Names of algorithms and what they must give, in hex; every one of them is checked."""


def fetch(source: Source, path: str, *, length: int, hashes: Hashes, into: Path, name: str) -> Path:
    """The file `into / name`, `length` bytes long, with these hashes; fetched if it isn't there.

    Raises:
        UpdateRejected: ALTERED, TOO_LARGE, BAD_PATH, MALFORMED (an unknown hash), NO_ROOM, or what
            the source says. After UNREACHABLE and TOO_SLOW what came is kept for the next call.
    """
    with disk_faults():
        _check_place(into, name)
        final = into / name
        if _holds(final, length, hashes):
            return final
        part = _part_of(into, name, hashes)
        if not _filled(source, path, part, length, hashes) and not _filled(
            source, path, part, length, hashes
        ):
            raise UpdateRejected(
                Reason.ALTERED, "An update's file is not the one that was signed for."
            )
        part.replace(final)
        sync(into)
        return final


@contextlib.contextmanager
def disk_faults() -> Iterator[None]:
    """Say in one sentence what the disk refused.

    Raises:
        UpdateRejected: NO_ROOM, or BAD_PATH where a link or a folder lies in a file's place.
    """
    try:
        yield
    except OSError as fault:
        if fault.errno in (errno.ELOOP, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise UpdateRejected(
                Reason.BAD_PATH, "A link or a folder lies where an update's file belongs."
            ) from fault
        if fault.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_room() from fault
        raise UpdateRejected(
            Reason.NO_ROOM,
            f"Updates can't be kept on this disk ({fault.strerror}).",
            "Check that the disk is writable; what runs now stays as it is.",
        ) from fault


def _check_place(into: Path, name: str) -> None:
    if into.is_symlink():
        raise UpdateRejected(Reason.BAD_PATH, "The folder for updates is a link to elsewhere.")
    bad = not name or name.startswith(".") or "/" in name or "\0" in name
    if bad or len(name.encode()) > _MOST_NAME_BYTES:
        raise UpdateRejected(Reason.BAD_PATH, "An update's file has a name that leads elsewhere.")
    if (into / name).is_symlink() or (into / name).is_dir():
        raise UpdateRejected(
            Reason.BAD_PATH, "A link or a folder lies where an update's file belongs."
        )
    into.mkdir(mode=0o700, parents=True, exist_ok=True)


def _part_of(into: Path, name: str, hashes: Hashes) -> Path:
    """The part's path; every part of this name with another hash is removed on the way."""
    whose = hashlib.sha256(name.encode()).hexdigest()[:16]
    what = hashlib.sha256(repr(sorted(hashes)).encode()).hexdigest()[:16]
    mine = into / f".{whose}-{what}.part"
    for other in into.glob(f".{whose}-*.part"):
        if other != mine:
            other.unlink()
    return mine


def _filled(source: Source, path: str, part: Path, length: int, hashes: Hashes) -> bool:
    """Fill the part to its end; False if what was kept from before turned out to be of no use."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(part, flags, 0o600), "r+b") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.ELOOP, "no plain file")
        if os.fstat(file.fileno()).st_size > length:
            file.truncate(0)
        digests = [_digest(algorithm) for algorithm, _ in hashes]
        start = have = _hashed(file, digests)
        if shutil.disk_usage(part.parent).free < length - have + _SPARE_BYTES:
            if not have:
                part.unlink()
            raise _no_room()
        try:
            for piece in source.read(path, length, start) if have < length else ():
                have += len(piece)
                if have > length:
                    raise UpdateRejected(
                        Reason.TOO_LARGE, "An update's file is longer than what was signed for."
                    )
                file.write(piece)
                for digest in digests:
                    digest.update(piece)
            file.flush()
            os.fsync(file.fileno())
        except UpdateRejected as fault:
            if not have or fault.reason in (Reason.TOO_LARGE, Reason.ALTERED):
                part.unlink()
            raise
        except OSError:
            part.unlink()  # a full disk hurts more than a download that starts anew
            raise
        right = [
            digest.hexdigest() == wanted
            for digest, (_, wanted) in zip(digests, hashes, strict=True)
        ]
        if have == length and all(right):
            return True
        part.unlink()
        if not start:
            raise UpdateRejected(
                Reason.ALTERED, "An update's file is not the one that was signed for."
            )
        return False


def _holds(path: Path, length: int, hashes: Hashes) -> bool:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            digests = [_digest(algorithm) for algorithm, _ in hashes]
            if os.fstat(file.fileno()).st_size != length or _hashed(file, digests) != length:
                return False
    except FileNotFoundError:
        return False
    return all(d.hexdigest() == wanted for d, (_, wanted) in zip(digests, hashes, strict=True))


def _hashed(file: BinaryIO, digests: Sequence[Any]) -> int:
    count = 0
    while piece := file.read(_PIECE_BYTES):
        count += len(piece)
        for digest in digests:
            digest.update(piece)
    return count


def _digest(algorithm: str) -> Any:
    if algorithm == "blake2b-256":
        return hashlib.blake2b(digest_size=32)
    if algorithm not in hashlib.algorithms_guaranteed or algorithm.startswith("shake"):
        raise UpdateRejected(
            Reason.MALFORMED, "An update's file has a hash that is not known here."
        )
    return hashlib.new(algorithm)


def _no_room() -> UpdateRejected:
    return UpdateRejected(
        Reason.NO_ROOM,
        "There is no room for an update on this disk.",
        "Free some space; what runs now stays as it is.",
    )
