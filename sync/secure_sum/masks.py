"""Masks: from a 32-byte secret to numbers that look random to whoever lacks it.

Rules upheld here: a mask comes from the *full* secret by a real stream cipher, never from a seeded
statistical generator (a known failure: 32 bits into a Mersenne Twister); a secret makes one mask,
once; numbers are added mod 2^32.

Source: RFC 8439 (ChaCha20), all-zero nonce and counter, since each key is used once.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

Vector = npt.NDArray[np.uint32]
"""Numbers mod 2^32, uint32 (N,)."""

_FROM_THE_START: Final = bytes(16)  # block counter and nonce
_BYTES_A_NUMBER: Final = 4


def keystream(key: bytes, size_bytes: int) -> bytes:
    """The first bytes of ChaCha20 under a 32-byte key."""
    cipher = Cipher(algorithms.ChaCha20(key, _FROM_THE_START), mode=None)
    return cipher.encryptor().update(bytes(size_bytes))


def mask(secret: bytes, length: int) -> Vector:
    """The mask that a 32-byte secret stands for, uint32 (length,)."""
    return np.frombuffer(keystream(secret, _BYTES_A_NUMBER * length), dtype="<u4").astype(
        np.uint32, copy=False
    )
