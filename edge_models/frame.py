"""The frame in which heads are trained: where embeddings lie, and how far apart; all public.

Rules it upholds: it is made of the bundle's golden vectors alone, so it says nothing of the person
whose embeddings are measured in it; the same bundle gives the same frame on every device.

A *session* is the mean of a person's embeddings around one questionnaire. In the frame a session
is directions · (mean - centre) / scale, with a one appended for the bias: a *point* is a head over
that, three rows of R + 1 numbers in one row. With all E directions any head is a point; `along` a
head there are three, its own rows, and a point mixes, scales and shifts them. Every number gets the
same noise, so a small cohort learns more along three directions than along sixteen.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from edge_models.assessment import TASKS
from edge_models.errors import ContractError
from edge_models.head import Head

Reals = npt.NDArray[np.float64]

CALMER: Final = 3.0
"""A session's mean moves about a third as far as one window."""

_EVEN: Final = (1.0, 1.0, 1.0)
_FLAT: Final = (0.0, 0.0, 0.0)
_LARGEST: Final = 1e5  # weights and biases of a head that is published


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """`centre` float64 (E,); `scale` > 0; `directions` float64 (R, E), orthonormal rows."""

    centre: Reals
    scale: float
    directions: Reals

    def __post_init__(self) -> None:
        if self.centre.ndim != 1 or not np.isfinite(self.centre).all():
            raise ContractError("A frame's centre is one finite number for each of the embedding.")
        if not 0.0 < self.scale < np.inf:
            raise ContractError("A frame's scale is positive.")
        shape = self.directions.shape
        if len(shape) != 2 or shape[1] != len(self.centre) or not 1 <= shape[0] <= shape[1]:
            raise ContractError("A frame's directions are rows of the embedding's size.")
        if not np.allclose(self.directions @ self.directions.T, np.eye(shape[0]), atol=1e-9):
            raise ContractError("A frame's directions are orthonormal.")

    @classmethod
    def of(cls, embeddings: Reals) -> Self:
        """The frame of public embeddings, float64 (N, E): a bundle's golden vectors.

        Raises:
            ContractError: they are not a table, or all the same.
        """
        if embeddings.ndim != 2 or not len(embeddings):
            raise ContractError("A frame is drawn from a table of embeddings.")
        centre = embeddings.mean(axis=0)
        spread = float(np.sqrt(((embeddings - centre) ** 2).mean()))
        return cls(centre, spread / CALMER, np.eye(len(centre)))

    def along(self, head: Head) -> "Frame":
        """The same frame, narrowed to the directions that a published head looks along.

        Raises:
            ContractError: the head is for other embeddings, or its rows aren't independent.
        """
        self._must_fit(head)
        rows = np.asarray(head.weights)
        _, sizes, directions = np.linalg.svd(rows, full_matrices=False)
        if len(rows) > rows.shape[1] or sizes[-1] < 1e-6 * sizes[0]:
            raise ContractError("A frame goes along a head with independent rows.")
        return Frame(self.centre, self.scale, directions)

    @property
    def embedding_size(self) -> int:
        """E: how many numbers an embedding has."""
        return len(self.centre)

    @property
    def size(self) -> int:
        """How many numbers a point has: 3 (R + 1)."""
        return len(TASKS) * (len(self.directions) + 1)

    def features(self, sessions: Reals) -> Reals:
        """Sessions, float64 (n, E), in the frame: float64 (n, R + 1), the last column one.

        Raises:
            ContractError: they have another width, or are not finite.
        """
        if sessions.ndim != 2 or sessions.shape[1] != self.embedding_size:
            raise ContractError("A session is one number for each of the embedding.")
        if not np.isfinite(sessions).all():
            raise ContractError("A session is finite.")
        inside = (sessions - self.centre) @ self.directions.T / self.scale
        return np.concatenate([inside, np.ones((len(inside), 1))], axis=1)

    def point(self, head: Head) -> Reals:
        """A head in the frame, float64 (3 (R + 1),), its calibration folded in.

        Of a head that looks elsewhere too, what the frame can't hold is left out.

        Raises:
            ContractError: the head is for embeddings of another size.
        """
        self._must_fit(head)
        slopes = np.asarray(head.slopes)
        weights = slopes[:, None] * np.asarray(head.weights)
        biases = slopes * np.asarray(head.biases) + np.asarray(head.shifts)
        biases = biases + weights @ self.centre
        inside = weights @ self.directions.T * self.scale
        return np.asarray(np.concatenate([inside, biases[:, None]], axis=1).reshape(-1))

    def head(self, point: Reals) -> Head:
        """The head that a point stands for; its calibration is in its weights already.

        Raises:
            ContractError: the point has another size, is not finite, or is out of all bounds.
        """
        if point.shape != (self.size,) or not np.isfinite(point).all():
            raise ContractError("A point is 3 (R + 1) finite numbers.")
        rows = point.reshape(len(TASKS), -1)
        weights = rows[:, :-1] @ self.directions / self.scale
        biases = rows[:, -1] - weights @ self.centre
        if max(np.abs(weights).max(), np.abs(biases).max()) > _LARGEST:
            raise ContractError("A point this far out is not a head.")
        sadness, fear, distress = (tuple(map(float, row)) for row in weights)
        return Head(
            tasks=("sadness", "fear", "distress"),
            weights=(sadness, fear, distress),
            biases=(float(biases[0]), float(biases[1]), float(biases[2])),
            slopes=_EVEN,
            shifts=_FLAT,
        )

    def _must_fit(self, head: Head) -> None:
        if head.embedding_size != self.embedding_size:
            raise ContractError("A frame and its head have one size of embedding.")
