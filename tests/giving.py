"""A study at work that gives out a repository: broker, post, members and their lines, for tests."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.config import Settings
from agent.courier import Courier
from agent.home import Home, open_home
from edge_models.bundle import shipped_bundle
from edge_models.errors import Explained
from sync.broker import Broker
from sync.coordinator.post import Post
from sync.coordinator.round_book import RoundBook, open_round_book
from sync.coordinator.serve import post_study
from sync.coordinator.store import ReportStore, open_store
from sync.coordinator.updating import Updating
from sync.endpoint import Endpoint
from sync.messages import CELLS
from sync.policy import parse_policy, policy_digest
from tests.founding import KEY, World, founded_study

BUNDLE = "targets/bundles/affect-1/" + "ab" * 32 + ".7.bundle"
_PAYLOAD = shipped_bundle().policy


@dataclass
class Giving:
    """A founded study with its repository in `folder`; its broker and post run when asked for."""

    world: World
    folder: Path
    book: RoundBook
    store: ReportStore
    faults: list[Explained] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)

    def has(self, path: str, content: bytes) -> bytes:
        """Put a file where publishing would, by one rename."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}")
        draft.write_bytes(content)
        draft.replace(file)
        return content

    def post(self, broker: Any, updates: Updating | None = None) -> Post:
        """The coordinator's part; enter it. It only gives out files, unless told more."""
        study = post_study(self.world.founded, parse_policy(_PAYLOAD), policy_digest(_PAYLOAD))
        post = Post(
            study,
            Endpoint(broker.host, broker.port, self.world.authority.tls),
            self.book,
            self.store,
            random_bytes=secrets.token_bytes,
            updates=updates or Updating(self.folder),
            on_fault=self.faults.append,
        )
        self.posts.append(post)
        return post

    def home(self, number: int, port: int | None = None) -> Home:
        """An enrolled device; `port`: by which it reaches the broker, if not directly."""
        name = f"device-{number}"
        member = self.world.enrol(name)
        folder = self.world.folder / name
        (folder / "key").write_bytes(KEY)
        (folder / "key").chmod(0o600)
        home = open_home(Settings(state=str(folder)), {})
        return home if port is None else replace(home, membership=replace(member, port=port))

    def courier(self, home: Home) -> Courier:
        """A device's line; enter it."""
        return Courier(home, clock=self.world.clock)


@contextmanager
def giving(folder: Path) -> Iterator[Giving]:
    """A founded study, and an empty repository."""
    with ExitStack() as stack:
        world = stack.enter_context(founded_study(folder))
        book = stack.enter_context(open_round_book(folder / "rounds.db"))
        store = stack.enter_context(
            open_store(
                folder / "reports.db",
                study="north",
                policy=parse_policy(_PAYLOAD).reference,
                cells=CELLS,
                clock=world.clock,
            )
        )
        (folder / "updates").mkdir()
        yield Giving(world, folder / "updates", book, store)


@contextmanager
def at_work(folder: Path, devices: int) -> Iterator[tuple[Giving, Broker, list[Courier]]]:
    """All of it, running."""
    with giving(folder) as study, study.world.broker() as broker, ExitStack() as stack:
        stack.enter_context(study.post(broker))
        couriers = [study.courier(study.home(number)) for number in range(devices)]
        for courier in couriers:
            stack.enter_context(courier)
        yield study, broker, couriers
