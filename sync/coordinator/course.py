"""A course: some rounds of the head, then one vote on what came of them. What is kept of it.

Rules upheld here: a course is a value, kept whole after every step, so a restart goes on with it;
where the optimiser stands is never kept, but follows from the opened sums, played again; what a
course cost a person is said twice, as their own ledger counts it and as the accountant does.

In the life of a federated round: between `learning`, which decides, and `round_book`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt, ValidationError

from edge_models.errors import ContractError
from edge_models.frame import Reals
from sync.coordinator.accounting import Composed, composed
from sync.coordinator.flower import flower
from sync.coordinator.optimisers import Optimiser, Tailed, fed_adam, fed_avg, tail_mean
from sync.coordinator.round_book import RoundBook, RoundBookError, Wish
from sync.envelope import Message, encoded
from sync.errors import PolicyError
from sync.federated.lesson import HeadForAll, Lesson, Point
from sync.messages import BundleName, Version
from sync.policy import Exact, Purpose
from sync.secure_sum.terms import Digest

OPTIMISERS: Final = ("fedavg", "fedadam")
FLOWER: Final = "flower:"
MOST_ROUNDS: Final = 200
MOST_FAILURES: Final = 3
"""So many rounds in a row may come to nothing; then the course ends."""
TAIL: Final = 8

_NAME: Final = r"^(fedavg|fedadam|flower:[A-Za-z][A-Za-z0-9_.:]{0,63})$"


class Taken(Message):
    """A round of a course that is over: its lesson's digest, and what came of it.

    `counted`: its sum moved the head, or was the vote; else `why` not. `clip` as announced.
    """

    purpose: Literal["head", "canary"]
    lesson: Digest
    opened: StrictBool
    counted: StrictBool
    members: Annotated[StrictInt, Field(ge=0)]
    clip: StrictFloat
    why: str


class Course(Message):
    """What was asked for, where it is, and how it ended.

    `current` is the published head at its beginning, a point of the frame; `lesson` the round that
    runs now; `candidate` the head that the vote is on. `gain` and `at_least` (nats) are the vote's;
    `published` the head that came of it.
    """

    version: Version
    number: Annotated[StrictInt, Field(ge=1)]
    optimiser: Annotated[str, Field(pattern=_NAME)]
    moving_clip: StrictBool
    rounds: Annotated[StrictInt, Field(ge=1, le=MOST_ROUNDS)]
    minutes: Annotated[StrictFloat, Field(gt=0)]
    bundle: BundleName
    rho_head: Exact
    rho_canary: Exact
    delta: Annotated[StrictFloat, Field(gt=0, lt=1e-3)]
    current: Point
    lesson: Lesson | None = None
    candidate: Point | None = None
    taken: tuple[Taken, ...] = ()
    ended: StrictBool = False
    why: str = ""
    gain: StrictFloat | None = None
    at_least: StrictFloat | None = None
    published: HeadForAll | None = None

    @property
    def counted(self) -> tuple[Taken, ...]:
        """The rounds of the head that moved it."""
        return tuple(one for one in self.taken if one.counted and one.purpose == "head")

    @property
    def failures(self) -> int:
        """How many rounds in a row came to nothing, up to now."""
        in_a_row = 0
        for one in reversed(self.taken):
            if one.counted:
                break
            in_a_row += 1
        return in_a_row

    def cost(self) -> "Cost":
        """What it has cost a person who was in each of its rounds."""
        begun = [self._price(one.purpose) for one in self.taken]
        if self.lesson is not None:
            begun.append(self._price(self.lesson.purpose))
        opened = [self._price(one.purpose) for one in self.taken if one.opened]
        return Cost(composed(begun, self.delta), composed(opened, self.delta))

    def _price(self, purpose: str) -> Exact:
        return self.rho_head if purpose == Purpose.HEAD.value else self.rho_canary


@dataclass(frozen=True, slots=True)
class Cost:
    """Privacy cost of a course. `begun`: of all its rounds, as a device may have paid for them;
    `opened`: of those whose sums anybody saw. So a ledger's bound is never below the figure."""

    begun: Composed
    opened: Composed

    @property
    def ledger_bound(self) -> float:
        """Epsilon as devices' ledgers bound it: closed form, over all rounds that were begun."""
        return self.begun.epsilon

    @property
    def accountant(self) -> float:
        """Epsilon as the accountant has it, for the discrete noise, over the opened rounds."""
        return min(self.opened.epsilon_rdp, self.opened.epsilon)


@dataclass(frozen=True, slots=True)
class Asked:
    """A course as somebody at the command line asks for it."""

    rounds: int
    optimiser: str
    moving_clip: bool
    minutes: float

    def __post_init__(self) -> None:
        name = self.optimiser
        if name not in OPTIMISERS and not name.startswith(FLOWER):
            raise PolicyError(
                f"'{name}' is no optimiser.", f"Take {', '.join(OPTIMISERS)} or {FLOWER}NAME."
            )
        if not 1 <= self.rounds <= MOST_ROUNDS:
            raise PolicyError(
                f"A course of {self.rounds} rounds can't be had.", f"Take 1 to {MOST_ROUNDS}."
            )

    def wish(self) -> Wish:
        """As it waits for the running coordinator."""
        clip = "moving" if self.moving_clip else "fixed"
        return Wish(Purpose.HEAD.value, f"{self.rounds} {self.optimiser} {clip}", self.minutes)

    @classmethod
    def of(cls, wish: Wish) -> "Asked":
        """What a wish says.

        Raises:
            PolicyError: it is none of a course.
        """
        rounds, optimiser, clip = (*wish.subject.split(" "), "", "")[:3]
        if not rounds.isdecimal():
            raise PolicyError("A course that was asked for can't be read.", "Ask anew.")
        return cls(int(rounds), optimiser, clip == "moving", wish.minutes)


def keep(book: RoundBook, course: Course) -> None:
    """Keep a course as it is now.

    Raises:
        RoundBookError: the disk is full or failing.
    """
    book.keep_course(course.number, encoded(course))


def kept(book: RoundBook) -> tuple[Course, ...]:
    """Every course, the oldest first.

    Raises:
        RoundBookError: one can't be read.
    """
    try:
        return tuple(Course.model_validate_json(content) for content in book.courses())
    except ValidationError as fault:
        raise RoundBookError(
            "A course of federated rounds can't be read.", "Put the file back from a backup."
        ) from fault


@contextmanager
def optimiser_of(name: str, flower_python: Path) -> Iterator[Optimiser[Any, Reals]]:
    """The optimiser of this name, as the figures are measured; Flower's in a process of its own.

    Raises:
        StrategyError: Flower's environment or the strategy can't be used.
        ContractError: there is none of this name.
    """
    if name.startswith(FLOWER):
        with flower(flower_python, name.removeprefix(FLOWER), {}) as lent:
            yield lent
    elif name == "fedadam":
        yield tail_mean(fed_adam(rate=0.1), rounds=TAIL)
    elif name == "fedavg":
        yield tail_mean(fed_avg(rate=0.25, momentum=0.9), rounds=TAIL)
    else:
        raise ContractError(f"There is no optimiser '{name}'.")


def played(
    start: Reals, means: Sequence[Reals], optimiser: Optimiser[Any, Reals]
) -> tuple[Reals, Reals]:
    """Where an optimiser stands after these mean updates, and what it offers; float64 (D,) each."""
    state = optimiser.init(start)
    for mean in means:
        state = optimiser.apply(state, mean)
    here = state.inner if isinstance(state, Tailed) else state
    return here.point, state.point
