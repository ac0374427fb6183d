"""What became of updates on this device: one line each, for the person and for `ota history`.

Rules it upholds: lines are only added, whole and on disk; two files of bounded size are kept, so
that it never fills the disk, and what says that an update is never to be taken again outlives the
rest; it carries nothing sensed, only kinds, versions, reasons and sentences
of ours; a line that was torn or altered is passed over, and the others are read. What can't be
written now (a full disk) is written with the next line: going back never waits for it.

In the life of a bundle: every step ends in a line here.
"""

import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, StrictInt

from agent.keys import UPDATES_FOLDER
from agent.updates.slots import Label
from sync.envelope import Message, decoded, encoded
from sync.errors import ProtocolError
from sync.updates.durable import locked_file, write_durably
from sync.updates.offers import Kind, Sha256, Short
from sync.updates.rejected import Reason, UpdateRejected

MOST_BYTES: Final = 128 * 1024
"""Of one file; the newest thousand lines or so are always there."""
_MOST_WAITING: Final = 32
_FOR_GOOD_BYTES: Final = 32 * 1024
_LINE_END: Final = b"\n"


def history_file(state_folder: Path) -> Path:
    """Where a device keeps it."""
    return state_folder / UPDATES_FOLDER / "history.jsonl"


class Step(StrEnum):
    """What happened."""

    OFFERED = "offered"  # it is new, and this device may take it
    REJECTED = "rejected"  # it was not taken
    STAGED = "staged"  # it lies in the idle slot
    ASKED = "asked"  # it waits for the person's yes
    AGREED = "agreed"
    ACTIVATED = "activated"
    COMMITTED = "committed"  # it has proven itself
    ROLLED_BACK = "rolled-back"


_OF_A_TRY: Final = (Step.OFFERED, Step.REJECTED)
_NEVER_AGAIN: Final = {Reason.GOLDEN, Reason.CONTRACT, Reason.DECLINED, Reason.MALFORMED}


class Line(Message):
    """One thing that happened, at `at` (seconds since 1970); its `number` is given by `add`."""

    number: Annotated[StrictInt, Field(ge=0, le=2**40)] = 0
    at: Annotated[StrictInt, Field(ge=0, le=2**40)]
    step: Step = Field(strict=False)
    kind: Kind = Field(strict=False)
    name: Short
    serial: Annotated[StrictInt, Field(ge=0, le=2**31)]
    says: Annotated[str, Field(max_length=64)]
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    reason: Annotated[Reason | None, Field(strict=False)] = None
    sentence: Annotated[str, Field(max_length=1000)] = ""

    @property
    def is_for_good(self) -> bool:
        """Whether this serial is never taken again by itself: it failed here, or was declined."""
        return self.step is Step.ROLLED_BACK or (
            self.step is Step.REJECTED and self.reason in _NEVER_AGAIN
        )

    @classmethod
    def of(cls, label: Label, step: Step, at: int, *, why: UpdateRejected | None = None) -> "Line":
        """What happened to what a label names."""
        return cls(
            at=max(0, at),
            step=step,
            kind=label.kind,
            name=label.name,
            serial=label.serial,
            says=label.says,
            sha256=label.sha256,
            reason=why.reason if why else None,
            sentence=why.cause[:1000] if why else "",
        )


class History:
    """The file at `path`, and the one before it beside it (`history.1.jsonl`)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._former = path.with_suffix(f".1{path.suffix}")
        self._waiting: list[Line] = []

    def add(self, line: Line) -> bool:
        """Write a line, and those that could not be written before; False: it waits in memory."""
        self._waiting = [*self._waiting, line][-_MOST_WAITING:]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with locked_file(self._path.with_suffix(".lock")):  # `sottovoce ota` writes, too
                content = b"".join(
                    encoded(one.model_copy(update={"number": number})) + _LINE_END
                    for number, one in enumerate(self._waiting, self._last() + 1)
                )
                self._make_room(len(content))
                self._append(content)
        except OSError:
            return False
        self._waiting = []
        return True

    def add_news(self, line: Line) -> None:
        """Add a line, unless the same was said of its target since that last came further.

        What is tried again every minute, and refused for the same reason, is one line: else a line
        that is down would fill this in a night, and the study would hear of it every minute.
        """
        for before in reversed(self.lines() if line.step in _OF_A_TRY else ()):
            if before.sha256 != line.sha256:
                continue
            if (before.step, before.reason) == (line.step, line.reason):
                return
            if before.step not in _OF_A_TRY:
                break
        self.add(line)

    def lines(self) -> tuple[Line, ...]:
        """All that is kept, oldest first."""
        return (*_read(self._former), *_read(self._path), *self._waiting)

    def has(self, step: Step, sha256: Sha256) -> bool:
        """Whether that has happened to this target."""
        return any(line.step is step and line.sha256 == sha256 for line in self.lines())

    def failed(self, kind: Kind, name: str) -> frozenset[int]:
        """The serials that were gone back from, or that this device can't run or may not take."""
        return frozenset(
            line.serial
            for line in self.lines()
            if (line.kind, line.name) == (kind, name) and line.is_for_good
        )

    def _last(self) -> int:
        kept = (*_read(self._former), *_read(self._path))
        return max((line.number for line in kept), default=0)

    def _append(self, content: bytes) -> None:
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "r+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            torn = end > 0 and os.pread(handle, 1, end - 1) != _LINE_END
            try:
                if file.write(_LINE_END * torn + content) != len(content) + torn:
                    raise OSError("the line was cut short")
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, end)
                raise

    def _make_room(self, more: int) -> None:
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return
        if size + more > MOST_BYTES - _FOR_GOOD_BYTES:
            for_good = [encoded(one) + _LINE_END for one in _read(self._former) if one.is_for_good]
            while sum(map(len, for_good)) > _FOR_GOOD_BYTES:
                del for_good[0]
            write_durably(self._former, b"".join(for_good) + self._path.read_bytes())
            self._path.unlink()  # after a cut between both, lines are there twice


def _read(path: Path) -> Iterator[Line]:
    try:
        content = path.read_bytes()
    except OSError:
        return
    for raw in content[-2 * MOST_BYTES :].split(_LINE_END):
        try:
            yield decoded(raw, Line)
        except ProtocolError:
            continue
