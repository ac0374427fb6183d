"""A founded study with a published repository, an online key and members, for tests."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sync.coordinator.members import Member
from sync.coordinator.repository_folder import UPDATES_FOLDER
from sync.coordinator.updating import ONLINE_KEY_FILE
from sync.publishing import drafts
from sync.publishing.bundles import Addition, Content, checked_offer
from sync.publishing.keys import SigningKey
from sync.publishing.repository import Repository
from sync.updates.offers import Kind, bundle_path
from tests.founding import World, founded_study
from tests.rolling import pseudonym
from tests.signing import PEOPLE, founded, keys_of, now, put_out


@dataclass(frozen=True)
class Published:
    """The study, what it publishes, and the keys of its people."""

    world: World
    repository: Repository
    keys: dict[str, SigningKey]

    @property
    def state(self) -> Path:
        return self.world.folder / "state"

    def publish(self, serial: int, name: str = "affect-1") -> None:
        """Something small in the bundles' role."""
        state = self.repository.state()
        offer = checked_offer(Kind.BUNDLE, name, serial, f"1.{serial}.0")
        new = Content.of(bundle_path(name, serial), b"bundle %d" % serial, offer)
        addition = Addition(offer, (new,), (*state.bundles.listed, new.listed))
        draft = drafts.with_addition(self.repository, state, Kind.BUNDLE, addition, now())
        put_out(self.repository, draft.signed_by([self.keys["asha"], self.keys["ben"]]), self.keys)

    def enrol(self, people: int) -> tuple[str, ...]:
        """Into the file of members; nobody of them has a device."""
        names = tuple(pseudonym(number) for number in range(people))
        members = self.world.founded.members
        with members._transaction() as rows:
            for number, name in enumerate(names):
                member = Member(name, bytes(32), number, 0, 2**40)
                rows.execute(
                    "INSERT INTO members VALUES (?, ?, ?, ?, ?, NULL)",
                    (name, member.signing_key, str(number), 0, member.expires),
                )
        return names


@contextmanager
def published_study(folder: Path) -> Iterator[Published]:
    keys = keys_of(folder / "keys", *PEOPLE, "online")
    with founded_study(folder) as world:
        state = folder / "state"
        repository = founded(state / UPDATES_FOLDER, keys)
        shutil.copy(folder / "keys" / "online.key.pem", state / ONLINE_KEY_FILE)
        yield Published(world, repository, keys)
