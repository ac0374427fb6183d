"""Writes rows of numbers as CSV or Parquet, a few at a time; the only place naming pyarrow."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from agent.errors import SettingError

Row = Sequence[str | float | bool]


class Table(Protocol):
    """An open table: rows are added until it is closed."""

    def add(self, rows: Iterable[Row]) -> None:
        """Append rows, each as wide as the columns."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_table(path: Path, columns: Sequence[str]) -> Table:
    """A table by its ending: `.csv` or `.parquet`.

    Raises:
        SettingError: another ending, a folder that doesn't exist, or a disk that refuses.
    """
    if not path.parent.is_dir():
        raise SettingError(
            f"The folder '{path.parent}' doesn't exist.", "Make it, or name another."
        )
    try:
        if path.suffix == ".csv":
            return _Csv(path, columns)
        if path.suffix == ".parquet":
            return _Parquet(path, columns)
    except OSError as fault:
        raise SettingError(
            f"'{path}' can't be written: {fault.strerror}.", "Name another."
        ) from fault
    raise SettingError(
        f"'{path.name}' has no known ending.", "End it in .csv or .parquet to choose the format."
    )


class _Csv:
    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._writer.writerow(columns)

    def add(self, rows: Iterable[Row]) -> None:
        self._writer.writerows([_plain(cell) for cell in row] for row in rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def _plain(cell: str | float | bool) -> str:
    # Seven digits hold a float32 whole; an absent number is an empty cell, as pandas reads it.
    if isinstance(cell, float):
        return "" if cell != cell else f"{cell:.7g}"
    return str(cell)


class _Parquet:
    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        import pyarrow  # 100 MB, and only researchers write Parquet
        import pyarrow.parquet

        self._pyarrow: Any = pyarrow
        self._columns = list(columns)
        self._path = path
        self._writer: Any = None
        self._new_writer = pyarrow.parquet.ParquetWriter

    def _schema(self) -> Any:
        kinds = {"file": self._pyarrow.string(), "abstained": self._pyarrow.bool_()}
        return self._pyarrow.schema(
            [(name, kinds.get(name, self._pyarrow.float64())) for name in self._columns]
        )

    def add(self, rows: Iterable[Row]) -> None:
        by_column = list(zip(*rows, strict=True)) or [()] * len(self._columns)
        schema = self._schema()
        if self._writer is None:
            self._writer = self._new_writer(self._path, schema)
        arrays = [
            self._pyarrow.array(values, field.type)
            for values, field in zip(by_column, schema, strict=True)
        ]
        self._writer.write_table(self._pyarrow.Table.from_arrays(arrays, schema=schema))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is None:
            self.add([])
        self._writer.close()
