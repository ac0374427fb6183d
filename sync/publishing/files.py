"""Files that are there whole or not at all, whenever the power fails.

In the life of a bundle: how everything of the repository, and every key, is written.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sync.errors import PublishingError


def put(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replace a file by one with this content, on disk when this returns.

    Raises:
        OSError: it can't be; what was there before still is.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk, too."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
