"""Which way a head points: the rotation that lays the canonical face over the landmarks.

Rules it upholds: three angles come out and the landmarks are not kept; the directions are the
person's own, so that a mirrored preview changes nothing.

    yaw    > 0   the nose points to the person's own left
    pitch  > 0   the nose points up
    roll   > 0   the head leans towards the person's own left shoulder

Place in the life of a frame: camera → face mesh → **head pose** → facial summary.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class CanonicalFace:
    """A neutral face looking straight ahead, and how far to trust each of its points.

    `points` float64 (k, 3): x to the picture's right, y down, z away from the camera;
    `weights` float64 (k,), positive; `landmarks` (k,) are their numbers in the mesh. The
    points are those that move little with expression.
    """

    points: Doubles
    weights: Doubles
    landmarks: npt.NDArray[np.intp]

    def __post_init__(self) -> None:
        count = len(self.landmarks)
        if self.points.shape != (count, 3) or self.weights.shape != (count,) or count < 3:
            raise ContractError("A canonical face has three coordinates and a weight per point.")
        if (self.weights <= 0).any():
            raise ContractError("The weights of a canonical face are positive.")


def rotation_of(face: CanonicalFace, mesh: Doubles) -> Doubles:
    """Rotation float64 (3, 3) from the canonical face to the mesh, float64 (n, 3), in pixels.

    The camera is taken as weakly perspective: a face far from the picture's centre reads as
    turned by about the angle at which the camera sees it.

    Source: Kabsch, Acta Cryst. A32:922 (1976), with the determinant corrected as in Umeyama,
    IEEE TPAMI 13:376 (1991), eq. 40-43; weights of MediaPipe's face geometry.
    """
    seen = mesh[face.landmarks]
    share = (face.weights / face.weights.sum())[:, np.newaxis]
    centred = face.points - (share * face.points).sum(axis=0)
    observed = seen - (share * seen).sum(axis=0)
    left, _, right = np.linalg.svd((share * observed).T @ centred)
    proper = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right)) or 1.0])
    rotation: Doubles = left @ proper @ right
    return rotation


def angles_of(rotation: Doubles) -> Floats:
    """Yaw, pitch and roll in degrees, float32 (3,), of a rotation from the canonical face.

    The order is nod, turn, lean: yaw and pitch are those of the picture once straightened by
    roll, so that a tilted camera changes roll alone. Yaw stays within 90 degrees.
    """
    yaw = np.arcsin(np.clip(rotation[2, 0], -1.0, 1.0))
    pitch = -np.arctan2(rotation[2, 1], rotation[2, 2])
    roll = np.arctan2(rotation[1, 0], rotation[0, 0])
    angles: Floats = np.degrees(np.array([yaw, pitch, roll])).astype(np.float32)
    return angles
