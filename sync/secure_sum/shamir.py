"""Shamir's secret sharing of 32-byte secrets, over the integers mod 65,537.

Rules upheld here: fewer than `threshold` shares say nothing at all about a secret; coefficients
are uniform, from a cryptographic source, by rejection; a share is bound to its holder's point.

A secret is 16 numbers of 16 bits, each shared by a polynomial of its own; a share is the 16 values
at the holder's point, three bytes each. All arithmetic fits into 64-bit integers.

Source: Shamir, "How to Share a Secret", CACM 1979. 65,537 is prime (Fermat's F4).
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError
from sync.errors import ProtocolError

PRIME: Final = 65_537
SECRET_BYTES: Final = 32
SHARE_BYTES: Final = 48

_LIMBS: Final = SECRET_BYTES // 2
_LIMB_BYTES: Final = 3
_LARGEST_DRAW: Final = 2**32 // PRIME * PRIME  # draws from here on would favour small values
Numbers = npt.NDArray[np.int64]


def shares_of(
    secrets: Sequence[bytes],
    points: Sequence[int],
    threshold: int,
    random_bytes: Callable[[int], bytes],
) -> list[list[bytes]]:
    """For each point the shares (48 bytes each) of all secrets (32 bytes each).

    `points` are different and between 1 and 65,536.

    Raises:
        ContractError: a point or the threshold can't be used.
    """
    if len(set(points)) != len(points) or not points or not 1 <= min(points) <= max(points) < PRIME:
        raise ContractError("Shares belong to different points between 1 and 65,536.")
    if not 1 <= threshold <= len(points):
        raise ContractError("A threshold is at least 1 and at most the number of shares.")
    constants = np.frombuffer(b"".join(secrets), dtype="<u2").astype(np.int64)
    higher = _uniform((threshold - 1) * len(constants), random_bytes)
    coefficients = np.concatenate((constants[np.newaxis], higher.reshape(-1, len(constants))))
    values = powers(points, threshold) @ coefficients % PRIME  # < 65,536 * 2^32: no overflow
    return [[_packed(part) for part in row.reshape(-1, _LIMBS)] for row in values]


def _uniform(count: int, random_bytes: Callable[[int], bytes]) -> Numbers:
    drawn = np.empty(0, dtype=np.int64)
    while len(drawn) < count:
        fresh = np.frombuffer(random_bytes(4 * (count - len(drawn))), dtype="<u4")
        fresh = fresh[fresh < _LARGEST_DRAW]
        drawn = np.concatenate((drawn, fresh.astype(np.int64) % PRIME))
    return drawn


def powers(points: Sequence[int], count: int) -> Numbers:
    """Each point to the powers 0..count-1, int64 (points, count)."""
    powers = np.ones((count, len(points)), dtype=np.int64)
    base = np.asarray(points, dtype=np.int64)
    for exponent in range(1, count):
        powers[exponent] = powers[exponent - 1] * base % PRIME
    return powers.T


def secret_of(shares: Sequence[tuple[int, bytes]]) -> bytes:
    """The secret that (point, share) pairs stand for; pass as many as the threshold asks for.

    Too few, or false ones, give another 32 bytes or an error: check what comes out.

    Raises:
        ProtocolError: a share can't be one, or the shares don't fit together.
    """
    points = [point for point, _ in shares]
    if len(set(points)) != len(points) or not points:
        raise ProtocolError("A secret is put together from shares of different points.")
    values = np.stack([numbers_of(share) for _, share in shares])
    limbs = _weights_at_zero(points) @ values % PRIME
    if limbs.max() >= 1 << 16:
        raise ProtocolError("Shares don't fit together.")
    return limbs.astype("<u2").tobytes()


def _weights_at_zero(points: Sequence[int]) -> Numbers:
    """Lagrange's weights for the value at zero, int64 (points,)."""
    base = np.asarray(points, dtype=np.int64)
    differences = (base[np.newaxis] - base[:, np.newaxis]) % PRIME
    np.fill_diagonal(differences, 1)
    above = _product(np.tile(base, (len(base), 1)), skip_diagonal=True)
    below = _product(differences, skip_diagonal=False)
    return above * _inverse(below) % PRIME


def _product(rows: Numbers, *, skip_diagonal: bool) -> Numbers:
    rows = rows.copy()
    if skip_diagonal:
        np.fill_diagonal(rows, 1)
    while rows.shape[1] > 1:  # pairwise, halving each time
        if rows.shape[1] % 2:
            rows = np.concatenate((rows, np.ones((len(rows), 1), dtype=np.int64)), axis=1)
        rows = rows[:, ::2] * rows[:, 1::2] % PRIME
    return rows[:, 0]


def _inverse(numbers: Numbers) -> Numbers:
    """By Fermat: to the power of 65,535, whose sixteen bits are all ones."""
    result = np.ones_like(numbers)
    square = numbers
    for _ in range(16):
        result = result * square % PRIME
        square = square * square % PRIME
    return result


def _packed(limbs: Numbers) -> bytes:
    raw = limbs.astype("<u4").view(np.uint8).reshape(_LIMBS, 4)
    return raw[:, :_LIMB_BYTES].tobytes()


def numbers_of(share: bytes) -> Numbers:
    """The sixteen numbers of a share, int64 (16,).

    Raises:
        ProtocolError: it has another length, or holds a number that is none mod 65,537.
    """
    if len(share) != SHARE_BYTES:
        raise ProtocolError(f"A share has {SHARE_BYTES} bytes.")
    raw = np.zeros((_LIMBS, 4), dtype=np.uint8)
    raw[:, :_LIMB_BYTES] = np.frombuffer(share, dtype=np.uint8).reshape(_LIMBS, _LIMB_BYTES)
    limbs = raw.view("<u4")[:, 0].astype(np.int64)
    if limbs.max() >= PRIME:
        raise ProtocolError("A share holds a number that is none mod 65,537.")
    return limbs
