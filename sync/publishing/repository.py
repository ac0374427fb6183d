"""The repository: plain files below one folder, which any static server can hand out.

    metadata/3.root.json, timestamp.json, 9.snapshot.json, 2.targets.json, 5.bundles.json, …
    targets/bundles/affect-1/<sha256>.7.bundle, targets/releases/<sha256>.7.json, …
    audit.jsonl

Rules it upholds: every file but the timestamp has its version or hash in its name, so what a client
has begun to fetch stays there; each is there whole or not at all; one process at a time changes
anything. What is current is what the timestamp names; files that it does not reach are left-overs
of something that was interrupted, and may be written again.

In the life of a bundle: where everything that was signed lies.

Source: TUF specification 1.0.34, 6.2 (consistent snapshots).
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sync.errors import PublishingError
from sync.publishing.audit import LOG_NAME, Log
from sync.publishing.files import explained, put, read
from sync.publishing.keys import PublicKey
from sync.publishing.metadata import Document, parse_document
from sync.publishing.roles import DELEGATED, Listed, RoleName
from sync.updates.durable import locked_file

MOST_METADATA_BYTES: Final = 8 * 1024 * 1024
_ROOT_NAME: Final = re.compile(r"([1-9][0-9]{0,8})\.root\.json")


@dataclass(frozen=True, slots=True)
class State:
    """What is current: the newest root, and all that the timestamp reaches."""

    root: Document
    timestamp: Document
    snapshot: Document
    targets: Document
    bundles: Document
    releases: Document
    heads: Document

    def document(self, role: RoleName) -> Document:
        """The current version of a role."""
        found: Document = getattr(self, role.value)
        return found

    @property
    def study(self) -> str:
        """Whose repository it is."""
        return self.root.binding.study

    @property
    def signed_at(self) -> int:
        """When the newest of it was made, in seconds since 1970."""
        return max(self.document(role).binding.signed_at for role in RoleName)


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository's folder."""

    folder: Path

    @property
    def log(self) -> Log:
        """The log of all acts."""
        return Log(self.folder / LOG_NAME)

    def state(self) -> State:
        """What is current.

        Raises:
            PublishingError: there is no repository here, or its files are not all there.
        """
        state = self.state_if_any()
        if state is None:
            raise PublishingError(
                f"There is no repository in '{self.folder}'.",
                "Name another with --repository, or make one: sottovoce publish root init",
            )
        return state

    def state_if_any(self) -> State | None:
        """What is current, or None before the first publication.

        Raises:
            PublishingError: its files are not all there.
        """
        if not (self.folder / "metadata" / "timestamp.json").exists():
            return None
        timestamp = self._metadata(RoleName.TIMESTAMP, None)
        snapshot = self._metadata(RoleName.SNAPSHOT, timestamp.versions[RoleName.SNAPSHOT])
        versions = snapshot.versions
        rest = {
            role.value: self._metadata(role, versions[role])
            for role in (RoleName.TARGETS, *DELEGATED)
        }
        root = self._metadata(RoleName.ROOT, self._roots()[-1])
        return State(root=root, timestamp=timestamp, snapshot=snapshot, **rest)

    def place(self, document: Document) -> None:
        """Write a document where clients look for it.

        Raises:
            PublishingError: it can't be written.
        """
        number = None if document.role is RoleName.TIMESTAMP else document.version
        path = self._metadata_path(document.role, number)
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            put(path, document.to_bytes())

    def lay(self, listed: Listed, content: bytes) -> None:
        """Write a target's file; one that is there already is left alone.

        Raises:
            PublishingError: it can't be written, or is not what is listed.
        """
        if hashlib.sha256(content).hexdigest() != listed.sha256 or len(content) != listed.length:
            raise PublishingError(
                f"'{listed.path}' changed while it was being published.", "Publish it again."
            )
        path = self._target_path(listed)
        with explained(path):
            if path.exists() and path.read_bytes() == content:
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            put(path, content)

    def content(self, listed: Listed) -> bytes:
        """A target's file, as it was listed.

        Raises:
            PublishingError: it is missing or was altered.
        """
        content = read(self._target_path(listed), listed.length)
        if hashlib.sha256(content).hexdigest() != listed.sha256:
            raise PublishingError(
                f"The repository's file for '{listed.path}' was altered.",
                "Restore it from a copy of the repository.",
            )
        return content

    def missing(self, document: Document) -> list[Listed]:
        """Targets of a role whose files are not here as they are listed."""
        found = []
        for listed in document.listed:
            path = self._target_path(listed)
            if not path.exists() or path.stat().st_size != listed.length:
                found.append(listed)
        return found

    def every_key(self) -> Mapping[str, PublicKey]:
        """All keys that any version of root or targets has ever named, by their ids.

        Raises:
            PublishingError: metadata can't be read.
        """
        keys: dict[str, PublicKey] = {}
        for number in self._roots():
            root = self._metadata(RoleName.ROOT, number)
            for role in (r for r in RoleName if r not in DELEGATED):
                keys |= {key.key_id: key for key in root.holders(role).keys}
        for number in self._numbers(re.compile(r"([1-9][0-9]{0,8})\.targets\.json")):
            targets = self._metadata(RoleName.TARGETS, number)
            for role in DELEGATED:
                keys |= {key.key_id: key for key in targets.holders(role).keys}
        return keys

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes the repository meanwhile.

        Raises:
            PublishingError: the folder can't be used.
        """
        with explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = locked_file(self.folder / ".lock")
        with lock:
            yield

    def _roots(self) -> list[int]:
        return self._numbers(_ROOT_NAME)

    def _numbers(self, name: re.Pattern[str]) -> list[int]:
        folder = self.folder / "metadata"
        with explained(folder):
            names = [name.fullmatch(path.name) for path in folder.iterdir()]
        return sorted(int(found[1]) for found in names if found is not None)

    def _metadata(self, role: RoleName, number: int | None) -> Document:
        return parse_document(role, read(self._metadata_path(role, number), MOST_METADATA_BYTES))

    def _metadata_path(self, role: RoleName, number: int | None) -> Path:
        name = f"{role}.json" if number is None else f"{number}.{role}.json"
        return self.folder / "metadata" / name

    def _target_path(self, listed: Listed) -> Path:
        folder, _, name = listed.path.rpartition("/")
        return self.folder / "targets" / folder / f"{listed.sha256}.{name}"
