"""Tells the study how updates went: the history's lines as progress messages, each at least once.

Rules it upholds: what is told is what the history says, nothing else, and in its order; what could
not be told is told later, also after a restart; no sentence leaves, only the step and its reason;
moments never fall, whatever the clock did, for the study takes the latest as the last word.

In the life of a bundle: history → **here** → `release_protocol` → the coordinator's rollout.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, StrictInt

from agent.updates.history import History, Line, Step
from agent.updates.slots import Slots
from sync.envelope import Message, decoded, encoded
from sync.errors import ProtocolError
from sync.updates.durable import write_durably
from sync.updates.offers import Kind, Sha256
from sync.updates.progress import Phase, Progress, progress_of
from sync.updates.rejected import Reason

TOLD_FILE: Final = "told"
PHASES: Final = {
    Step.STAGED: Phase.FETCHED,
    Step.ASKED: Phase.WAITING,
    Step.ACTIVATED: Phase.TRYING,
    Step.COMMITTED: Phase.COMMITTED,
    Step.ROLLED_BACK: Phase.ROLLED_BACK,
    Step.REJECTED: Phase.REJECTED,
}
"""Steps that the study hears of; what was offered or agreed to shows in what follows."""

SAY_AGAIN_S: Final = 24 * 3600
"""Well below what the study takes for silence (`rollouts.Rules.silent_s`)."""

_MOST_BYTES: Final = 8192
_MOST_ASKED: Final = 32
_SHIPPED: Final = (0, "0" * 64)
_GIVES_REASON: Final = frozenset({Phase.REJECTED, Phase.DECLINED, Phase.ROLLED_BACK})


class _Asked(Message):
    """The number of the rollout under which a target was taken; `sha256` is the target's."""

    sha256: Sha256
    number: Annotated[StrictInt, Field(ge=0, le=2**31)]


class Told(Message):
    """The number and moment of the last line that was told, and which rollouts asked for what."""

    number: Annotated[StrictInt, Field(ge=0, le=2**40)] = 0
    moment: Annotated[StrictInt, Field(ge=0, le=2**40)] = 0
    asked: Annotated[tuple[_Asked, ...], Field(max_length=_MOST_ASKED, strict=False)] = ()


class Teller:
    """Reads the history, and says what is new by `say`, which raises where it is not taken."""

    def __init__(
        self,
        folder: Path,
        history: History,
        slots: dict[Kind, Slots],
        say: Callable[[Progress], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._clock = clock
        self._file = folder / TOLD_FILE
        self._history, self._slots, self._say = history, slots, say

    def asked(self, sha256: str, number: int) -> None:
        """Remember which rollout asked for a target, before it is taken.

        Raises:
            OSError: it can't be kept.
        """
        told, this = self._read(), _Asked(sha256=sha256, number=number)
        if this not in told.asked:
            others = [each for each in told.asked if each.sha256 != sha256]
            asked = (*others[1 - _MOST_ASKED :], this)
            self._keep(told.model_copy(update={"asked": asked}))

    def tell(self) -> None:
        """Say what has not been said.

        Raises:
            BrokerError: it was not taken; what follows waits, too.
            OSError: what was said can't be noted; it is said again.
        """
        lines = self._history.lines()
        told = self._read()
        if told.number > max((line.number for line in lines), default=0):  # it was lost, and counts
            told = told.model_copy(update={"number": 0})  # from 1 again
            self._keep(told)
        for line in lines:
            if line.number <= told.number:
                continue
            moment = max(line.at, told.moment)
            if line.step in PHASES:
                self._say(self._progress(line, told, moment))
            told = told.model_copy(update={"number": line.number, "moment": moment})
            self._keep(told)
        self._say_again()

    def _say_again(self) -> None:
        """What is on probation for long is said once a day: a quiet room is no silent device."""
        told, now = self._read(), int(self._clock().timestamp())
        trials = [line for kind in self._slots if (line := self._on_trial(kind)) is not None]
        if not trials or now - told.moment < SAY_AGAIN_S:
            return
        for line in trials:
            self._say(self._progress(line, told, now))
        self._keep(told.model_copy(update={"moment": now}))

    def _on_trial(self, kind: Kind) -> Line | None:
        """The line that says so, where nothing has come of it yet."""
        current = self._slots[kind].current()
        if current is None or current.committed:
            return None
        own = [line for line in self._history.lines() if line.sha256 == current.label.sha256]
        return own[-1] if own and own[-1].step is Step.ACTIVATED else None

    def _progress(self, line: Line, told: Told, moment: int) -> Progress:
        phase = PHASES[line.step]
        if phase is Phase.REJECTED and line.reason is Reason.DECLINED:
            phase = Phase.DECLINED
        runs = self._runs(line.kind, line.name)
        if phase in (Phase.TRYING, Phase.COMMITTED):
            runs = (line.serial, line.sha256)
        return progress_of(
            kind=line.kind,
            name=line.name,
            serial=line.serial,
            rollout=next((each.number for each in told.asked if each.sha256 == line.sha256), 0),
            phase=phase,
            reason=(line.reason or Reason.UNHEALTHY) if phase in _GIVES_REASON else None,
            runs=runs[0],
            runs_sha256=runs[1],
            moment=moment,
        )

    def _runs(self, kind: Kind, name: str) -> tuple[int, str]:
        """Serial and hash; what was installed by hand, or has another name, counts as shipped."""
        slots = self._slots.get(kind)
        current = slots.current() if slots is not None else None
        if current is None or current.label.name != name:
            return _SHIPPED
        return current.label.serial, current.label.sha256

    def _read(self) -> Told:
        try:
            return decoded(self._file.read_bytes()[:_MOST_BYTES], Told)
        except (OSError, ProtocolError):
            return Told()

    def _keep(self, told: Told) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(self._file, encoded(told))
