"""What kind of person was it? The panel on sex, language or age band, over people never met.

Rules it upholds: nobody is in both training and test; the attacker is chosen on training people
held out; a person weighs as one, whatever their number of windows, and each value as much as
every other; *chance* is the same panel with the values permuted among the training people.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from edge_models.training.identity.panel import (
    PANEL,
    SIZES,
    Member,
    Split,
    best_members,
    questions,
)
from edge_models.training.identity.samples import Floats, Places, Words
from edge_models.training.metrics import RESAMPLES, Estimate

Reals = npt.NDArray[np.float64]
Chosen = npt.NDArray[np.bool_]

GROUPS: Final = 3
LEAST_PEOPLE: Final = 3
"""People of each value that are needed in the test, or nothing is said."""

ATTRIBUTE_PANEL: Final = tuple(
    member
    for member in PANEL
    if member.name
    in (
        *("LDA", "LDA, products", "logistic, C 0.03", "RBF SVM, C 1", "extra trees", "boosting"),
        *("MLP", "LDA of session moments"),
    )
)
"""The panel without the slowest, and with one value of each hyper-parameter."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """N windows: `rows` float32 (N, D), `person` and `value` (N,) words, a value for each person.

    `may_test` bool (N,): people whom the model never met; the others only train attackers.
    """

    rows: Floats
    person: Words
    value: Words
    may_test: Chosen


@dataclass(frozen=True, slots=True, eq=False)
class Recognised:
    """How often each of P people's value was recognised.

    `value` (P,) words is what they are; `right` float64 (P,); `permuted` float64 (K, P) the same
    under each permutation; `chosen` names the attackers.
    """

    people: Words
    value: Words
    right: Reals
    permuted: Reals
    chosen: tuple[str, ...]

    @property
    def values(self) -> Words:
        """What there is to tell apart."""
        return np.unique(self.value)


def recognised(
    table: Table,
    seed: int,
    permutations: int = 0,
    panel: Sequence[Member] = ATTRIBUTE_PANEL,
) -> dict[int, Recognised]:
    """Attack an attribute, by question size (1 and 6 windows)."""
    rng = np.random.default_rng(seed)
    people = np.unique(table.person[table.may_test])
    own = np.asarray([table.value[table.person == one][0] for one in people])
    true = _turn(table, table.value, people, own, seed, panel)
    lost = [
        _turn(table, _permuted(table, rng), people, own, seed + 1 + turn, panel)
        for turn in range(permutations)
    ]
    return {
        size: Recognised(
            people,
            own,
            true[0][size],
            np.asarray([one[size] for one, _ in lost], np.float64).reshape(-1, len(people)),
            true[1][size],
        )
        for size in SIZES
    }


def _permuted(table: Table, rng: np.random.Generator) -> Words:
    """Values permuted among people, apart for those who are tested and those who are not."""
    value = table.value.copy()
    for part in (table.may_test, ~table.may_test):
        people = np.unique(table.person[part])
        told = np.asarray([table.value[table.person == one][0] for one in people])
        for one, other in zip(people, rng.permutation(told), strict=True):
            value[table.person == one] = other
    return value


_Right = dict[int, Reals]
_Names = dict[int, tuple[str, ...]]


def _turn(
    table: Table, value: Words, people: Words, own: Words, seed: int, panel: Sequence[Member]
) -> tuple[_Right, _Names]:
    """Each group of people tested once, by attackers of everybody else's `value`."""
    rng = np.random.default_rng(seed)
    values = np.unique(table.value)
    right: _Right = {size: np.full(len(people), np.nan) for size in SIZES}
    names: _Names = {size: () for size in SIZES}
    classes, owners = np.searchsorted(values, value), np.searchsorted(values, own)
    person = np.unique(table.person, return_inverse=True)[1]
    with threadpool_limits(1):
        for group in _groups(people, own):
            tested = np.isin(table.person, people[group])
            known = _Known(table.rows[~tested], classes[~tested], person[~tested])
            if len(np.unique(known.value)) < 2:
                for one in group:  # everybody known is alike, so that is what an attacker says
                    for size in SIZES:
                        right[size][one] = float(owners[one] == known.value[0])
                continue
            best = best_members(known.splits(rng), panel, seed, rng)
            for size, place in best.items():
                model = panel[place].make(seed).fit(known.rows, known.value, known.person)
                for one in group:
                    rows = table.rows[table.person == people[one]]
                    asked = questions(rows, np.zeros(len(rows), np.intp), rng)[size]
                    said = model.log_probabilities(asked.rows).argmax(axis=1)
                    right[size][one] = np.mean(said == owners[one])
                names[size] = (*names[size], panel[place].name)
    return right, names


def _groups(people: Words, value: Words) -> Iterator[Places]:
    """People dealt by value into three groups, each of which holds some of every value."""
    order = np.lexsort((people, value))
    for group in range(GROUPS):
        yield np.sort(order[group::GROUPS])


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """Windows of people whose values are known."""

    rows: Floats
    value: Places
    person: Places

    def splits(self, rng: np.random.Generator) -> Iterator[Split]:
        """Half of each value's people to learn from and half to choose by, and the other way."""
        part = np.zeros(len(self.rows), bool)
        for value in np.unique(self.value):
            own = self.value == value
            people = rng.permutation(np.unique(self.person[own]))
            if len(people) < 2:  # the one person's windows, dealt out
                part[np.flatnonzero(own)[::2]] = True
                continue
            part |= own & np.isin(self.person, people[: len(people) // 2])
        for side in (part, ~part):
            yield Split(
                *(self.rows[~side], self.value[~side], self.person[~side]),
                *(self.rows[side], self.value[side], self.person[side]),
            )


def balanced(told: Recognised, right: Reals | None = None) -> float:
    """Balanced accuracy: the mean over values of the mean over people."""
    each = told.right if right is None else right
    return float(np.mean([each[told.value == value].mean() for value in told.values]))


def recognisable(told: Recognised, rng: np.random.Generator) -> Estimate:
    """Balanced accuracy with its interval over people, drawn anew within each value."""
    own = [np.flatnonzero(told.value == value) for value in told.values]
    drawn = [
        float(np.mean([told.right[rng.choice(places, len(places))].mean() for places in own]))
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(balanced(told), float(low), float(high))


def by_luck(told: Recognised) -> float:
    """Balanced accuracy under permuted values, else one over their number."""
    if not len(told.permuted):
        return 1 / len(told.values)
    return float(np.mean([balanced(told, row) for row in told.permuted]))


def beside(parts: Sequence[Recognised]) -> Recognised:
    """The people of several folds beside each other; who is in several (streams) by the mean."""
    people = np.unique(np.concatenate([part.people for part in parts]))
    where = [
        [(part, int(np.flatnonzero(part.people == one)[0])) for part in parts if one in part.people]
        for one in people
    ]
    return Recognised(
        people,
        np.asarray([own[0][0].value[own[0][1]] for own in where]),
        np.asarray([np.mean([part.right[place] for part, place in own]) for own in where]),
        np.stack([np.mean([part.permuted[:, p] for part, p in own], axis=0) for own in where], 1),
        tuple(name for part in parts for name in part.chosen),
    )
