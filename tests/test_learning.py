"""A course in memory: what is published, what is not, and what goes on after a restart."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_models.bundle import shipped_bundle
from sync.coordinator.course import Asked, kept
from sync.coordinator.round_book import RoundBook, State, open_round_book
from sync.coordinator.rounds import total_of
from sync.errors import PolicyError
from sync.federated import canary
from sync.federated.layout import Layout
from sync.federated.update import Training, from_sum, loss_of
from tests.schooling import POLICY, Class, Poisoner, frame, school, sessions_of


@pytest.fixture
def book(tmp_path: Path) -> Iterator[RoundBook]:
    with open_round_book(tmp_path / "rounds.db") as book:
        yield book


def loss(point: np.ndarray) -> float:
    return float(np.mean([loss_of(point, sessions_of(n), frame(), Training()) for n in range(20)]))


def test_a_course_publishes_a_head_that_serves_people_better(book: RoundBook) -> None:
    people = Class(book)
    course = people.taught(rounds=2)
    assert [(one.purpose, one.counted, one.members) for one in course.taken] == [
        ("head", True, 20), ("head", True, 20), ("canary", True, 20)
    ]  # fmt: skip
    assert course.published is not None and course.published.number == 1, course.why
    assert course.at_least is not None and course.at_least > 0
    before = frame().point(shipped_bundle().head)
    assert loss(frame().point(course.published.head)) < loss(before) - 0.05
    cost = course.cost()
    assert cost.ledger_bound >= cost.accountant > 0
    for device in people.fleet.devices.values():
        ledger = device.notebook.ledger()
        assert [spend.purpose for spend in ledger.spends] == ["head", "head", "canary"]
        assert ledger.epsilon(POLICY.delta) == pytest.approx(cost.ledger_bound)
        assert not device.refusals
    assert people.learning.head_said is not None


def test_the_next_course_starts_from_the_published_head(book: RoundBook) -> None:
    people = Class(book)
    first = people.taught()
    second = people.taught()
    assert first.published is not None
    np.testing.assert_allclose(second.current, frame().point(first.published.head))
    assert second.number == 2


def test_a_head_that_a_flipping_majority_made_is_not_published(book: RoundBook) -> None:
    def contributor(people: Class, number: int) -> Poisoner | object:
        # In a world where the published head is right, the labels of ours are the flipped ones.
        if number < 12:
            return Poisoner(people.pupil(number))
        return people.pupil(number, flipped=True)

    people = Class(book, contributor=contributor)  # type: ignore[arg-type]
    course = people.taught(rounds=2)
    assert course.ended and course.published is None
    assert course.gain is not None and course.gain < 0
    assert people.learning.head_said is None
    people.restart()
    assert people.learning.head_said is None


def test_fed_adam_works_as_well(book: RoundBook) -> None:
    assert Class(book).taught(optimiser="fedadam").published is not None


ADDING = """
print(json.dumps({"ready": sys.argv[3]}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    point = [a + 0.25 * b for a, b in zip(asked["point"], asked["mean"])]
    print(json.dumps({"point": point}), flush=True)
"""


def test_a_strategy_of_another_process_moves_the_head_by_all_sums_so_far(
    book: RoundBook, tmp_path: Path
) -> None:
    python = tmp_path / "python"  # answers as Flower's process would, without Flower
    python.write_text(f"#!{sys.executable}\nimport json, sys\n{ADDING}", encoding="utf-8")
    python.chmod(0o700)
    course = Class(book, school=school(python)).taught(rounds=2, optimiser="flower:Adding")
    assert course.published is not None, course.why
    means = [
        from_sum(total_of(entry), Layout(frame().size), 1.0, members=20).update
        for entry in book.entries()
        if len(entry.total) > 4 * canary.LENGTH
    ]
    assert len(means) == 2
    expected = np.asarray(course.current) + 0.25 * np.sum(means, axis=0)
    np.testing.assert_allclose(course.candidate, expected)


def test_an_optimiser_that_can_not_be_had_ends_the_course_and_says_why(book: RoundBook) -> None:
    people = Class(book)
    with pytest.raises(PolicyError, match="has ended"):
        people.taught(optimiser="flower:FedAvg")
    (course,) = kept(book)
    assert course.ended and course.why and not book.entries()
    assert people.learning.course is None


def test_a_round_of_too_few_moves_nothing_and_the_third_ends_the_course(book: RoundBook) -> None:
    course = Class(book).taught(dies=lambda name, step: True)
    assert [one.counted for one in course.taken] == [False] * 3
    assert not course.counted and course.published is None and "in a row" in course.why
    assert {entry.state for entry in book.entries()} == {State.FAILED}
    assert course.cost().accountant == 0.0 < course.cost().ledger_bound


def test_a_coordinator_that_is_started_again_at_any_moment_goes_on(book: RoundBook) -> None:
    people = Class(book)
    people.learning.begin(Asked(2, "fedavg", True, 1.0))
    while people.learning.course is not None:
        people.learning.advance(people.fleet.now)
        people.restart()
        people.fleet.go_on()
        people.restart()
    (course,) = kept(book)
    assert course.published is not None and len(book.entries()) == 3
    assert people.learning.advance(people.fleet.now) == (people.learning.head_said,)
    assert people.learning.advance(people.fleet.now) == ()


def test_one_course_runs_at_a_time(book: RoundBook) -> None:
    people = Class(book)
    people.learning.begin(Asked(1, "fedavg", False, 1.0))
    with pytest.raises(PolicyError, match="still runs"):
        people.learning.begin(Asked(1, "fedavg", False, 1.0))


@pytest.mark.parametrize("asked", [(0, "fedavg"), (201, "fedavg"), (1, "sgd")])
def test_a_course_that_can_not_be_had_is_refused(asked: tuple[int, str]) -> None:
    with pytest.raises(PolicyError):
        Asked(*asked, False, 1.0)


def test_what_is_asked_for_survives_the_way_to_the_coordinator() -> None:
    asked = Asked(7, "flower:FedYogi", True, 2.5)
    assert Asked.of(asked.wish()) == asked


def test_a_book_of_before_there_were_courses_gets_the_table(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "rounds.db"
    with open_round_book(path):
        pass
    with sqlite3.connect(path) as old:
        old.execute("DROP TABLE courses")
        old.execute("PRAGMA user_version = 1")
    with open_round_book(path) as book:
        assert kept(book) == ()
