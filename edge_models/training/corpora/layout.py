"""How a corpus lies on the disk, and the one error that says what is missing and who gives it.

Rules it upholds: an absent corpus is told with its tree and with the page where it is requested;
what a loader leaves out is counted and named, never dropped in silence.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_models.errors import RecordingError
from edge_models.training.corpora.records import Clip

FIRST: Final = 5


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Recordings or people that a loader did not take: why, and which."""

    reason: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{len(self.names)} left out, {self.reason}: {first_few(self.names)}"


@dataclass(frozen=True, slots=True)
class Corpus:
    """What a loader found: clips in order, and what it left out."""

    clips: tuple[Clip, ...]
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """A corpus by name: where it is requested, on which terms, and its tree."""

    name: str
    title: str
    requested: str
    licence: str
    language: str
    tree: str

    def missing(self, folder: Path, what: str) -> RecordingError:
        """The error that `what` is not in `folder`: the tree, and where the corpus is given."""
        return RecordingError(
            f"{self.title}: there is no {what} in '{folder}'.",
            f"It is requested at {self.requested}; the folder must look like this:\n{self.tree}",
        )

    def corpus(self, folder: Path, clips: Sequence[Clip], *left_out: LeftOut) -> Corpus:
        """What was found, without empty remarks.

        Raises:
            RecordingError: there is no clip at all.
        """
        told = tuple(one for one in left_out if one.names)
        if not clips:
            raise self.missing(folder, "; ".join(["usable recording", *map(str, told)]))
        return Corpus(tuple(clips), told)


def first_few(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    told = list(names)
    more = f" and {len(told) - FIRST} more" if len(told) > FIRST else ""
    return ", ".join(told[:FIRST]) + more
