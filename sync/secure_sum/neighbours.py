"""Who is whose neighbour in a round, and how many of them a secret needs.

Rules upheld here: degree and threshold are *derived* from the cohort's size and the stated bounds,
by both sides, and are nobody's setting; a neighbourhood is as good as random, fixed by a seed that
the coordinator committed to before it saw the first key, and by the roster itself.

In a small cohort everybody is everybody's neighbour (Bonawitz et al.); in a larger one each member
sits on a random ring and has the nearest `degree` others as neighbours (Bell et al.), so its work
grows with the logarithm of the cohort. `secure_sum.md` says what each bound is for.

Source: Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning",
CCS 2017, section 6; Bell et al., "Secure Single-Server Aggregation with (Poly)Logarithmic
Overhead", CCS 2020, Algorithm 1 and Theorem 3.10.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from edge_models.errors import ContractError
from sync.secure_sum.masks import keystream

COMPLETE_UP_TO: Final = 200
"""In a cohort of at most so many, everybody is a neighbour of everybody."""
_COLLUDING_THIRDS: Final = 3  # fewer than one in three tell the coordinator all they know
_CONSPIRING_TWENTIETHS: Final = 20  # fewer than one in twenty, if it also lies about who is alive
_SURVIVING_TENTHS: Final = 7  # seven in ten survive a step
_SECRECY_BITS: Final = 40
_LIVENESS_BITS: Final = 10


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """In a cohort of `members`: `degree` neighbours each, `threshold` of whom open a secret."""

    members: int
    degree: int
    threshold: int

    @property
    def is_complete(self) -> bool:
        """Whether everybody is everybody's neighbour."""
        return self.degree == self.members - 1


def members_needed(members: int, minimum: int) -> int:
    """How many of a cohort must survive for its sum to be opened: K, and seven tenths of it."""
    return max(minimum, -(-members * _SURVIVING_TENTHS // 10))


def colluding(members: int) -> int:
    """The most members that may collude with the coordinator: fewer than a third."""
    return (members - 1) // _COLLUDING_THIRDS


def conspiring(members: int) -> int:
    """The most members that may help a coordinator who signs two lists: below a twentieth."""
    return (members - 1) // _CONSPIRING_TWENTIETHS


@lru_cache(maxsize=256)
def neighbourhood(members: int) -> Neighbourhood:
    """Degree and threshold for a cohort of this size.

    Complete: a threshold of two thirds and one, so that, with fewer than a third colluding, no two
    disjoint groups of honest members can each reach it. Sparse: an even degree, as small as
    bisection finds one, for which

    - any member has `threshold` - 1 colluding neighbours with probability below 2^-40 (all members
      together, fewer than a third colluding): they and the member itself could pass for enough;
    - any member has 2 `threshold` - `degree` - 1 conspiring neighbours with probability below
      2^-40 (all together, fewer than a twentieth conspiring): so many, confirming two lists of
      survivors, would let a coordinator who signs both have both kinds of share; and
    - any of the 30 % that died has fewer than `threshold` live ones with probability below 2^-10
      (the round then fails, and tells nothing).

    Raises:
        ContractError: fewer than three members.
    """
    if members < 3:
        raise ContractError("A secure sum has at least three members.")
    complete = Neighbourhood(members, members - 1, min(members - 1, 2 * members // 3 + 1))
    if members <= COMPLETE_UP_TO:
        return complete
    low, high = 1, (members - 1) // 2  # half the degree
    while low < high:
        middle = (low + high) // 2
        if _threshold(members, 2 * middle) is None:
            low = middle + 1
        else:
            high = middle
    threshold = _threshold(members, 2 * low)
    if threshold is None:
        return complete
    return Neighbourhood(members, 2 * low, threshold)


def _threshold(members: int, degree: int) -> int | None:
    """The least threshold that keeps secrets, if enough neighbours survive to reach it."""
    others, dead = members - 1, members - -(-members * _SURVIVING_TENTHS // 10)
    enough = _unlikely(members, colluding(members), degree) + 1
    both = -(-(_unlikely(members, conspiring(members), degree) + degree + 1) // 2)
    threshold = max(enough, both)
    if threshold > degree:
        return None
    live = math.log(2.0**-_LIVENESS_BITS / max(1, dead))
    short = -math.inf
    for alive in range(threshold):
        short = _log_sum(short, _log_chance(others, others - dead, degree, alive))
    return threshold if short <= live else None


def _unlikely(members: int, marked: int, degree: int) -> int:
    """The least number of marked neighbours that any member has with chance below 2^-40."""
    bound = math.log(2.0**-_SECRECY_BITS / members)
    total, found = -math.inf, degree + 1
    while found > 0:
        total = _log_sum(total, _log_chance(members - 1, marked, degree, found - 1))
        if total > bound:
            break
        found -= 1
    return found


def _log_chance(others: int, marked: int, drawn: int, found: int) -> float:
    """Log of the hypergeometric probability that `found` of `drawn` are marked."""
    if not max(0, drawn - (others - marked)) <= found <= min(marked, drawn):
        return -math.inf
    return (
        _log_choices(marked, found)
        + _log_choices(others - marked, drawn - found)
        - _log_choices(others, drawn)
    )


def _log_choices(of: int, taken: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(taken + 1) - math.lgamma(of - taken + 1)


def _log_sum(first: float, second: float) -> float:
    low, high = sorted((first, second))
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def ring(seed: bytes, roster: bytes, members: int) -> tuple[int, ...]:
    """The order in which the members sit on the ring: a permutation of 0..members-1.

    `seed` and `roster` (its digest) have 32 bytes. Sorting 64-bit random keys: two are equal with
    a probability of members^2 / 2^65, and the earlier member then comes first.
    """
    key = hashlib.sha256(b"sottovoce/1/ring\0" + seed + roster).digest()
    keys = np.frombuffer(keystream(key, 8 * members), dtype="<u8")
    return tuple(int(place) for place in np.argsort(keys, kind="stable"))


def neighbours_of(index: int, order: tuple[int, ...], degree: int) -> tuple[int, ...]:
    """The neighbours of a member, rising; `order` is the ring."""
    members = len(order)
    if degree == members - 1:
        return tuple(other for other in range(members) if other != index)
    place = order.index(index)
    half = degree // 2
    sides = (*range(place - half, place), *range(place + 1, place + half + 1))
    return tuple(sorted(order[side % members] for side in sides))
