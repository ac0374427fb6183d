"""The coordinator's rounds: kept, played again after a restart, ended once; and their command."""

import argparse
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync.coordinator import rounds_command
from sync.coordinator.fleet import Fleet
from sync.coordinator.round_book import (
    BOOK_FILE,
    RoundBook,
    RoundBookError,
    State,
    Wish,
    open_round_book,
)
from sync.coordinator.rounds import Letter, Rounds, total_of
from sync.errors import PolicyError, ProtocolError, StudyError
from sync.secure_sum.server import Failed, Opened
from sync.secure_sum.wire import Step
from tests.test_participation import PERIOD, draft, fleet_of

SIZE = 20


@pytest.fixture
def book(tmp_path: Path) -> Iterator[RoundBook]:
    with open_round_book(tmp_path / BOOK_FILE) as book:
        yield book


def started_anew(fleet: Fleet, book: RoundBook) -> None:
    """The coordinator's process ends; another takes the same book."""
    fleet.rounds = Rounds(
        book,
        fleet.coordinator,
        fleet.authority,
        random_bytes=secrets.token_bytes,
        everybody=lambda: SIZE,
        on_end=lambda terms, result: fleet.ended.update({terms.round: result}),
    )


def run(fleet: Fleet, book: RoundBook, restarts: bool) -> Opened | Failed:
    terms = fleet.rounds.start(draft(), fleet.now)  # type: ignore[arg-type]
    while terms.round not in fleet.ended:
        if restarts:
            started_anew(fleet, book)
        letters: list[Letter] = list(fleet.rounds.due(fleet.now))
        fleet.now += not letters
        for letter in letters:
            fleet._deliver(letter, lambda _name, _step: False)
    return fleet.ended[terms.round]


@pytest.mark.parametrize("restarts", [False, True])
def test_a_round_goes_on_over_restarts_and_forgets_its_secrets(
    book: RoundBook, restarts: bool
) -> None:
    fleet = fleet_of(SIZE, book)
    result = run(fleet, book, restarts)
    assert isinstance(result, Opened) and len(result.members) == SIZE
    (entry,) = book.entries()
    assert (entry.state, entry.joined, entry.members) == (State.OPENED, SIZE, SIZE)
    assert (total_of(entry) == result.total).all()
    assert not entry.seed and not list(book.said(entry.round))
    assert all(len(device.notebook.paid.spends) == 1 for device in fleet.devices.values())
    assert not any(device.refusals for device in fleet.devices.values())


def test_what_was_said_before_a_restart_is_said_again_to_the_byte(book: RoundBook) -> None:
    fleet = fleet_of(SIZE, book)
    fleet.rounds.start(draft(), fleet.now)  # type: ignore[arg-type]
    for letter in fleet.rounds.due(fleet.now):
        fleet._deliver(letter, lambda _name, _step: False)
    rosters = list(fleet.rounds.due(fleet.now))
    assert {letter.payload[32] for letter in rosters} == {Step.ROSTER}
    started_anew(fleet, book)
    again = list(fleet.rounds.due(fleet.now))
    assert again[0].is_terms and again[1:] == rosters
    assert not list(fleet.rounds.due(fleet.now))


def test_a_round_with_too_few_fails_and_says_why(book: RoundBook) -> None:
    fleet = fleet_of(SIZE - 1, book)
    result = fleet.run(draft())  # type: ignore[arg-type]
    assert isinstance(result, Failed)
    (entry,) = book.entries()
    assert entry.state is State.FAILED
    assert entry.why == "Only 19 members joined; 20 are needed."


def test_a_message_of_no_round_is_refused(book: RoundBook) -> None:
    fleet = fleet_of(1, book)
    with pytest.raises(ProtocolError):
        fleet.rounds.receive(bytes(16), bytes(40), fleet.now)


def test_late_comers_hear_of_rounds_that_can_still_be_joined(book: RoundBook) -> None:
    fleet = fleet_of(SIZE, book)
    assert fleet.rounds.open_to_all() == ()
    fleet.rounds.start(draft(), fleet.now)  # type: ignore[arg-type]
    assert fleet.rounds.open_to_all() == ()  # not yet announced: everybody is about to hear
    (announced,) = fleet.rounds.due(fleet.now)
    assert fleet.rounds.open_to_all() == (announced.payload,)


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    rounds_command.add_arguments(parser)
    return parser.parse_args(words)


def test_start_leaves_a_wish_and_list_shows_how_rounds_ended(
    tmp_path: Path, book: RoundBook, capsys: pytest.CaptureFixture[str]
) -> None:
    state = ("--state", str(tmp_path))
    words = ("start", "--period", PERIOD, "--step-minutes", "5", *state)
    assert rounds_command.run(arguments(*words)) == 0
    assert book.take_wishes() == (Wish("report", PERIOD, 5.0),)
    assert book.take_wishes() == ()
    fleet_of(SIZE, book).run(draft())  # type: ignore[arg-type]
    assert rounds_command.run(arguments("list", *state)) == 0
    assert rounds_command.run(arguments("watch", "--for-s", "1", *state)) == 0
    said = capsys.readouterr().out
    assert "opened over 20" in said and "No round is running" in said


@pytest.mark.parametrize("words", [("--period", "2026-W60"), ("--step-minutes", "0"),
                                   ("--step-minutes", "90000")])  # fmt: skip
def test_a_round_that_can_not_be_is_not_asked_for(
    tmp_path: Path, book: RoundBook, words: tuple[str, ...]
) -> None:
    with pytest.raises((PolicyError, ProtocolError)):
        rounds_command.run(arguments("start", "--state", str(tmp_path), *words))
    assert book.take_wishes() == ()


def test_a_simulated_round_shows_the_sum_beside_the_truth(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert rounds_command.run(arguments("simulate", "--devices", "24")) == 0
    said = capsys.readouterr().out
    assert "24 devices" in said and "speech_minutes" in said
    assert rounds_command.run(arguments("simulate", "--devices", "10")) == 1
    assert "Not opened: Only 10 members joined" in capsys.readouterr().out


def test_a_file_that_is_no_book_is_named(tmp_path: Path) -> None:
    path = tmp_path / BOOK_FILE
    path.write_bytes(b"not a database at all, but long enough to look like one" * 20)
    with pytest.raises(RoundBookError, match="kept or read"), open_round_book(path):
        pass
    path.unlink()
    with sqlite3.connect(path) as rows:
        rows.execute("CREATE TABLE other (x)")
    rows.close()
    with pytest.raises(RoundBookError, match="this version"), open_round_book(path):
        pass


def test_watch_tells_a_round_that_nobody_has_begun_from_none(
    tmp_path: Path, book: RoundBook, capsys: pytest.CaptureFixture[str]
) -> None:
    book.wish(Wish("report", PERIOD, 5.0))
    words = ("watch", "--for-s", "0.1", "--state", str(tmp_path))
    assert rounds_command.run(arguments(*words)) == 0
    assert "no coordinator has begun it" in capsys.readouterr().out


def test_a_week_to_come_and_a_folder_without_a_study_are_refused(
    tmp_path: Path, book: RoundBook
) -> None:
    with pytest.raises(PolicyError, match="not begun"):
        rounds_command.run(arguments("start", "--period", "2999-W01", "--state", str(tmp_path)))
    assert not book.wishes()
    nowhere = tmp_path / "nowhere"
    with pytest.raises(StudyError, match="No study"):
        rounds_command.run(arguments("start", "--state", str(nowhere)))
    assert not nowhere.exists()
