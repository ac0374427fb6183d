"""The protocol through which a system is attacked: it describes, it trains, it releases.

    class Mine:
        name, licence, original = "mine", "MIT", "plain"
        def describe(self, recordings): return {"plain": rows}     # a row for each clip
        def train(self, rows, truth, person, seed): return lambda rows: probabilities
        def release(self, values, clip, rng): return None           # nothing leaves

    sottovoce threats run --system my_package.mine:Mine --out DIR

Rules it upholds: a system learns from the known people only; a row that it can't make is NaN and is
counted, never dropped in silence; a system that raises or returns rows of no person's is not run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_models.training.corpora import Clip

Floats = npt.NDArray[np.float32]
Reals = npt.NDArray[np.float64]
Truths = npt.NDArray[np.bool_]
Words = npt.NDArray[np.str_]
Scores = Callable[[Floats], Reals]
"""Rows (M, D) to probabilities of affect, float64 (M,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Recordings:
    """N clips in the order in which a device of each person hears them; paths are in `folder`.

    `known` bool (N,): of people from whom a system may learn; the others are attacked.
    """

    folder: Path
    clips: Sequence[Clip]
    known: Truths

    def path(self, place: int) -> Path:
        """Where a clip is."""
        return self.folder / self.clips[place].path


class System(Protocol):
    """A way from speech to what is kept, learned from and sent."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    @property
    def licence(self) -> str:
        """Under which licence it may be used."""
        ...

    @property
    def original(self) -> str:
        """The level against which its reduction of identity is measured."""
        ...

    def describe(self, recordings: Recordings) -> Mapping[str, Floats]:
        """Rows float32 (N, D) for each level, least private first; NaN where a clip gives none."""
        ...

    def train(self, rows: Floats, truth: Truths, person: Words, seed: int) -> Scores:
        """A classifier of `truth` (M,) from rows (M, D) of known people."""
        ...

    def release(self, values: Reals, clip: float, rng: np.random.Generator) -> Reals | None:
        """What leaves a device of a person's values (K,), clipped to an L2 norm; None: nothing."""
        ...
