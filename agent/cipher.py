"""Seals a record so that it can be read with the key only, at its own place only.

Rules it upholds: every sealing draws a fresh random nonce; what says *where* a record belongs
is authenticated with it, so a record moved to another place does not open. With random 96-bit
nonces a key is good for 2^32 records; one every ten seconds for a century is 2^28.

Place in the life of a record: codec → **cipher** → store.

Source: NIST SP 800-38D, 8.2.2 (random IVs) and 8.3 (their number).
"""

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.errors import DamagedRecord

_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16


class Cipher:
    """AES-256-GCM under one 32-byte key."""

    def __init__(self, key: bytes) -> None:
        self._aes = AESGCM(key)

    def close(self, record: bytes, place: bytes) -> bytes:
        """Nonce and ciphertext of a record that belongs at `place`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._aes.encrypt(nonce, record, place)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """The record that was sealed for `place`.

        Raises:
            DamagedRecord: altered, sealed with another key, or for another place.
        """
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            if len(rest) < _TAG_BYTES:
                raise InvalidTag
            return self._aes.decrypt(nonce, rest, place)
        except InvalidTag:
            raise DamagedRecord(
                "A stored record is damaged: it does not open with this device's key.",
                "The other records are not affected.",
            ) from None
