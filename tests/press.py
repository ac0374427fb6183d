"""A study's repository of updates with all its keys in one pair of hands, for tests."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sync.publishing import drafts
from sync.publishing.bundles import Addition, bundle_addition
from sync.publishing.keys import SigningKey, new_key
from sync.publishing.online import OnlineSigner
from sync.publishing.publication import publish
from sync.publishing.repository import Repository
from sync.publishing.roles import RoleName


@dataclass(frozen=True, slots=True)
class Press:
    """Publishes into `repository`: two of three people sign, and one machine."""

    repository: Repository
    people: tuple[SigningKey, ...]
    machine: SigningKey

    @classmethod
    def founded(cls, folder: Path, study: str, now: datetime) -> "Press":
        """Version 1 of everything, in `folder`; keys beside it."""
        keys = folder.with_name(f"{folder.name}-keys")
        people = tuple(new_key(keys, who, None) for who in ("ada", "emmy", "grace"))
        machine = new_key(keys, "coordinator", None)
        staged = drafts.new_repository(
            study, [person.public for person in people], 2, machine.public, None, now
        )
        press = cls(Repository(folder), people, machine)
        publish(
            press.repository,
            staged.signed_by(people[:2]).documents,
            press.keys,
            act="root",
            details={"study": study},
            now=now,
        )
        return press

    @property
    def keys(self) -> tuple[SigningKey, ...]:
        return (*self.people[:2], self.machine)

    @property
    def root(self) -> bytes:
        return (self.repository.folder / "metadata" / "1.root.json").read_bytes()

    @property
    def online(self) -> OnlineSigner:
        return OnlineSigner(self.repository, (self.machine,))

    def bundle(self, folder: Path, now: datetime, signature: bytes | None = None) -> Addition:
        listed = self.repository.state().bundles.listed
        addition = bundle_addition(self.repository, listed, folder, signature)
        self._add(RoleName.BUNDLES, addition, now)
        return addition

    def _add(self, role: RoleName, addition: Addition, now: datetime) -> None:
        for each in addition.contents:
            self.repository.lay(each.listed, each.content)
        document = self.repository.state().document(role).with_listed(addition.listed, now)
        publish(
            self.repository,
            [document.signed_by(self.people[:2])],
            self.keys,
            act=role.value,
            details={"name": addition.offer.name, "serial": str(addition.offer.serial)},
            now=now,
        )
