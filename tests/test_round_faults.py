"""A coordinator whose disk is full, or that dies between two instructions, loses no round."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync.coordinator.fleet import Fleet
from sync.coordinator.round_book import BOOK_FILE, RoundBook, RoundBookError, State, open_round_book
from sync.coordinator.rounds import Rounds
from sync.secure_sum.server import Failed, Opened
from sync.secure_sum.wire import Step, signed
from tests.test_participation import draft, fleet_of

SIZE = 20


class FullDisk(RoundBook):
    """A book whose disk is full for as long as it is told to be."""

    is_full = False

    def keep(self, round_id: str, name: bytes | None, payload: bytes | None) -> None:
        self._must_fit()
        super().keep(round_id, name, payload)

    def end(self, *words: object, **more: object) -> None:
        self._must_fit()
        super().end(*words, **more)  # type: ignore[arg-type]

    def _must_fit(self) -> None:
        if self.is_full:
            raise RoundBookError("The disk is full.")


@pytest.fixture
def book(tmp_path: Path) -> Iterator[FullDisk]:
    with open_round_book(tmp_path / BOOK_FILE) as opened:
        yield FullDisk(opened._connection, tmp_path)


def started_anew(fleet: Fleet, book: RoundBook, everybody: int = SIZE) -> None:
    """The coordinator's process ends; another takes the same book."""
    fleet.rounds = Rounds(
        book,
        fleet.coordinator,
        fleet.authority,
        random_bytes=secrets.token_bytes,
        everybody=lambda: everybody,
        on_end=lambda terms, result: fleet.ended.update({terms.round: result}),
    )


def adverts(fleet: Fleet) -> list[tuple[bytes, bytes]]:
    """What devices answer to the announcement, heard by nobody yet."""
    said: list[tuple[bytes, bytes]] = []
    receive = fleet.rounds.receive

    def hears(name: bytes, payload: bytes, now: int) -> bool:
        said.append((name, payload))
        return True

    fleet.rounds.receive = hears  # type: ignore[method-assign]
    for letter in fleet.rounds.due(fleet.now):
        fleet._deliver(letter, lambda _name, _step: False)
    fleet.rounds.receive = receive  # type: ignore[method-assign]
    return said


def test_what_a_full_disk_did_not_take_is_kept_when_it_comes_again(book: FullDisk) -> None:
    fleet = fleet_of(SIZE, book)
    terms = fleet.rounds.start(draft(), fleet.now)  # type: ignore[arg-type]
    for name, payload in adverts(fleet):
        book.is_full = True
        with pytest.raises(RoundBookError):
            fleet.rounds.receive(name, payload, fleet.now)
        book.is_full = False
        fleet.rounds.receive(name, payload, fleet.now)  # it was not acknowledged
    assert len(list(book.said(terms.round))) == SIZE
    rosters = list(fleet.rounds.due(fleet.now))
    started_anew(fleet, book)
    assert list(fleet.rounds.due(fleet.now))[1:] == rosters


def test_an_announcement_outlives_a_full_disk(book: FullDisk) -> None:
    fleet = fleet_of(SIZE, book)
    started_anew(fleet, book, everybody=0)  # so that the first step is over at once
    fleet.rounds.start(draft(), fleet.now)  # type: ignore[arg-type]
    book.is_full = True
    with pytest.raises(RoundBookError):
        list(fleet.rounds.due(fleet.now))
    book.is_full = False
    assert [letter.is_terms for letter in fleet.rounds.due(fleet.now)] == [True]


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_failed_round_ends_even_if_its_end_could_not_be_kept_at_first(
    book: FullDisk, is_killed: bool
) -> None:
    fleet = fleet_of(SIZE - 1, book)
    terms = fleet.rounds.start(draft(), fleet.now)  # type: ignore[arg-type]
    list(fleet.rounds.due(fleet.now))
    end, book.end = book.end, _fails  # type: ignore[method-assign]
    with pytest.raises(RoundBookError):
        list(fleet.rounds.due(terms.deadlines[0]))
    book.end = end  # type: ignore[method-assign]
    if is_killed:
        started_anew(fleet, book)
    assert [progress.step for progress in fleet.rounds.progress()] == ["share"]
    list(fleet.rounds.due(terms.deadlines[0]))
    (entry,) = book.entries()
    assert (entry.state, entry.why) == (State.FAILED, "Only 0 members joined; 20 are needed.")
    assert isinstance(fleet.ended[terms.round], Failed)


def _fails(*_: object, **__: object) -> None:
    raise RoundBookError("The disk is full.")


def test_deadlines_that_passed_while_nobody_served_end_the_round(book: FullDisk) -> None:
    fleet = fleet_of(SIZE, book)
    terms = fleet.rounds.start(draft(), fleet.now)  # type: ignore[arg-type]
    for name, payload in adverts(fleet):
        fleet.rounds.receive(name, payload, fleet.now)
    started_anew(fleet, book)
    for _ in range(5):
        list(fleet.rounds.due(terms.deadlines[-1] + 1))
    (entry,) = book.entries()
    assert entry.state is State.FAILED
    assert entry.why == "Only 0 members shared their secrets; 20 are needed."


def test_of_a_members_refusals_the_first_is_kept(book: FullDisk) -> None:
    fleet = fleet_of(SIZE, book)
    terms = fleet.rounds.start(draft(), fleet.now)  # type: ignore[arg-type]
    for name, payload in adverts(fleet):
        fleet.rounds.receive(name, payload, fleet.now)
    list(fleet.rounds.due(fleet.now))
    device = next(iter(fleet.devices.values()))
    identity, round_id = device.participation.enrolled.identity, bytes.fromhex(terms.round)
    news = [
        fleet.rounds.receive(
            device.name, signed(identity, round_id, Step.REFUSAL, f"No, {n}.".encode()), fleet.now
        )
        for n in range(100)
    ]
    assert sum(news) == 1
    assert len([said for said in book.said(terms.round) if said.name == device.name]) == 2


def test_a_round_in_which_the_disk_was_full_now_and_then_is_opened(book: FullDisk) -> None:
    fleet = fleet_of(SIZE, book)
    receive, heard = fleet.rounds.receive, 0

    def hears(name: bytes, payload: bytes, now: int) -> bool:
        nonlocal heard
        heard += 1
        book.is_full = heard % 3 == 0
        try:
            return receive(name, payload, now)
        except RoundBookError:
            book.is_full = False
            return receive(name, payload, now)
        finally:
            book.is_full = False

    fleet.rounds.receive = hears  # type: ignore[method-assign]
    assert isinstance(fleet.run(draft()), Opened)  # type: ignore[arg-type]
