"""The ε–utility curve of private training on simulated cohorts: one cell after another.

Rules it upholds: what is trained on is noised by person or was public; what is tested are speakers
whom neither people nor body ever met; a cell's people, rows and order are seeded, its noise comes
from the source it is given; the recipes below were chosen on *made-up* voices (Gaussian mixtures of
public constants) and are the same for every cohort, epsilon and recording: nothing is tuned on
people, so nothing has to be charged for it.

Whatever people's labels are, what is tested is the acted emotion of other speakers' windows.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from edge_models.assessment import TASKS
from edge_models.errors import ContractError, RecordingError
from edge_models.frame import Frame, Reals
from edge_models.head import sigmoid
from edge_models.training.metrics import both_sides, pooled
from edge_models.training.private_accounting import Schedule, Spent, calibrated
from edge_models.training.private_cohort import Labels, cohort_of
from edge_models.training.private_ground import Ground, Heard
from edge_models.training.private_models import LinearHead, SmallBody
from edge_models.training.private_sgd import Model, Noise, Recipe, trained_openly, trained_privately
from edge_models.training.private_source import Source
from edge_models.training.streams import Floats

SIX: Final = 6
LEVELS: Final = ("window", "session")
Counts = npt.NDArray[np.int64]


class Scope(StrEnum):
    """What is trained."""

    HEAD = "head"
    NARROW = "narrow head"
    BODY = "body and head"


class Kind(StrEnum):
    """How: with a bound on privacy, without any, or without any on shuffled labels."""

    PRIVATE = "private"
    OPEN = "open"
    SHUFFLED = "shuffled"


_HEADS: Final = Schedule(60, 0.5)
_BODIES: Final = Schedule(40, 0.5)
RECIPES: Final = {
    Labels.ACTED: {
        Scope.HEAD: Recipe(_HEADS, clip=0.1, rate=4.0, windows=32),
        Scope.NARROW: Recipe(_HEADS, clip=0.1, rate=4.0, windows=32),
        Scope.BODY: Recipe(_BODIES, clip=0.1, rate=1.0, windows=16, momentum=0.9),
    },
    # All windows of a person have one label: a small clip would undo that the rarer class weighs
    # more, and the commoner one would be all that is learnt.
    Labels.ANSWERS: {
        Scope.HEAD: Recipe(_HEADS, clip=1.0, rate=2.0, windows=32),
        Scope.NARROW: Recipe(_HEADS, clip=1.0, rate=2.0, windows=32),
        Scope.BODY: Recipe(_BODIES, clip=1.0, rate=0.3, windows=16, momentum=0.9),
    },
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One training of the curve; `epsilon` is 0 where there is no bound."""

    scope: Scope
    people: int
    kind: Kind
    epsilon: float
    repeat: int

    def __post_init__(self) -> None:
        if (self.kind is Kind.PRIVATE) != (self.epsilon > 0):
            raise ContractError("A private training, and only a private one, has an epsilon.")

    @property
    def seed(self) -> int:
        """Of a simulation's noise: another for each cell."""
        told = json.dumps(asdict(self), sort_keys=True).encode()
        return int.from_bytes(hashlib.sha256(told).digest()[:6], "big")


@dataclass(frozen=True, slots=True)
class Terms:
    """What all cells of a curve have in common; `seed` is of people and starting points."""

    delta: float
    seed: int
    labels: Labels = Labels.ACTED


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """How a cell did on tested speakers: `counts` int64 (S, 3, 2, 4), what it cost, its size.

    Counts are true positives, missed, false alarms and true negatives, by speaker, task and level.
    """

    counts: Counts
    spent: Spent | None
    numbers: int


class Scores(Protocol):
    """What a point says of features: log-odds, float64 (N, 3)."""

    def logits(self, point: Reals, features: Floats) -> Reals:
        """Log-odds of the three tasks."""


class _Trainable(Model, Scores, Protocol):
    """Both halves of a model."""


@dataclass(frozen=True, slots=True, eq=False)
class _Setting:
    model: _Trainable
    start: Reals
    private: Floats
    tested: Floats


def tried(cell: Cell, ground: Ground, terms: Terms, source: Source) -> Tried:
    """Train a cell on its simulated people, and test it on other speakers.

    Raises:
        ContractError: the cohort's size or epsilon is out of bounds.
    """
    recipe = RECIPES[terms.labels][cell.scope]
    setting = _setting(cell.scope, ground, terms.seed)
    people = cohort_of(
        ground.private,
        setting.private,
        cell.people,
        np.random.default_rng((terms.seed, cell.repeat, cell.people)),
        terms.labels,
        shuffled=cell.kind is Kind.SHUFFLED,
    )
    if cell.kind is not Kind.PRIVATE:
        point = trained_openly(setting.model, people, setting.start, recipe)
        spent = None
    else:
        spent = calibrated(recipe.schedule, cell.epsilon, terms.delta)
        noise = Noise(spent.noise_multiplier, source)
        point = trained_privately(
            setting.model, people, setting.start, recipe, noise, planned=cell.people
        )
    logits = setting.model.logits(point, setting.tested)
    return Tried(counted(logits, ground.tested, terms.seed), spent, setting.model.size)


def public_counts(ground: Ground, seed: int) -> Counts:
    """How the public body's own head does, which never met anybody private."""
    rows = np.asarray(ground.public_head.weights)
    logits = ground.tested.embeddings @ rows.T + np.asarray(ground.public_head.biases)
    head = ground.public_head
    return counted(logits * np.asarray(head.slopes) + np.asarray(head.shifts), ground.tested, seed)


def counted(logits: Reals, heard: Heard, seed: int) -> Counts:
    """Right and wrong at 0.5, of windows and of sessions of six, int64 (S, 3, 2, 4).

    Raises:
        RecordingError: of some task nobody has six windows, or nobody six others.
    """
    rng = np.random.default_rng(seed)
    speakers = np.unique(heard.speaker)
    counts = np.zeros((len(speakers), len(TASKS), len(LEVELS), 4), np.int64)
    for task in range(len(TASKS)):
        known = heard.known[:, task]
        truth, owner = heard.truth[known, task], heard.speaker[known]
        sessions = pooled(logits[known, task], truth, owner, SIX, rng)
        if not both_sides(sessions.truth):
            raise RecordingError(
                f"No tested speaker has six windows with and six without {TASKS[task]}.",
                "Sessions need recordings with more clips of each emotion, as RAVDESS has.",
            )
        levels = (
            (sigmoid(logits[known, task]), truth, owner),
            (sessions.scores, sessions.truth, sessions.people),
        )
        for level, (scores, sides, owners) in enumerate(levels):
            for place, speaker in enumerate(speakers):
                own = owners == speaker
                counts[place, task, level] = _outcomes(scores[own] >= 0.5, sides[own])
    return counts


def _outcomes(said: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> list[int]:
    hits, alarms = np.count_nonzero(said & truth), np.count_nonzero(said & ~truth)
    return [hits, int(truth.sum()) - hits, alarms, int((~truth).sum()) - alarms]


def _setting(scope: Scope, ground: Ground, seed: int) -> _Setting:
    if scope is Scope.BODY:
        private, tested = ground.private.z, ground.tested.z
        body = SmallBody(private.shape[1])
        return _Setting(body, body.start(seed), private, tested)
    frame = _narrowed(ground) if scope is Scope.NARROW else ground.frame
    private, tested = (
        frame.features(heard.embeddings.astype(np.float64)).astype(np.float32)
        for heard in (ground.private, ground.tested)
    )
    head = LinearHead(private.shape[1])
    return _Setting(head, head.start(), private, tested)


def _narrowed(ground: Ground) -> Frame:
    """Along the public head's rows; the whole frame where they don't span three directions."""
    try:
        return ground.frame.along(ground.public_head)
    except ContractError:
        return ground.frame
