"""A study's repository of updates in memory, for stories: roles, keys, versions, and its lies.

It publishes as `sync.publishing` would, but can sign anything with any key. What it serves is a
dictionary of paths; a story may alter that, put an old one back, or be cut off.
"""

import contextlib
import copy
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from sync.updates import offers
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.source import NotThere

STUDY = "quiet"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
THRESHOLDS = {"root": (2, 3), "targets": (2, 3), "snapshot": (1, 1), "timestamp": (1, 1)}
DELEGATED = {
    "bundles": (2, 3, ["bundles/*/*"]),
    "releases": (2, 3, ["releases/*", "releases/wheels/*"]),
    "heads": (1, 1, ["heads/*"]),
}
LASTS = {"root": 365, "targets": 180, "bundles": 180, "releases": 180, "heads": 30} | {
    "snapshot": 7,
    "timestamp": 2,
}


class Repository:
    """`files` are what a mirror of it has; `clock` is the engineers' own."""

    def __init__(self, study: str | None = STUDY, clock: datetime = NOW) -> None:
        self.study = study
        self.clock = clock
        self.lasts = dict(LASTS)
        self.files: dict[str, bytes] = {}
        self.keys: dict[str, list[CryptoSigner]] = {}
        self.documents: dict[str, Any] = {
            "root": Root(consistent_snapshot=True),
            "targets": Targets(),
            "snapshot": Snapshot(),
            "timestamp": Timestamp(),
        }
        for role, (threshold, count) in THRESHOLDS.items():
            self.give_keys(role, count)
            self.root.roles[role].threshold = threshold
        self.targets.delegations = Delegations(keys={}, roles={})
        for role, (threshold, count, paths) in DELEGATED.items():
            self.documents[role] = Targets()
            assert self.targets.delegations.roles is not None
            self.targets.delegations.roles[role] = DelegatedRole(
                role, [], threshold, True, paths=paths
            )
            self.give_keys(role, count)
        self.publish("root", "bundles", "releases", "heads", "targets", "snapshot", "timestamp")
        self.first_root = self.files["metadata/1.root.json"]

    @property
    def root(self) -> Root:
        return self.documents["root"]  # type: ignore[no-any-return]

    @property
    def targets(self) -> Targets:
        return self.documents["targets"]  # type: ignore[no-any-return]

    def give_keys(self, role: str, count: int) -> None:
        """Exchange all keys of a role for new ones."""
        owner = self.targets if role in DELEGATED else self.root
        held: Any = self.targets.delegations.roles if role in DELEGATED else self.root.roles  # type: ignore[union-attr]
        for key in list(held[role].keyids):
            owner.revoke_key(key, role)
        self.keys[role] = [CryptoSigner.generate_ed25519() for _ in range(count)]
        for signer in self.keys[role]:
            owner.add_key(signer.public_key, role)

    def add(
        self,
        path: str,
        content: bytes,
        *,
        role: str | None = None,
        offer: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Put a target into a role's list and its bytes beside it; both are published later."""
        role = role or path.partition("/")[0]
        target = TargetFile.from_data(path, content, ["sha256"])
        if offer is not None:
            target.unrecognized_fields["custom"] = {offers.OFFER_FIELD: offer}
        target.unrecognized_fields |= more
        self.documents[role].targets[path] = target
        folder, slash, name = path.rpartition("/")
        self.files[f"targets/{folder}{slash}{target.hashes['sha256']}.{name}"] = content

    def add_bundle(self, serial: int, content: bytes, **said: Any) -> str:
        path = offers.bundle_path("affect-1", serial)
        fields = {"kind": "bundle", "name": "affect-1", "serial": serial, "says": f"0.{serial}"}
        self.add(path, content, offer=fields | said)
        return path

    def release(self, *roles: str) -> None:
        """Publish these roles, and what must follow: snapshot and timestamp."""
        self.publish(*roles, "snapshot", "timestamp")

    def publish(self, *roles: str) -> None:
        """Sign a new version of each role, in this order, and serve it."""
        for role in roles:
            document = self.documents[role]
            previous = f"metadata/{document.version}.{role}.json"
            if role == "timestamp":
                previous = "metadata/timestamp.json"
            if previous in self.files:
                document.version += 1
            document.expires = self.clock + timedelta(days=self.lasts[role])
            if self.study is not None:
                document.unrecognized_fields[offers.BINDING_FIELD] = {
                    "study": self.study,
                    "signed_at": int(self.clock.timestamp()),
                }
            self.serve(role, self.sign(role))

    def sign(
        self, role: str, document: Any = None, keys: list[CryptoSigner] | None = None
    ) -> bytes:
        """The role's document under its keys' signatures."""
        signed: Metadata[Any] = Metadata(copy.deepcopy(document or self.documents[role]))
        for signer in self.keys[role] if keys is None else keys:
            signed.sign(signer, append=True)
        return signed.to_bytes()

    def serve(self, role: str, content: bytes) -> None:
        """Put a document where devices look for it, and its hash into what leads to it."""
        version = self.documents[role].version
        name = "timestamp.json" if role == "timestamp" else f"{version}.{role}.json"
        self.files[f"metadata/{name}"] = content
        meta = MetaFile.from_data(version, content, ["sha256"])
        if role == "snapshot":
            self.documents["timestamp"].snapshot_meta = meta
        elif role not in ("root", "timestamp"):
            self.documents["snapshot"].meta[f"{role}.json"] = meta


class Mirror:
    """A source over a dictionary of files; it counts what was asked for, and can be cut."""

    def __init__(self, files: dict[str, bytes], piece_bytes: int = 1000) -> None:
        self.files = files
        self.piece_bytes = piece_bytes
        self.asked: list[tuple[str, int]] = []
        self.cut_after: Callable[[str, int], bool] = lambda path, sent: False

    def read(self, path: str, most_bytes: int, start: int = 0) -> Iterator[bytes]:
        self.asked.append((path, start))
        if path not in self.files:
            raise NotThere(path)
        content = self.files[path]
        for at in range(start, len(content), self.piece_bytes):
            if self.cut_after(path, at):
                raise UpdateRejected(Reason.UNREACHABLE, "The line was cut.")
            if at + self.piece_bytes > most_bytes and len(content) > most_bytes:
                raise UpdateRejected(Reason.TOO_LARGE, "A file is longer than it may be.")
            yield content[at : at + self.piece_bytes]


class Endless:
    """A source whose every file has no end; it counts how much of it was taken."""

    def __init__(self, good: Mirror, endless: str) -> None:
        self.good = good
        self.endless = endless
        self.given_bytes = 0

    def read(self, path: str, most_bytes: int, start: int = 0) -> Iterator[bytes]:
        if self.endless not in path:
            yield from self.good.read(path, most_bytes, start)
            return
        while True:
            self.given_bytes += 4096
            yield bytes(4096)


@contextlib.contextmanager
def refused(*reasons: Reason) -> Iterator[None]:
    """What is done inside ends as an `UpdateRejected` of one of these reasons, in plain words."""
    with pytest.raises(UpdateRejected) as caught:
        yield
    assert caught.value.reason in reasons, caught.value
    assert caught.value.cause.endswith(".") and caught.value.remedy


def believed(folder: Path) -> dict[str, bytes]:
    """All files that a trust keeps in its folder, by their path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
