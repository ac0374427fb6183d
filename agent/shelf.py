"""Named things in the store that are not records: parts in rounds, frames, lessons, a head.

Rules it upholds: a name is veiled, so a thief can't tell which rounds a device was part of; each
thing is sealed and bound to its veiled name; what is dropped is overwritten. A single change is on
disk when it returns; inside a transaction of the store it is part of that.

Place in the life of a round: between `rounds`, which decides, and the store's file.
"""

import hmac
from collections.abc import Callable
from enum import StrEnum

from agent.cipher import Cipher
from agent.codec import decode_single, encode_single
from agent.errors import DamagedRecord
from agent.rows import Rows


class Kind(StrEnum):
    """What stands on the shelf."""

    PART = "part"  # this device's part in a round
    FRAME = "frame"  # of a parcel that is not yet whole
    MET = "met"  # whose credential has been checked
    LESSON = "lesson"  # what a round of the head is about
    HEAD = "head"  # the newest that the study gave to everybody


class Shelf:
    """Named things of one store; `veil` is a 32-byte key."""

    __slots__ = ("_cipher", "_rows", "_veil")

    def __init__(self, rows: Rows, cipher: Cipher, veil: bytes) -> None:
        self._rows = rows
        self._cipher = cipher
        self._veil = veil

    def get(self, kind: Kind, name: str) -> bytes | None:
        """What has this name, None where nothing has.

        Raises:
            StoreError: it can't be read.
            DamagedRecord: it was altered.
        """
        found = self._opened(self._veiled(kind, name))
        return None if found is None else found[1]

    def put(self, kind: Kind, name: str, content: bytes) -> None:
        """Set it there, in the place of what was there.

        Raises:
            StoreError: it can't be kept.
        """
        veiled = self._veiled(kind, name)
        sealed = self._cipher.close(encode_single(name, content), _place(veiled))
        self._rows.set_single(veiled, sealed)

    def drop(self, kind: Kind, name: str) -> None:
        """Forget it.

        Raises:
            StoreError: the store can't be written.
        """
        self._rows.delete_single(self._veiled(kind, name))

    def all(
        self, kind: Kind, on_damage: Callable[[DamagedRecord], None] | None = None
    ) -> list[tuple[str, bytes]]:
        """Everything of a kind, by its name; what was altered goes to `on_damage`, and away.

        Raises:
            StoreError: it can't be read.
            DamagedRecord: something was altered, and there is no `on_damage`.
        """
        found = []
        for veiled in self._rows.single_names(f"{kind}/"):
            try:
                thing = self._opened(veiled)
            except DamagedRecord as damage:
                if on_damage is None:
                    raise
                on_damage(damage)
                self._rows.delete_single(veiled)
                continue
            if thing is not None:
                found.append(thing)
        return found

    def _opened(self, veiled: str) -> tuple[str, bytes] | None:
        sealed = self._rows.single(veiled)
        if sealed is None:
            return None
        return decode_single(self._cipher.open(sealed, _place(veiled)))

    def _veiled(self, kind: Kind, name: str) -> str:
        return f"{kind}/" + hmac.digest(self._veil, f"{kind}/{name}".encode(), "sha256").hex()[:32]


def _place(veiled: str) -> bytes:
    return f"shelf/{veiled}".encode()
