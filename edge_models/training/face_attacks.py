"""Who was it? The panel of attackers on galleries of faces.

Rules it upholds: attackers are retrained on the level that they attack; enrolment and test show
other expressions (or are other photographs, where none are told); *chance* is the same panel under
permuted identities.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.training.identity import Campaign, Samples, campaign
from edge_models.training.identity.panel import PANEL, Member

Words = npt.NDArray[np.str_]

FACE_PANEL: Final = tuple(
    member
    for member in PANEL
    if member.name
    in (
        "LDA",
        "normal densities",
        "logistic, C 1",
        "RBF SVM, C 10",
        "extra trees",
        "MLP",
        "LDA of session moments",
        "set network",
    )
)
"""Who attacks faces: for the time's sake one value of each hyper-parameter, and no boosting, which
named 0.15 of forty people where LDA named 0.92."""


@dataclass(frozen=True, slots=True)
class FaceEffort:
    """Who attacks faces, and how often identities are permuted; of a pair's once."""

    panel: tuple[Member, ...] = FACE_PANEL
    permutations: int = 2
    pair_permutations: int = 1

    def __str__(self) -> str:
        names = ", ".join(member.name for member in self.panel)
        return f"{self.permutations} {self.pair_permutations} {names}"


QUICK_FACES: Final = FaceEffort(
    tuple(
        member
        for member in FACE_PANEL
        if member.name in ("LDA", "normal densities", "extra trees", "LDA of session moments")
    ),
    permutations=1,
)
"""When time is short: no networks and no kernels."""

FIRST: Final = frozenset({"neutral", "angry"})
"""Enrolled where the other expressions are the test, and then the other way round."""


def sides_of(expression: Words) -> Words:
    """The half of the expressions that each window is of; the panel never mixes the two."""
    return np.where(np.isin(expression, sorted(FIRST)), "neutral or angry", "happy or sad")


def turn_of(person: Words) -> Words:
    """Each window's number among those of its person, as a word: a session of its own."""
    turn = np.zeros(len(person), int)
    for one in np.unique(person):
        own = np.flatnonzero(person == one)
        turn[own] = np.arange(len(own))
    return turn.astype(str)


def attacked(
    samples: Samples, seed: int, permutations: int, panel: Sequence[Member] = FACE_PANEL
) -> Campaign:
    """Attack a gallery both ways, of the people who are in both halves of it."""
    texts = np.unique(samples.sentence)
    if len(texts) > 1:
        groups = [set(samples.person[samples.sentence == text].tolist()) for text in texts]
        samples = samples.at(np.isin(samples.person, sorted(set.intersection(*groups))))
    return campaign(samples, seed, permutations, panel)
