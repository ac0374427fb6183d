"""What a device believes about updates, and the files that it takes because of it.

Rules it upholds: nothing is believed but what the pinned first root leads to; where the first root
names a study, every document must name the same one, a version that was seen never comes again
with other content, and a role signs only for its own folder; whatever the other side sends, the
answer is a value or `UpdateRejected`, and what was believed before is kept.

In the life of a bundle: `refresh` finds out what the study offers, `offer` says what a target is,
`download` gives its file. `tuf_client` does the believing.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from sync.updates.downloads import disk_faults, fetch
from sync.updates.durable import write_durably
from sync.updates.offers import Kind
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.source import Source
from sync.updates.targets import Target, check_path
from sync.updates.trusted_time import read_floor
from sync.updates.tuf_client import MOST_ROOT_BYTES, Client

FIRST_ROOT: Final = "first-root"  # no .json: it is what is pinned, not what is current
_FLOOR: Final = "time-floor"


class Trust:
    """One study's updates as one device knows them, kept in `folder`.

    `study` is the name that every document must carry; None takes the one that the first root
    names, and asks for none if that names none. Not for several threads or processes at once.
    """

    __slots__ = ("_client", "_folder", "_metadata", "_now", "_study", "_targets")

    def __init__(
        self,
        folder: Path,
        metadata: Source,
        targets: Source,
        *,
        now: Callable[[], datetime],
        study: str | None,
    ) -> None:
        self._folder = folder
        self._metadata = metadata
        self._targets = targets
        self._now = now
        self._study = study
        self._client: Client | None = None

    @property
    def initialised(self) -> bool:
        """Whether a first root has been pinned here."""
        return (self._folder / FIRST_ROOT).is_file()

    @property
    def moment(self) -> int:
        """The trusted time, whole seconds since 1970: never before what was signed and verified."""
        return int(read_floor(self._folder / _FLOOR).now(self._now()).timestamp())

    def init(self, root: bytes) -> None:
        """Pin the first root, from which all trust starts; asks nobody for anything.

        Raises:
            UpdateRejected: it is no root, is not signed by its own keys, names another study, or
                another one is pinned here already.
        """
        if len(root) > MOST_ROOT_BYTES:
            raise UpdateRejected(Reason.TOO_LARGE, "The first root is too long to be one.")
        with disk_faults():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            pinned = self._folder / FIRST_ROOT
            if pinned.exists() and pinned.read_bytes() != root:
                raise UpdateRejected(
                    Reason.EQUIVOCAL, "Another first root is pinned on this device already."
                )
            client = self._opened(root)
            write_durably(pinned, root)
            client.conclude(self._folder / _FLOOR)

    def refresh(self) -> None:
        """Take in the newest roots, timestamp, snapshot and targets.

        Raises:
            UpdateRejected: with the reason; what was believed before is kept.
        """
        self._client = None
        self._client = self._refreshed()

    def offer(self, path: str) -> Target | None:
        """What the study offers at this path; None if nothing. Refreshes, if nothing has yet.

        Raises:
            UpdateRejected: BAD_PATH, NOT_ALLOWED, TOO_LARGE, or as `refresh`.
        """
        check_path(path)
        client = self._client or self._refreshed()
        self._client = None  # one that refused a list half way is never asked again
        with disk_faults():
            with client.faults():
                found = client.get_targetinfo(path)
            client.conclude(self._folder / _FLOOR)
        self._client = client
        return None if found is None else client.target_of(found)

    def newest(self, kind: Kind, name: str) -> Target | None:
        """The offer of this kind and name with the highest serial; None if there is none.

        Raises:
            UpdateRejected: as `offer`.
        """
        self.offer(f"{kind.role}/{name}/0" if kind is Kind.BUNDLE else f"{kind.role}/0")
        client = self._client
        assert client is not None
        offered = [client.target_of(found) for found in client.listed(kind.role)]
        own = [
            (target.offer.serial, target)
            for target in offered
            if target.offer is not None and (target.offer.kind, target.offer.name) == (kind, name)
        ]
        return max(own, key=lambda each: each[0])[1] if own else None

    def documents(self) -> tuple[tuple[str, bytes], ...]:
        """All lists that lead to what was offered, by their paths: for somebody else to verify.

        Raises:
            UpdateRejected: NO_ROOM, one of them can't be read; or as `refresh`, if nothing has yet.
        """
        client = self._client or self._refreshed()
        with disk_faults():
            return tuple(client.documents())

    def download(self, target: Target, into: Path) -> Path:
        """The target's file in the folder `into`, whole and verified; resumes what was cut.

        Raises:
            UpdateRejected: with the reason; an unfinished part lies hidden in `into`.
        """
        if self.offer(target.path) != target:
            raise UpdateRejected(Reason.UNKNOWN, "The study does not offer this update any more.")
        return fetch(
            self._targets,
            target.lies_at,
            length=target.length,
            hashes=target.hashes,
            into=into,
            name=target.file_name,
        )

    def _refreshed(self) -> Client:
        with disk_faults():
            try:
                root = (self._folder / FIRST_ROOT).read_bytes()
            except FileNotFoundError:
                raise UpdateRejected(
                    Reason.UNKNOWN,
                    "This device knows no first root to trust updates from.",
                    "It is pinned at enrolment, or by `sottovoce ota --metadata-dir DIR init`.",
                ) from None
            client = self._opened(root)
            with client.faults():
                client.refresh()
                client.check_against_replay()
            client.conclude(self._folder / _FLOOR)
        return client

    def _opened(self, root: bytes) -> Client:
        floor = read_floor(self._folder / _FLOOR)
        return Client.opened(self._folder, self._metadata, root, floor, self._now(), self._study)
