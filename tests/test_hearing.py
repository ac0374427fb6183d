"""What a device keeps of what its study says, and how a week's report stands."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.report import Standing
from agent.rounds import Hearing
from agent.shelf import Kind as Kept
from sync.errors import RoundRefused
from sync.parcels import MOST_CHUNK_BYTES, MOST_PARCEL_BYTES, Frame, frame_count
from sync.participation import Part
from sync.secure_sum.states import Ended
from tests.founding import World, founded_study
from tests.test_inbox import claim
from tests.test_round_story import PERIOD, device

MONTHS_S = 90 * 24 * 3600


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with founded_study(tmp_path) as world:
        yield world


def test_frames_of_parcels_that_were_given_up_leave_the_disk(world: World) -> None:
    home = device(world, 0)
    hearing = Hearing(home, on_kept=lambda: None)
    for number in range(40):  # parcels that are begun and never finished
        hearing.receive("", claim(number))
    with home.open_store() as store:
        assert len(store.shelf.all(Kept.FRAME)) == 4


def test_frames_of_a_parcel_that_is_not_what_it_said_leave_the_disk(world: World) -> None:
    home = device(world, 0)
    hearing = Hearing(home, on_kept=lambda: None)
    total = 2 * MOST_CHUNK_BYTES
    assert frame_count(MOST_PARCEL_BYTES) > frame_count(total) == 2
    for index in range(2):
        data = bytes(MOST_CHUNK_BYTES)
        hearing.receive("", Frame(bytes(32), total, index, 2, data).to_bytes())
    assert "not what its frames said" in str(hearing.trouble)
    with home.open_store() as store:
        assert not store.shelf.all(Kept.FRAME)


def test_a_second_round_over_a_week_that_got_in_is_no_refusal(world: World) -> None:
    home = device(world, 0)
    paid = RoundRefused("The report has already been made.", "")
    with home.open_store() as store:
        for name, refusal in (("0a" * 32, None), ("0b" * 32, paid)):
            part = Part(Ended(name, refusal, ()), MONTHS_S, "report", PERIOD)
            store.keep_part(name, part.to_bytes(), datetime.now(UTC))
    assert Standing.of(home, PERIOD) == Standing(True, "")
    with home.open_store() as store:
        store.keep_part("0a" * 32, None, datetime.now(UTC))
    assert "already" in Standing.of(home, PERIOD).refusal
