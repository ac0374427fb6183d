"""Writes a cohort as three tables, CSV or Parquet: windows, people, answers.

Rules it upholds: each file says in its name and in each row that nobody in it exists; nothing heard
is copied (a window is named by its segment and place); a half-written file has another name.

    X-simulated.csv           a row a window, with the sums of the questionnaire after it
    X-simulated-people.csv    a row a person: voice, sex, language, age band, who lives with them
    X-simulated-answers.csv   a row a questionnaire: PHQ-9 items, sums, whether it was answered

A `segment` is the same in every cohort of the same recordings; a `place` is a row of the voices
that this cohort was drawn from. The sums are the truth also where `answered` is False: there a
study would not know them.
"""

import csv
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

import numpy as np
import numpy.typing as npt

from edge_models.errors import ModelError
from edge_models.training.cohort.calendar import DAYS_A_WEEK, WEEKS_ASKED
from edge_models.training.cohort.people import Cohort
from edge_models.training.cohort.room import Heard

MARK: Final = "simulated"
ROWS: Final = 50_000
"""Written at once."""

Columns = dict[str, npt.NDArray[Any]]


class _Table(Protocol):
    def add(self, columns: Columns) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def marked(out: Path) -> tuple[Path, Path, Path]:
    """The names of the three tables: `out` with "-simulated" unless it says so already.

    Raises:
        ModelError: another ending than .csv or .parquet, or no such folder.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise ModelError(f"'{out.name}' has no known ending.", "End it in .csv or .parquet.")
    if not out.parent.is_dir():
        raise ModelError(f"The folder '{out.parent}' doesn't exist.", "Make it, or name another.")
    stem = out.stem if MARK in out.stem else f"{out.stem}-{MARK}"
    windows, people, answers = (
        out.with_name(f"{stem}{part}{out.suffix}") for part in ("", "-people", "-answers")
    )
    return windows, people, answers


def written(cohort: Cohort, out: Path, about: dict[str, str]) -> Iterator[int]:
    """Write the three tables, telling how many windows are written so far.

    `about` goes into the metadata of Parquet. Files of these names are replaced at the end, all
    at once.

    Raises:
        ModelError: as `marked`.
    """
    names = marked(out)
    parts = [name.with_name(f"{name.name}.part") for name in names]
    try:
        with ExitStack() as stack:
            windows, people, answers = (
                stack.enter_context(_opened(part, out.suffix, about)) for part in parts
            )
            people.add(_people(cohort))
            answers.add(_answers(cohort))
            for start in range(0, max(len(cohort), 1), ROWS):
                rows = slice(start, min(start + ROWS, len(cohort)))
                windows.add(_windows(cohort, rows))
                yield rows.stop
        for part, name in reversed(list(zip(parts, names, strict=True))):
            part.replace(name)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _opened(path: Path, ending: str, about: dict[str, str]) -> _Table:
    return _Csv(path) if ending == ".csv" else _Parquet(path, about)


def _windows(cohort: Cohort, rows: slice) -> Columns:
    people, voices, place = cohort.people, cohort.voices, cohort.place[rows]
    person, asked = cohort.person[rows], cohort.asked[rows]
    origin, empty = voices.origin, np.full(len(place), "")
    return {
        MARK: np.ones(len(place), bool),
        "person": people.name[person],
        "day": cohort.day[rows],
        "hour": cohort.hour[rows],
        "place": place,
        "dataset": empty if origin is None else origin.dataset[place],
        "segment": empty if origin is None else origin.segment[place],
        "heard": np.asarray([one.name.lower() for one in Heard])[cohort.heard[rows]],
        "voice": voices.speaker[place],
        "second_voice": voices.beside[place],
        "affect": voices.affect[place],
        "phq9": people.phq9[person, asked],
        "phq8": people.phq8[person, asked],
        "gad7": people.gad7[person, asked],
        "answered": people.answered[person, asked],
    }


def _people(cohort: Cohort) -> Columns:
    people, voices = cohort.people, cohort.voices
    names, first = np.unique(voices.speaker, return_index=True)
    row = first[np.searchsorted(names, people.speaker)]
    columns: Columns = {
        MARK: np.ones(len(people), bool),
        "person": people.name,
        "voice": people.speaker,
    }
    for name in ("dataset", "sex", "language", "age_band"):
        told = None if voices.origin is None else getattr(voices.origin, name)[row]
        columns[name] = np.full(len(people), "") if told is None else told
    return {
        **columns,
        "housemate_1": people.housemates[:, 0],
        "housemate_2": people.housemates[:, 1],
        "days": np.full(len(people), people.silent.shape[1]),
        "silent_days": people.silent.sum(axis=1),
        "windows": np.bincount(cohort.person, minlength=len(people)),
    }


def _answers(cohort: Cohort) -> Columns:
    people = cohort.people
    times, weeks = people.answered.shape[1], people.low.shape[1]
    last = np.minimum(WEEKS_ASKED * (np.arange(times) + 1), weeks) * DAYS_A_WEEK - 1
    items = people.items.reshape(-1, people.items.shape[2])
    return {
        MARK: np.ones(len(items), bool),
        "person": np.repeat(people.name, times),
        "day": np.tile(last, len(people)),
        "answered": people.answered.ravel(),
        **{f"phq9_{number + 1}": items[:, number] for number in range(items.shape[1])},
        "phq9": people.phq9.ravel(),
        "phq8": people.phq8.ravel(),
        "gad7": people.gad7.ravel(),
    }


class _Csv:
    def __init__(self, path: Path) -> None:
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._begun = False

    def add(self, columns: Columns) -> None:
        if not self._begun:
            self._writer.writerow(columns)
            self._begun = True
        cells: Sequence[list[Any]] = [column.tolist() for column in columns.values()]
        self._writer.writerows(zip(*cells, strict=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


class _Parquet:
    def __init__(self, path: Path, about: dict[str, str]) -> None:
        import pyarrow  # 100 MB, and only those who write Parquet need it
        import pyarrow.parquet

        self._pyarrow: Any = pyarrow
        self._path = path
        self._about = {MARK: "nobody in this table exists", **about}
        self._writer: Any = None

    def add(self, columns: Columns) -> None:
        table = self._pyarrow.table(columns).replace_schema_metadata(self._about)
        if self._writer is None:
            self._writer = self._pyarrow.parquet.ParquetWriter(self._path, table.schema)
        self._writer.write_table(table)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()
