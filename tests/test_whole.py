"""A file appears whole under its name, or what was there stays and nothing lies beside it."""

from pathlib import Path

import pytest

from edge_models.training.whole import written_whole


def test_a_file_takes_its_place_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "told.txt"
    path.write_text("before")
    with written_whole(path) as beside:
        beside.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_half_way_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    path = tmp_path / "told.txt"
    path.write_text("before")
    with pytest.raises(OSError, match="no room"), written_whole(path) as beside:
        beside.write_text("aft")
        raise OSError("no room")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
