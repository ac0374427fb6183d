"""A table of scores with the truth, one row a score: what researchers hand to `thresholds`.

Rules it upholds: a row without a score or a truth is skipped and counted; whatever else is wrong
is refused, with the line it stands in; a message never holds a score.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import ScoresError

Words = npt.NDArray[np.str_]

_TRUTHS: Final = MappingProxyType({"0": False, "1": True, "false": False, "true": True})
_CLOSEST_TO_CERTAIN: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns; where no column `person` is, each row is a person."""

    score: str = "score"
    truth: str = "truth"
    person: str = "person"
    groups: tuple[str, ...] = ()
    log_odds: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """N scores: `scores` and `log_odds` float64 (N,), `truth` bool (N,), `people` words (N,).

    `groups`: column → words (N,), "" unknown. `skipped` rows had no score or no truth.
    """

    scores: npt.NDArray[np.float64]
    log_odds: npt.NDArray[np.float64]
    truth: npt.NDArray[np.bool_]
    people: Words
    groups: Mapping[str, Words]
    skipped: int


def read_scores(path: Path, columns: Columns) -> ScoreTable:
    """Read a CSV file with a line of names.

    Raises:
        ScoresError: no such file or column, something that is no score or truth, one class only,
            or a person in two groups of one column.
    """
    rows = _rows(path, columns)
    kept = [
        (line, row)
        for line, row in enumerate(rows, 2)
        if row[columns.score].strip() and row[columns.truth].strip()
    ]
    scores = np.asarray([_score(row[columns.score], line, columns) for line, row in kept])
    truth = np.asarray([_truth(row[columns.truth], line) for line, row in kept], bool)
    if not truth.any() or truth.all():
        raise ScoresError(
            f"'{path.name}' holds only people of one class in '{columns.truth}'.",
            "Thresholds need people who are so (1) and people who are not (0).",
        )
    people = np.asarray([row.get(columns.person) or f"row {line}" for line, row in kept])
    certain = np.clip(scores, _CLOSEST_TO_CERTAIN, 1 - _CLOSEST_TO_CERTAIN)
    return ScoreTable(
        scores=scores,
        log_odds=scores if columns.log_odds else np.log(certain) - np.log1p(-certain),
        truth=truth,
        people=people,
        groups=MappingProxyType({name: _group(name, kept, people) for name in columns.groups}),
        skipped=len(rows) - len(kept),
    )


_Kept = Sequence[tuple[int, dict[str, str]]]


def _rows(path: Path, columns: Columns) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            names = reader.fieldnames or ()
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise ScoresError(
            f"'{path}' can't be read as a CSV file.", "Give --scores a UTF-8 file with commas."
        ) from fault
    wanted = (columns.score, columns.truth, *columns.groups)
    if absent := [name for name in wanted if name not in names]:
        raise ScoresError(
            f"'{path.name}' has no column '{absent[0]}'; it has {', '.join(names) or 'none'}.",
            "Name the right ones with --score-column, --truth-column and --by.",
        )
    return rows


def _score(text: str, line: int, columns: Columns) -> float:
    try:
        score = float(text)
    except ValueError:
        score = float("nan")
    if not np.isfinite(score) or not (columns.log_odds or 0 <= score <= 1):
        kind = "log-odds" if columns.log_odds else "a probability in 0 to 1"
        raise ScoresError(
            f"Line {line}: '{columns.score}' is not {kind}.",
            "Correct it, leave the cell empty, or say --log-odds if the scores are log-odds.",
        )
    return score


def _truth(text: str, line: int) -> bool:
    if (told := _TRUTHS.get(text.strip().lower())) is None:
        raise ScoresError(f"Line {line}: the truth is not 0 or 1.", "Correct it or empty the cell.")
    return told


def _group(name: str, kept: _Kept, people: Words) -> Words:
    words = [row[name].strip() for _, row in kept]
    of_person: dict[str, str] = {}
    for person, word in zip(people, words, strict=True):
        if of_person.setdefault(str(person), word) != word:
            raise ScoresError(
                f"A person is in two groups of '{name}'.", "Give each person one group there."
            )
    return np.asarray(words)
