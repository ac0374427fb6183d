"""Faces of made-up people, for tests of training: numbers, no pictures."""

import numpy as np

from edge_models.blendshapes import BLENDSHAPE_NAMES, LANDMARKS
from edge_models.facial import FACIAL_NAMES
from edge_models.training.faces import EXPRESSIONS
from edge_models.training.seen_faces import Faces

SIGNAL = 5.0
"""How far an expression moves its shapes, in spreads of what is no expression."""

_POSES = ("straight", "left", "right", "up")


def synthetic_faces(
    people: int = 8, each: int = 4, *, identity: float = 1.0, seed: int = 0, dataset: str = "acted"
) -> Faces:
    """`each` windows of each expression and person; expressions move four groups of shapes.

    `identity` is how far people differ from each other in landmarks, shapes and summary.
    """
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), each * len(EXPRESSIONS))
    expression = np.tile(np.repeat(np.arange(len(EXPRESSIONS)), each), people)
    count = len(person)

    def own(*shape: int) -> np.ndarray:
        return identity * rng.normal(size=(people, *shape))[person]

    base = np.random.default_rng(99).normal(size=(LANDMARKS, 3))
    moved = rng.normal(size=(count, LANDMARKS, 3))
    landmarks = base + 0.05 * own(LANDMARKS, 3) + 0.02 * moved
    shapes = own(len(BLENDSHAPE_NAMES)) + rng.normal(size=(count, len(BLENDSHAPE_NAMES)))
    for place in range(len(EXPRESSIONS)):
        shapes[expression == place, 4 * place : 4 * place + 4] += SIGNAL
    summaries = own(len(FACIAL_NAMES)) + rng.normal(size=(count, len(FACIAL_NAMES)))
    summaries[:, 0] = 0.0  # nothing blinks on a photograph
    return Faces(
        landmarks=(100 * landmarks + 200).astype(np.float32),
        shapes=(0.02 * shapes + 0.4).astype(np.float32),
        summaries=summaries.astype(np.float32),
        expression=np.asarray(EXPRESSIONS)[expression],
        person=np.asarray([f"{dataset}{number:02d}" for number in person]),
        dataset=np.full(count, dataset),
        pose=np.asarray(_POSES)[np.arange(count) % len(_POSES)],
        eyes=np.full(count, "open"),
    )


def joined(*tables: Faces) -> Faces:
    """Tables below each other."""
    names = Faces.__slots__
    return Faces(*(np.concatenate([getattr(one, name) for one in tables]) for name in names))
