"""Finished cells of a private curve, kept on disk so that an interrupted run goes on.

Rules it upholds: a cell is on disk before the next begins; one of other people, recipes, noise or
code is never taken for this run's; a torn last line is left out and trained again.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_models.errors import RecordingError
from edge_models.training.private_accounting import Schedule, Spent
from edge_models.training.private_curve import Cell, Kind, Scope, Tried
from edge_models.training.whole import written_whole

CELLS: Final = "cells.jsonl"


class Book:
    """The cells of one setting (a digest) in one folder.

    Raises:
        RecordingError: the folder can't be used.
    """

    def __init__(self, folder: Path, setting: str) -> None:
        self._path, self._setting = folder / CELLS, setting
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lines = self._path.read_text("utf-8").splitlines() if self._path.exists() else []
            entries = [entry for line in lines if (entry := _entry(line)) is not None]
            self._rewrite(entries)
        except (OSError, UnicodeDecodeError) as fault:
            raise _unusable(folder) from fault
        own = [entry for entry in entries if entry["setting"] == setting]
        self._cells = {_cell(entry): _tried(entry) for entry in own}

    @property
    def cells(self) -> Mapping[Cell, Tried]:
        """What was finished so far."""
        return self._cells

    def keep(self, cell: Cell, tried: Tried) -> None:
        """Put a finished cell on disk.

        Raises:
            RecordingError: it can't be written.
        """
        entry = {
            "setting": self._setting,
            "cell": asdict(cell),
            "spent": None if tried.spent is None else asdict(tried.spent),
            "numbers": tried.numbers,
            "counts": tried.counts.tolist(),
        }
        try:
            with self._path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(entry) + "\n")
                lines.flush()
                os.fsync(lines.fileno())
        except OSError as fault:
            raise _unusable(self._path.parent) from fault
        self._cells[cell] = tried

    def _rewrite(self, entries: list[dict[str, Any]]) -> None:
        with written_whole(self._path) as beside:
            beside.write_text("".join(json.dumps(entry) + "\n" for entry in entries), "utf-8")


def _unusable(folder: Path) -> RecordingError:
    return RecordingError(f"'{folder}' can't be read and written.", "Name another with --out.")


def _entry(line: str) -> dict[str, Any] | None:
    """A line that was written whole; None if it wasn't."""
    try:
        entry = json.loads(line)
        _cell(entry), _tried(entry), entry["setting"]
    except (ValueError, KeyError, TypeError):
        return None
    return dict(entry)


def _cell(entry: dict[str, Any]) -> Cell:
    told = entry["cell"]
    return Cell(
        Scope(told["scope"]), told["people"], Kind(told["kind"]), told["epsilon"], told["repeat"]
    )


def _tried(entry: dict[str, Any]) -> Tried:
    told = entry["spent"]
    spent = None if told is None else Spent(**(told | {"schedule": Schedule(**told["schedule"])}))
    return Tried(np.asarray(entry["counts"], np.int64), spent, entry["numbers"])
