"""The floor of time: it never falls, a damaged one is none, and clocks of 1970 and 2100 are met."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.updates.trusted_time import Floor, keep_floor, read_floor

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FLOOR = Floor(int(NOW.timestamp()))


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=8))
def test_what_is_kept_never_falls(moments: list[int]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "floor")
        seen = [keep_floor(path, Floor(moment)).seconds for moment in moments]
        assert seen == [max(moments[: at + 1]) for at in range(len(moments))]
        assert read_floor(path).seconds == max(moments)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_floor_or_none(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "floor")
        path.write_bytes(content)
        assert read_floor(path) == Floor()


def test_a_flipped_bit_is_no_floor_rather_than_another_one(tmp_path: Path) -> None:
    path = tmp_path / "floor"
    keep_floor(path, FLOOR)
    good = path.read_bytes()
    for at in range(8 * (len(good) - 1)):  # the last byte ends the line and says nothing
        bad = bytearray(good)
        bad[at // 8] ^= 1 << at % 8
        path.write_bytes(bad)
        assert read_floor(path) in (Floor(), FLOOR)


def test_a_clock_before_the_floor_is_lifted_and_one_after_it_is_believed() -> None:
    assert FLOOR.now(datetime(1970, 1, 1, tzinfo=UTC)) == NOW
    later = datetime(2026, 3, 2, tzinfo=UTC)
    assert FLOOR.now(later) == later


def test_only_a_clock_that_is_decades_ahead_is_doubted() -> None:
    assert FLOOR.doubts(datetime(2100, 1, 1, tzinfo=UTC))
    assert not FLOOR.doubts(datetime(2029, 1, 1, tzinfo=UTC))
    assert not Floor().doubts(datetime(2026, 1, 1, tzinfo=UTC))  # nothing is known to compare with


def test_a_floor_beyond_all_dates_is_the_last_date() -> None:
    assert Floor(2**40).moment.year == 9999
    with pytest.raises(ValueError):
        Floor(2**40 + 1)
    with pytest.raises(ValueError):
        Floor(-1)
