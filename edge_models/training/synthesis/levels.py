"""Windows at the levels of anonymisation, in spreads of a frame that the people do not set.

Rules it upholds: with background speakers (people of other sets, with no affect label) the frame
comes from them alone, so that scaling and bounds tell nothing of the people a table is made of;
a fold's frame and body never see its test people.

    summary      functionals in spreads of the frame's population
    normalised   z-scores against the person's own running baseline, as the device makes them
    embedding    the int8 body's answer to them; of any size
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from edge_models.acoustic import SUMMARY_NAMES
from edge_models.baseline import Population
from edge_models.errors import RecordingError
from edge_models.training.int8_model import Int8Model, trained
from edge_models.training.streams import (
    Kind,
    Passed,
    Places,
    Windows,
    own_windows,
    passed,
    population_of,
)
from edge_models.training.synthesis.table import (
    BOUND,
    Flags,
    Reals,
    Table,
    behind_enough,
    enough,
    labels_of,
)

_LEAST_SPREAD: Final = 1e-6


class Level(StrEnum):
    """How much of the person is still in a window."""

    SUMMARY = "summary"
    NORMALISED = "normalised"
    EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What values are measured in: `centre` and `spread` float64 (D,), and each column's name.

    `public` says that the people of the table had no part in it.
    """

    centre: Reals
    spread: Reals
    names: tuple[str, ...]
    public: bool

    def real(self, values: Reals) -> Reals:
        """Back to the units of the level, float64 (N, D)."""
        return np.asarray(self.centre + self.spread * values)


@dataclass(frozen=True, slots=True, eq=False)
class Parted:
    """People to learn from, and others (none, for the table that is published)."""

    frame: Frame
    train: Table
    test: Table


def as_recorded(windows: Windows) -> Windows:
    """Windows at the level they were recorded at: others are copies of them.

    Raises:
        RecordingError: some hold numbers that aren't finite.
    """
    if not np.isfinite(windows.summaries).all():
        raise RecordingError(
            "Some windows hold numbers that aren't finite.", "Describe the recordings anew."
        )
    return windows.at(windows.take == 0)


def parted(
    windows: Windows, test: Flags, background: Windows | None, level: Level, seed: int
) -> Parted:
    """Tables of the people to learn from and of the others, at one level.

    Labels with too few people behind them are left out of both.

    Raises:
        RecordingError: there are too few people to learn from, or no label has enough.
    """
    people = windows.at(~test)
    enough(people.person)
    outside = people if background is None else background
    population = population_of(outside)
    model = trained(people, seed) if level is Level.EMBEDDING else None
    frame = _frame(level, population, outside, model, background is not None, seed)
    tables = [
        _table(windows.at(rows), level, population, model, frame, seed) for rows in (~test, test)
    ]
    train = tables[0].at(behind_enough(tables[0]))
    if not len(train):
        raise RecordingError(
            "No label has three people behind it.", "Give recordings of more people."
        )
    known = np.isin(tables[1].labels.keys, np.unique(train.labels.keys))
    return Parted(frame, train, tables[1].at(known))


def _frame(
    level: Level,
    population: Population,
    outside: Windows,
    model: Int8Model | None,
    public: bool,
    seed: int,
) -> Frame:
    size = len(population)
    names = SUMMARY_NAMES if size == len(SUMMARY_NAMES) else _numbered("functional", size)
    if level is Level.SUMMARY:
        median, spread = (row.astype(np.float64) for row in (population.median, population.spread))
        return Frame(median, spread, names, public)
    if model is None:
        z = tuple(f"z {name}" for name in names)
        return Frame(np.zeros(size), np.ones(size), z, public)
    embedded = _embedded(outside, model, seed)[0]
    spread = np.maximum(embedded.std(axis=0), _LEAST_SPREAD)
    return Frame(embedded.mean(axis=0), spread, _numbered("embedding", len(spread)), public)


def _numbered(word: str, count: int) -> tuple[str, ...]:
    return tuple(f"{word} {place}" for place in range(count))


def _table(
    windows: Windows,
    level: Level,
    population: Population,
    model: Int8Model | None,
    frame: Frame,
    seed: int,
) -> Table:
    if level is Level.SUMMARY:
        places = np.arange(len(windows))
        values = windows.summaries.astype(np.float64)
    elif model is not None:
        values, places = _embedded(windows, model, seed)
    else:
        values, places = _normalised(windows, population, seed)
    told = windows.at(places)
    held = np.clip((values - frame.centre) / frame.spread, -BOUND, BOUND)
    group = np.char.add(np.char.add(told.dataset, " "), told.sex)
    return Table(held.reshape(len(places), len(frame.names)), labels_of(told), told.person, group)


def _passed(windows: Windows, population: Population, seed: int) -> Passed:
    """Everybody's windows in an order of their own, which nobody else's presence changes."""
    streams = [
        np.random.default_rng([seed, *person.encode()]).permutation(
            own_windows(windows, person, kind, 0)
        )
        for kind in Kind
        for person in np.unique(windows.person).tolist()
    ]
    return passed(windows, population, streams)


def _embedded(windows: Windows, model: Int8Model, seed: int) -> tuple[Reals, Places]:
    heard = _passed(windows, model.population, seed)
    return model.embeddings(heard).astype(np.float64), heard.places


def _normalised(windows: Windows, population: Population, seed: int) -> tuple[Reals, Places]:
    heard = _passed(windows, population, seed)
    return heard.z.astype(np.float64), heard.places
