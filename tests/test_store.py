"""The encrypted store: nothing readable on disk, nothing moved, nothing lost."""

import secrets
import sqlite3
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from agent.codec import Gone, Outgoing, encode_window
from agent.errors import DamagedRecord, KeyMismatch, StoreError
from agent.records import OwnBaseline
from agent.store import Store
from sync.budget import Ledger, Spend
from sync.errors import PeriodSpent
from tests.stored import KEY, NOW, gap, scored

FOREVER = (NOW - timedelta(days=60), NOW + timedelta(days=60))
SPEND, SECOND, THIRD = (
    Spend(f"2026-W{week}", Fraction(1, 8), "weekly-1@1") for week in (47, 48, 49)
)
PAID = Ledger((SPEND,))


def opened(folder: Path, key: bytes = KEY) -> Store:
    return Store(folder / "store.db", key)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path) as store:
        yield store


def all_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def test_the_baseline_by_the_measure_before_is_there_when_an_update_is_taken_back(
    store: Store,
) -> None:
    for measure, content in (("old", b"1"), ("old", b"2"), ("new", b"3"), ("new", b"4")):
        store.add_window(scored(NOW), OwnBaseline(measure, content))
    assert (store.baseline("old"), store.baseline("new")) == (b"2", b"4")
    store.add_window(scored(NOW), OwnBaseline("old", b"5"))
    assert (store.baseline("old"), store.baseline("new")) == (b"5", b"4")


def test_what_is_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add_window(scored(NOW), OwnBaseline("measure-1", b"baseline"))
        store.add_gap(gap(NOW))
        name = store.pseudonym("home", lambda size: b"\xab" * size)
        store.commit_release(b"sealed", PAID, NOW)
    with opened(tmp_path) as store:
        (kept,) = store.windows(*FOREVER)
        assert encode_window(kept) == encode_window(scored(NOW))
        assert list(store.gaps(*FOREVER)) == [gap(NOW)]
        assert store.baseline("measure-1") == b"baseline"
        assert store.baseline("measure-2") is None
        assert store.pseudonym("home", lambda size: b"\xcd" * size) == name == "ab" * 16
        assert store.pseudonym("other", lambda size: b"\xcd" * size) == "cd" * 16
        assert store.ledger() == Ledger((SPEND,))
        assert store.outbox() == [Outgoing(1, "2026-W47", NOW, None, b"sealed")]


def test_reading_takes_a_stretch_of_time_across_pages_and_days(store: Store) -> None:
    moments = [NOW + timedelta(minutes=5 * n) for n in range(600)]
    for moment in moments:
        store.add_window(scored(moment))
    since, until = moments[7], moments[-3]
    found = [record.started_at for record in store.windows(since, until)]
    assert found == moments[7:-3]
    assert store.days() == sorted({moment.date() for moment in moments})
    assert list(store.windows(until, since)) == []
    ever = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
    assert len(list(store.windows(*ever))) == 600 and list(store.gaps(*ever)) == []


def test_one_thread_writes_while_others_read(store: Store, tmp_path: Path) -> None:
    failures: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            seen = 0
            with opened(tmp_path) as own:
                while not done.is_set():
                    count = sum(1 for _ in own.windows(*FOREVER))
                    assert count >= seen
                    seen = count
        except BaseException as failure:  # noqa: BLE001  shown below
            failures.append(failure)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for n in range(300):
        store.add_window(scored(NOW + timedelta(seconds=10 * n)))
    done.set()
    for reader in readers:
        reader.join(timeout=30)
    assert not failures
    assert sum(1 for _ in store.windows(*FOREVER)) == 300


def test_a_second_process_can_read_while_the_first_writes(store: Store, tmp_path: Path) -> None:
    store.add_window(scored(NOW))
    with opened(tmp_path) as other:
        assert len(list(other.windows(*FOREVER))) == 1
        store.add_window(scored(NOW))
        assert len(list(other.windows(*FOREVER))) == 2


def test_nothing_that_was_sensed_or_sent_is_readable_on_disk(tmp_path: Path) -> None:
    marked = replace(scored(NOW), summary=np.full(88, 1234.5678, np.float32))
    with opened(tmp_path) as store:
        store.add_window(marked, OwnBaseline("measure-1", b"the baseline"))
        store.add_gap(gap(NOW))
        store.pseudonym("spring-study", lambda size: b"\xab" * size)
        store.commit_release(b"the sealed report", PAID, NOW)
        disk = all_bytes(tmp_path)
        for word in (
            np.full(2, 1234.5678, np.float32).tobytes(),
            b"the baseline", b"Plug the", b"microphone", b"spring-study", b"abab", b"\xab\xab\xab",
            b"the sealed", b"2026-W47", b"weekly-1", b"affect-1", b"2026-",
        ):  # fmt: skip
            assert word not in disk


def test_all_files_of_the_store_are_the_owners_alone(store: Store, tmp_path: Path) -> None:
    store.commit_release(b"sealed", PAID, NOW)
    files = {str(file.relative_to(tmp_path)): file for file in tmp_path.rglob("*")}
    assert {"store.db", "store.db-wal", "anchor/ledger"} <= set(files)
    for name, file in files.items():
        assert stat.S_IMODE(file.stat().st_mode) == (0o700 if name == "anchor" else 0o600)


def test_the_same_record_never_looks_the_same_and_days_say_no_date(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for _ in range(50):
            store.add_window(scored(NOW))
    rows = sqlite3.connect(tmp_path / "store.db").execute("SELECT day, sealed FROM windows")
    days, sealed = zip(*rows, strict=True)
    assert len({each[:12] for each in sealed}) == 50  # nonces
    assert len({each[12:] for each in sealed}) == 50
    assert abs(days[0] - 20_781) > 1_000


def test_another_key_is_named_and_changes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add_window(scored(NOW))
    before = (tmp_path / "store.db").read_bytes()
    with pytest.raises(KeyMismatch) as refusal:
        opened(tmp_path, secrets.token_bytes(32))
    assert "another key" in refusal.value.cause and refusal.value.remedy
    assert (tmp_path / "store.db").read_bytes() == before
    with opened(tmp_path) as store:
        assert len(list(store.windows(*FOREVER))) == 1


def altered(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_a_damaged_record_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for n in range(5):
            store.add_window(scored(NOW + timedelta(seconds=10 * n)))
    altered(tmp_path / "store.db", "UPDATE windows SET sealed = zeroblob(400) WHERE number = 3")
    with opened(tmp_path) as store:
        with pytest.raises(DamagedRecord, match="window 3 can't be read"):
            list(store.windows(*FOREVER))
        damage: list[DamagedRecord] = []
        found = [record.started_at.second for record in store.windows(*FOREVER, damage.append)]
        assert found == [0, 10, 30, 40] and len(damage) == 1


@pytest.mark.parametrize(
    "swap",
    [
        "UPDATE windows SET sealed = (SELECT sealed FROM windows LIMIT 1) WHERE number = 2",
        "UPDATE windows SET sealed = (SELECT sealed FROM gaps WHERE number = 2) WHERE number = 2",
        "UPDATE windows SET day = day + 1 WHERE number = 2",
        "UPDATE windows SET number = 99 WHERE number = 2",
        "UPDATE windows SET sealed = x'' WHERE number = 2",
    ],
)
def test_a_record_opens_at_its_own_place_only(tmp_path: Path, swap: str) -> None:
    with opened(tmp_path) as store:
        for n in range(3):
            store.add_window(scored(NOW + timedelta(seconds=10 * n)))
            store.add_gap(gap(NOW))
    altered(tmp_path / "store.db", swap)
    with opened(tmp_path) as store:
        damage: list[DamagedRecord] = []
        seconds = [record.started_at.second for record in store.windows(*FOREVER, damage.append)]
        assert seconds == [0, 20] and len(damage) == 1


@pytest.mark.parametrize(
    "loss",
    [
        "DELETE FROM spends WHERE number = 2",
        "DELETE FROM spends WHERE number = 1",
        "DELETE FROM singles WHERE name = 'spends'",
        "UPDATE spends SET sealed = zeroblob(99) WHERE number = 1",
        "UPDATE singles SET sealed = zeroblob(99) WHERE name = 'spends'",
    ],
)
def test_a_ledger_that_lost_an_entry_releases_nothing(tmp_path: Path, loss: str) -> None:
    both, three = Ledger((SPEND, SECOND)), Ledger((SPEND, SECOND, THIRD))
    with opened(tmp_path) as store:
        store.commit_release(b"first", PAID, NOW)
        store.commit_release(b"second", both, NOW)
    altered(tmp_path / "store.db", loss)
    with opened(tmp_path) as store:
        with pytest.raises(StoreError):
            store.ledger()
        with pytest.raises(StoreError):
            store.commit_release(b"third", three, NOW)


@pytest.mark.parametrize("content", [b"not a database, but some text" * 40, b"SQLite format 3\x00"])
def test_a_file_that_is_no_store_is_named_with_a_remedy(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "store.db").write_bytes(content)
    with pytest.raises(StoreError) as failure:
        opened(tmp_path)
    assert "store.db" in failure.value.cause and failure.value.remedy
    assert (tmp_path / "store.db").read_bytes() == content


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    opened(tmp_path).close()
    altered(tmp_path / "store.db", "PRAGMA user_version=4")
    with pytest.raises(StoreError, match="form 4"):
        opened(tmp_path)


def test_a_first_start_that_was_cut_short_starts_anew(tmp_path: Path) -> None:
    (tmp_path / "store.db").touch(mode=0o600)
    with opened(tmp_path) as store:
        store.add_window(scored(NOW))


def test_a_missing_folder_is_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as failure:
        opened(tmp_path / "nowhere")
    assert "nowhere" in failure.value.cause and failure.value.remedy


def test_a_period_is_committed_once(store: Store) -> None:
    store.commit_release(b"first", PAID, NOW)
    with pytest.raises(PeriodSpent):
        store.commit_release(b"again", PAID, NOW)
    assert [each.sealed for each in store.outbox()] == [b"first"]
    assert store.ledger() == PAID


def test_a_report_charged_to_an_older_ledger_is_not_kept(store: Store) -> None:
    store.commit_release(b"first", PAID, NOW)
    with pytest.raises(StoreError, match="meanwhile"):
        store.commit_release(b"another program's", Ledger((SECOND,)), NOW)
    assert len(store.outbox()) == 1 and store.ledger() == PAID
    store.commit_release(b"anew", Ledger((SPEND, SECOND)), NOW)
    assert len(store.outbox()) == 2


def test_a_sent_report_leaves_the_outbox_and_keeps_its_first_time(store: Store) -> None:
    store.commit_release(b"first", PAID, NOW)
    store.mark_sent(1, NOW)
    store.mark_sent(1, NOW + timedelta(hours=1))
    assert store.outbox() == []
    assert store.sent() == [Outgoing(1, "2026-W47", NOW, NOW, b"first")]
    with pytest.raises(StoreError):
        store.mark_sent(99, NOW)


def test_of_a_rounds_message_only_what_it_was_is_kept_once_it_was_sent(
    store: Store, tmp_path: Path
) -> None:
    gone = Gone("report", "2026-W47", "masked", 1, 1, 30_000, bytes(32))
    pages = []
    for number in range(1, 41):
        store.keep_part(f"{number:064x}", None, NOW, sealed=[bytes(30_000)])
        store.mark_sent(number, NOW, gone)
        store.mark_sent(number, NOW + timedelta(hours=1))
        pages.append(store._rows.connection.execute("PRAGMA page_count").fetchone()[0])
    assert store.outbox() == []
    assert store.sent()[-1] == Outgoing(40, "", NOW, NOW, b"", f"{40:064x}", gone)
    assert pages[-1] - pages[0] < 10  # of 4 KiB; 40 messages of 30 KB would be 300
