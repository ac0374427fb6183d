"""The repository on the coordinator's disk: what is opened by name, and what is noticed."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.coordinator.repository_folder import Lookout, opened
from sync.updates.asks import Look

TIMESTAMP, ROLLOUT = "metadata/timestamp.json", "rollout.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "updates" / "metadata").mkdir(parents=True)
    return tmp_path / "updates"


def put(folder: Path, path: str, content: object) -> None:
    """As publishing does: a draft beside it, and one rename."""
    draft = folder / f".{Path(path).name}"
    draft.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    draft.replace(folder / path)


def signed(version: object) -> dict[str, object]:
    return {"signatures": [], "signed": {"_type": "timestamp", "version": version}}


def test_a_file_is_opened_with_its_length(folder: Path) -> None:
    put(folder, ROLLOUT, b"12345")
    with opened(folder, ROLLOUT) as (handle, length):
        assert (os.read(handle, 9), length) == (b"12345", 5)
    with pytest.raises(OSError):
        os.fstat(handle)


@given(st.text() | st.from_regex(r"(metadata|targets)/[./a-z]{1,20}(\.json)?", fullmatch=True))
def test_no_name_opens_what_lies_beside(word: str) -> None:
    with pytest.raises(FileNotFoundError), opened(Path("/proc/self"), word):
        pass


def test_a_repository_may_itself_be_reached_by_a_link(folder: Path, tmp_path: Path) -> None:
    put(folder, ROLLOUT, b"1")
    (tmp_path / "link").symlink_to(folder)
    with opened(tmp_path / "link", ROLLOUT) as (_, length):
        assert length == 1


def test_there_is_no_news_of_no_repository(tmp_path: Path) -> None:
    lookout = Lookout(tmp_path / "none")
    assert lookout.news(1) is None and lookout.newest(1) is None


def test_what_was_replaced_is_news_once(folder: Path) -> None:
    lookout = Lookout(folder)
    put(folder, ROLLOUT, {"number": 9})
    assert lookout.news(1) is None  # nothing is signed yet
    put(folder, TIMESTAMP, signed(3))
    assert lookout.news(2) == Look(3, 9, 2)
    assert lookout.news(3) is None
    assert lookout.newest(4) == Look(3, 9, 4)
    put(folder, TIMESTAMP, signed(4))
    assert lookout.news(5) == Look(4, 9, 5)
    put(folder, ROLLOUT, {"directives": [{"number": 9}, {"directive": {"number": 11}}]})
    assert lookout.news(6) == Look(4, 11, 6)
    put(folder, ROLLOUT, {"directives": [{"number": 9}, {"directive": {"number": 11}}]})
    assert lookout.news(7) == Look(4, 11, 7)  # replaced is enough, whatever it holds
    assert lookout.news(8) is None
    (folder / TIMESTAMP).unlink()
    assert lookout.news(9) is None and lookout.newest(9) is None


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"\xff", b"[]", b"3", b"null", b"[" * 100_000, b'{"signed": []}',
        b'{"signed": {"version": "3"}}', b'{"signed": {"version": -1}}',
        b'{"signed": {"version": 1e400}}', b'{"signed": {"version": true}, "number": 2.5}',
        b'{"signed": {"version": 18446744073709551616}}',
    ],
)  # fmt: skip
def test_a_hint_is_made_of_any_content(folder: Path, content: bytes) -> None:
    put(folder, TIMESTAMP, content)
    put(folder, ROLLOUT, content)
    assert Lookout(folder).news(1) == Look(0, 0, 1)


def test_a_link_in_place_of_the_timestamp_is_none(folder: Path) -> None:
    (folder / TIMESTAMP).symlink_to("/proc/self/status")
    assert Lookout(folder).news(1) is None
