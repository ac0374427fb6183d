"""Things under veiled names: kept, told apart by kind, and lost one at a time."""

import sqlite3
from pathlib import Path

import pytest

from agent.errors import DamagedRecord
from agent.keys import STORE_FILE
from agent.shelf import Kind
from agent.store import Store
from tests.stored import KEY


def test_a_thing_is_found_again_under_its_name_and_kind_only(tmp_path: Path) -> None:
    with Store(tmp_path / STORE_FILE, KEY) as store:
        store.shelf.put(Kind.PART, "a", b"one")
        store.shelf.put(Kind.PART, "b", b"two")
        store.shelf.put(Kind.FRAME, "a", b"three")
        store.shelf.put(Kind.PART, "b", b"new")
        assert store.shelf.get(Kind.PART, "a") == b"one"
        assert store.shelf.get(Kind.MET, "a") is None
        assert sorted(store.shelf.all(Kind.PART)) == [("a", b"one"), ("b", b"new")]
        store.shelf.drop(Kind.PART, "a")
        assert store.shelf.all(Kind.PART) == [("b", b"new")]


def test_names_and_things_can_not_be_read_from_the_file(tmp_path: Path) -> None:
    with Store(tmp_path / STORE_FILE, KEY) as store:
        store.shelf.put(Kind.PART, "round-of-spring", b"a secret of some length")
    content = b"".join(path.read_bytes() for path in tmp_path.glob(f"{STORE_FILE}*"))
    assert b"round-of-spring" not in content and b"a secret of some" not in content


def test_a_damaged_thing_is_told_and_goes_alone(tmp_path: Path) -> None:
    path = tmp_path / STORE_FILE
    with Store(path, KEY) as store:
        store.shelf.put(Kind.FRAME, "a", b"one")
        store.shelf.put(Kind.FRAME, "b", b"two")
        (veiled, _) = (store.shelf._veiled(Kind.FRAME, name) for name in "ab")
    with sqlite3.connect(path) as rows:
        rows.execute("UPDATE singles SET sealed = x'00' WHERE name = ?", (veiled,))
    rows.close()
    with Store(path, KEY) as store:
        with pytest.raises(DamagedRecord):
            store.shelf.all(Kind.FRAME)
        told: list[DamagedRecord] = []
        assert store.shelf.all(Kind.FRAME, told.append) == [("b", b"two")]
        assert len(told) == 1
        assert store.shelf.all(Kind.FRAME) == [("b", b"two")]
