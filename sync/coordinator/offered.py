"""What the study's repository offers, as its published metadata says: read plain, not verified.

Rules upheld here: the newest metadata is found by the versions that timestamp and snapshot name,
so that half a publication is never read; only devices decide what they trust, and they check every
signature; a study that has no repository yet offers nothing.

In the life of a bundle: `publishing` writes it → **offered** → `rollout start`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, Field, ValidationError

from sync.coordinator.rollouts import RolloutError
from sync.updates.offers import OFFER_FIELD, Kind, Offer, Sha256, TargetPath

REPOSITORY_FOLDER: Final = "updates"
"""In the coordinator's state folder, unless another one is named."""
LATEST: Final = "latest"
_MOST_METADATA_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Offered:
    """A target that devices may take: what it is, where it lies, how long it is."""

    offer: Offer
    path: str
    sha256: str
    length: int


class _Hashes(BaseModel):
    sha256: Sha256


class _Target(BaseModel):
    length: int = Field(ge=0)
    hashes: _Hashes


def offered(repository: Path) -> tuple[Offered, ...]:
    """Every bundle and release on offer, the newest of each name first; nothing without metadata.

    Raises:
        RolloutError: the repository can't be read, or holds no metadata of TUF.
    """
    folder = repository / "metadata"
    if not (folder / "timestamp.json").exists():
        return ()
    try:
        snapshot = _meta(folder / "timestamp.json", "snapshot.json")
        found = [
            each
            for kind in (Kind.BUNDLE, Kind.RELEASE)
            for each in _of_role(folder, folder / f"{snapshot}.snapshot.json", kind)
        ]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as fault:
        raise RolloutError(
            f"The metadata in '{folder}' can't be read.",
            "Publish again, or name the folder of the repository with --repository.",
        ) from fault
    return tuple(sorted(found, key=lambda o: (o.offer.kind, o.offer.name, -o.offer.serial)))


def find(repository: Path, kind: Kind, name: str, serial: str) -> Offered:
    """What is on offer under this name and serial (a number, or `latest`).

    Raises:
        RolloutError: there is no such thing.
    """
    of_name = [
        each for each in offered(repository) if (each.offer.kind, each.offer.name) == (kind, name)
    ]
    for each in of_name:
        if serial in (LATEST, str(each.offer.serial)):
            return each
    there = ", ".join(str(each.offer.serial) for each in of_name[:8]) or "none"
    raise RolloutError(
        f"The repository '{repository}' offers no {kind.value} '{name}' {serial} (serials of that "
        f"name: {there}).",
        f"Publish it: sottovoce publish {kind.value}; or name the repository with --repository.",
    )


def _of_role(folder: Path, snapshot: Path, kind: Kind) -> list[Offered]:
    name = f"{kind.role}.json"
    if name not in _read(snapshot)["meta"]:
        return []
    targets = _read(folder / f"{_meta(snapshot, name)}.{name}")["targets"]
    return [
        each
        for path, target in targets.items()
        if (each := _offered(path, target)) is not None and each.offer.kind is kind
    ]


def _offered(path: str, target: Any) -> Offered | None:
    """A target that says what it is; patches and wheels say nothing."""
    noted = (target.get("custom") or {}).get(OFFER_FIELD)
    if noted is None:
        return None
    try:
        offer = Offer.model_validate_json(json.dumps(noted))
        told = _Target.model_validate(target)
        where = _Path(path=path).path
    except ValidationError as fault:
        raise ValueError("a target is not one of ours") from fault
    return Offered(offer, where, told.hashes.sha256, told.length)


class _Path(BaseModel):
    path: TargetPath


def _meta(file: Path, name: str) -> int:
    version = _read(file)["meta"][name]["version"]
    if type(version) is not int or version < 1:
        raise ValueError("a version is a number from 1")
    return version


def _read(file: Path) -> Any:
    if file.stat().st_size > _MOST_METADATA_BYTES:
        raise ValueError("metadata is longer than any of ours")
    return json.loads(file.read_bytes())["signed"]
