"""People and their labelled windows, as private training takes them: whole persons.

Rules it upholds: everything under one name is one person, however the table is ordered and however
many windows there are; a window that isn't finite is refused before anybody computes with it; how
much a label counts is public, never counted among the people.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from edge_models.assessment import TASKS
from edge_models.errors import ContractError
from edge_models.training.streams import Floats, Places

Shares = tuple[float, float, float]
Truths = npt.NDArray[np.bool_]

WINDOW_SHARES: Final[Shares] = (0.12, 0.12, 0.24)
"""Windows that sound sad, fearful, or either, among people at large: what `cohort`'s published
sums and mixing say (a mean PHQ of 4 and GAD-7 of 3.7), rounded; nobody's windows were counted."""

ANSWER_SHARES: Final[Shares] = (0.108, 0.091, 0.150)
"""Adults at large with PHQ-9 >= 10, GAD-7 >= 10, or either: see `cohort` for the survey."""


def label_weights(truth: Truths, known: Truths, shares: Shares = WINDOW_SHARES) -> Floats:
    """What each label counts for, float32 (N, 3): the rarer class 1, the other its odds.

    0 where unknown. No label counts more than 1, so a clip cuts both classes alike.

    Raises:
        ContractError: a share is not between 0.001 and 0.999.
    """
    if not all(0.001 <= share <= 0.999 for share in shares):
        raise ContractError("A share of positives lies between 0.001 and 0.999.")
    row = np.asarray(shares)
    positive, negative = np.minimum(1.0, (1.0 - row) / row), np.minimum(1.0, row / (1.0 - row))
    return np.where(known, np.where(truth, positive, negative), 0.0).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """K windows of each of n people: `features` (n, K, F), `truth` and `weights` (n, K, 3)."""

    features: Floats
    truth: Floats
    weights: Floats


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Windows of P people in one table, in which several may point at the same row.

    `features` float32 (N, F), `truth` and `weights` float32 (N, 3); `rows` (M,) places in the
    table, a person's one after the other; `first` and `count` (P,) say where in `rows`.
    """

    features: Floats
    truth: Floats
    weights: Floats
    rows: Places
    first: Places
    count: Places

    def __post_init__(self) -> None:
        shape = (len(self.features), len(TASKS))
        if self.features.ndim != 2 or self.truth.shape != shape or self.weights.shape != shape:
            raise ContractError("A table of windows has features, three labels and their weights.")
        tables = (self.features, self.truth, self.weights)
        if not all(np.isfinite(table).all() for table in tables):
            raise ContractError("Windows to train on are finite.")
        if not len(self.rows) or not 0 <= self.rows.min() <= self.rows.max() < len(self.features):
            raise ContractError("People have windows, all of them in the table.")
        whole = np.array_equal(self.first, np.cumsum(self.count) - self.count)
        if not whole or self.count.min() < 1 or self.count.sum() != len(self.rows):
            raise ContractError("Each person's windows lie together.")

    def __len__(self) -> int:
        return len(self.count)

    @classmethod
    def of(
        cls,
        features: Floats,
        truth: Truths,
        known: Truths,
        person: Sequence[str] | npt.NDArray[np.str_],
        *,
        rows: Places | None = None,
        shares: Shares = WINDOW_SHARES,
    ) -> Self:
        """Group a table by person. `person` names whose each of `rows` (all rows, else) is.

        Raises:
            ContractError: sizes don't fit, there is nobody, or a number isn't finite.
        """
        if truth.shape != known.shape or truth.shape != (len(features), len(TASKS)):
            raise ContractError("Each window has three labels, known or not.")
        places = np.arange(len(features)) if rows is None else rows
        if len(places) != len(person) or not len(places):
            raise ContractError("Each window belongs to somebody.")
        _, owner = np.unique(np.asarray(person), return_inverse=True)
        order = np.argsort(owner, kind="stable")
        count = np.bincount(owner).astype(np.intp)
        return cls(
            np.asarray(features, np.float32),
            truth.astype(np.float32),
            label_weights(truth, known, shares),
            places[order].astype(np.intp),
            np.cumsum(count) - count,
            count,
        )

    def batch(self, chosen: Places, step: int, windows: int) -> Batch:
        """The next `windows` of each chosen person, in turn, from the beginning after the last.

        Who has fewer gives some of them again: nobody weighs more for having many.
        """
        turn = np.arange(step * windows, (step + 1) * windows)
        inside = turn % self.count[chosen, None]
        rows = self.rows[self.first[chosen, None] + inside]
        return Batch(self.features[rows], self.truth[rows], self.weights[rows])
