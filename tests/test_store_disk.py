"""The store and its disk: killed, full or shrunk, it keeps what it had and no more."""

import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import pytest

from agent.errors import StoreError
from agent.records import OwnBaseline
from agent.store import Store
from sync.budget import Ledger, Spend
from tests.stored import KEY, NOW, gap, scored

FOREVER = (NOW - timedelta(days=60), NOW + timedelta(days=60))
PAID = Ledger((Spend("2026-W47", Fraction(1, 8), "weekly-1@1"),))


def opened(folder: Path, key: bytes = KEY) -> Store:
    return Store(folder / "store.db", key)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path) as store:
        yield store


def all_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


_KILLED_AT = """
import os, shutil, signal, sys
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from agent.store import Store
from sync.budget import Ledger, Spend

NOW = datetime(2026, 11, 24, tzinfo=UTC)
folder, how, points = Path(sys.argv[1]), sys.argv[2], [int(n) for n in sys.argv[3].split(",")]
charged = Ledger.of(Spend(f"2026-W4{n}", Fraction(1, 8), "weekly-1@1") for n in (6, 7))

def kill_at(point, store):
    left = [point]
    def step(*_):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    if how == "statement":
        store._rows.connection.set_trace_callback(step)
    else:
        store._rows.connection.set_progress_handler(step, 1)

for point in points:
    copy = folder / str(point)
    shutil.copytree(folder / "before", copy)
    child = os.fork()
    if child == 0:
        store = Store(copy / "store.db", bytes(range(32)))
        kill_at(point, store)
        store.commit_release(b"the report", charged, NOW)
        (copy / "returned").touch()
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.parametrize(
    ("how", "points"),
    [("statement", range(0, 60, 2)), ("instruction", range(0, 1000, 19))],
)
def test_a_kill_at_any_moment_leaves_spend_and_report_both_or_neither(
    tmp_path: Path, how: str, points: range
) -> None:
    (tmp_path / "before").mkdir()
    first = Spend("2026-W46", Fraction(1, 8), "weekly-1@1")
    with opened(tmp_path / "before") as store:
        store.commit_release(b"an earlier report", Ledger((first,)), NOW)
    words = [sys.executable, "-c", _KILLED_AT, str(tmp_path), how, ",".join(map(str, points))]
    subprocess.run(words, check=True, timeout=60)
    outcomes = set()
    for point in points:
        folder = tmp_path / str(point)
        with opened(folder) as store:
            spent = [spend.subject for spend in store.ledger().spends]
            waiting = [each.sealed for each in store.outbox()]
        kept = spent == ["2026-W46", "2026-W47"]
        assert kept or spent == ["2026-W46"]
        assert waiting == [b"an earlier report", b"the report"][: len(spent)]
        assert kept or not (folder / "returned").exists()
        outcomes.add((kept, (folder / "returned").exists()))
    assert (False, False) in outcomes  # some kills came before the commit
    assert (True, True) in outcomes  # and one came too late to matter


_READS = """
import sys
from pathlib import Path
from tests.stored import NOW, Device
with Device(Path(sys.argv[1])).store() as store:
    print(sum(1 for _ in store.windows(NOW.replace(hour=0), NOW.replace(hour=23))))
"""


def test_another_process_never_takes_the_log_from_under_a_running_agent(tmp_path: Path) -> None:
    def read_elsewhere() -> int:
        done = subprocess.run(
            [sys.executable, "-c", _READS, str(tmp_path)],
            capture_output=True, text=True, timeout=60, check=True, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        return int(done.stdout)

    with opened(tmp_path) as agent:
        agent.add_window(scored(NOW))
        with opened(tmp_path) as page:  # the page's thread comes and goes in the same process
            assert page.days()
        assert read_elsewhere() == 1
        agent.add_window(scored(NOW + timedelta(seconds=10)))
        assert (tmp_path / "store.db-wal").exists()
        assert read_elsewhere() == 2


_STARTS_AT_ONCE = """
import os, sys, time
from datetime import timedelta
from pathlib import Path
from agent.keys import load_key
from agent.store import Store
from tests.stored import NOW, scored

for trial in range(8):
    folder = Path(sys.argv[1]) / str(trial)
    together = time.monotonic() + 0.05
    children = []
    for place in range(6):
        children.append(os.fork())
        if not children[-1]:
            try:
                while time.monotonic() < together:
                    pass
                with Store(folder / "store.db", load_key(folder)) as store:
                    store.add_window(scored(NOW + timedelta(seconds=place)))
                os._exit(0)
            finally:
                os._exit(1)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 6
    with Store(folder / "store.db", load_key(folder)) as store:
        assert sum(1 for _ in store.windows(NOW, NOW + timedelta(minutes=1))) == 6
"""


def test_a_first_start_by_many_at_once_makes_one_key_and_one_store(tmp_path: Path) -> None:
    words = [sys.executable, "-c", _STARTS_AT_ONCE, str(tmp_path)]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[1]
    )
    assert done.returncode == 0, done.stderr


def test_a_commit_is_on_the_disk_before_it_returns(store: Store) -> None:
    writer = store._rows.connection
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_forgetting_takes_whole_days_and_never_what_was_sent(store: Store, tmp_path: Path) -> None:
    moments = [NOW - timedelta(days=n) for n in range(10)]
    for moment in moments:
        store.add_window(scored(moment))
        store.add_gap(gap(moment))
    store.commit_release(b"report", PAID, NOW)
    store.mark_sent(1, NOW)
    assert store.forget_before(moments[4]) == 10
    assert store.days() == sorted(moment.date() for moment in moments[:5])
    assert len(store.sent()) == 1 and store.ledger() == PAID
    assert store.forget_before(moments[4]) == 0


def test_what_is_forgotten_is_overwritten_and_the_file_shrinks(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for n in range(400):
            store.add_window(scored(NOW - timedelta(days=30, seconds=10 * n)))
    connection = sqlite3.connect(tmp_path / "store.db")
    sealed = [row for (row,) in connection.execute("SELECT sealed FROM windows")]
    connection.close()
    before = (tmp_path / "store.db").stat().st_size
    assert all(each[:100] in all_bytes(tmp_path) for each in sealed[::80])
    with opened(tmp_path) as store:
        store.add_window(scored(NOW))
        store.forget_before(NOW)
        left = all_bytes(tmp_path)
        assert not any(each[:100] in left for each in sealed)
        assert not any(each[-100:] in left for each in sealed)
        assert (tmp_path / "store.db").stat().st_size < before / 3
        assert len(list(store.windows(*FOREVER))) == 1


def test_a_number_is_never_used_again_so_an_old_record_cannot_return(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add_window(scored(NOW - timedelta(days=30)))
        store.forget_before(NOW)
        store.add_window(scored(NOW))
    rows = sqlite3.connect(tmp_path / "store.db").execute("SELECT number FROM windows").fetchall()
    assert rows == [(2,)]


def test_a_full_store_says_so_and_goes_on_when_there_is_room(store: Store) -> None:
    pages = store._rows.connection
    store.add_window(scored(NOW), OwnBaseline("one", b"first"))
    (size,) = pages.execute("PRAGMA page_count").fetchone()
    pages.execute(f"PRAGMA max_page_count={size + 3}")
    kept = 1
    with pytest.raises(StoreError) as failure:
        for _ in range(200):
            store.add_window(scored(NOW + timedelta(seconds=10)), OwnBaseline("one", b"later"))
            kept += 1
    assert "full" in failure.value.cause and "room" in failure.value.remedy
    assert len(list(store.windows(*FOREVER))) == kept
    pages.execute("PRAGMA max_page_count=100000")
    store.add_window(scored(NOW + timedelta(seconds=20)), OwnBaseline("one", b"at last"))
    assert len(list(store.windows(*FOREVER))) == kept + 1
    assert store.baseline("one") == b"at last"


def test_a_release_on_a_full_disk_is_neither_spent_nor_kept(store: Store) -> None:
    pages = store._rows.connection
    (size,) = pages.execute("PRAGMA page_count").fetchone()
    pages.execute(f"PRAGMA max_page_count={size}")
    with pytest.raises(StoreError):
        store.commit_release(bytes(20_000), PAID, NOW)
    assert store.ledger() == Ledger() and store.outbox() == []
    pages.execute("PRAGMA max_page_count=100000")
    store.commit_release(bytes(20_000), PAID, NOW)
    assert len(store.outbox()) == 1


_FILLS_THE_DISK = """
import resource, sys
from datetime import timedelta
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.stored import NOW, Device, scored
from agent.errors import StoreError

with Device(Path(sys.argv[1])).store() as store:
    for n in range(20):
        store.add_window(scored(NOW + timedelta(seconds=n)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    failures = kept = 0
    for n in range(20, 1020):
        try:
            store.add_window(scored(NOW + timedelta(seconds=n)))
            kept += 1
        except StoreError as failure:
            failures += 1
            assert failure.remedy
            if failures == 50:
                break
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    store.add_window(scored(NOW + timedelta(days=1)))
    print(20 + kept + 1, failures)
"""


def test_a_disk_that_refuses_to_grow_loses_nothing_that_was_recorded(tmp_path: Path) -> None:
    words = [sys.executable, "-c", _FILLS_THE_DISK, str(tmp_path), str(Path(__file__).parents[1])]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    kept, failures = map(int, re.findall(r"\d+", done.stdout))
    assert failures == 50
    with opened(tmp_path) as store:
        assert len(list(store.windows(*FOREVER))) == kept
