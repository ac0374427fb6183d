"""The device's trust as a bare TUF client: what the public conformance suite drives.

Rules it upholds: the very `Trust` that the agent uses does the work, so that what passes there is
what runs here; only the study is left open, since the suite's repositories name none.

In the life of a bundle: none; this is for the workshop, and for a look at a repository by hand.

Source: theupdateframework/tuf-conformance, CLIENT-CLI.md.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sync.updates.mirrors import mirror_at
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.source import NotThere, Source
from sync.updates.targets import FOLDER
from sync.updates.trust import Trust
from sync.updates.tuf_client import METADATA, MOST_ROOT_BYTES


def init(metadata_dir: Path | None, root: Path) -> None:
    """Pin the first root that the file holds.

    Raises:
        UpdateRejected: an argument is missing, or the root can't be trusted by itself.
    """
    try:
        with root.open("rb") as file:
            content = file.read(MOST_ROOT_BYTES + 1)
    except OSError as fault:
        raise UpdateRejected(
            Reason.UNREACHABLE, f"The first root can't be read ({fault.strerror})."
        ) from fault
    _trust(metadata_dir, _Nowhere(), _Nowhere()).init(content)


def refresh(metadata_dir: Path | None, metadata_url: str | None) -> None:
    """Take in the repository's newest lists.

    Raises:
        UpdateRejected: with the reason.
    """
    _trust(metadata_dir, _below(metadata_url, METADATA), _Nowhere()).refresh()


def download(
    metadata_dir: Path | None,
    metadata_url: str | None,
    names: Sequence[str],
    targets_url: str | None,
    into: Path | None,
) -> None:
    """Refresh, then fetch each target in turn; those before a refused one are kept.

    Raises:
        UpdateRejected: with the reason.
    """
    if into is None or not names:
        raise _missing()
    trust = _trust(metadata_dir, _below(metadata_url, METADATA), _below(targets_url, FOLDER))
    trust.refresh()
    for name in names:
        target = trust.offer(name)
        if target is None:
            raise UpdateRejected(
                Reason.UNKNOWN, "No key that this device trusts has signed for that target."
            )
        trust.download(target, into)


def _trust(metadata_dir: Path | None, metadata: Source, targets: Source) -> Trust:
    if metadata_dir is None:
        raise _missing()
    return Trust(metadata_dir, metadata, targets, now=lambda: datetime.now(UTC), study=None)


def _below(address: str | None, prefix: str) -> Source:
    if address is None:
        raise _missing()
    return _Prefixed(mirror_at(address), prefix)


class _Prefixed:
    """A mirror whose address stands for a folder of the repository, and not for all of it."""

    def __init__(self, source: Source, prefix: str) -> None:
        self._source = source
        self._prefix = prefix

    def read(self, path: str, most_bytes: int, start: int = 0) -> Iterator[bytes]:
        return self._source.read(path.removeprefix(self._prefix), most_bytes, start)


class _Nowhere:
    """For an act that asks nobody for anything."""

    def read(self, path: str, most_bytes: int, start: int = 0) -> Iterator[bytes]:
        raise NotThere(path)


def _missing() -> UpdateRejected:
    return UpdateRejected(
        Reason.UNREACHABLE,
        "Not all is said that this needs.",
        "See `sottovoce ota --help`.",
    )
