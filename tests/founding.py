"""A founded study in a folder of its own, and devices that enrol in it, for tests."""

import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.enrol import enrol
from agent.membership import IdentityFolder, Membership
from agent.store import Store
from edge_models.bundle import shipped_bundle
from sync.broker import Broker, embedded_broker
from sync.coordinator.authority import Authority, StudyFile, found_study
from sync.coordinator.founded import Founded, opened_study
from sync.coordinator.study import new_invite
from sync.invites import Invite
from sync.messages import Noise

KEY = bytes(range(32))


class Clock:
    """UTC that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, time: timedelta) -> None:
        self.now += time


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class World:
    """A study at work, its clock, and where its devices keep their things."""

    folder: Path
    founded: Founded
    clock: Clock

    @property
    def authority(self) -> Authority:
        return self.founded.authority

    def invite(self, life: timedelta = timedelta(days=7)) -> Invite:
        now = self.clock()
        return new_invite(self.authority, self.founded.members, now=now, expires=now + life)

    def enrol(
        self, device: str, invite: Invite | None = None, *, again: bool = False
    ) -> Membership:
        with self.store(device) as store:
            return enrol(
                invite or self.invite(), self.identity(device), store, again=again, now=self.clock()
            )

    def store(self, device: str) -> Store:
        (self.folder / device).mkdir(mode=0o700, exist_ok=True)
        return Store(self.folder / device / "store.db", KEY)

    def identity(self, device: str) -> IdentityFolder:
        return IdentityFolder(self.folder / device, KEY)

    @contextmanager
    def broker(self) -> Iterator[Broker]:
        port = self.authority.about.broker_port
        settings_of = self.founded.broker_settings
        with embedded_broker(self.folder / "mqtt", port, "mosquitto", settings_of=settings_of) as b:
            yield b


@contextmanager
def founded_study(
    folder: Path, study: str = "north", policy: bytes | None = None, noise: Noise = "sum"
) -> Iterator[World]:
    """A study founded on loopback, its desk open; its broker runs when asked for."""
    clock, state = Clock(), folder / "state"
    about = StudyFile(
        version=1,
        study=study,
        host="127.0.0.1",
        broker_port=free_port(),
        desk_port=free_port(),
        noise=noise,
    )
    found_study(
        state,
        about,
        policy or shipped_bundle().policy,
        now=clock(),
        random_bytes=secrets.token_bytes,
    )
    with ExitStack() as stack:
        founded = stack.enter_context(opened_study(state, clock=clock))
        yield World(folder, founded, clock)
