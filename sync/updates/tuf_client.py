"""TUF's client as python-tuf has it, held to a study, to a floor of time and to equal versions.

Rules it upholds: signatures, thresholds, expiry, versions and hashes are python-tuf's to check, in
its order; between checking a document and keeping it, this looks at whose it is; a document is kept
whole and durably, or not at all; every fault is told as an `UpdateRejected`. Nothing of a document
is used before its signatures have been verified.

In the life of a bundle: the lists that lead to it. This alone knows python-tuf on the device's
side, and uses a few of its private seams (its version is pinned; `tests/test_tuf_client.py` fails
if they move).

Source: TUF specification 1.0, section 5 (detailed client workflow).
"""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from tuf.api import exceptions as tuf
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError, SerializationError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from edge_models.errors import ContractError
from sync.updates import offers, told
from sync.updates.durable import write_durably
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.source import NotThere, Source
from sync.updates.targets import FOLDER, Target, allowed
from sync.updates.trusted_time import Floor, keep_floor

METADATA: Final = "metadata/"
"""Below it, a source has the lists."""
MOST_ROOT_BYTES: Final = 512_000
_LIMITS: Final = UpdaterConfig(
    max_root_rotations=256,
    max_delegations=32,
    root_max_length=MOST_ROOT_BYTES,
    timestamp_max_length=16_384,
    snapshot_max_length=2_000_000,
    targets_max_length=5_000_000,
)


class Client(Updater):
    """python-tuf's client with four seams used: what it fetches by, keeps with, believes, and when.

    Between verifying a document and keeping it, it looks at the study and at equal versions.
    """

    def __init__(
        self,
        folder: Path,
        source: Source,
        root: bytes,
        floor: Floor,
        clock: datetime,
        study: str | None,
    ) -> None:
        self._study = study
        self._floor = floor
        self._clock = clock
        self._by = _Fetcher(source)
        self._met_first_root = False
        super().__init__(str(folder), METADATA, fetcher=self._by, config=_LIMITS, bootstrap=root)
        if not isinstance(getattr(self._trusted_set, "reference_time", None), datetime):
            raise ContractError("python-tuf has another clock than this version knows.")
        self._trusted_set.reference_time = floor.now(clock)

    @classmethod
    def opened(
        cls,
        folder: Path,
        source: Source,
        root: bytes,
        floor: Floor,
        clock: datetime,
        study: str | None,
    ) -> "Client":
        """A client that starts from this first root; asks the source for nothing as yet.

        Raises:
            UpdateRejected: the root is malformed, not signed by its own keys, or not this study's.
        """
        try:
            with _plain_faults():
                return cls(folder, source, root, floor, clock, study)
        except tuf.RepositoryError:
            raise told.malformed() from None

    # What it keeps, and when.

    def _persist_root(self, version: int, data: bytes) -> None:
        if not self._met_first_root:
            self._met_first_root = True
            named = _binding_of(Root.type, self._trusted_set.root)
            if self._study is None and named is not None:
                self._study = named.study
        self._check_study(Root.type)
        super()._persist_root(version, data)

    def _persist_metadata(self, rolename: str, data: bytes) -> None:
        self._check_study(rolename)
        self._check_equal_version(rolename, data)
        super()._persist_metadata(rolename, data)

    def _persist_file(self, filename: str, data: bytes) -> None:
        write_durably(Path(filename), data)

    def _update_root_symlink(self) -> None:
        """As python-tuf's, but in one step: a cut never leaves no root at all."""
        newest = Path("root_history", f"{self._trusted_set.root.version}.root.json")
        if not (Path(self._dir) / newest).exists():
            return  # refused after its signatures were right: the last one stays
        draft = Path(self._dir, ".root.json.new")
        draft.unlink(missing_ok=True)
        draft.symlink_to(newest)
        draft.replace(Path(self._dir, "root.json"))

    # What it believes.

    def _check_study(self, role: str) -> None:
        if self._study is None:
            return
        named = _binding_of(role, self._trusted_set[role])
        if named is None or named.study != self._study:
            raise told.other_study(role)

    def _check_equal_version(self, role: str, data: bytes) -> None:
        """Refuse a version that was kept before, with other content, if its keys still hold."""
        if self._study is None:
            return
        try:
            old: Metadata[Any] = Metadata.from_bytes(self._load_local_metadata(role))
            self._delegator_of(role).verify_delegate(role, old.signed_bytes, old.signatures)
        except (OSError, tuf.RepositoryError, ValueError):
            return  # nothing kept, or nothing that still counts
        new = self._trusted_set[role]
        if old.signed.version == new.version and old.signed != new:
            raise told.equivocal(role)

    def check_against_replay(self) -> None:
        """Refuse a repository whose newest documents differ from kept ones of the same version.

        python-tuf keeps the old one and says nothing, and the public conformance suite wants just
        that; so a root that names no study gets it.
        """
        if self._study is None:
            return
        offered: Metadata[Any] = Metadata.from_bytes(self._by.fetched[Timestamp.type])
        if offered.signed != self._trusted_set.timestamp:
            raise told.equivocal(Timestamp.type)
        try:
            self._trusted_set.timestamp.snapshot_meta.verify_length_and_hashes(
                self._load_local_metadata(Snapshot.type)
            )
        except tuf.LengthOrHashMismatchError:
            raise told.equivocal(Snapshot.type) from None

    def conclude(self, floor_file: Path) -> None:
        """Move the floor of time to what was signed last, and judge all that was loaded by it."""
        moments = [self._signed_at(role) for role in self._loaded()]
        floor = self._floor.raised(max([0, *(m for m in moments if m is not None)]))
        if floor.seconds:
            self._floor = keep_floor(floor_file, floor)
        now = self._floor.now(self._clock)
        for role in self._loaded():
            if role != Root.type and self._trusted_set[role].is_expired(now):
                raise self._stale(role)

    def target_of(self, found: TargetFile) -> Target:
        """The target as a value, if the role that gave it may.

        Raises:
            UpdateRejected: NOT_ALLOWED, TOO_LARGE, MALFORMED.
        """
        role = next(
            role
            for role in self._loaded()
            if isinstance(signed := self._trusted_set[role], Targets)
            and signed.targets.get(found.path) is found
        )
        hashes = tuple(sorted(found.hashes.items()))
        folder, _, file_name = found.path.rpartition("/")
        if self._trusted_set.root.consistent_snapshot:
            file_name = f"{found.hashes.get('sha256') or hashes[0][1]}.{file_name}"
        lies_at = f"{FOLDER}{folder}/{file_name}" if folder else f"{FOLDER}{file_name}"
        offer = None
        if self._study is not None:
            offer = allowed(role, found.path, found.length, found.hashes, found.custom)
        return Target(found.path, found.length, hashes, role, lies_at, offer)

    def listed(self, role: str) -> tuple[TargetFile, ...]:
        """All targets of a role that has been loaded."""
        signed = self._trusted_set.get(role)
        return tuple(signed.targets.values()) if isinstance(signed, Targets) else ()

    def documents(self) -> Iterator[tuple[str, bytes]]:
        """Each document that was believed on the way here, under the name that a source has it by.

        Raises:
            OSError: one of them can't be read.
        """
        for file in sorted(Path(self._dir, "root_history").glob("*.root.json")):
            yield f"{METADATA}{file.name}", file.read_bytes()
        for role in self._loaded():
            if role != Root.type:
                is_plain = role == Timestamp.type or not self._trusted_set.root.consistent_snapshot
                version = "" if is_plain else f"{self._trusted_set[role].version}."
                yield f"{METADATA}{version}{role}.json", self._load_local_metadata(role)

    def _delegator_of(self, role: str) -> Root | Targets:
        top = role in (Timestamp.type, Snapshot.type, Targets.type)
        return self._trusted_set.root if top else self._trusted_set.targets

    def _loaded(self) -> list[str]:
        """Names of the roles whose documents have been verified, in the order of their trust."""
        names = [Root.type, Timestamp.type, Snapshot.type]
        snapshot = self._trusted_set.get(Snapshot.type)
        listed = snapshot.meta if snapshot is not None else ()
        names += [name.removesuffix(".json") for name in listed]
        return [name for name in names if self._trusted_set.get(name) is not None]

    def _signed_at(self, role: str) -> int | None:
        """When a verified document was signed, as far as it may move the floor.

        No online key can move time beyond the day that the offline keys' root ends on: a lie about
        time then ends with the next root, and is not for ever.
        """
        if self._study is None:
            return None
        document = self._trusted_set[role]
        named = _binding_of(role, document)
        if named is None:
            return None
        if named.signed_at >= document.expires.timestamp():
            raise UpdateRejected(
                Reason.MALFORMED,
                f"The repository's {told.spoken(role)} says that it was signed after its own end.",
            )
        return min(named.signed_at, int(self._trusted_set.root.expires.timestamp()) - 1)

    # What it says when something is wrong.

    @contextlib.contextmanager
    def faults(self) -> Iterator[None]:
        """Say each fault of the repository in one sentence, under its reason."""
        try:
            with _plain_faults():
                yield
        except tuf.ExpiredMetadataError:
            raise self._stale(self._by.newest) from None
        except tuf.BadVersionNumberError:
            raise self._wrong_version() from None
        except tuf.RepositoryError:
            raise told.mixed(self._by.newest) from None

    def _stale(self, role: str) -> UpdateRejected:
        if self._floor.doubts(self._clock):
            return told.impossible_clock(self._clock)
        root_ended = self._trusted_set.root.is_expired(self._floor.now(self._clock))
        return told.expired(Root.type if root_ended else role)

    def _wrong_version(self) -> UpdateRejected:
        """Whether the list that came last is older than a known one, or of another publication.

        Its signatures were right: python-tuf looks at versions after that.
        """
        role = self._by.newest
        claimed = Metadata.from_bytes(self._by.fetched[role]).signed.version
        match role:
            case Timestamp.type:
                return told.older(role)
            case Root.type:
                known = self._trusted_set.root.version
                return told.mixed(role) if claimed > known else told.older(role)
            case Snapshot.type if claimed == self._trusted_set.timestamp.snapshot_meta.version:
                return told.older(role)
            case _:
                return told.mixed(role)


class _Fetcher(FetcherInterface):  # type: ignore[misc, unused-ignore]
    """python-tuf's way to a `Source`; what came last under each role's name is remembered."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.fetched: dict[str, bytes] = {}
        self.newest = Root.type

    def _fetch(self, url: str) -> Iterator[bytes]:
        raise ContractError("Metadata is fetched whole, by download_bytes.")

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """One metadata file, never longer than `max_length`."""
        self.newest = url.removeprefix(METADATA).removesuffix(".json")
        version, dot, name = self.newest.partition(".")
        if dot and version.isdigit():
            self.newest = name
        content = bytearray()
        try:
            for piece in self._source.read(url, max_length):
                content += piece
                if len(content) > max_length:
                    raise told.too_large(self.newest)
        except NotThere as absent:
            if self.newest == Root.type:  # no newer root: that is how the search ends
                raise tuf.DownloadHTTPError("absent", 404) from absent
            raise
        self.fetched[self.newest] = bytes(content)
        return bytes(content)


@contextlib.contextmanager
def _plain_faults() -> Iterator[None]:
    """The faults that any document can have, told; what depends on the others is passed on."""
    try:
        yield
    except tuf.UnsignedMetadataError:
        raise told.unsigned() from None
    except tuf.LengthOrHashMismatchError:
        raise told.altered() from None
    except (tuf.ExpiredMetadataError, tuf.BadVersionNumberError):
        raise
    except (SerializationError, DeserializationError):
        raise told.malformed() from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise told.malformed() from None  # what odd keys and signatures can do to the library


def _binding_of(role: str, document: Any) -> offers.Binding | None:
    """Whose a verified document is, and when it was signed; None if it does not say.

    Raises:
        UpdateRejected: MALFORMED.
    """
    said = document.unrecognized_fields.get(offers.BINDING_FIELD)
    if said is None:
        return None
    try:
        return offers.Binding.model_validate(said)
    except ValidationError:
        raise UpdateRejected(
            Reason.MALFORMED,
            f"The repository's {told.spoken(role)} says wrongly which study it is of.",
        ) from None
