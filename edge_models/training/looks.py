"""What one window of one face gave, before anything is known of whose it is."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_models.blendshapes import BLENDSHAPE_NAMES, LANDMARKS
from edge_models.errors import ContractError
from edge_models.facial import FACIAL_NAMES

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """`faces` is 1, or 0 and 2 for a window without values, or -1 for a file that can't be read.

    `landmarks` float32 (478, 3), `shapes` float32 (52,), `summary` float32 (22,); zeros where
    there is not one face.
    """

    faces: int
    landmarks: Floats
    shapes: Floats
    summary: Floats

    def __post_init__(self) -> None:
        shapes = ((LANDMARKS, 3), (len(BLENDSHAPE_NAMES),), (len(FACIAL_NAMES),))
        arrays = (self.landmarks, self.shapes, self.summary)
        if any(array.shape != shape for array, shape in zip(arrays, shapes, strict=True)):
            raise ContractError("A look's arrays have fixed shapes.")

    @classmethod
    def of_no(cls, faces: int) -> "Look":
        """A window that has no values: nobody (0), two (2), or no picture at all (-1)."""
        return cls(
            faces,
            np.zeros((LANDMARKS, 3), np.float32),
            np.zeros(len(BLENDSHAPE_NAMES), np.float32),
            np.zeros(len(FACIAL_NAMES), np.float32),
        )
