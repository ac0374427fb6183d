"""Photographs and clips of faces by a manifest: who shows which expression, in which pose.

Rules it upholds: the person is the unit of every fold; a set's unknown expression is "", never a
guess; whoever is not named by the manifest is left out.

Acted expressions stand in for what nobody publishes: no openly licensed faces with depression or
anxiety labels exist. Every figure on them is an affect figure.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import NoFaces, RecordingError

EXPRESSIONS: Final = ("neutral", "happy", "sad", "angry")
"""The expressions told apart; any other counts as unknown, ""."""

CMU: Final = "cmu faces"
LONDON: Final = "Face Research Lab London Set"
OLIVETTI: Final = "olivetti 40x10 64x64"
GRID: Final = "GRID samples"

OLIVETTI_PEOPLE: Final = 40
OLIVETTI_EACH: Final = 10

_PICTURES: Final = frozenset({".jpg", ".jpeg", ".png"})
_CLIPS: Final = frozenset({".mp4", ".mpg", ".mpeg", ".avi", ".mov", ".mkv", ".webm"})
_COLUMNS: Final = frozenset({"path", "dataset", "licence", "identity", "label", "extra"})


@dataclass(frozen=True, slots=True)
class Photograph:
    """One picture, or one clip, of one person; `path` is relative to the recordings' folder.

    `expression` is one of EXPRESSIONS or ""; `pose` and `eyes` are the set's own words or "";
    `place` counts the pictures of a file that holds many.
    """

    path: str
    dataset: str
    licence: str
    person: str
    expression: str = ""
    pose: str = ""
    eyes: str = ""
    place: int = 0

    @property
    def moves(self) -> bool:
        """Whether it is a clip."""
        return Path(self.path).suffix.lower() in _CLIPS

    @property
    def name(self) -> str:
        """What it is called where it is skipped."""
        return f"{self.path}[{self.place}]" if self.dataset == OLIVETTI else self.path


def photographs(folder: Path) -> tuple[Photograph, ...]:
    """All photographs and clips below `faces/` and `clips/` of the manifest that show one person.

    Raises:
        RecordingError: there is no manifest, or it lacks a column.
        NoFaces: it lists none.
    """
    found = tuple(one for row in _rows(folder) for one in _listed(row))
    if not found:
        raise NoFaces(
            f"No photographs of faces are listed in '{folder / 'MANIFEST.csv'}'.",
            "Its rows should begin with 'faces/' or 'clips/' and name an identity.",
        )
    return found


def _rows(folder: Path) -> list[dict[str, str]]:
    path = folder / "MANIFEST.csv"
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError) as fault:
        raise RecordingError(
            f"'{path}' can't be read.", "Set SOTTOVOCE_DATA to the folder that holds MANIFEST.csv."
        ) from fault
    lacking = sorted(_COLUMNS - set(rows[0] if rows else ()))
    if lacking:
        raise RecordingError(
            f"'{path}' lacks the columns {', '.join(lacking)}.", "See the recordings' README."
        )
    return rows


def _listed(row: dict[str, str]) -> Iterator[Photograph]:
    path, dataset, licence = row["path"], row["dataset"], row["licence"]
    suffix = Path(path).suffix.lower()
    if not path.startswith(("faces/", "clips/")):
        return
    if dataset == OLIVETTI and suffix == ".mat":
        for place in range(OLIVETTI_PEOPLE * OLIVETTI_EACH):
            person = f"oli_{place // OLIVETTI_EACH:02d}"
            yield Photograph(path, dataset, licence, person, place=place)
        return
    # GRID's clips are of five people, and the manifest names none of them.
    person = row["identity"] or (f"grid_{Path(path).stem}" if dataset == GRID else "")
    if suffix not in _PICTURES | _CLIPS or not person:
        return
    told = dict(part.split("=", 1) for part in row["extra"].split(";") if "=" in part)
    word = row["label"].strip().lower()
    expression = word if word in EXPRESSIONS else ""
    yield Photograph(
        path, dataset, licence, person, expression, told.get("pose", ""), told.get("eyes", "")
    )


def face_folds(people: Sequence[str] | npt.NDArray[np.str_], count: int) -> npt.NDArray[np.intp]:
    """The fold of each row, 0..count-1, (N,): people, in order of name, are dealt out."""
    names, inverse = np.unique(np.asarray(people), return_inverse=True)
    return np.asarray((np.arange(len(names)) % count)[inverse], np.intp)
