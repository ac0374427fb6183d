"""Photographs and clips through the device's own facial code, and what is remembered of them."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_models.errors import RecordingError
from edge_models.facial import FACIAL_NAMES
from edge_models.training import seen_faces as module
from edge_models.training.faces import GRID, LONDON, OLIVETTI, Photograph, photographs
from edge_models.training.seen_faces import Faces, Skipped, seen_faces

pytestmark = pytest.mark.xdist_group("face")


def _value(faces: Faces, row: int, name: str) -> float:
    return float(faces.summaries[row, FACIAL_NAMES.index(name)])


def a_photograph(path: str, person: str = "p") -> Photograph:
    return Photograph(path, "set", "CC0", person)


@pytest.fixture(scope="module")
def listed(recordings: Path) -> tuple[Photograph, ...]:
    return photographs(recordings)


@pytest.fixture(scope="module")
def two_people(recordings: Path, listed: tuple[Photograph, ...]) -> tuple[Photograph, ...]:
    """A neutral and a happy photograph of each."""
    own = [one for one in listed if one.dataset == LONDON]
    people = sorted({one.person for one in own})[:2]
    return tuple(sorted((one for one in own if one.person in people), key=lambda one: one.path))


@pytest.fixture(scope="module")
def folder(recordings: Path, two_people: tuple[Photograph, ...], tmp_path_factory) -> Path:
    """Two people's photographs beside an empty wall, a couple, and a file that is none."""
    folder = tmp_path_factory.mktemp("faces")
    faces = [cv2.imread(str(recordings / one.path)) for one in two_people]
    cv2.imwrite(str(folder / "wall.png"), np.full((200, 200, 3), 90, np.uint8))
    height = min(face.shape[0] for face in faces)
    cv2.imwrite(str(folder / "couple.png"), np.hstack([faces[0][:height], faces[2][:height]]))
    (folder / "words.png").write_text("no picture", encoding="utf-8")
    (folder / "empty.jpg").write_bytes(b"")
    shutil.copyfile(recordings / two_people[0].path, folder / "face.jpg")
    return folder


def test_a_smile_is_seen_and_a_still_does_not_move(
    recordings: Path, two_people: tuple[Photograph, ...]
) -> None:
    faces, skipped = seen_faces(recordings, two_people)
    assert len(faces) == 4 and len(skipped) == 0
    for row in range(4):
        assert _value(faces, row, "head_movement_deg_per_s") == 0.0
        assert _value(faces, row, "blink_rate_per_min") == 0.0
    smiles = {
        (p, e): _value(faces, r, "smile_mean")
        for r, (p, e) in enumerate(zip(faces.person, faces.expression, strict=True))
    }
    for person in np.unique(faces.person):
        assert smiles[person, "happy"] > smiles[person, "neutral"] + 0.3


def test_nobody_two_and_unreadable_are_skipped_by_name(folder: Path) -> None:
    names = ("wall.png", "couple.png", "words.png", "empty.jpg", "absent.png", "face.jpg")
    faces, skipped = seen_faces(folder, [a_photograph(name) for name in names])
    assert len(faces) == 1
    assert skipped == Skipped(
        ("wall.png",), ("couple.png",), ("words.png", "empty.jpg", "absent.png")
    )
    with pytest.raises(RecordingError, match="None of 1"):
        seen_faces(folder, [a_photograph("wall.png")])


def test_what_was_looked_at_before_does_not_matter(folder: Path) -> None:
    alone, _ = seen_faces(folder, [a_photograph("face.jpg")])
    after, _ = seen_faces(folder, [a_photograph(name) for name in ("couple.png", "face.jpg")])
    np.testing.assert_array_equal(alone.shapes, after.shapes)
    np.testing.assert_array_equal(alone.landmarks, after.landmarks)


def test_small_grey_faces_and_moving_ones_are_seen(
    recordings: Path, listed: tuple[Photograph, ...]
) -> None:
    small = next(one for one in listed if one.dataset == OLIVETTI)
    clip = next(one for one in listed if one.dataset == GRID)
    faces, skipped = seen_faces(recordings, [small, clip])
    assert len(skipped) == 0 and faces.dataset.tolist() == [OLIVETTI, GRID]
    assert _value(faces, 1, "mouth_movement_per_s") > 0.0  # somebody speaks
    assert _value(faces, 1, "expressivity_per_s") > 0.0


def test_a_second_look_is_remembered_by_content(folder: Path, tmp_path: Path, monkeypatch) -> None:
    cache = tmp_path / "cache"
    chosen = [a_photograph(name) for name in ("face.jpg", "wall.png", "words.png")]
    first, skipped = seen_faces(folder, chosen, cache)
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)

    def nobody_looks() -> None:
        raise AssertionError("it was looked at again")

    monkeypatch.setattr(module, "LandmarkedMesh", nobody_looks)
    again, same = seen_faces(moved, [replace(one, person="q") for one in chosen], cache)
    np.testing.assert_array_equal(first.landmarks, again.landmarks)
    np.testing.assert_array_equal(first.summaries, again.summaries)
    assert same == skipped and again.person.tolist() == ["q"]
    (moved / "face.jpg").write_bytes((moved / "face.jpg").read_bytes() + b"\0")
    with pytest.raises(AssertionError, match="again"):
        seen_faces(tmp_path / "elsewhere" / ".", chosen, cache)


def test_a_damaged_memory_is_as_good_as_none(folder: Path, tmp_path: Path) -> None:
    chosen = [a_photograph("face.jpg")]
    first, _ = seen_faces(folder, chosen, tmp_path)
    (kept,) = tmp_path.glob("*.npz")
    assert not list(tmp_path.glob("*.part"))
    os.truncate(kept, kept.stat().st_size // 2)
    again, _ = seen_faces(folder, chosen, tmp_path)
    np.testing.assert_array_equal(first.shapes, again.shapes)


def test_an_interrupted_look_is_remembered_as_far_as_it_came(folder: Path, tmp_path: Path) -> None:
    chosen = [a_photograph(name) for name in ("face.jpg", "wall.png")]

    def interrupted(some):
        yield some[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seen_faces(folder, chosen, tmp_path, interrupted)
    (kept,) = tmp_path.glob("*.npz")
    with np.load(kept) as told:
        assert told["faces"].tolist() == [1]
