"""A bundle's archive by the shortest way: a patch to what runs, or else the whole file.

Rules it upholds: a patch is tried only on the very bytes that it was made for; what comes of it
counts only if it has the hash that was signed for the whole file; a patch that can't be used costs
its own bytes and nothing else, because then the whole file is fetched.

In the life of a bundle: rollout or person → **here** → the idle slot.
"""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Final

from sync.updates import archive, deltas
from sync.updates.downloads import disk_faults
from sync.updates.durable import write_durably
from sync.updates.offers import Delta
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.targets import Target
from sync.updates.trust import Trust

_COMES_AGAIN: Final = frozenset({Reason.UNREACHABLE, Reason.TOO_SLOW, Reason.NO_ROOM})
"""Not the patch's fault: the whole file would fare no better."""
_OLD: Final = ".running.bundle"


def fetched(trust: Trust, target: Target, *, running: Path, into: Path) -> Path:
    """The target's archive in the folder `into`; `running` is the folder of the running bundle.

    Raises:
        UpdateRejected: as `Trust.download`; what came is kept for the next try.
    """
    with disk_faults():
        into.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (delta := _delta_for(target, running)) is not None:
        try:
            _patched(trust, target, delta, running, into)
        except UpdateRejected as fault:
            if fault.reason in _COMES_AGAIN:
                raise
    return trust.download(target, into)  # it looks first whether the whole file is there


def clear(into: Path) -> None:
    """Remove what was fetched, whole or in part; it is in its slot, or of no use any more."""
    for path in into.iterdir() if into.is_dir() else ():
        with suppress(OSError):
            path.unlink()


def _delta_for(target: Target, running: Path) -> Delta | None:
    if target.offer is None or not target.offer.deltas:
        return None
    try:
        runs = hashlib.sha256(archive.pack(running)).hexdigest()
    except (OSError, UpdateRejected):
        return None  # what can't be packed is no beginning for a patch
    return next((delta for delta in target.offer.deltas if delta.from_sha256 == runs), None)


def _patched(trust: Trust, target: Target, delta: Delta, running: Path, into: Path) -> None:
    found = trust.offer(delta.path)
    if found is None or found.role != target.role:
        raise UpdateRejected(Reason.UNKNOWN, "The study does not offer the patch that it names.")
    patch, old = trust.download(found, into), into / _OLD
    try:
        with disk_faults():
            write_durably(old, archive.pack(running))
        deltas.patch(old, patch, into / target.file_name, target.length)
    finally:
        for each in (old, patch):
            with suppress(OSError):
                each.unlink()
