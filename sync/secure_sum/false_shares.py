"""Which of a secret's shares are false: so that a liar neither changes nor blocks a sum.

Rules upheld here: nothing found here is believed; the secret that comes out is checked against
what its owner had published.

Shares are a Reed-Solomon code: with `spare` more of them than the threshold, half as many may be
false and are found.

Source: Welch and Berlekamp, US patent 4,633,470 (1986); McEliece and Sarwate, CACM 1981.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from sync.errors import ProtocolError
from sync.secure_sum.shamir import PRIME, Numbers, numbers_of, powers

Share = tuple[int, bytes]
"""A holder's point, and its 48 bytes."""


def without_false(shares: Sequence[Share], threshold: int) -> list[Share]:
    """At least `threshold` of these shares (of different points), which fit together.

    A few true ones may be left out with the false ones.

    Raises:
        ProtocolError: more than half of the spare ones are false.
    """
    points = [point for point, _ in shares]
    most_false = (len(shares) - threshold) // 2
    if most_false < 1:
        raise ProtocolError("Shares don't fit together, and there are none to spare.")
    values = np.stack([numbers_of(share) for _, share in shares])
    everything = hashlib.sha256(b"".join(share for _, share in shares))
    blend = np.frombuffer(everything.digest(), dtype="<u2").astype(np.int64)
    blended = values @ blend % PRIME  # one code word in place of sixteen
    # Q(x) = y E(x) with E monic, of degree `most_false`, zero where y is false; Q of lower degree
    # than threshold + most_false.
    terms = powers(points, threshold + most_false)
    located = powers(points, most_false + 1) * blended[:, np.newaxis] % PRIME
    unknowns = np.concatenate((terms, -located[:, :-1] % PRIME), axis=1)
    solved = _solved(unknowns, located[:, -1])
    locator = np.append(solved[threshold + most_false :], 1)
    zero = powers(points, most_false + 1) @ locator % PRIME == 0
    return [share for share, false in zip(shares, zero, strict=True) if not false]


def _solved(matrix: Numbers, right: Numbers) -> Numbers:
    """One solution of linear equations mod 65,537; unknowns that are free are zero."""
    rows = np.concatenate((matrix, right[:, np.newaxis]), axis=1)
    pivots: list[int] = []
    for column in range(matrix.shape[1]):
        top = len(pivots)
        below = np.flatnonzero(rows[top:, column])
        if not len(below):
            continue
        rows[[top, top + below[0]]] = rows[[top + below[0], top]]
        rows[top] = rows[top] * pow(int(rows[top, column]), -1, PRIME) % PRIME
        factors = rows[:, column].copy()
        factors[top] = 0
        rows = (rows - factors[:, np.newaxis] * rows[top]) % PRIME
        pivots.append(column)
    if rows[len(pivots) :, -1].any():
        raise ProtocolError("Shares don't fit together: too many are false.")
    solution = np.zeros(matrix.shape[1], dtype=np.int64)
    solution[pivots] = rows[: len(pivots), -1]
    return solution
