"""The book of rollouts: what devices said, where each stands, and that a restart finds it so."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sync.coordinator.rollout_book import (
    MOST_SAID,
    Deed,
    RolloutBook,
    RolloutBookError,
    Wish,
    open_rollout_book,
)
from sync.coordinator.rollouts import Rollout, Rules
from sync.updates.offers import Kind
from sync.updates.progress import Phase
from tests.rolling import NOW, directive, progress, pseudonym

ABOUT = (Kind.BUNDLE, "affect-1", 7)
ROLLOUT = Rollout(
    directive(), Rules(tolerated=0.05), NOW, NOW + 5, "Somebody paused it.", True, (2, 9)
)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[RolloutBook]:
    with open_rollout_book(tmp_path / "rollouts.db") as book:
        yield book


def test_a_restart_finds_everything_as_it_was(tmp_path: Path) -> None:
    wish = Wish(Deed.ABORT, Kind.RELEASE, "agent", b"content")
    with open_rollout_book(tmp_path / "rollouts.db") as book:
        book.keep(ROLLOUT)
        book.hear(pseudonym(1), progress(), NOW)
        book.wish(wish)
    with open_rollout_book(tmp_path / "rollouts.db") as book:
        assert book.rollouts() == (ROLLOUT,)
        assert book.said(*ABOUT)[pseudonym(1)].progress == progress()
        assert book.wishes() == 1 and book.wanted() == {1: wish}
        book.settle(1)
        assert book.wishes() == 0 and book.wanted() == {}


def test_a_rollout_is_replaced_as_a_whole_and_the_newest_of_a_name_is_heard(
    book: RolloutBook,
) -> None:
    later = replace(ROLLOUT, directive=directive(number=4, open=2), why="")
    next_one = replace(ROLLOUT, directive=directive(number=5, serial=8))
    release = replace(
        ROLLOUT, directive=directive(kind=Kind.RELEASE, name="agent", path="releases/7.json")
    )
    for each in (ROLLOUT, later, release, next_one):
        book.keep(each)
    assert book.rollouts() == (next_one, later, release)
    assert book.newest() == (next_one, release)


def test_the_newest_word_counts_by_the_devices_own_time_however_late_an_older_one_comes(
    book: RolloutBook,
) -> None:
    book.hear(pseudonym(1), progress(Phase.COMMITTED, moment=NOW + 9), NOW + 10)
    book.hear(pseudonym(1), progress(Phase.TRYING, moment=NOW + 5), NOW + 20)
    said = book.said(*ABOUT)[pseudonym(1)]
    assert (said.progress.phase, said.heard_at) == (Phase.COMMITTED, NOW + 10)
    assert list(book.said(Kind.BUNDLE, "affect-1", 8)) == []


def test_what_runs_is_said_by_the_last_word_on_any_version(book: RolloutBook) -> None:
    book.hear(pseudonym(1), progress(serial=7, moment=NOW), NOW)
    book.hear(pseudonym(1), progress(serial=8, runs=8, moment=NOW + 1), NOW + 1)
    book.hear(pseudonym(2), progress(serial=7, moment=NOW), NOW)
    words = book.last_words()
    assert words[pseudonym(1), Kind.BUNDLE, "affect-1"].runs == 8
    assert words[pseudonym(2), Kind.BUNDLE, "affect-1"].runs == 7


def test_one_device_can_not_fill_the_disk(book: RolloutBook) -> None:
    book.hear(pseudonym(2), progress(), NOW)
    for serial in range(1, 3 * MOST_SAID):
        book.hear(pseudonym(1), progress(serial=serial, runs=serial), NOW)
    kept = [serial for serial in range(1, 3 * MOST_SAID)
            if pseudonym(1) in book.said(Kind.BUNDLE, "affect-1", serial)]  # fmt: skip
    assert len(kept) == MOST_SAID and kept[-1] == 3 * MOST_SAID - 1
    assert pseudonym(2) in book.said(*ABOUT)


def test_another_programs_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(RolloutBookError, match="does not hold"), open_rollout_book(path):
        pass
    (tmp_path / "damaged.db").write_bytes(b"no database" * 100)
    with pytest.raises(RolloutBookError), open_rollout_book(tmp_path / "damaged.db"):
        pass
    with pytest.raises(RolloutBookError), open_rollout_book(path / "below" / "a.db"):
        pass


def test_the_file_is_its_owners_alone(book: RolloutBook, tmp_path: Path) -> None:
    assert (tmp_path / "rollouts.db").stat().st_mode & 0o777 == 0o600
