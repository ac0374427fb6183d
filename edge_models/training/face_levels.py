"""A face at four levels of anonymisation: landmarks, summary, own baseline, embedding.

Rules it upholds: what a level has learnt (mean face, directions, population, body) comes from the
training people; the baseline is the device's own class, and causal; the same windows at all levels.

    0  the mesh of 478 points, its place, size and direction taken out; 50 directions of it
    1  the device's summary of a window (22 numbers); and with the window's mean blendshapes (74)
    2  the 74 by the person's own running baseline over a facial population
    3  three numbers of a body trained against critics (`face_encoder.py`)
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from edge_models.baseline import Baseline, Population
from edge_models.errors import ContractError
from edge_models.training.face_encoder import FaceEncoder, fitted_encoder
from edge_models.training.faces import EXPRESSIONS
from edge_models.training.seen_faces import Faces

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

DIRECTIONS: Final = 50
STREAMS: Final = 8
"""Orders in which the training people's windows pass their baselines."""

_ROUNDS: Final = 3  # in which mean face and alignment settle


class Level(StrEnum):
    """What is known of a window at a level."""

    LANDMARKS = "0 landmarks"
    SUMMARY = "1 facial summary"
    SHAPES = "1 summary and blendshapes"
    BASELINE = "2 own baseline"
    EMBEDDING = "3 embedding"


def summaries_of(faces: Faces) -> Floats:
    """The device's summary and the window's mean blendshapes, float32 (N, 74)."""
    return np.concatenate([faces.summaries, faces.shapes], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class FaceSpace:
    """`mean_face` float64 (478, 3), and `directions` float64 (K, 1434) of what differs from it."""

    mean_face: Doubles
    directions: Doubles

    @classmethod
    def of(cls, landmarks: Floats) -> Self:
        """The space of the training people's meshes, float32 (N, 478, 3).

        Source: Gower, "Generalized Procrustes analysis", Psychometrika 40(1), 1975; then the
        leading principal directions.
        """
        sized = _sized(landmarks)
        mean = sized[0]
        for _ in range(_ROUNDS):
            mean = _turned(sized, mean).mean(axis=0)
        apart = (_turned(sized, mean) - mean).reshape(len(sized), -1)
        directions = np.linalg.svd(apart, full_matrices=False)[2][:DIRECTIONS]
        return cls(mean, directions)

    def places(self, landmarks: Floats) -> Floats:
        """Where meshes lie in it, float32 (N, K)."""
        apart = _turned(_sized(landmarks), self.mean_face) - self.mean_face
        return np.asarray(apart.reshape(len(apart), -1) @ self.directions.T, np.float32)


def _sized(landmarks: Floats) -> Doubles:
    centred = landmarks - landmarks.mean(axis=1, keepdims=True, dtype=np.float64)
    size = np.sqrt((centred**2).sum(axis=(1, 2), keepdims=True))
    return np.asarray(centred / size)


def _turned(meshes: Doubles, onto: Doubles) -> Doubles:
    """Meshes (N, 478, 3) turned onto a face; Kabsch's rotation, as in `head_pose.py`."""
    left, _, right = np.linalg.svd(meshes.transpose(0, 2, 1) @ onto)
    left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, np.newaxis]
    return np.asarray(meshes @ (left @ right))


def by_own_baseline(
    rows: Floats, person: npt.NDArray[np.str_], population: Population, rng: np.random.Generator
) -> Floats:
    """Each person's windows in a random order through their own running baseline: z (N, F).

    A window is measured against those before it, the first against the population.
    """
    z = np.empty_like(rows)
    for one in np.unique(person):
        baseline = Baseline.empty(population)
        for place in rng.permutation(np.flatnonzero(person == one)):
            z[place] = baseline.normalised(rows[place])
            baseline = baseline.including(rows[place])
    return z


@dataclass(frozen=True, slots=True, eq=False)
class FaceLevels:
    """All that the levels have learnt from training people."""

    space: FaceSpace
    population: Population
    encoder: FaceEncoder

    def seen(self, faces: Faces, level: Level, rng: np.random.Generator) -> Floats:
        """Windows at a level, float32 (N, D); `rng` orders each person's windows."""
        match level:
            case Level.LANDMARKS:
                return self.space.places(faces.landmarks)
            case Level.SUMMARY:
                return faces.summaries
            case Level.SHAPES:
                return summaries_of(faces)
        z = by_own_baseline(summaries_of(faces), faces.person, self.population, rng)
        return z if level is Level.BASELINE else self.encoder.embedding(z)


def fitted_levels(faces: Faces, seed: int) -> FaceLevels:
    """Learn the levels from these people's windows, each with a known expression.

    Raises:
        ContractError: an expression is unknown, or there are fewer than two.
    """
    if not np.isin(faces.expression, EXPRESSIONS).all() or len(np.unique(faces.expression)) < 2:
        raise ContractError("The levels are learnt from windows of two or more known expressions.")
    rng = np.random.default_rng(seed)
    rows = summaries_of(faces)
    population = Population.of(rows)
    streams = [by_own_baseline(rows, faces.person, population, rng) for _ in range(STREAMS)]
    expression = np.asarray([EXPRESSIONS.index(word) for word in faces.expression])
    person = np.unique(faces.person, return_inverse=True)[1]
    encoder = fitted_encoder(streams, expression, np.asarray(person, np.intp), seed)
    return FaceLevels(FaceSpace.of(faces.landmarks), population, encoder)


def with_shuffled_expressions(faces: Faces, rng: np.random.Generator) -> Faces:
    """The same windows, each person's expressions dealt out anew among them."""
    expression = faces.expression.copy()
    for one in np.unique(faces.person):
        own = np.flatnonzero(faces.person == one)
        expression[own] = expression[rng.permutation(own)]
    return replace(faces, expression=expression)
