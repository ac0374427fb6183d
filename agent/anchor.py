"""A mark outside the store of how far the privacy ledger has come.

Rules it upholds: the store's file can be put back from a backup and would then have forgotten what
it has spent; the mark lies in a file of its own, is moved after each spend is on disk and before
anything is sent, and only ever forward; a store that is behind the mark, or that tells another
story up to it, releases nothing more. What it can't see: that store and mark were put back
together; for that the study keeps its own record (`sync.ledger_head`).

Place in the life of a release: store's commit → **here** → the network.
"""

import contextlib
import hmac
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.errors import StoreError
from sync.errors import LedgerRefused

ANCHOR_FILE: Final = "ledger"
_MAGIC: Final = b"SVA1"
_FORM: Final = struct.Struct("<4sQ32s")  # magic, count, digest; then the HMAC-SHA-256
_GOES_ON: Final = "Nothing more is released, and screening goes on. "


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of the ledger: after `count` entries its chain's digest was `digest` (32 bytes)."""

    count: int
    digest: bytes


class Anchor:
    """The mark in `folder`, under a 32-byte key of its own.

    Whoever moves it holds the store's write lock.
    """

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder = folder
        self._path = folder / ANCHOR_FILE
        self._key = key

    def read(self) -> Mark | None:
        """The mark; None where there is no file.

        Raises:
            LedgerRefused: the file was altered, or belongs to another key.
            StoreError: it can't be read.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as fault:
            raise self._unusable(fault) from fault
        body, mac = content[: _FORM.size], content[_FORM.size :]
        if len(body) != _FORM.size or not hmac.compare_digest(mac, self._mac(body)):
            raise LedgerRefused(
                f"The privacy ledger's anchor '{self._path}' is damaged or of another key.",
                _GOES_ON + "Put the key and the anchor that belong together back.",
            )
        _, count, digest = _FORM.unpack(body)
        return Mark(count, digest)

    def move(self, mark: Mark) -> None:
        """Put the mark on disk, whole or not at all.

        Raises:
            StoreError: the disk is full or failing; the former mark stays.
        """
        body = _FORM.pack(_MAGIC, mark.count, mark.digest)
        draft = self._folder / f".{ANCHOR_FILE}"
        try:
            if not self._folder.is_dir():
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                _sync(self._folder.parent)
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(body + self._mac(body))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
            _sync(self._folder)
        except OSError as fault:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise self._unusable(fault) from fault

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")

    def _unusable(self, fault: OSError) -> StoreError:
        return StoreError(
            f"The privacy ledger's anchor '{self._path}' can't be used: {fault.strerror}.",
            "Check who owns its folder and whether its disk is full; nothing is sent before that.",
        )


def must_reach(mark: Mark, chain: tuple[bytes, ...]) -> None:
    """Return if a ledger with this chain of digests is the marked one, or goes on from it.

    Raises:
        LedgerRefused: it is older, or another.
    """
    if mark.count >= len(chain):
        raise LedgerRefused(
            f"The privacy ledger holds {len(chain) - 1} releases, and this device has paid for "
            f"{mark.count}: an older copy of the store was put back.",
            _GOES_ON + "Put the newest store back, or leave the study and enrol anew.",
        )
    if not hmac.compare_digest(chain[mark.count], mark.digest):
        raise LedgerRefused(
            f"The privacy ledger tells another story of this device's first {mark.count} releases "
            "than its anchor does.",
            _GOES_ON + "Put the store that belongs to this device back.",
        )


def anchor_is_gone(folder: Path) -> LedgerRefused:
    """The refusal when a ledger was anchored, and its anchor is not there."""
    return LedgerRefused(
        f"The privacy ledger's anchor '{folder / ANCHOR_FILE}' is gone: nobody can tell whether "
        "this store is the newest.",
        _GOES_ON + "Put the anchor back, or leave the study and enrol anew.",
    )


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
