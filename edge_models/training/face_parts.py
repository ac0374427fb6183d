"""Parts of a face evaluation that are kept until it is complete, so that it resumes; its progress.

Rules it upholds: what is read back is what was kept.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy.typing as npt

from edge_models.training.identity.kept import Arrays

Progress = Callable[[Sequence[Any], str], Iterator[Any]]
"""Walks through things, and shows under these words how far it is."""


class Kept(Protocol):
    """A place for named parts."""

    def get(self, name: str) -> dict[str, npt.NDArray[Any]] | None:
        """A finished part, or None."""
        ...

    def put(self, name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Keep a part."""
        ...


def part_of(kept: Kept, name: str, made: Callable[[], Arrays]) -> Arrays:
    """A finished part, or else `made` and kept."""
    found = kept.get(name)
    if found is None:
        found = made()
        kept.put(name, found)
    return found
