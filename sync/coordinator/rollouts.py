"""A rollout as a value: its open ring, what its devices said, when it widens, halts and ends.

Rules upheld here: a ring is widened when a stated share of it keeps the version and a stated time
has passed; trouble beyond chance (`halting`) halts at once, and nobody new takes it; a device that
began and fell silent has failed, one that was never heard of is away; what a person decides, or a
full disk, is no failure of the version; every change is a new directive with a higher number, and
what was withdrawn stays so.

In the life of a bundle: `publishing` offers it → **rollouts** → `rollout.json` → devices, whose
`progress` is counted here. Pure: `rollout_desk` keeps, signs and writes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import Field, StrictFloat, StrictInt

from sync.coordinator.halting import is_trouble
from sync.envelope import Message
from sync.errors import SyncError
from sync.updates.progress import Phase, Progress
from sync.updates.rejected import Reason
from sync.updates.rollout import MOST_WITHDRAWN, Directive, State

RENEW_S: Final = 24 * 3600
"""Directives are signed anew so often; devices follow none that is a week old."""

_NOT_ITS_FAULT: Final = frozenset(
    {
        Reason.UNREACHABLE,
        Reason.TOO_SLOW,
        Reason.NO_ROOM,
        Reason.CLOCK,
        Reason.EXPIRED,
        Reason.OLDER,
    }
)
"""Why a device does not have a version that may well be good."""

Seconds = Annotated[StrictInt, Field(ge=0, le=366 * 24 * 3600)]


class RolloutError(SyncError):
    """The setting: a rollout can't be had like that, or not in the state that it is in."""


class Rules(Message):
    """How carefully a version is rolled out.

    `tolerated`: the share of devices on which it may fail; `enough`: the share of a ring that has
    to keep it before the next one opens, of those who were not asked for a yes; `soak_s`: how long
    a ring is open at least; `silent_s`: after so long without a word, who began has failed.
    """

    tolerated: Annotated[StrictFloat, Field(ge=0.001, le=0.2)] = 0.02
    enough: Annotated[StrictFloat, Field(ge=0.1, le=1.0)] = 0.8
    soak_s: Seconds = 24 * 3600
    silent_s: Seconds = 48 * 3600


@dataclass(frozen=True, slots=True)
class Said:
    """The last word of a device on a version, and when it came (the coordinator's clock)."""

    progress: Progress
    heard_at: int


class Stand(StrEnum):
    """Where a device is with a version."""

    AWAY = "away"  # never heard of it
    UNDER_WAY = "under-way"
    WAITING = "waiting"  # for its person's yes
    DECLINED = "declined"
    COMMITTED = "committed"
    FAILED = "failed"
    SILENT = "silent"  # began, and said nothing for too long
    HINDERED = "hindered"  # by its surroundings: no room, no network, a wrong clock
    WENT_BACK = "went-back"  # because it was withdrawn


def stand_of(said: Said | None, rules: Rules, now: int) -> Stand:
    """Where a device is, by its last word."""
    if said is None:
        return Stand.AWAY
    match said.progress.phase, said.progress.reason:
        case Phase.COMMITTED, _:
            return Stand.COMMITTED
        case Phase.WAITING, _:
            return Stand.WAITING
        case _, Reason.DECLINED:
            return Stand.DECLINED
        case _, Reason.WITHDRAWN | Reason.SUPERSEDED:
            return Stand.WENT_BACK
        case Phase.ROLLED_BACK, _:
            return Stand.FAILED
        case Phase.REJECTED, reason:
            return Stand.HINDERED if reason in _NOT_ITS_FAULT else Stand.FAILED
    return Stand.SILENT if now - said.heard_at > rules.silent_s else Stand.UNDER_WAY


@dataclass(frozen=True, slots=True)
class Count:
    """How many devices of the open rings stand where."""

    of: Mapping[Stand, int] = field(default_factory=dict)

    def __getitem__(self, stand: Stand) -> int:
        return self.of.get(stand, 0)

    @property
    def devices(self) -> int:
        """How many there are in the open rings."""
        return sum(self.of.values())

    @property
    def failures(self) -> int:
        """Who failed, and who fell silent."""
        return self[Stand.FAILED] + self[Stand.SILENT]

    @property
    def well(self) -> int:
        """Who keeps it, and who has begun and not failed so far.

        A failure is often told before its neighbour's success: counting only who has finished would
        make any version look bad at first. So each device counts from its beginning on.
        """
        return self[Stand.COMMITTED] + self[Stand.UNDER_WAY]

    @property
    def asked(self) -> int:
        """Who would have it by now unless something is wrong: nobody's yes is needed."""
        return self.devices - self[Stand.WAITING] - self[Stand.DECLINED]


@dataclass(frozen=True, slots=True)
class Rollout:
    """A version on its way: what was last signed, by which rules, and since when.

    `opened_at`: when its open ring was opened; `why` it does not go on, in a sentence; `halted`: by
    itself; `aside`: failures, and devices that were well, that a person has
    looked at and set aside.
    """

    directive: Directive
    rules: Rules
    began_at: int
    opened_at: int
    why: str = ""
    halted: bool = False
    aside: tuple[int, int] = (0, 0)

    def count(self, members: Iterable[str], said: Mapping[str, Said], now: int) -> Count:
        """How the members that are in its open rings stand; `said` by pseudonym."""
        of: dict[Stand, int] = {}
        for pseudonym in members:
            if self.directive.includes(pseudonym):
                stand = stand_of(said.get(pseudonym), self.rules, now)
                of[stand] = of.get(stand, 0) + 1
        return Count(of)

    def looked_at(self, count: Count, now: int) -> Self:
        """What becomes of it, given how its devices stand; itself if nothing does."""
        state = self.directive.state
        if state not in (State.STARTED, State.FINISHED):
            return self._renewed(now)
        if self._is_trouble(count):
            return self._halted(count, now)
        if state is State.STARTED and self._may_widen(count, now):
            if self.directive.open == len(self.directive.rings):
                return self._changed(now, state=State.FINISHED)
            return replace(self._changed(now, open=self.directive.open + 1), opened_at=now)
        return self._renewed(now)

    def paused(self, now: int) -> Self:
        """By hand: nobody new takes it.

        Raises:
            RolloutError: it does not go on.
        """
        if self.directive.state not in (State.STARTED, State.FINISHED):
            raise self._not_now("paused")
        why = "Somebody paused it."
        return replace(self._changed(now, state=State.PAUSED), why=why, halted=False)

    def resumed(self, count: Count, now: int) -> Self:
        """By hand, from the ring where it was; what has been seen of it so far is set aside.

        Raises:
            RolloutError: it is not paused.
        """
        if self.directive.state is not State.PAUSED:
            raise self._not_now("resumed")
        aside = (count.failures, count.well) if self.halted else self.aside
        going = replace(self._changed(now, state=State.STARTED), why="", halted=False)
        return replace(going, aside=aside, opened_at=now)

    def aborted(self, now: int) -> Self:
        """By hand, for good: who has it goes back.

        Raises:
            RolloutError: it was aborted already.
        """
        if self.directive.state is State.ABORTED:
            raise self._not_now("aborted")
        withdrawn = (*self.directive.withdrawn, self.directive.serial)[-MOST_WITHDRAWN:]
        why = "Somebody withdrew it: devices that have it go back."
        gone = self._changed(now, state=State.ABORTED, withdrawn=withdrawn)
        return replace(gone, why=why, halted=False)

    def _is_trouble(self, count: Count) -> bool:
        return is_trouble(*self._unseen(count), self.rules.tolerated)

    def _unseen(self, count: Count) -> tuple[int, int]:
        failures = max(0, count.failures - self.aside[0])
        return failures, max(0, count.well - self.aside[1])

    def _halted(self, count: Count, now: int) -> Self:
        failures, well = self._unseen(count)
        silent = count[Stand.SILENT]
        why = (
            f"Halted by itself in ring {self.directive.open}: of {failures + well} devices that "
            f"began, {failures} failed"
            + (f" ({silent} of them fell silent)" if silent else "")
            + f". More than {100 * self.rules.tolerated:g} % fail."
        )
        return replace(self._changed(now, state=State.PAUSED), why=why, halted=True)

    def _may_widen(self, count: Count, now: int) -> bool:
        if not count.devices:  # an empty ring shows nothing, however long it is open
            return self.directive.open < len(self.directive.rings)
        committed = count[Stand.COMMITTED]
        return (
            now - self.opened_at >= self.rules.soak_s
            and committed > 0
            and committed >= self.rules.enough * count.asked
        )

    def _renewed(self, now: int) -> Self:
        return self._changed(now) if now - self.directive.signed_at >= RENEW_S else self

    def _changed(self, now: int, **changes: Any) -> Self:
        fields = self.directive.model_dump() | changes
        fields |= {"number": self.directive.number + 1, "signed_at": now}
        return replace(self, directive=Directive.model_validate(fields))

    def _not_now(self, deed: str) -> RolloutError:
        name, serial = self.directive.name, self.directive.serial
        return RolloutError(
            f"The rollout of {name} {serial} is {self.directive.state.value}: it can't be {deed}.",
            "See how it stands: sottovoce rollout status",
        )
