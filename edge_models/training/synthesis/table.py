"""Tables of windows and their labels: what a synthesiser learns from, and what it draws.

Rules it upholds: a synthesiser learns from finite numbers of enough people only; a label that
fewer than three people stand behind is left out, because its rows would be theirs.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError, RecordingError
from edge_models.training.corpora import EMOTIONS
from edge_models.training.streams import Places, Windows

Reals = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Words = npt.NDArray[np.str_]

BOUND: Final = 5.0
"""Values are held at this many spreads of the frame: a public bound, whoever speaks."""

FEWEST_PEOPLE: Final = 6
FEWEST_BEHIND_A_LABEL: Final = 3
NOBODY: Final = ""
"""The person of a synthetic row."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What is known of N windows.

    `dataset` and `kind` (N,) words; `emotion` (N,) a place in `corpora.EMOTIONS` or -1; `truth`
    and `known` bool (N, 3), a column for each task.
    """

    dataset: Words
    kind: Words
    emotion: Places
    truth: Flags
    known: Flags

    def __len__(self) -> int:
        return len(self.emotion)

    def at(self, rows: Flags | Places) -> "Labels":
        """Some of the labels."""
        return Labels(*(getattr(self, name)[rows] for name in self.__slots__))

    @property
    def keys(self) -> Words:
        """Each row's label as one word, (N,)."""
        bits = np.concatenate([self.truth, self.known], axis=1).astype(int)
        return np.asarray(
            [
                f"{dataset}|{kind}|{emotion}|{''.join(map(str, row))}"
                for dataset, kind, emotion, row in zip(
                    self.dataset, self.kind, self.emotion, bits, strict=True
                )
            ],
            dtype=np.str_,
        )

    def emotion_words(self) -> Words:
        """The emotion of each row in words, "other" for one that has none here."""
        return np.asarray([EMOTIONS[place] if place >= 0 else "other" for place in self.emotion])


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """The K labels that there are; `keys` (K,) in order, and `labels` one row of each."""

    keys: Words
    labels: Labels

    @classmethod
    def of(cls, labels: Labels) -> "Vocabulary":
        """All labels that occur."""
        keys, first = np.unique(labels.keys, return_index=True)
        return cls(keys, labels.at(first))

    def __len__(self) -> int:
        return len(self.keys)

    def places(self, labels: Labels) -> Places:
        """Where each row's label is in the vocabulary, (N,).

        Raises:
            ContractError: a label isn't in it.
        """
        keys = labels.keys
        found = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        if not np.array_equal(self.keys[found], keys):
            raise ContractError("A synthesiser draws labels that it has learnt, and no others.")
        return np.asarray(found, np.intp)

    def conditions(self) -> Reals:
        """What a generator is told of each label, float64 (K, M): one-hot words, and the tasks."""
        columns = [
            (column[:, None] == np.unique(column)[None]).astype(np.float64)
            for column in (self.labels.dataset, self.labels.kind, self.labels.emotion)
        ]
        told = (self.labels.truth & self.labels.known, self.labels.known)
        return np.concatenate([*columns, *(part.astype(np.float64) for part in told)], axis=1)

    def evenly(self, each: int) -> Labels:
        """Labels to draw: `each` of every label, so that no count of real windows shows."""
        return self.labels.at(np.repeat(np.arange(len(self)), each))


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """N windows at one level: `values` float64 (N, D) in spreads of the frame, within ±BOUND.

    `person` (N,) words, NOBODY for synthetic rows; `group` (N,) the set and sex of the person:
    attacks compare people of one group, because folds are dealt by it.
    """

    values: Reals
    labels: Labels
    person: Words
    group: Words

    def __len__(self) -> int:
        return len(self.values)

    def at(self, rows: Flags | Places) -> "Table":
        """Some of the windows."""
        return Table(self.values[rows], self.labels.at(rows), self.person[rows], self.group[rows])

    @classmethod
    def synthetic(cls, values: Reals, labels: Labels) -> "Table":
        """Rows that nobody spoke, held at the bound."""
        nobody = np.full(len(values), NOBODY)
        return cls(np.clip(values, -BOUND, BOUND), labels, nobody, nobody)


class Synthesiser(Protocol):
    """What has learnt from people and draws rows of nobody."""

    def draw(self, labels: Labels, rng: np.random.Generator) -> Table:
        """One synthetic row for each label, in order; ContractError for a label not learnt."""


class Method(Protocol):
    """A way to make a synthesiser."""

    def fit(self, table: Table, rng: np.random.Generator) -> Synthesiser:
        """Learn from these windows; RecordingError where they can't be learnt from."""


def labels_of(windows: Windows) -> Labels:
    """The labels of a table of described windows."""
    return Labels(windows.dataset, windows.kind, windows.emotion, windows.truth, windows.known)


def behind_enough(table: Table) -> Flags:
    """Which rows have a label that at least `FEWEST_BEHIND_A_LABEL` people stand behind, (N,)."""
    keys = table.labels.keys
    kept = np.zeros(len(table), bool)
    for key in np.unique(keys):
        rows = keys == key
        kept[rows] = len(np.unique(table.person[rows])) >= FEWEST_BEHIND_A_LABEL
    return kept


def enough(people: Words) -> None:
    """Whether a synthesiser may learn from the owners of these rows.

    Raises:
        RecordingError: they are too few.
    """
    count = len(np.unique(people))
    if count < FEWEST_PEOPLE:
        raise RecordingError(
            f"{count} people are too few to make synthetic windows from: each would shine through.",
            f"Give recordings of at least {FEWEST_PEOPLE} people, besides those held out.",
        )


def checked(table: Table) -> Table:
    """The table, if a synthesiser may learn from it.

    Raises:
        RecordingError: numbers that aren't finite, too few people, or one label only.
    """
    if not np.isfinite(table.values).all():
        raise RecordingError(
            "Some windows hold numbers that aren't finite.", "Describe the recordings anew."
        )
    enough(table.person)
    if len(np.unique(table.labels.keys)) < 2:
        raise RecordingError(
            "All windows have one label, so nothing can be told apart in synthetic ones.",
            "Give recordings of at least two emotions.",
        )
    if not behind_enough(table).all():
        raise ContractError("Labels with fewer than three people behind them are left out first.")
    return table
