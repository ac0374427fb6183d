"""A course with everything real: twenty stores, a TLS broker, a coordinator that restarts."""

import secrets
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from agent.config import LearningSettings, Settings
from agent.courier import Courier
from agent.home import Home, open_home
from edge_models.classifier import Classifier
from sync.broker import Broker
from sync.coordinator.course import Asked, Course, kept
from sync.coordinator.ledger import costs
from sync.coordinator.post import Post
from sync.coordinator.round_book import RoundBook, open_round_book
from sync.coordinator.serve import post_study
from sync.coordinator.store import ReportStore, open_store
from sync.endpoint import Endpoint
from sync.ledger_head import Standing
from sync.messages import CELLS
from sync.policy import Purpose
from tests.founding import KEY, World, founded_study
from tests.schooling import (
    DIGEST,
    POLICY,
    STRONG,
    costly_bundle,
    embedding_of,
    fill,
    is_low,
    school,
)
from tests.test_round_story import wait_until

PEOPLE = 20


def home_of(world: World, number: int, bundle: Path) -> Home:
    """An enrolled device of somebody who has consented, with a labelled week in its store."""
    name = f"device-{number}"
    world.enrol(name)
    key = world.folder / name / "key"
    key.write_bytes(KEY)
    key.chmod(0o600)
    with world.store(name) as store:
        fill(store, number, world.clock() - timedelta(days=8))
    return opened(world, number, bundle)


def opened(world: World, number: int, bundle: Path) -> Home:
    settings = Settings(
        state=str(world.folder / f"device-{number}"),
        bundle=str(bundle),
        learning=LearningSettings(take_part=True),
    )
    return open_home(settings, {})


@contextmanager
def coordinator(
    world: World, broker: Broker, book: RoundBook, store: ReportStore
) -> Iterator[Post]:
    study = post_study(world.founded, POLICY, DIGEST)
    endpoint = Endpoint(broker.host, broker.port, world.authority.tls)
    with Post(
        study, endpoint, book, store, random_bytes=secrets.token_bytes, school=school()
    ) as post:
        yield post


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with founded_study(tmp_path, policy=STRONG) as world:
        yield world


def newest(book: RoundBook) -> Course:
    return kept(book)[-1]


def test_twenty_devices_make_a_better_head_and_adopt_it(world: World, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shipped = costly_bundle(bundle)
    homes = [home_of(world, number, bundle) for number in range(PEOPLE)]
    with ExitStack() as stack:
        broker = stack.enter_context(world.broker())
        book = stack.enter_context(open_round_book(tmp_path / "rounds.db"))
        store = stack.enter_context(
            open_store(
                tmp_path / "reports.db", study="north", policy=POLICY.reference, cells=CELLS,
                clock=world.clock,
            )
        )  # fmt: skip
        *early, late = homes
        for home in early:
            stack.enter_context(Courier(home, clock=world.clock))
        with coordinator(world, broker, book, store):
            book.wish(Asked(1, "fedavg", False, 0.5).wish())
            assert wait_until(book.entries)
            stack.enter_context(Courier(late, clock=world.clock))  # it missed the announcement
            assert wait_until(lambda: kept(book) and newest(book).counted)
        assert not newest(book).ended, newest(book).why  # between its round and the vote
        with coordinator(world, broker, book, store):
            assert wait_until(lambda: newest(book).ended)
            course = newest(book)
            assert course.published is not None, course.why
            assert [one.members for one in course.taken] == [PEOPLE, PEOPLE]
            assert wait_until(
                lambda: all(opened(world, n, bundle).head == course.published.head
                            for n in range(PEOPLE))
            )  # fmt: skip
            assert wait_until(lambda: costs(store, POLICY).ledgers[Standing.AGREES] == PEOPLE)
        spent = costs(store, POLICY)
        assert (spent.people, spent.most_rounds, spent.most_reports) == (PEOPLE, 2, 0)
        assert spent.spent.epsilon == pytest.approx(course.cost().ledger_bound)
    for home in homes:
        with home.open_store() as own:
            assert own.book.ledger().spent_rho == spent.spent.rho == 12
            assert [one.purpose for one in own.book.ledger().spends] == [
                Purpose.HEAD, Purpose.CANARY,
            ]  # fmt: skip
            assert not own.outbox()
    right = {before: 0.0 for before in (True, False)}
    for number in range(PEOPLE):
        adopted = opened(world, number, bundle)
        for before in right:
            classifier = Classifier(adopted.bundle, None if before else adopted.head)
            scores = classifier.assess(embedding_of(number).astype(np.float32)).scores
            assert scores is not None
            right[before] += scores.distress if is_low(number) else 1 - scores.distress
    assert right[False] > right[True] + 0.01 * PEOPLE
    assert shipped.head == opened(world, 0, bundle).bundle.head
    assert not threading.active_count() > 3
