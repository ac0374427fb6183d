"""Files that are there whole or not at all, whenever the power fails.

In the life of a bundle: how everything of the repository, and every key, is written.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sync.errors import PublishingError
from sync.updates.durable import write_durably


def put(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replace a file by one with this content, on disk when this returns.

    Raises:
        OSError: it can't be; what was there before still is.
    """
    write_durably(path, content, mode)


def read(path: Path, most_bytes: int) -> bytes:
    """A file's content.

    Raises:
        PublishingError: it is longer, or can't be read.
    """
    with explained(path), path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise PublishingError(f"'{path}' is longer than {most_bytes} bytes, which it can't be.")
    return content


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the file system says into a cause and a remedy.

    Raises:
        PublishingError: `path` can't be used.
    """
    try:
        yield
    except OSError as fault:
        raise PublishingError(
            f"'{path}' can't be used ({fault.strerror}).",
            "Check the name, its permissions and the free space.",
        ) from fault
