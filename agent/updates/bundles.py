"""What a device does with an offered bundle: fetch, try, ask, switch; and the way back by order.

Rules it upholds: every step begins with what lies on the disk, so whatever was cut short is gone on
with at the next look; a bundle is tried in a child before anything of it is loaded here; nothing is
asked of a person twice, and nothing that failed or was declined here is taken again; what became of
it is in the history before anybody is told.

In the life of a bundle: repository → parts → idle slot → trial → contracts → yes → `current`; from
there `live` and `probation` see to it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from agent.errors import SlotError
from agent.home import Home
from agent.updates.contracts import Fit, fit_of
from agent.updates.fetching import clear, fetched
from agent.updates.history import History, Line, Step
from agent.updates.slots import Label, Slot, Slots
from agent.updates.trial import Tried, try_bundle
from edge_models.bundle import Bundle, load_bundle, shipped_folder
from edge_models.errors import BundleError
from sync.updates.archive import unpack
from sync.updates.offers import Kind
from sync.updates.orders import Installed
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.targets import Target
from sync.updates.trust import Trust

PARTS_FOLDER: Final = "parts"


class Taken(StrEnum):
    """How far a bundle came."""

    SWITCHED = "switched"  # it runs, or does at the next window
    WAITS = "waits"  # for the person


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked about a bundle that waits: plain sentences, and the whole text."""

    label: Label
    questions: tuple[str, ...]
    notes: tuple[str, ...]
    consent: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bundles:
    """The bundles of one device; `parts` is where unfinished files lie."""

    slots: Slots
    history: History
    parts: Path
    clock: Callable[[], datetime]
    trial: Callable[[Path], Tried] = try_bundle

    def installed(self, name: str) -> Installed:
        """What this device has of a bundle: serials."""
        current, previous = self.slots.current(), self.slots.previous()
        return Installed(
            runs=_serial(current, name),
            other=None if current is None else _serial(previous, name),
            refused=self.history.failed(Kind.BUNDLE, name),
        )

    def take(self, home: Home, trust: Trust, path: str) -> Taken:
        """Take the bundle at a path of the repository, as far as it goes today.

        Raises:
            UpdateRejected: with the reason; what runs stays.
            SlotError: what runs is on probation, or another process is at it: try again later.
        """
        target = _bundle_at(trust, path)
        label = _label_of(target)
        self._refuse_older(label)
        staged = self.slots.staged()
        if staged is None or staged.label != label:
            self._stage(home, trust, target, label)
        return self.go_on(home)

    def go_on(self, home: Home, *, of: Label | None = None) -> Taken:
        """Try, ask and switch to what lies ready; `of`: only if it is that.

        Raises:
            UpdateRejected: with the reason; it is in the history, and won't be tried again.
            SlotError: nothing lies ready, or as `take`.
        """
        staged = self._staged(of)
        steps = {line.step for line in self._lines(staged.label)}
        try:
            if Step.ASKED not in steps:
                self.trial(staged.folder)
            fit = self._fit(home, staged)
        except UpdateRejected as why:
            self.note(staged.label, Step.REJECTED, why)
            raise
        if fit.needs_yes and Step.AGREED not in steps:
            if Step.ASKED not in steps:
                self.note(staged.label, Step.ASKED)
            return Taken.WAITS
        self.slots.activate(of=staged.label)
        self.note(staged.label, Step.ACTIVATED)
        return Taken.SWITCHED

    def question(self, home: Home) -> Question | None:
        """What waits for the person; None: nothing does."""
        staged = self.slots.staged()
        if staged is None or not self._waits(staged.label):
            return None
        try:
            bundle = load_bundle(staged.folder)
            fit = fit_of(home, bundle, staged.label)
        except (BundleError, UpdateRejected):
            return None  # the next look says why
        return Question(staged.label, fit.questions, fit.notes, bundle.consent)

    def ask_again(self) -> None:
        """Let a person who said no be asked once more about what still lies ready."""
        staged = self.slots.staged()
        if staged is not None:
            steps = self._lines(staged.label)
            if steps and (steps[-1].step, steps[-1].reason) == (Step.REJECTED, Reason.DECLINED):
                self.note(staged.label, Step.ASKED)

    def answer(self, home: Home, *, yes: bool, of: Label | None = None) -> Label:
        """The person's word on what waits, for `of` if that is said; after a yes it is switched to.

        It needs no lock but the slots' own: a look that waits for the network holds up nobody.

        Raises:
            SlotError: nothing waits, or something else.
            UpdateRejected: as `go_on`.
        """
        staged = self._staged(of)
        if not self._waits(staged.label):
            raise SlotError("No update waits for your answer.")
        if not yes:
            declined = UpdateRejected(Reason.DECLINED, "You said no to this update.")
            self.note(staged.label, Step.REJECTED, declined)
            return staged.label
        self.note(staged.label, Step.AGREED)
        self.go_on(home, of=staged.label)
        return staged.label

    def go_back(self, why: UpdateRejected, *, of: Label | None = None) -> Label:
        """Go back to what ran before; returns the label of what is left, for good.

        `of`: only from that; what screens may have gone back from it at this very moment.

        Raises:
            SlotError: what the installation came with runs already, or another than `of` does.
        """
        current = self.slots.current()
        if of is not None and (current is None or current.label != of):
            raise SlotError("Another bundle runs by now.", "Nothing was changed.")
        self.slots.roll_back(why.reason, why.cause, of=None if current is None else current.label)
        assert current is not None
        self.note(current.label, Step.ROLLED_BACK, why)
        return current.label

    def note(self, label: Label, step: Step, why: UpdateRejected | None = None) -> None:
        """Put a step into the history; what is tried again and again is there once."""
        self.history.add_news(Line.of(label, step, int(self.clock().timestamp()), why=why))

    def _waits(self, label: Label) -> bool:
        lines = self._lines(label)
        return bool(lines) and lines[-1].step is Step.ASKED

    def _lines(self, label: Label) -> list[Line]:
        return [line for line in self.history.lines() if line.sha256 == label.sha256]

    def _staged(self, of: Label | None) -> Slot:
        staged = self.slots.staged()
        if staged is not None and of is not None and staged.label != of:
            raise SlotError(
                "Another update lies ready by now.", "Nothing was changed. Read what it asks first."
            )
        if staged is None:
            raise SlotError("No update lies ready.", "Fetch one: sottovoce ota apply")
        return staged

    def _refuse_older(self, label: Label) -> None:
        current = self.slots.current()
        runs = _serial(current, label.name)
        if label.serial < runs or (
            label.serial == runs and current is not None and label.sha256 != current.label.sha256
        ):
            raise UpdateRejected(
                Reason.OLDER if label.serial < runs else Reason.EQUIVOCAL,
                f"The bundle '{label.name}' number {label.serial} is not newer than number {runs}, "
                "which runs.",
            )
        if label.serial == runs:
            raise SlotError(f"The bundle '{label.name}' number {runs} runs already.")

    def _stage(self, home: Home, trust: Trust, target: Target, label: Label) -> None:
        self.note(label, Step.OFFERED)
        try:
            running = home.slot.folder if home.slot is not None else shipped_folder()
            file = fetched(trust, target, running=running, into=self.parts)
            with self.slots.stage(label) as folder:
                unpack(file, folder)
        except UpdateRejected as why:
            self.note(label, Step.REJECTED, why)
            raise
        clear(self.parts)
        self.note(label, Step.STAGED)

    def _fit(self, home: Home, staged: Slot) -> Fit:
        try:
            bundle = load_bundle(staged.folder)
        except BundleError as fault:
            raise UpdateRejected(Reason.MALFORMED, fault.cause) from fault
        _says_the_same(bundle, staged.label)
        return fit_of(home, bundle, staged.label)


def _says_the_same(bundle: Bundle, label: Label) -> None:
    if bundle.manifest.version != label.says:
        raise UpdateRejected(
            Reason.CONTRACT,
            f"The bundle is version {bundle.manifest.version} and was signed as {label.says}.",
        )


def _bundle_at(trust: Trust, path: str) -> Target:
    target = trust.offer(path)
    if target is None:
        raise UpdateRejected(Reason.UNKNOWN, f"The study offers nothing at '{path[-80:]}'.")
    if target.offer is None or target.offer.kind is not Kind.BUNDLE:
        raise UpdateRejected(Reason.NOT_ALLOWED, "What the study offers there is no bundle.")
    return target


def _label_of(target: Target) -> Label:
    assert target.offer is not None
    return Label.of(target.offer, target.sha256)


def _serial(slot: Slot | None, name: str) -> int:
    """0: what was shipped, or a bundle of another name."""
    return slot.label.serial if slot is not None and slot.label.name == name else 0
