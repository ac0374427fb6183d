"""A bundle with high prices, people whose sessions can be learned from, and a school for them."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np

from agent.records import CheckIn, WindowRecord
from agent.store import Store
from edge_models.assessment import Assessment, Scores
from edge_models.bundle import Bundle, load_bundle, shipped_bundle, shipped_folder
from edge_models.frame import Frame, Reals
from edge_models.training.assemble import write_bundle
from sync.coordinator.course import Asked, Course, kept
from sync.coordinator.fleet import Dies, Fleet
from sync.coordinator.learning import Learning, School
from sync.coordinator.round_book import RoundBook
from sync.federated.lesson import Lesson
from sync.federated.pupil import Pupil
from sync.federated.sessions import Sessions
from sync.participation import Contributor
from sync.policy import parse_policy, policy_digest
from sync.secure_sum.terms import Terms

NOW = 1_795_000_000
PRICES = {"rho_budget": "60", "delta": 1e-6, "name": "costly-1"}
STRONG = json.dumps(
    json.loads(shipped_bundle().policy)
    | PRICES
    | {
        "head": {"rho": "4", "squared_clip": 1164738},
        "canary": {"rho": "8", "squared_clip": 1 << 20},
    }
).encode()
"""So little noise that twenty people suffice to prove a head better; for tests only."""
POLICY, DIGEST = parse_policy(STRONG), policy_digest(STRONG)


@cache
def frame() -> Frame:
    """The shipped bundle's, along its head."""
    bundle = shipped_bundle()
    return bundle.frame.along(bundle.head)


def costly_bundle(folder: Path) -> Bundle:
    """The shipped bundle under the policy of these tests, in a folder of its own."""
    shutil.copytree(shipped_folder(), folder)
    (folder / "policy.json").write_bytes(STRONG)
    write_bundle(folder)
    return load_bundle(folder)


def is_low(number: int) -> bool:
    """Two of three people are."""
    return number % 3 != 0


def embedding_of(number: int) -> Reals:
    """Where a person's windows lie: the published head is wrong about everybody."""
    ways = frame().directions
    side = -1.0 if is_low(number) else 1.0
    rows = np.asarray(shipped_bundle().head.weights)
    way = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0)
    way = way @ ways.T @ ways
    way /= np.linalg.norm(way)
    wiggle = 0.1 * np.sin(np.arange(len(way)) + number)
    return np.asarray(frame().centre + frame().scale * (side * 4.0 * way + wiggle))


def sessions_of(number: int, *, flipped: bool = False) -> Sessions:
    """One session of a person, with the truth or its contrary."""
    truth = np.full((1, 3), is_low(number) != flipped)
    return Sessions(embedding_of(number)[None], truth)


def fill(store: Store, number: int, monday: datetime) -> None:
    """A week of windows and a check-in of a person, in a device's store."""
    embedding = embedding_of(number).astype(np.float32)
    assessment = Assessment(Scores(0.5, 0.5, 0.5), None)
    summary = np.zeros(88, np.float32)
    for day in range(7):
        at = monday + timedelta(days=day, hours=9)
        window = WindowRecord(
            at,
            10.0,
            6.0,
            0.0,
            None,
            summary,
            None,
            embedding,
            assessment,
            "affect-1",
            0,
            shipped_bundle().space,
        )
        store.add_window(window)
    low = 2 if is_low(number) else 0
    store.add_check_in(CheckIn(monday + timedelta(days=4), (low,) * 8, (low,) * 7))


def school(flower_python: Path = Path("no-flower-here")) -> School:
    """The shipped head, taught as usual."""
    return School.of(shipped_bundle(), flower_python)


def lesson(**changes: object) -> Lesson:
    """A lesson of a first round."""
    bundle = shipped_bundle()
    fields: dict[str, object] = {
        "version": 1, "study": "north", "purpose": "head", "bundle": bundle.space, "course": 1,
        "place": 1, "current": tuple(map(float, frame().point(bundle.head))), "candidate": (),
        "clip": 1.0, "steps": 1, "rate": 1.0, "shares": (0.108, 0.091, 0.15),
    }  # fmt: skip
    return Lesson.model_validate(fields | changes)


@dataclass
class Class:
    """A fleet of people in memory, and the learning that asks them."""

    book: RoundBook
    size: int = 20
    contributor: Callable[["Class", int], Contributor] | None = None
    school: School = field(default_factory=school)
    learning: Learning = field(init=False)
    fleet: Fleet = field(init=False)

    def __post_init__(self) -> None:
        def contributor(number: int) -> Contributor:
            if self.contributor is not None:
                return self.contributor(self, number)
            return self.pupil(number)

        self.fleet = Fleet(
            self.size, self.book, study="north", policy=POLICY, policy_digest=DIGEST,
            contributor=contributor, now=NOW,
        )  # fmt: skip
        self.restart()

    def restart(self) -> None:
        """A new coordinator over the same book."""
        self.learning = Learning(
            self.book, self.fleet.rounds, self.school, study="north", policy=POLICY,
            policy_digest=DIGEST, coordinator=self.fleet.coordinator,
        )  # fmt: skip

    def pupil(self, number: int, *, flipped: bool = False) -> Pupil:
        """An honest person, or one whose labels are turned around."""
        return Pupil(
            POLICY, shipped_bundle().space, frame(), lambda digest: self.learning.lesson(digest),
            lambda: sessions_of(number, flipped=flipped),
        )  # fmt: skip

    def taught(
        self, rounds: int = 1, optimiser: str = "fedavg", dies: Dies = lambda _n, _s: False
    ) -> Course:
        """One whole course."""
        self.learning.begin(Asked(rounds, optimiser, False, 1.0))
        while self.learning.course is not None:
            self.learning.advance(self.fleet.now)
            self.fleet.go_on(dies)
        return kept(self.book)[-1]


@dataclass
class Poisoner:
    """Trains against the truth, and says nothing at the vote."""

    pupil: Pupil

    def is_willing(self, terms: Terms) -> bool:
        return self.pupil.is_willing(terms)

    def numbers(self, terms: Terms) -> list[int]:
        return self.pupil.numbers(terms) if terms.purpose == "head" else [0, 0]
