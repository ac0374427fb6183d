"""A bundle to publish: checked on this machine, packed, with patches from what devices have.

Rules it upholds: a bundle whose files, golden vectors or answers are wrong here is not signed at
all; its serial is one more than the newest of its name; a patch is offered where it saves most of
the way, and only from archives that devices can have: the last three, and the one that comes with
the agent.

In the life of a bundle: folder → **checked, packed, listed** → signed.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from edge_models.bundle import load_bundle, shipped_folder
from edge_models.errors import BundleError, ContractError
from sync.agreement import SIGNATURE_FILE
from sync.envelope import faults
from sync.errors import PublishingError
from sync.publishing.files import read
from sync.publishing.repository import Repository
from sync.publishing.roles import Listed
from sync.updates import archive, deltas
from sync.updates.offers import Delta, Kind, Offer, bundle_path, delta_path

KEPT_SERIALS: Final = 3
"""So many older ones stay listed: a rollout that was stopped may go on with them."""
_WORTH_IT: Final = 0.7
"""A patch that costs more of the full size is not made: the saving is not worth a second way."""
_SIGNATURE_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Content:
    """A target and its bytes."""

    listed: Listed
    content: bytes

    @classmethod
    def of(cls, path: str, content: bytes, offer: Offer | None = None) -> "Content":
        """The target at this path with this content."""
        digest = hashlib.sha256(content).hexdigest()
        return cls(Listed(path, digest, len(content), offer), content)


@dataclass(frozen=True, slots=True)
class Addition:
    """What is new in a role, and the whole list of targets that it has then."""

    offer: Offer
    contents: tuple[Content, ...]
    listed: tuple[Listed, ...]


def bundle_addition(
    repository: Repository,
    listed: Sequence[Listed],
    folder: Path,
    policy_signature: bytes | None = None,
) -> Addition:
    """What to add to the `listed` targets so that devices can have the bundle in `folder`.

    `policy_signature` is the study's over the bundle's policy (64 bytes); by default the file
    `policy.sig` of the bundle, if it has one.

    Raises:
        BundleError: the bundle is damaged, or gives other answers here than it should.
        RuntimeMissing: this machine can't check it.
        PublishingError: it is published already, or can't be.
    """
    bundle = load_bundle(folder)
    try:
        bundle.check()
    except ContractError as fault:
        raise BundleError(
            f"The bundle in '{folder}' can't be run: {fault.cause}",
            "One of its graphs is not the one that it should be. Make it anew.",
        ) from fault
    packed = archive.pack(folder)
    older = newest_first(listed, Kind.BUNDLE, bundle.name)
    digest = hashlib.sha256(packed).hexdigest()
    if older and older[0].sha256 == digest:
        raise PublishingError(
            f"This bundle is published already, as number {_serial(older[0])}.",
            "Change something, or publish nothing.",
        )
    serial = _serial(older[0]) + 1 if older else 1
    signature = policy_signature or _beside(folder)
    kept = older[:KEPT_SERIALS]
    patches = _patches(repository, kept, packed, bundle.name, serial)
    offer = checked_offer(
        Kind.BUNDLE,
        bundle.name,
        serial,
        bundle.manifest.version,
        deltas=tuple(delta for delta, _ in patches),
        policy_signature=signature.hex(),
    )
    new = Content.of(bundle_path(bundle.name, serial), packed, offer)
    contents = (new, *(content for _, content in patches))
    gone = {path for old in older[KEPT_SERIALS:] for path in _paths(old)}
    rest = [each for each in listed if each.path not in gone]
    return Addition(offer, contents, (*rest, *(each.listed for each in contents)))


def newest_first(listed: Sequence[Listed], kind: Kind, name: str) -> list[Listed]:
    """All targets of this kind and name, the highest serial first."""
    own = [each for each in listed if each.offer and (each.offer.kind, each.offer.name) ==
           (kind, name)]  # fmt: skip
    return sorted(own, key=_serial, reverse=True)


def checked_offer(
    kind: Kind,
    name: str,
    serial: int,
    says: str,
    deltas: tuple[Delta, ...] = (),
    policy_signature: str = "",
) -> Offer:
    """The offer that says so.

    Raises:
        PublishingError: no device could read it; the cause names the field.
    """
    try:
        return Offer(
            kind=kind,
            name=name,
            serial=serial,
            says=says,
            deltas=deltas,
            policy_signature=policy_signature,
        )
    except ValidationError as fault:
        raise PublishingError(
            f"This {kind} can't be offered to devices ({faults(fault)}).", "Name it otherwise."
        ) from None


def _patches(
    repository: Repository, older: Sequence[Listed], packed: bytes, name: str, serial: int
) -> list[tuple[Delta, Content]]:
    bases = [repository.content(each) for each in older]
    shipped = archive.pack(shipped_folder())
    if load_bundle(shipped_folder()).name == name and shipped not in (*bases, packed):
        bases.append(shipped)  # nobody fetched it: it is what devices run at first
    made = []
    for base in bases:
        patch = deltas.make(base, packed)
        if len(patch) <= _WORTH_IT * len(packed):
            digest = hashlib.sha256(base).hexdigest()
            path = delta_path(name, serial, digest)
            made.append((Delta(from_sha256=digest, path=path), Content.of(path, patch)))
    return made


def _beside(folder: Path) -> bytes:
    path = folder / SIGNATURE_FILE
    return policy_signature_in(path) if path.exists() else b""


def policy_signature_in(path: Path) -> bytes:
    """A study's signature over a policy, 64 bytes, from a file.

    Raises:
        PublishingError: it is none.
    """
    content = read(path, _SIGNATURE_BYTES)
    if len(content) != _SIGNATURE_BYTES:
        raise PublishingError(
            f"'{path}' is not a study's signature over a policy.",
            f"It is the file '{SIGNATURE_FILE}' of the coordinator's study folder.",
        )
    return content


def _serial(listed: Listed) -> int:
    return listed.offer.serial if listed.offer else 0


def _paths(listed: Listed) -> list[str]:
    """A bundle's own path, and those of the patches that lead to it."""
    return [listed.path, *(delta.path for delta in (listed.offer.deltas if listed.offer else ()))]
