"""The coordinator's store: first report wins, retries are counted, and a fault keeps nothing."""

import hashlib
import random
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sync.coordinator.store import (
    Outcome,
    PeriodSum,
    ReportStore,
    ReportStoreError,
    open_store,
)
from sync.errors import PolicyError
from sync.messages import CELLS, Report

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PEOPLE = [f"{number:032x}" for number in range(4)]
PERIODS = ["2026-W46", "2026-W47", "2026-W48"]


def report(person: str = PEOPLE[0], period: str = PERIODS[0], first: int = 1) -> Report:
    return Report(
        version=1,
        study="north",
        pseudonym=person,
        period=period,
        policy="weekly@1",
        bundle="affect-1",
        counts=(first, *[-2] * (CELLS - 1)),
    )


def added(store: ReportStore, sent: Report, most: int = 12) -> Outcome:
    return store.add(sent, hashlib.sha256(sent.to_bytes()).digest(), most)


@contextmanager
def opened(path: Path, study: str = "north", policy: str = "weekly@1") -> Iterator[ReportStore]:
    with open_store(path, study=study, policy=policy, cells=CELLS, clock=lambda: NOW) as store:
        yield store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReportStore]:
    with opened(tmp_path / "state" / "reports.db") as store:
        yield store


def tallied(store: ReportStore) -> dict[Outcome, int]:
    return {tally.outcome: tally.count for tally in store.tallies()}


def test_an_empty_store_says_so(store: ReportStore) -> None:
    assert store.snapshot().sums == ()
    assert store.tallies() == ()


def test_reports_are_summed_by_period(store: ReportStore) -> None:
    added(store, report(PEOPLE[0], PERIODS[1], 5))
    added(store, report(PEOPLE[1], PERIODS[1], -9))
    added(store, report(PEOPLE[1], PERIODS[0], 2))
    assert store.snapshot().sums == (
        PeriodSum(PERIODS[0], 1, (2, *[-2] * (CELLS - 1))),
        PeriodSum(PERIODS[1], 2, (-4, *[-4] * (CELLS - 1))),
    )


def test_large_counts_do_not_overflow_a_sum(store: ReportStore) -> None:
    for person in PEOPLE:
        added(store, report(person, first=2**31 - 1))
    assert store.snapshot().sums[0].totals[0] == 4 * (2**31 - 1)


def test_an_identical_retry_is_counted_and_changes_nothing(store: ReportStore) -> None:
    assert added(store, report()) is Outcome.STORED
    before = store.snapshot().sums
    assert added(store, report()) is Outcome.DUPLICATE
    assert store.snapshot().sums == before
    assert tallied(store) == {Outcome.STORED: 1, Outcome.DUPLICATE: 1}


def test_a_second_different_report_is_refused_and_counted(store: ReportStore) -> None:
    added(store, report(first=1))
    assert added(store, report(first=7)) is Outcome.CONFLICT
    assert store.snapshot().sums[0].totals[0] == 1
    assert tallied(store)[Outcome.CONFLICT] == 1


def test_a_person_beyond_their_budget_is_refused(store: ReportStore) -> None:
    assert added(store, report(period=PERIODS[0]), most=2) is Outcome.STORED
    assert added(store, report(period=PERIODS[1]), most=2) is Outcome.STORED
    assert added(store, report(period=PERIODS[2]), most=2) is Outcome.OVER_BUDGET
    assert added(store, report(PEOPLE[1], PERIODS[2]), most=2) is Outcome.STORED
    assert added(store, report(period=PERIODS[1]), most=2) is Outcome.DUPLICATE


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "reports.db"
    with opened(path) as store:
        added(store, report())
        store.refuse(Outcome.UNREADABLE)
        before = store.snapshot()
    with opened(path) as again:
        assert again.snapshot() == before
        assert added(again, report()) is Outcome.DUPLICATE


def test_a_tally_says_when_the_last_one_came(tmp_path: Path) -> None:
    moments = iter([NOW, NOW, NOW + timedelta(hours=1)])
    with open_store(
        tmp_path / "r.db", study="n", policy="p@1", cells=CELLS, clock=lambda: next(moments)
    ) as store:
        store.refuse(Outcome.OTHER_STUDY)
        store.refuse(Outcome.OTHER_STUDY)
        (tally,) = store.tallies()
    assert (tally.count, tally.last_at) == (2, NOW + timedelta(hours=1))


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    with opened(tmp_path / "state" / "reports.db") as store:
        added(store, report())
        for file in (tmp_path / "state").iterdir():
            assert file.stat().st_mode & 0o077 == 0, file.name


@pytest.mark.parametrize(("study", "policy"), [("south", "weekly@1"), ("north", "weekly@2")])
def test_a_store_of_another_study_or_policy_is_refused(
    tmp_path: Path, study: str, policy: str
) -> None:
    with opened(tmp_path / "reports.db") as store:
        added(store, report())
    with (
        pytest.raises(PolicyError, match="--state"),
        opened(tmp_path / "reports.db", study, policy),
    ):
        pass


def test_a_full_disk_keeps_nothing_and_the_same_report_is_taken_later(tmp_path: Path) -> None:
    path = tmp_path / "reports.db"
    with opened(path) as store:
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        kept = 0
        with pytest.raises(ReportStoreError, match=r"full.*come again"):
            for number in range(2000):
                added(store, report(f"{number:032x}"))
                kept += 1
        assert store.snapshot().sums[0].reports == kept
        assert tallied(store) == {Outcome.STORED: kept}
        store._connection.execute("PRAGMA max_page_count = 100000")
        assert added(store, report(f"{kept:032x}")) is Outcome.STORED


def test_a_store_held_by_another_program_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "reports.db"
    with opened(path) as store:
        store._connection.execute("PRAGMA busy_timeout = 1")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ReportStoreError, match="locked"):
            added(store, report())
        other.execute("ROLLBACK")
        other.close()
        assert added(store, report()) is Outcome.STORED


def test_a_damaged_store_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "reports.db"
    with opened(path) as store:
        for number in range(300):
            added(store, report(f"{number:032x}"))
    damaged = bytearray(path.read_bytes())
    chance = random.Random(5)
    for page in range(1, len(damaged) // 4096):
        damaged[page * 4096 : page * 4096 + 600] = chance.randbytes(600)
    path.write_bytes(damaged)
    with pytest.raises(ReportStoreError, match="damaged"), opened(path):
        pass
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("content", [b"not a database at all" * 100, None])
def test_a_file_that_is_not_ours_is_refused_and_left_as_it_was(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "reports.db"
    if content is None:
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE wallet (coins)")
        other.commit()
        other.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(ReportStoreError), opened(path):
        pass
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ReportStoreError, match="--state"), opened(tmp_path / "file" / "r.db"):
        pass


def test_many_threads_lose_and_double_nothing(store: ReportStore) -> None:
    """The same 60 reports from four threads: each is stored once, three times a duplicate."""

    def send() -> None:
        for number in range(60):
            added(store, report(f"{number:032x}"))
            assert store.snapshot().sums[0].reports <= 60

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tallied(store) == {Outcome.STORED: 60, Outcome.DUPLICATE: 180}
    assert store.snapshot().sums[0].reports == 60


class StoreModel(RuleBasedStateMachine):
    """Against a plain dictionary: whatever the order, the first of a person and period stays."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], int] = {}
        self.folder = tempfile.TemporaryDirectory()
        self.context = opened(Path(self.folder.name) / "reports.db")
        self.store = self.context.__enter__()

    @rule(
        person=some.sampled_from(PEOPLE),
        period=some.sampled_from(PERIODS),
        first=some.integers(-3, 3),
    )
    def send(self, person: str, period: str, first: int) -> None:
        outcome = added(self.store, report(person, period, first), most=2)
        key = (period, person)
        sent = sum(1 for _, who in self.kept if who == person)
        if key in self.kept:
            same = self.kept[key] == first
            assert outcome is (Outcome.DUPLICATE if same else Outcome.CONFLICT)
        elif sent >= 2:
            assert outcome is Outcome.OVER_BUDGET
        else:
            assert outcome is Outcome.STORED
            self.kept[key] = first

    @invariant()
    def the_sums_are_those_of_what_was_kept(self) -> None:
        wanted: dict[str, list[int]] = {}
        for (period, _), first in self.kept.items():
            wanted.setdefault(period, []).append(first)
        found = {each.period: (each.reports, each.totals[0]) for each in self.store.snapshot().sums}
        assert found == {period: (len(row), sum(row)) for period, row in wanted.items()}

    def teardown(self) -> None:
        self.context.__exit__(None, None, None)
        self.folder.cleanup()


TestStoreModel = StoreModel.TestCase
TestStoreModel.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_two_sums_of_one_week_are_over_different_people_and_add_up(tmp_path: Path) -> None:
    with opened(tmp_path / "reports.db") as store:
        for round_id, people, total in (("a" * 64, 30, 3), ("b" * 64, 22, 4), ("b" * 64, 22, 4)):
            store.keep_sum(round_id, PeriodSum(PERIODS[1], people, (total,) * CELLS, Fraction(50)))
        (both,) = store.snapshot().sums
        assert both == PeriodSum(PERIODS[1], 52, (7,) * CELLS, Fraction(100))


def test_without_single_reports_the_store_follows_a_policy_that_its_study_adopts(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "reports.db", policy="weekly@1"):
        pass
    with opened(tmp_path / "reports.db", policy="weekly@2") as store:
        added(store, report())
    with pytest.raises(PolicyError, match="weekly@2"), opened(tmp_path / "reports.db"):
        pass
    with pytest.raises(PolicyError), opened(tmp_path / "reports.db", study="south"):
        pass
