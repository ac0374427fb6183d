"""TUF's documents as this project writes them: who signs what, for how long, bound to one study.

Rules it upholds: a document never changes; an edit is a new version with a new end and no
signature; each carries its study and when it was made (`offers.Binding`); a role is delegated
exactly its own folder and no other, and the search for a target ends there; whoever signs is
named, and a signature counts once it has been checked.

In the life of a bundle: what is signed about it, from the root down to the timestamp.

Source: TUF specification 1.0.34, 3 (roles) and 4 (file formats).
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Self

from pydantic import ValidationError
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import SerializationError

from edge_models.errors import ContractError
from sync.envelope import Message
from sync.errors import PublishingError
from sync.publishing.audit import LogHead
from sync.publishing.keys import PublicKey, SigningKey, public_of
from sync.publishing.roles import DELEGATED, LASTS, Keyholders, Listed, RoleName
from sync.updates.offers import BINDING_FIELD, OFFER_FIELD, Binding, Offer

LOG_FIELD: Final = "x-sottovoce-log"
"""In the timestamp: how long the log of all acts was, and the digest of its last line."""


@dataclass(frozen=True, slots=True)
class Document:
    """One version of a role's metadata, with the signatures that it has so far."""

    role: RoleName
    _metadata: Metadata[Any] = field(repr=False)

    @property
    def _signed(self) -> Signed:
        signed: Signed = self._metadata.signed
        return signed

    @property
    def version(self) -> int:
        """Which one of its role it is, from 1."""
        return self._signed.version

    @property
    def expires(self) -> datetime:
        """Until when it is believed."""
        return self._signed.expires

    @property
    def binding(self) -> Binding:
        """Its study, and when it was made."""
        return Binding.model_validate(self._signed.unrecognized_fields.get(BINDING_FIELD))

    @property
    def body(self) -> bytes:
        """What signatures are over."""
        return self._metadata.signed_bytes

    def to_bytes(self) -> bytes:
        """The file."""
        return self._metadata.to_bytes()

    def due(self, now: datetime) -> bool:
        """Whether half of its time has passed."""
        return self.expires - now < LASTS[self.role] / 2

    def signed_by(self, keys: Iterable[SigningKey]) -> Self:
        """The same with more signatures."""
        metadata = deepcopy(self._metadata)
        for key in keys:
            metadata.sign(key.signer, append=True)
        return type(self)(self.role, metadata)

    def signers(self, holders: Keyholders) -> tuple[PublicKey, ...]:
        """Which holders have signed, each signature checked."""
        found = self._metadata.signatures
        return tuple(
            key
            for key in holders.keys
            if key.key_id in found
            and key.verifies(bytes.fromhex(found[key.key_id].signature), self.body)
        )

    def is_signed(self, holders: Keyholders) -> bool:
        """Whether enough holders have signed."""
        return len(self.signers(holders)) >= holders.threshold

    def holders(self, role: RoleName) -> Keyholders:
        """Who signs for another role, as a root (or targets, for delegated roles) says."""
        signed = self._signed
        if not isinstance(signed, Root | Targets):
            raise ContractError("Only root and targets say who signs.")
        entry = signed.get_delegated_role(role)
        keys = (public_of(signed.get_key(key_id), key_id) for key_id in entry.keyids)
        return Keyholders(tuple(key for key in keys if key is not None), entry.threshold)

    @property
    def listed(self) -> tuple[Listed, ...]:
        """The targets of a delegated role."""
        signed = self._signed
        if not isinstance(signed, Targets):
            raise ContractError("Only a targets role lists targets.")
        return tuple(_listed(path, file) for path, file in sorted(signed.targets.items()))

    @property
    def versions(self) -> Mapping[RoleName, int]:
        """Which versions a snapshot or timestamp names."""
        signed = self._signed
        if isinstance(signed, Timestamp):
            return {RoleName.SNAPSHOT: signed.snapshot_meta.version}
        if isinstance(signed, Snapshot):
            return {
                RoleName(name.removesuffix(".json")): meta.version
                for name, meta in signed.meta.items()
            }
        raise ContractError("Only snapshot and timestamp name versions.")

    @property
    def log_head(self) -> LogHead | None:
        """Where the log stood, as a timestamp says."""
        said = self._signed.unrecognized_fields.get(LOG_FIELD)
        return None if said is None else LogHead.model_validate(said)

    def renewed(self, now: datetime) -> Self:
        """The next version with the same content, a new end, and no signature."""
        made = self._edited(now)
        return type(self)(self.role, Metadata(made))

    def with_holders(self, holders: Mapping[RoleName, Keyholders], now: datetime) -> Self:
        """The next version of a root or of targets, which lets these sign."""
        made = self._edited(now)
        if isinstance(made, Root):
            made.keys, made.roles = _root_keys(holders)
        elif isinstance(made, Targets):
            made.delegations = _delegations(holders)
        else:
            raise ContractError("Only root and targets say who signs.")
        return type(self)(self.role, Metadata(made))

    def with_listed(self, listed: Iterable[Listed], now: datetime) -> Self:
        """The next version of a delegated role, with just these targets."""
        made = self._edited(now)
        if not isinstance(made, Targets):
            raise ContractError("Only a targets role lists targets.")
        made.targets = {entry.path: _target_file(entry) for entry in listed}
        return type(self)(self.role, Metadata(made))

    def _edited(self, now: datetime) -> Signed:
        made = deepcopy(self._signed)
        made.version += 1
        made.expires = _end(self.role, now)
        made.unrecognized_fields |= _bound(self.binding.study, now)
        return made


def first_documents(
    study: str, holders: Mapping[RoleName, Keyholders], now: datetime
) -> dict[RoleName, Document]:
    """Version 1 of all that people and the heads key sign: root, targets and empty delegations."""
    keys, roles = _root_keys(holders)
    made: dict[RoleName, Signed] = {
        RoleName.ROOT: Root(
            expires=_end(RoleName.ROOT, now), keys=keys, roles=roles, consistent_snapshot=True
        ),
        RoleName.TARGETS: Targets(
            expires=_end(RoleName.TARGETS, now), delegations=_delegations(holders)
        ),
        **{role: Targets(expires=_end(role, now)) for role in DELEGATED},
    }
    for signed in made.values():
        signed.unrecognized_fields |= _bound(study, now)
    return {role: Document(role, Metadata(signed)) for role, signed in made.items()}


def snapshot_of(
    previous: Document | None, documents: Sequence[Document], now: datetime
) -> Document:
    """The next snapshot, of these versions of targets and its delegations, by hash."""
    made = _next(RoleName.SNAPSHOT, previous, Snapshot(), documents[0].binding.study, now)
    if isinstance(made, Snapshot):
        made.meta = {f"{each.role}.json": _meta(each) for each in documents}
    return Document(RoleName.SNAPSHOT, Metadata(made))


def timestamp_of(
    previous: Document | None, snapshot: Document, log: LogHead, now: datetime
) -> Document:
    """The next timestamp, of this snapshot, and of where the log of all acts stands."""
    made = _next(RoleName.TIMESTAMP, previous, Timestamp(), snapshot.binding.study, now)
    if isinstance(made, Timestamp):
        made.snapshot_meta = _meta(snapshot)
    made.unrecognized_fields[LOG_FIELD] = log.model_dump(mode="json")
    return Document(RoleName.TIMESTAMP, Metadata(made))


def parse_document(role: RoleName, raw: bytes) -> Document:
    """The document in a file; nothing of it is believed before its signatures are checked.

    Raises:
        PublishingError: it holds none of this role, or none that is bound to a study.
    """
    wanted = Targets.type if role in DELEGATED else role.value
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(raw)
        if metadata.signed.type != wanted:
            raise ValueError("another role")
        found = Document(role, metadata)
        _ = found.binding
    except (RepositoryError, SerializationError, ValidationError, ValueError) as fault:
        raise PublishingError(
            f"There is no valid metadata of the role '{role}' where it should be.",
            "Use a repository that `sottovoce publish root init` made, or restore its copy.",
        ) from fault
    return found


def _next(
    role: RoleName, previous: Document | None, first: Signed, study: str, now: datetime
) -> Signed:
    if previous is not None:
        return previous._edited(now)
    first.expires = _end(role, now)
    first.unrecognized_fields |= _bound(study, now)
    return first


def _end(role: RoleName, now: datetime) -> datetime:
    return now.astimezone(UTC).replace(microsecond=0) + LASTS[role]


def _bound(study: str, now: datetime) -> dict[str, Any]:
    binding: Message = Binding(study=study, signed_at=int(now.timestamp()))
    return {BINDING_FIELD: binding.model_dump(mode="json")}


def _meta(document: Document) -> MetaFile:
    return MetaFile.from_data(document.version, document.to_bytes(), ["sha256"])


def _root_keys(holders: Mapping[RoleName, Keyholders]) -> tuple[dict[str, Any], dict[str, Role]]:
    own = {role: holders[role] for role in RoleName if role not in DELEGATED}
    keys = {key.key_id: key.entry for each in own.values() for key in each.keys}
    roles = {role.value: _role(each) for role, each in own.items()}
    return keys, roles


def _role(holders: Keyholders) -> Role:
    return Role([key.key_id for key in holders.keys], holders.threshold)


def _delegations(holders: Mapping[RoleName, Keyholders]) -> Delegations:
    keys: dict[str, Any] = {
        key.key_id: key.entry for role in DELEGATED for key in holders[role].keys
    }
    roles = {
        role.value: DelegatedRole(
            role.value,
            [key.key_id for key in holders[role].keys],
            holders[role].threshold,
            terminating=True,
            paths=list(paths),
        )
        for role, paths in DELEGATED.items()
    }
    return Delegations(keys, roles)


def _listed(path: str, file: TargetFile) -> Listed:
    said = (file.custom or {}).get(OFFER_FIELD)
    try:
        offer = None if said is None else Offer.model_validate(said)
        return Listed(path, file.hashes["sha256"], file.length, offer)
    except (ValidationError, KeyError) as fault:
        raise PublishingError(
            f"The target '{path[-80:]}' is listed in a way that no device can read.",
            "Prepare the draft again.",
        ) from fault


def _target_file(listed: Listed) -> TargetFile:
    offer = listed.offer
    more = {} if offer is None else {"custom": {OFFER_FIELD: offer.model_dump(mode="json")}}
    return TargetFile(listed.length, {"sha256": listed.sha256}, listed.path, more)
