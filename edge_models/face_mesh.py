"""Sees faces in one picture: MediaPipe's mesh, the blendshapes and the head's direction.

Rules it upholds: MediaPipe is named only here; its models come with the packages and nothing is
fetched; pixels and landmarks end here, only an observation leaves; its chatter stays off the
terminal.

Place in the life of a frame: camera → **face mesh** → observation → facial summary.
"""

import math
from contextlib import nullcontext
from importlib.resources import files
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from edge_models.blendshapes import Blendshapes, FaceModels, read_face_models, task_file
from edge_models.errors import ContractError, RuntimeMissing
from edge_models.facial import FaceObservation, gaze_of
from edge_models.head_pose import CanonicalFace, angles_of, rotation_of
from edge_models.quiet import native_chatter_held_back
from edge_models.raw import RawImage

Doubles = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

MOST_FACES: Final = 2
"""One person is observed; one more is enough to know that they are not alone."""

_SURE_OF_A_FACE: Final = 0.5
_SEEK_EVERY_S: Final = 0.4
"""While one face is followed, another is looked for this often; it is then followed as well."""

_ENOUGH: Final = "prev_has_enough_faces"  # MediaPipe's own name of the stream
_GRAPH: Final = "modules/face_landmark/face_landmark_front_cpu.binarypb"
_DETECTION: Final = "facedetectionshortrangecpu__facedetectionshortrange__facedetection__"
_VERTEX_FLOATS: Final = 5  # x, y, z and two texture coordinates


class FaceMesh:
    """Looks at pictures of one stream, in order; a context manager.

    The mesh of a face is followed from picture to picture, which costs less than finding it
    anew. About 60 MB of libraries are loaded when it is made, not when this module is.

    Raises:
        RuntimeMissing: MediaPipe or the face model is not installed.
        BundleError: the face model is not the known file.
    """

    def __init__(self) -> None:
        models = read_face_models(task_file())
        self._seen_any = False
        self._followed = 0
        self._sought_s = -math.inf
        with native_chatter_held_back():
            try:
                from mediapipe.python.solutions import face_detection
            except ImportError as missing:
                raise RuntimeMissing(
                    "MediaPipe is not installed on this machine.",
                    "Install mediapipe at the version of deploy/requirements, or set the camera "
                    "off.",
                ) from missing
            self._blendshapes = Blendshapes(models.blendshapes)
            self._canonical = _canonical_face(models)
            self._mesh: Any = _mesh_of_sought_faces()
            self._detector: Any = face_detection.FaceDetection(
                min_detection_confidence=_SURE_OF_A_FACE, model_selection=0
            )
            # The graphs start in threads of their own: a first picture waits until they have.
            nothing = np.zeros((64, 64, 3), np.uint8)
            _processed(self._mesh, {"image": nothing, _ENOUGH: False})
            _processed(self._detector, nothing)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._mesh.close()
        self._detector.close()

    def observe(self, image: RawImage) -> FaceObservation:
        """Say what the picture shows of the largest face, and how many faces there are (0 to 2).

        The picture stays the caller's to wipe.

        Raises:
            ContractError: MediaPipe refuses the picture.
        """
        height, width, _ = image.pixels.shape
        scale = np.array([width, height, width], np.float64)  # depth is given in picture widths
        meshes = [
            np.array([(point.x, point.y, point.z) for point in face.landmark]) * scale
            for face in self._faces(image)
        ]
        if not meshes:
            return FaceObservation(image.time_s, faces=0)
        mesh = max(meshes, key=_height_of)
        blendshapes = self._blendshapes.of(mesh[:, :2].astype(np.float32))
        middle = (mesh[:, :2].max(axis=0) + mesh[:, :2].min(axis=0)) / 2
        return FaceObservation(
            image.time_s,
            faces=len(meshes),
            blendshapes=blendshapes,
            head_deg=angles_of(rotation_of(self._canonical, mesh)),
            gaze=gaze_of(blendshapes),
            centre=(middle / scale[:2]).astype(np.float32),
            size=_height_of(mesh) / height,
        )

    def upright_turns(self, image: RawImage) -> int | None:
        """How many quarter turns anticlockwise make the picture upright; None without a face.

        The mesh fits an upright face over one that stands on its head, without a word; the
        detector is surest of it when it is upright, so it is asked about all four.
        """
        surest = [self._surest_face(np.rot90(image.pixels, turns)) for turns in range(4)]
        best = int(np.argmax(surest))
        return best if surest[best] > 0.0 else None

    def _faces(self, image: RawImage) -> Any:
        lately = image.time_s - self._sought_s < _SEEK_EVERY_S
        enough = self._followed >= MOST_FACES or (self._followed > 0 and lately)
        if not enough:
            self._sought_s = image.time_s
        picture = {"image": _lent(image.pixels), _ENOUGH: enough}
        # It also remarks on its first face.
        with nullcontext() if self._seen_any else native_chatter_held_back():
            found = _processed(self._mesh, picture).multi_face_landmarks or ()
        self._followed = len(found)
        self._seen_any = self._seen_any or bool(found)
        return found

    def _surest_face(self, pixels: Pixels) -> float:
        turned = pixels.copy()
        try:
            found = _processed(self._detector, _lent(turned)).detections or ()
        finally:
            turned.fill(0)
        return max((float(face.score[0]) for face in found), default=0.0)


def _processed(solution: Any, picture: Pixels | dict[str, Any]) -> Any:
    try:
        return solution.process(picture)
    except (RuntimeError, ValueError) as refused:
        raise ContractError("MediaPipe refused a picture.") from refused


def _lent(pixels: Pixels) -> Pixels:
    """A read-only view, which MediaPipe refers to; of what it could write it would make a copy."""
    view = pixels.view()
    view.flags.writeable = not view.flags.c_contiguous
    return view


def _mesh_of_sought_faces() -> Any:
    """MediaPipe's face mesh, where the stream `_ENOUGH` says whether to look for another face.

    As it comes, the detector runs on every picture until `MOST_FACES` are followed: for somebody
    alone, always.
    """
    from mediapipe.framework import calculator_pb2
    from mediapipe.python.solution_base import PacketDataType, SolutionBase

    graph = calculator_pb2.CalculatorGraphConfig()
    graph.ParseFromString((files("mediapipe") / _GRAPH).read_bytes())
    kept = [node for node in graph.node if _ENOUGH not in node.output_stream]
    del graph.node[:]
    graph.node.extend(kept)
    graph.input_stream.append(_ENOUGH)
    graph.ClearField("type")
    return SolutionBase(
        graph_config=graph,
        side_inputs={"num_faces": MOST_FACES, "with_attention": True, "use_prev_landmarks": True},
        calculator_params={
            f"{_DETECTION}TensorsToDetectionsCalculator.min_score_thresh": _SURE_OF_A_FACE,
            "facelandmarkcpu__ThresholdingCalculator.threshold": _SURE_OF_A_FACE,
        },
        outputs=["multi_face_landmarks"],
        stream_type_hints={_ENOUGH: PacketDataType.BOOL},
    )


def _height_of(mesh: Doubles) -> float:
    return float(np.ptp(mesh[:, 1]))


def _canonical_face(models: FaceModels) -> CanonicalFace:
    """The canonical face and its Procrustes basis, from the model file's geometry metadata."""
    from mediapipe.modules.face_geometry.protos import geometry_pipeline_metadata_pb2

    metadata = geometry_pipeline_metadata_pb2.GeometryPipelineMetadata()
    metadata.ParseFromString(models.geometry)
    vertices = np.array(metadata.canonical_mesh.vertex_buffer, np.float64)
    basis = metadata.procrustes_landmark_basis
    landmarks = np.array([entry.landmark_id for entry in basis], np.intp)
    points = vertices.reshape(-1, _VERTEX_FLOATS)[landmarks, :3]
    # There, y goes up and z comes towards the camera.
    return CanonicalFace(
        points * np.array([1.0, -1.0, -1.0]),
        np.array([entry.weight for entry in basis], np.float64),
        landmarks,
    )
