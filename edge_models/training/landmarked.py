"""The device's face mesh with its landmarks left open: for photographs of the corpora only.

Rules it upholds: on a device landmarks end in the mesh; this class is part of training, and
nothing the device imports may import it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from edge_models.face_mesh import FaceMesh
from edge_models.raw import RawImage

Floats = npt.NDArray[np.float32]


class LandmarkedMesh(FaceMesh):
    """Looks as the device does, and remembers the last picture's landmarks."""

    def __init__(self) -> None:
        super().__init__()
        self._last: Any = ()
        self._scale = np.ones(3, np.float32)

    def forget(self, shape: tuple[int, ...]) -> None:
        """Look at a black picture of this shape, so that nobody is followed any more."""
        self.observe(RawImage(np.zeros(shape, np.uint8), 0.0))
        self._last = ()

    def landmarks(self) -> Floats | None:
        """Those of the largest face seen last, float32 (478, 3) in pixels; None without one."""
        meshes = [
            np.array([(point.x, point.y, point.z) for point in face.landmark], np.float32)
            for face in self._last
        ]
        largest = max(meshes, key=lambda mesh: float(np.ptp(mesh[:, 1])), default=None)
        return None if largest is None else largest * self._scale

    def _faces(self, image: RawImage) -> Any:
        found = super()._faces(image)
        if found:
            height, width, _ = image.pixels.shape
            self._scale = np.array([width, height, width], np.float32)  # depth in widths
            self._last = found
        return found
