"""The manifest of faces: who is listed, what is known of each, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_models.errors import RecordingError
from edge_models.training.faces import (
    CMU,
    EXPRESSIONS,
    GRID,
    LONDON,
    OLIVETTI,
    face_folds,
    photographs,
)

HEADER = "path,dataset,licence,identity,label,seconds,extra,bytes,sha256"


def a_manifest(folder: Path, *rows: str) -> Path:
    (folder / "MANIFEST.csv").write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return folder


def test_photographs_and_clips_of_named_people_are_listed(tmp_path: Path) -> None:
    folder = a_manifest(
        tmp_path,
        "faces/a.png,set,CC0,p1,Sad,,pose=up;eyes=open,1,0",
        "faces/b.jpg,set,CC0,p1,purple,,,1,0",
        "faces/c.jpg,set,CC0,,sad,,,1,0",
        "clips/d.mp4,set,CC0,p2,happy,,,1,0",
        "clips/e.mpg,GRID samples,CC0,,,,,1,0",
        "faces/info.csv,set,CC0,p3,sad,,,1,0",
        "speech/f.flac,set,CC0,p1,sad,,,1,0",
    )
    told = [
        (one.path, one.person, one.expression, one.pose, one.moves) for one in photographs(folder)
    ]
    assert told == [
        ("faces/a.png", "p1", "sad", "up", False),
        ("faces/b.jpg", "p1", "", "", False),
        ("clips/d.mp4", "p2", "happy", "", True),
        ("clips/e.mpg", "grid_e", "", "", True),
    ]


@pytest.mark.parametrize("content", [b"", b"path,label\nx,sad\n", b"\xff\xfe\x00"])
def test_a_manifest_that_is_none_is_told_with_a_remedy(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "MANIFEST.csv").write_bytes(content)
    with pytest.raises(RecordingError) as refused:
        photographs(tmp_path)
    assert refused.value.remedy


def test_a_manifest_without_faces_is_told(tmp_path: Path) -> None:
    folder = a_manifest(tmp_path, "speech/f.flac,set,CC0,p1,sad,,,1,0")
    with pytest.raises(RecordingError, match="No photographs"):
        photographs(folder)
    with pytest.raises(RecordingError, match="MANIFEST"):
        photographs(tmp_path / "absent")


def test_the_real_sets_are_listed_whole(recordings: Path) -> None:
    listed = photographs(recordings)
    people = {
        name: {one.person for one in listed if one.dataset == name}
        for name in (CMU, LONDON, OLIVETTI, GRID)
    }
    assert {name: len(own) for name, own in people.items()} == {
        CMU: 20,
        LONDON: 51,
        OLIVETTI: 40,
        GRID: 5,
    }
    shown = {one.expression for one in listed if one.dataset == CMU}
    assert shown == set(EXPRESSIONS)
    assert len({one.name for one in listed}) == len(listed)


@given(st.lists(st.integers(0, 15), min_size=1, max_size=60), st.integers(1, 6))
def test_a_person_is_in_one_fold_whatever_the_order(drawn: list[int], count: int) -> None:
    people = np.asarray([f"p{number:02d}" for number in drawn])
    folds = face_folds(people, count)
    owners = set(zip(people.tolist(), folds.tolist(), strict=True))
    assert len(owners) == len(np.unique(people)) and ((folds >= 0) & (folds < count)).all()
    assert np.array_equal(face_folds(people[::-1], count), folds[::-1])
    sizes = np.bincount([fold for _, fold in owners], minlength=count)
    assert sizes.max() - sizes.min() <= 1
