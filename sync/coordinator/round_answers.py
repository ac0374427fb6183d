"""What the coordinator's page says of rounds: those that go on, and how the last ones ended.

Rules upheld here: counts only, never who; the opened numbers are not here but with the cohort,
which knows their noise; why a round was not opened is said in the words that it ended with.

In the life of a round: its last stop. These models are the JSON of `/api/rounds`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel, ConfigDict

from sync.coordinator.round_book import Entry, RoundBook, State
from sync.coordinator.rounds import Progress
from sync.envelope import decoded
from sync.secure_sum.terms import STEPS, SignedTerms

MOST_ENDED: Final = 10
"""So many ended rounds are shown."""


@dataclass(frozen=True, slots=True)
class RoundsHeld:
    """Where a study's rounds are known from; `progress` tells where the running ones are."""

    book: RoundBook
    progress: Callable[[], tuple[Progress, ...]]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunningAnswer(_Answer):
    """A round that goes on: its step (`number` of five), and how many answered of how many.

    `expected` is None in the first step: nobody knows who will join. `minimum` people at least.
    """

    round: str
    purpose: str
    subject: str
    began_at: datetime
    step: str
    number: int
    answered: int
    expected: int | None
    minimum: int
    deadline: datetime


class EndedAnswer(_Answer):
    """A round that has ended: how many joined, how many are in the sum, or `why` it has none."""

    round: str
    purpose: str
    subject: str
    began_at: datetime
    ended_at: datetime | None
    joined: int
    summed: int
    opened: bool
    why: str


class RoundsAnswer(_Answer):
    """`/api/rounds`: running rounds, and the last ended ones, the newest first.

    `holds` is False where no study was founded, so that there are no rounds. `opened` and `failed`
    count all rounds that ever ended.
    """

    holds: bool
    running: tuple[RunningAnswer, ...]
    ended: tuple[EndedAnswer, ...]
    opened: int
    failed: int


def rounds_answer(held: RoundsHeld | None) -> RoundsAnswer:
    """What can be said of rounds now.

    Raises:
        RoundBookError: the book can't be read.
    """
    if held is None:
        return RoundsAnswer(holds=False, running=(), ended=(), opened=0, failed=0)
    progress = held.progress()  # first: a round that ends meanwhile is then shown as ended
    entries = held.book.entries()
    ended = [entry for entry in entries if entry.state is not State.RUNNING]
    began = {entry.round: entry.started_at for entry in entries if entry.state is State.RUNNING}
    newest = sorted(ended, key=lambda entry: entry.ended_at or 0, reverse=True)
    opened = sum(entry.state is State.OPENED for entry in ended)
    return RoundsAnswer(
        holds=True,
        running=tuple(
            _running(each, began[each.round]) for each in progress if each.round in began
        ),
        ended=tuple(_ended(entry) for entry in newest[:MOST_ENDED]),
        opened=opened,
        failed=len(ended) - opened,
    )


def _running(progress: Progress, began_at: int) -> RunningAnswer:
    terms = progress.terms
    return RunningAnswer(
        round=progress.round,
        purpose=terms.purpose,
        subject=terms.subject,
        began_at=_moment(began_at),
        step=progress.step,
        number=1 + STEPS.index(progress.step),
        answered=progress.answered,
        expected=progress.expected,
        minimum=terms.minimum,
        deadline=_moment(progress.deadline),
    )


def _ended(entry: Entry) -> EndedAnswer:
    terms = decoded(entry.terms, SignedTerms).terms
    return EndedAnswer(
        round=entry.round,
        purpose=terms.purpose,
        subject=terms.subject,
        began_at=_moment(entry.started_at),
        ended_at=None if entry.ended_at is None else _moment(entry.ended_at),
        joined=entry.joined,
        summed=entry.members,
        opened=entry.state is State.OPENED,
        why=entry.why,
    )


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
