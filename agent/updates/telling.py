"""Tells the study how updates went: the history's lines as progress messages, each once or again.

Rules it upholds: what is told is what the history says, nothing else, and in its order; what could
not be told is told later, also after a restart; no sentence leaves, only the step and its reason.

In the life of a bundle: history → **here** → `release_protocol` → the coordinator's rollout.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, StrictInt

from agent.updates.history import History, Line, Step
from sync.envelope import Message, decoded, encoded
from sync.errors import BrokerError, ProtocolError
from sync.updates.durable import write_durably
from sync.updates.offers import Kind
from sync.updates.progress import Phase, Progress, progress_of
from sync.updates.rejected import Reason

TOLD_FILE: Final = "told"
_MOST_BYTES: Final = 8192
_MOST_ASKED: Final = 32
_NOTHING: Final = "0" * 64

PHASES: Final = {
    Step.STAGED: Phase.FETCHED,
    Step.ASKED: Phase.WAITING,
    Step.ACTIVATED: Phase.TRYING,
    Step.COMMITTED: Phase.COMMITTED,
    Step.ROLLED_BACK: Phase.ROLLED_BACK,
    Step.REJECTED: Phase.REJECTED,
}
"""Steps that the study hears of; what was offered or agreed to shows in what follows."""


class _Asked(Message):
    """The number of the rollout under which a target was taken; `sha256` is the target's."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    number: Annotated[StrictInt, Field(ge=0, le=2**31)]


class Told(Message):
    """How many lines `since` a moment were told, and which rollouts asked for what."""

    since: Annotated[StrictInt, Field(ge=0, le=2**40)] = 0
    lines: Annotated[StrictInt, Field(ge=0, le=2**31)] = 0
    asked: Annotated[tuple[_Asked, ...], Field(max_length=_MOST_ASKED, strict=False)] = ()


class Teller:
    """Reads the history, and says what is new by `say` (which raises BrokerError)."""

    def __init__(self, folder: Path, history: History, say: Callable[[Progress], None]) -> None:
        self._file = folder / TOLD_FILE
        self._history, self._say = history, say

    def asked(self, sha256: str, number: int) -> None:
        """Remember which rollout asked for a target, before it is taken.

        Raises:
            OSError: it can't be kept.
        """
        told = self._read()
        if _Asked(sha256=sha256, number=number) in told.asked:
            return
        others = [each for each in told.asked if each.sha256 != sha256][-(_MOST_ASKED - 1) :]
        self._keep(
            told.model_copy(update={"asked": (*others, _Asked(sha256=sha256, number=number))})
        )

    def tell(self) -> None:
        """Say what has not been said.

        Raises:
            BrokerError: it was not taken; what follows waits, too.
            OSError: what was said can't be noted; it is said again.
        """
        told, lines = self._read(), self._history.lines()
        runs: dict[tuple[Kind, str], tuple[int, str]] = {}
        new = list(self._new(told, lines))
        for index, line in enumerate(lines):
            _follow(runs, line)
            if index not in new:
                continue
            progress = _progress(line, told, runs.get((line.kind, line.name), (0, _NOTHING)))
            if progress is not None:
                self._say(progress)
            same = sum(1 for other in lines[: index + 1] if other.at == line.at)
            told = told.model_copy(update={"since": line.at, "lines": same})
            self._keep(told)

    def _new(self, told: Told, lines: tuple[Line, ...]) -> list[int]:
        """Places of lines that were not told: after the moment, or more of the same moment."""
        same = 0
        found = []
        for index, line in enumerate(lines):
            same += line.at == told.since
            if line.at > told.since or (line.at == told.since and same > told.lines):
                found.append(index)
        return found

    def _read(self) -> Told:
        try:
            return decoded(self._file.read_bytes()[:_MOST_BYTES], Told)
        except (OSError, ProtocolError):
            return Told()

    def _keep(self, told: Told) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_durably(self._file, encoded(told))


def _follow(runs: dict[tuple[Kind, str], tuple[int, str]], line: Line) -> None:
    """What ran after each line: a way back leads to what was there before, or to the shipped."""
    about = (line.kind, line.name)
    if line.step is Step.ACTIVATED:
        runs[line.kind, f"{line.name} before"] = runs.get(about, (0, _NOTHING))
        runs[about] = (line.serial, line.sha256 or _NOTHING)
    elif line.step is Step.ROLLED_BACK and runs.get(about, (0, ""))[0] == line.serial:
        runs[about] = runs.get((line.kind, f"{line.name} before"), (0, _NOTHING))


def _progress(line: Line, told: Told, runs: tuple[int, str]) -> Progress | None:
    phase = PHASES.get(line.step)
    if phase is None:
        return None
    if line.reason is Reason.DECLINED and phase is Phase.REJECTED:
        phase = Phase.DECLINED
    if phase in (Phase.TRYING, Phase.COMMITTED):
        runs = (line.serial, line.sha256 or _NOTHING)
    has_reason = phase in (Phase.REJECTED, Phase.DECLINED, Phase.ROLLED_BACK)
    number = next((each.number for each in told.asked if each.sha256 == line.sha256), 0)
    return progress_of(
        kind=line.kind,
        name=line.name,
        serial=line.serial,
        rollout=number,
        phase=phase,
        reason=(line.reason or Reason.UNHEALTHY) if has_reason else None,
        runs=runs[0],
        runs_sha256=runs[1],
        moment=line.at,
    )
