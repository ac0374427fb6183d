"""`sottovoce rounds` for courses: asking for one, seeing how it went, trying one out."""

from pathlib import Path

import pytest

from edge_models.command import main
from sync.coordinator.course import Asked
from sync.coordinator.round_book import BOOK_FILE, open_round_book
from tests.schooling import Class


def rounds(*words: object) -> int:
    return main(["rounds", *map(str, words)])


def test_a_course_is_asked_for_in_words_that_the_coordinator_reads(tmp_path: Path) -> None:
    with open_round_book(tmp_path / BOOK_FILE):
        pass  # as a coordinator has left it
    assert not rounds(
        "start", "--state", tmp_path, "--head", "--rounds", 7, "--optimiser", "flower:FedYogi",
        "--step-minutes", 5,
    )  # fmt: skip
    with open_round_book(tmp_path / BOOK_FILE) as book:
        (wish,) = book.take_wishes()
    assert Asked.of(wish) == Asked(7, "flower:FedYogi", False, 5.0)


def test_a_course_that_can_not_be_had_is_not_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_round_book(tmp_path / BOOK_FILE):
        pass
    assert rounds("start", "--state", tmp_path, "--head", "--optimiser", "sgd")
    assert "is no optimiser" in capsys.readouterr().err
    with open_round_book(tmp_path / BOOK_FILE) as book:
        assert not book.take_wishes()


def test_the_list_says_how_a_course_went_and_both_epsilons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_round_book(tmp_path / BOOK_FILE) as book:
        course = Class(book).taught()
    monkeypatch.setenv("COLUMNS", "300")
    assert not rounds("list", "--state", tmp_path)
    said = capsys.readouterr().out
    assert "head 1 was published" in said and "1 of 1" in said
    cost = course.cost()
    assert f"{cost.accountant:.2f}" in said and f"at most {cost.ledger_bound:.2f}" in said


def test_a_course_can_be_tried_with_simulated_people(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert not rounds("simulate", "--head", "--devices", 20, "--rounds", 1)
    said = capsys.readouterr().out
    assert "published before" in said and "candidate" in said and "ε, ledgers" in said


@pytest.mark.parametrize("devices", [19, 5001])
def test_too_few_or_too_many_simulated_people_are_refused(
    devices: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rounds("simulate", "--head", "--devices", devices)
    assert "simulated course takes" in capsys.readouterr().err
