"""A study's week through a secure sum, with everything real: keys, TLS broker, stores, lines."""

import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.config import Settings
from agent.courier import Courier
from agent.home import Home, open_home
from agent.report import Standing
from agent.shelf import Kind
from edge_models.bundle import shipped_bundle
from sync.broker import Broker
from sync.coordinator.answers import cohort
from sync.coordinator.post import Post
from sync.coordinator.round_book import RoundBook, State, Wish, open_round_book
from sync.coordinator.serve import post_study
from sync.coordinator.store import ReportStore, open_store
from sync.endpoint import Endpoint
from sync.messages import CELLS
from sync.participation import parse_part
from sync.periods import period_before, period_of, period_start
from sync.policy import parse_policy, policy_digest
from tests.founding import KEY, World, founded_study
from tests.stored import scored

PEOPLE = 20
PERIOD = period_before(period_of(datetime.now(UTC)))
LAST_MONDAY = period_start(PERIOD)
PAYLOAD = shipped_bundle().policy
POLICY = parse_policy(PAYLOAD)


def device(world: World, number: int) -> Home:
    """An enrolled device with a week of windows in its store."""
    name = f"device-{number}"
    world.enrol(name)
    folder = world.folder / name
    key = folder / "key"
    key.write_bytes(KEY)
    key.chmod(0o600)
    with world.store(name) as store:
        for day in range(number % 7 + 1):
            store.add_window(scored(LAST_MONDAY + timedelta(days=day, hours=9)))
    return open_home(Settings(state=str(folder)), {})


@contextmanager
def coordinator(
    world: World, broker: Broker, book: RoundBook, store: ReportStore
) -> Iterator[Post]:
    study = post_study(world.founded, POLICY, policy_digest(PAYLOAD))
    endpoint = Endpoint(broker.host, broker.port, world.authority.tls)
    with Post(study, endpoint, book, store, random_bytes=secrets.token_bytes) as post:
        yield post


def wait_until(done: object, longest_s: float = 60.0) -> bool:
    until = time.monotonic() + longest_s
    while time.monotonic() < until:
        if done():  # type: ignore[operator]
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with founded_study(tmp_path) as world:
        yield world


@pytest.fixture
def book(tmp_path: Path) -> Iterator[RoundBook]:
    with open_round_book(tmp_path / "rounds.db") as book:
        yield book


@pytest.fixture
def store(tmp_path: Path, world: World) -> Iterator[ReportStore]:
    with open_store(
        tmp_path / "reports.db",
        study="north",
        policy=POLICY.reference,
        cells=CELLS,
        clock=world.clock,
    ) as store:
        yield store


def test_a_week_of_twenty_devices_is_opened_as_one_sum(
    world: World, book: RoundBook, store: ReportStore
) -> None:
    homes = [device(world, number) for number in range(PEOPLE)]
    with ExitStack() as stack:
        broker = stack.enter_context(world.broker())
        stack.enter_context(coordinator(world, broker, book, store))
        for home in homes:
            stack.enter_context(Courier(home, clock=world.clock))
        book.wish(Wish("report", PERIOD, 0.5))
        assert wait_until(lambda: any(e.state is not State.RUNNING for e in book.entries()))
        (entry,) = book.entries()
        assert (entry.state, entry.joined, entry.members) == (State.OPENED, PEOPLE, PEOPLE), entry
        assert wait_until(lambda: all(Standing.of(home, PERIOD).is_reported for home in homes))
    for home in homes:
        with home.open_store() as own:
            assert own.book.ledger().periods == {PERIOD}
            assert own.book.ledger().spent_rho == POLICY.rho_per_report
            assert not own.outbox()
            ((_, kept),) = own.shelf.all(Kind.PART)
            assert parse_part(kept).subject == PERIOD
    answer = cohort(store, study="north", policy=POLICY, minimum=5)
    assert (answer.period, answer.reports, answer.enough) == (PERIOD, PEOPLE, True)
    assert answer.noise is not None
    assert 6 < answer.noise.sd_people < 12  # local noise would be 31
    assert answer.budget.people == PEOPLE
    assert answer.budget.epsilon_spent_tight <= answer.budget.epsilon_spent


def step_of(post: Post) -> str:
    """Which step the one running round is in; empty when none runs."""
    return next((progress.step for progress in post.rounds.progress()), "")


def test_devices_and_coordinator_come_and_go_in_the_middle_of_a_round(
    world: World, book: RoundBook, store: ReportStore
) -> None:
    homes = [device(world, number) for number in range(30)]
    with ExitStack() as stack:
        broker = stack.enter_context(world.broker())
        with ExitStack() as first_half, coordinator(world, broker, book, store) as post:
            for home in homes:
                first_half.enter_context(Courier(home, clock=world.clock))
            book.wish(Wish("report", PERIOD, 0.12))
            assert wait_until(lambda: step_of(post) not in ("", "advertise"))
        # All of them are gone. Twenty-five come back, to a coordinator that was started anew.
        with coordinator(world, broker, book, store) as post:
            (running,) = post.rounds.progress()
            assert running.terms.subject == PERIOD
            for home in homes[:25]:
                stack.enter_context(Courier(home, clock=world.clock))
            assert wait_until(
                lambda: any(e.state is not State.RUNNING for e in book.entries()), 400
            )
    (entry,) = book.entries()
    assert (entry.state, entry.joined) == (State.OPENED, 30), entry
    assert 25 <= entry.members <= 30
    for home in homes:
        with home.open_store() as own:
            assert len(own.book.ledger().spends) <= 1  # nobody paid twice


def test_a_store_put_back_from_a_backup_takes_no_part(
    world: World, book: RoundBook, store: ReportStore
) -> None:
    homes = [device(world, number) for number in range(PEOPLE + 1)]
    lagging = homes[0].settings.state_folder
    backup = {path.name: path.read_bytes() for path in lagging.glob("store.db*")}
    with ExitStack() as stack:
        broker = stack.enter_context(world.broker())
        with coordinator(world, broker, book, store):
            with ExitStack() as devices:
                for home in homes:
                    devices.enter_context(Courier(home, clock=world.clock))
                book.wish(Wish("report", PERIOD, 0.5))
                assert wait_until(lambda: all(Standing.of(h, PERIOD).is_reported for h in homes))
            for path in lagging.glob("store.db*"):
                path.unlink()
            for name, content in backup.items():
                (lagging / name).write_bytes(content)
            with Courier(homes[0], clock=world.clock) as courier:
                book.wish(Wish("report", PERIOD, 0.5))
                assert wait_until(lambda: Standing.of(homes[0], PERIOD).refusal, 20)
                assert "older" in str(Standing.of(homes[0], PERIOD).refusal)
                assert courier.trouble is not None


def test_a_study_that_says_so_gets_reports_noised_on_each_device(
    tmp_path: Path, book: RoundBook
) -> None:
    with founded_study(tmp_path / "small", noise="local") as world, ExitStack() as stack:
        store = stack.enter_context(
            open_store(
                tmp_path / "local.db",
                study="north",
                policy=POLICY.reference,
                cells=CELLS,
                clock=world.clock,
            )
        )
        broker = stack.enter_context(world.broker())
        stack.enter_context(coordinator(world, broker, book, store))
        homes = [device(world, number) for number in range(3)]
        assert not any(home.sums for home in homes)
        for home in homes:
            stack.enter_context(Courier(home, clock=world.clock))
        assert wait_until(lambda: [s.reports for s in store.snapshot().sums] == [3], 20)
        assert store.snapshot().sums[0].noise is None
        for home in homes:
            with home.open_store() as own:
                assert own.book.ledger().periods == {PERIOD}
