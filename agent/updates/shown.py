"""Updates as the person's own page shows them, and the person's word on the one that waits.

Rules it upholds: an answer counts only for the very question that was shown, word for word; what is
said to run is what screens, not what is meant to; a device that never had an update loads nothing
that fetches or verifies one.

In the life of a bundle: slots and history → **here** → the page; the page's yes or no → `Bundles`.
"""

import hashlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, StrictBool

from agent.errors import SlotError
from agent.home import Home
from agent.updates.history import History, Line, Step, history_file
from agent.updates.locks import updates_folder
from agent.updates.slots import Label, Slot
from edge_models.bundle import shipped_bundle
from edge_models.errors import Explained
from sync.envelope import Message, encoded
from sync.updates.offers import Kind, Sha256
from sync.updates.rejected import Reason

if TYPE_CHECKING:
    from agent.updates.bundles import Bundles, Question

HAPPENED: Final = 8
"""So many of the newest lines of the history are shown."""


OnRenewal = Callable[[Home], None]


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Standing(StrEnum):
    """Why what runs is what runs."""

    SHIPPED = "shipped"  # it came with the installation
    OWN = "own"  # the settings name its folder
    TRIAL = "trial"  # an update, on probation
    KEPT = "kept"  # an update that has proven itself


class Version(_Shown):
    """A bundle as people call it; `serial` is its update's, 0 where it is none."""

    name: str
    version: str
    serial: int


class Happened(_Shown):
    """One line of the history; `sentence` is empty, or says why."""

    at: datetime
    step: Step
    kind: Kind
    name: str
    version: str
    serial: int
    reason: Reason | None
    sentence: str


class Asked(_Shown):
    """What a person is asked, whole; `sha256` is of all the rest, and an answer names it.

    `consent` is the text that they would agree to, `agreed` the one of what runs.
    """

    sha256: str
    update: Version
    questions: tuple[str, ...]
    notes: tuple[str, ...]
    consent: str
    agreed: str


class UpdatesShown(_Shown):
    """Of updates, all that the page shows.

    `follows`: what takes over with the next window. `before`: what a way back leads to. `looks`:
    whether this device looks for its study's updates by itself. `trouble`: what keeps one from
    being taken, in a person's words, or nothing. `happened`: the newest first.
    """

    runs: Version
    standing: Standing
    follows: Version | None
    before: Version | None
    looks: bool
    trouble: str
    question: Asked | None
    happened: tuple[Happened, ...]


class Answer(Message):
    """A person's word: `sha256` is the question's, as it was shown."""

    sha256: Sha256
    yes: StrictBool


class Updates:
    """The updates of a device, for its page; any thread may ask.

    `trouble` is asked at each look; `answered` hears that the person has. Where no agent of this
    process says what runs (by `adopt`), `on_renewal` is told when that has changed on the disk.
    """

    def __init__(
        self,
        home: Home,
        *,
        clock: Callable[[], datetime],
        trouble: Callable[[], Explained | None] = lambda: None,
        answered: Callable[[], None] = lambda: None,
        on_renewal: OnRenewal | None = None,
    ) -> None:
        self._home, self._clock = home, clock
        self._trouble, self._answered, self._on_renewal = trouble, answered, on_renewal
        self._one_at_a_time = threading.Lock()
        self._file = history_file(home.settings.state_folder)
        self._history = History(self._file)
        self._stamp = home.slots.stamp()
        self._made_of: Bundles | None = None
        self._kept: tuple[object, Home, UpdatesShown] | None = None

    def adopt(self, home: Home) -> None:
        """From now on, this is what screens; any thread may say so."""
        self._home = home

    def shown(self) -> UpdatesShown:
        """How it stands; the disk is read through only where something has changed.

        Raises:
            StoreError: the device's ledger can't be read.
            BundleError: what runs can't be read.
        """
        with self._one_at_a_time:
            self._renew()
            home = self._home
            stamp = (home.slots.stamp(), _stamp(self._file))
            if self._kept is None or self._kept[0] != stamp or self._kept[1] is not home:
                self._kept = stamp, home, self._look(home)
            trouble = self._trouble() or home.passed_by
            return self._kept[2].model_copy(update={"trouble": str(trouble or "")})

    def answer(self, answer: Answer) -> None:
        """The person's word; after a yes it is switched to.

        Raises:
            SlotError: nothing waits, or something else than was shown.
            UpdateRejected: it can't be switched to after all.
            StoreError: the device's ledger can't be read.
        """
        if self._home.slots.staged() is None:
            raise _nothing_waits()
        with self._one_at_a_time:
            home, self._kept = self._home, None
            waits = self._bundles().question(home)
            if waits is None:
                raise _nothing_waits()
            if _asked(home, waits).sha256 != answer.sha256:
                raise SlotError(
                    "What waits for your answer is not what this page has shown you.",
                    "Nothing was changed. Read what it shows now, and answer that.",
                )
            self._bundles().answer(home, yes=answer.yes, of=waits.label)
        self._answered()

    def _renew(self) -> None:
        if self._on_renewal is None or (stamp := self._home.slots.stamp()) == self._stamp:
            return
        self._home, self._stamp = self._home.renewed(), stamp
        self._on_renewal(self._home)

    def _look(self, home: Home) -> UpdatesShown:
        slots, settings = home.slots, home.settings
        current = None if settings.bundle else slots.current()
        turned = (current and current.label) == (home.slot and home.slot.label)
        comes = current is not None and not turned and home.passed_by is None
        return UpdatesShown(
            runs=_running(home),
            standing=_standing(home, current),
            follows=_version(current.label) if current is not None and comes else None,
            before=_before(slots.previous()) if turned and current is not None else None,
            looks=bool(home.membership and settings.updates.automatic and not settings.bundle),
            trouble="",
            question=self._question(home),
            happened=tuple(map(_happened, reversed(self._history.lines()[-HAPPENED:]))),
        )

    def _question(self, home: Home) -> Asked | None:
        if home.settings.bundle or home.slots.staged() is None:
            return None
        waits = self._bundles().question(home)
        return None if waits is None else _asked(home, waits)

    def _bundles(self) -> "Bundles":
        """Loaded when something lies in the idle slot, and not before."""
        if self._made_of is None:
            from agent.updates.bundles import PARTS_FOLDER, Bundles  # TUF

            parts = updates_folder(self._home) / PARTS_FOLDER
            self._made_of = Bundles(self._home.slots, self._history, parts, self._clock)
        return self._made_of


def _asked(home: Home, waits: "Question") -> Asked:
    """The question as it is shown; its hash is over all that a person reads."""
    asked = Asked(
        sha256="",
        update=_version(waits.label),
        questions=waits.questions,
        notes=waits.notes,
        consent=waits.consent,
        agreed=home.bundle.consent,
    )
    whole = waits.label.sha256.encode() + encoded(asked)
    return asked.model_copy(update={"sha256": hashlib.sha256(whole).hexdigest()})


def _running(home: Home) -> Version:
    manifest = home.bundle.manifest
    return Version(name=manifest.name, version=manifest.version, serial=home.serial)


def _standing(home: Home, current: Slot | None) -> Standing:
    if home.settings.bundle:
        return Standing.OWN
    if home.slot is None:
        return Standing.SHIPPED
    same = current is not None and current.label == home.slot.label
    committed = current.committed if current is not None and same else home.slot.committed
    return Standing.KEPT if committed else Standing.TRIAL


def _before(previous: Slot | None) -> Version:
    if previous is not None:
        return _version(previous.label)
    shipped = shipped_bundle().manifest
    return Version(name=shipped.name, version=shipped.version, serial=0)


def _version(label: Label) -> Version:
    return Version(name=label.name, version=label.says, serial=label.serial)


def _happened(line: Line) -> Happened:
    return Happened(
        at=datetime.fromtimestamp(line.at, UTC),
        step=line.step,
        kind=line.kind,
        name=line.name,
        version=line.says,
        serial=line.serial,
        reason=line.reason,
        sentence=line.sentence,
    )


def _nothing_waits() -> SlotError:
    return SlotError("No update waits for your answer.", "Nothing was changed.")


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """Changes with every line."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
