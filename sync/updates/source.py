"""Where files of a repository come from: a protocol that a mirror, a stick and the line all keep.

Rules it upholds: nothing that a source says is trusted: `trust` checks every byte against what was
signed; a source may start in the middle, so that a cut costs no more than the piece on its way.

In the life of a bundle: repository → **a source** → `trust`.
"""

from collections.abc import Iterator
from typing import Protocol

from sync.updates.rejected import Reason, UpdateRejected


class NotThere(UpdateRejected):
    """The repository has no such file, and says so."""

    def __init__(self, path: str) -> None:
        super().__init__(Reason.UNREACHABLE, f"The repository has no file '{path[-80:]}'.")


class Source(Protocol):
    """Gives files of one repository by their path below it, such as `metadata/timestamp.json`."""

    def read(self, path: str, most_bytes: int, start: int = 0) -> Iterator[bytes]:
        """The file's bytes from `start` on, in pieces as they come, and never beyond `most_bytes`.

        `most_bytes` counts from the file's beginning.

        Raises:
            NotThere: the repository has no such file.
            UpdateRejected: TOO_LARGE, TOO_SLOW, or UNREACHABLE (what came before is good to keep).
        """
        ...
