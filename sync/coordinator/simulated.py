"""A course with simulated people, whole but for the wire: what it gains, and what it costs.

Nobody in it exists: voices are made up, answers drawn from a survey's law
(`edge_models.training.cohort`). Devices speak the protocol's exact bytes (`fleet`), courses are
`learning`'s; the heads are tried on other simulated people with other voices. Noise is fresh in
every run. For `sottovoce rounds simulate --head`, tests and demonstrations.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.bundle import Bundle
from edge_models.frame import Frame, Reals
from edge_models.head import sigmoid
from edge_models.training.cohort import Participant, made_up_voices, simulated_cohort
from edge_models.training.metrics import auroc, balanced_accuracy
from sync.coordinator.course import Asked, Course, kept
from sync.coordinator.fleet import Dies, Fleet
from sync.coordinator.learning import Learning, School
from sync.coordinator.round_book import BOOK_FILE, open_round_book
from sync.federated.lesson import Lesson, point_of
from sync.federated.pupil import Pupil
from sync.federated.sessions import Sessions, labels
from sync.policy import parse_policy, policy_digest

TRIED_ON: Final = 2000
STUDY: Final = "simulated"


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a head tells people apart: means over the three tasks."""

    balanced_accuracy: float
    auroc: float


@dataclass(frozen=True, slots=True)
class Simulated:
    """How a course went. `candidate` is None where it did not come to a vote."""

    course: Course
    fleet: Fleet
    before: Quality
    candidate: Quality | None


def simulated_course(
    bundle: Bundle,
    asked: Asked,
    *,
    devices: int,
    dies: Dies,
    seed: int,
    flower_python: Path,
    told: Callable[[Course], None] = lambda _course: None,
) -> Simulated:
    """Run a course with so many simulated people; `told` hears of each step.

    Raises:
        ContractError: fewer than 20 people, or more than 5,000.
        PolicyError: the bundle's policy can't have such rounds.
        RoundBookError: the temporary folder can't be used.
    """
    frame = bundle.frame.along(bundle.head)
    train, test = made_up_voices(bundle, seed).parted(seed)
    people = [_sessions(one, frame) for one in simulated_cohort(train, devices, seed)]
    others = simulated_cohort(test, TRIED_ON, seed + 1000, questionnaires=1)
    tried = [sessions for one in others if len(sessions := _sessions(one, frame))]
    policy, digest = parse_policy(bundle.policy), policy_digest(bundle.policy)
    taught: list[Learning] = []

    def lesson(subject: str) -> Lesson | None:
        return taught[0].lesson(subject)

    def contributor(number: int) -> Pupil:
        return Pupil(policy, bundle.space, frame, lesson, partial(people.__getitem__, number))

    with (
        tempfile.TemporaryDirectory(prefix="sottovoce-course-") as folder,
        open_round_book(Path(folder) / BOOK_FILE) as book,
    ):
        fleet = Fleet(
            devices,
            book,
            study=STUDY,
            policy=policy,
            policy_digest=digest,
            contributor=contributor,
            now=int(time.time()),
            seed=seed,
        )
        learning = Learning(
            book,
            fleet.rounds,
            School.of(bundle, flower_python),
            study=STUDY,
            policy=policy,
            policy_digest=digest,
            coordinator=fleet.coordinator,
        )
        taught.append(learning)
        learning.begin(asked)
        while (course := learning.course) is not None:
            told(course)
            learning.advance(fleet.now)
            fleet.go_on(dies)
        (course,) = kept(book)
    before = _quality(frame.point(bundle.head), tried, frame)
    offered = course.candidate
    after = None if offered is None else _quality(point_of(offered), tried, frame)
    return Simulated(course, fleet, before, after)


def _sessions(participant: Participant, frame: Frame) -> Sessions:
    """What the device of a simulated person would train on."""
    stretches = [
        (list(told.windows), labels(told.phq8, told.gad7)) for told in participant.answered
    ]
    return Sessions.of(stretches, frame.embedding_size)


def _quality(point: Reals, people: Sequence[Sessions], frame: Frame) -> Quality:
    features = frame.features(np.stack([one.means[0] for one in people]))
    truth: npt.NDArray[np.bool_] = np.stack([one.truth[0] for one in people])
    scores = sigmoid(features @ point.reshape(truth.shape[1], -1).T)
    tasks = range(truth.shape[1])
    return Quality(
        float(np.mean([balanced_accuracy(scores[:, task], truth[:, task]) for task in tasks])),
        float(np.mean([auroc(scores[:, task], truth[:, task]) for task in tasks])),
    )
