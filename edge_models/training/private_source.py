"""Where the randomness of private training comes from: this machine's, or a simulation's seed.

Rules it upholds: a model that is to be released is sampled and noised from the operating system's
cryptographic source, every bit of it; a seed makes a *simulation*, whose noise anybody who knows
the seed can take off again, and it says so.

A floating-point Gaussian is not a Gaussian: which numbers it can hit tells of what it was added
to. Two things are done about it and neither is a proof: a normal number is the sum of four, and
`private_sgd` rounds the noised sum to a coarse grid. (The proven way, whole numbers and the exact
discrete Gaussian, is what devices do in federated rounds.)

Source: Mironov, "On Significance of the Least Significant Bits for Differential Privacy", 2012
(the attack); Holohan, Braghin, "Secure Random Sampling in Differential Privacy", 2021, section 4
(the sum of several); Box, Muller, "A Note on the Generation of Random Normal Deviates", 1958.
"""

import os
from collections.abc import Callable
from typing import Final, Protocol

import numpy as np

from edge_models.frame import Reals

_SUMMED: Final = 4


class Source(Protocol):
    """Uniform and normal numbers, and what to call them in a report."""

    @property
    def is_simulation(self) -> bool:
        """Whether somebody could draw the same numbers again."""

    @property
    def name(self) -> str:
        """One sentence on where the numbers come from."""

    def uniform(self, count: int) -> Reals:
        """Uniform on the open interval (0, 1): float64 (count,)."""

    def normal(self, count: int) -> Reals:
        """Standard normal: float64 (count,)."""


class SystemSource:
    """The operating system's cryptographic source; `random_bytes` is for tests."""

    is_simulation = False
    name = "the operating system's cryptographic generator"

    def __init__(self, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._random_bytes = random_bytes

    def uniform(self, count: int) -> Reals:
        """53 random bits each, half a step away from 0 and 1."""
        whole = np.frombuffer(self._random_bytes(8 * count), "<u8") >> np.uint64(11)
        return np.asarray((whole.astype(np.float64) + 0.5) * 2.0**-53)

    def normal(self, count: int) -> Reals:
        """Half the sum of four normals by Box and Muller."""
        half = -(-_SUMMED * count // 2)
        radius = np.sqrt(-2.0 * np.log(self.uniform(half)))
        angle = 2.0 * np.pi * self.uniform(half)
        pairs = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
        summed = pairs[: _SUMMED * count].reshape(_SUMMED, count).sum(axis=0)
        return np.asarray(summed / np.sqrt(_SUMMED))


class SeededSource:
    """A simulation's numbers, NumPy's PCG64: the same again for the same seed."""

    is_simulation = True

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self.name = f"a generator with seed {seed}: a simulation, not fit for a release"

    def uniform(self, count: int) -> Reals:
        """As the protocol says; 0 is not excluded, which a simulation can bear."""
        return self._rng.random(count)

    def normal(self, count: int) -> Reals:
        """As the protocol says."""
        return self._rng.normal(size=count)
