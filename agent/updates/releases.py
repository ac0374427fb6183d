"""What the running agent does about releases of itself: ask for them, follow them, keep them.

Rules it upholds: the agent never installs anything: it hands over to the installer, and ends with
`START_AGAIN` once the installer says that another release is ready; a release is kept only when it
has run and described for as long as is asked; what the launcher gave up is in the history and told.

In the life of a release: rollout → **here** → installer → launcher → **here** → kept.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from agent.updates.history import History, Line, Step
from agent.updates.probation import Demands
from agent.updates.release_desk import NAME, Answer, ReleaseDesk, release_is_healthy
from agent.updates.slots import Label
from edge_models.errors import ContractError
from sync.updates.offers import Kind
from sync.updates.orders import Installed
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.rollout import Directive
from sync.updates.trust import Trust

ASK_AGAIN_S: Final = 3600.0
"""So long the installer may be at it: its unit is ended after three quarters of that."""


@dataclass(slots=True)
class Releases:
    """The releases of this installation; `end` has the agent end, to be started again.

    `hear` may be called by the thread that screens; the rest by one that looks for updates.
    """

    desk: ReleaseDesk
    history: History
    clock: Callable[[], datetime]
    end: Callable[[], None]
    monotonic: Callable[[], float] = time.monotonic
    demands: Demands = field(default_factory=Demands)
    start_again: bool = field(default=False, init=False)
    _began_s: float = field(default=0.0, init=False)
    _described: int = field(default=0, init=False)
    _asked_s: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._began_s = self.monotonic()

    def installed(self, name: str) -> Installed:
        """What this device has of a release: serials; 0 is what was installed by hand."""
        slots = self.desk.slots
        current, previous = slots.current(), slots.previous()
        runs = current.label.serial if current and current.label.name == name else 0
        other = None
        if previous is not None and current is not None:
            other = previous.label.serial if previous.label.name == name else 0
        return Installed(runs, other, self.history.failed(Kind.RELEASE, name))

    def take(self, trust: Trust, directive: Directive) -> None:
        """Fetch what is missing of a release, and ask the installer for it.

        Raises:
            UpdateRejected: with the reason; what runs stays.
        """
        target = trust.offer(directive.path)
        if target is None or target.offer is None:
            raise UpdateRejected(Reason.UNKNOWN, "The study offers no such release of the agent.")
        label = Label.of(target.offer, target.sha256)
        if self._is_asked_for(label.serial, withdrawn=False):
            return
        self._note(label, Step.OFFERED)
        try:
            self.desk.hand_over(trust, target)
        except UpdateRejected as why:
            self._note(label, Step.REJECTED, why)
            raise
        self._asked_s = self.monotonic()
        self._note(label, Step.STAGED)

    def go_back(self, directive: Directive) -> None:
        """Ask the installer for the release before the one that the study took back.

        Raises:
            UpdateRejected: it can't be asked.
        """
        if not self._is_asked_for(directive.serial, withdrawn=True):
            self.desk.withdraw(directive.serial)
            self._asked_s = self.monotonic()

    def follow(self) -> None:
        """See what installer and launcher have done since, put it into the history, act on it.

        Raises:
            UpdateRejected: NO_ROOM, that a release is kept can't be noted.
        """
        self._note_given_up()
        self._wake_again()
        answer = self.desk.answer()
        if answer is not None:
            self._heed(answer)
        self._keep_if_healthy()

    @property
    def waits(self) -> bool:
        """Whether the installer has been asked for something and has not answered."""
        return self.desk.wanted() is not None and self.desk.answer() is None

    def hear(self, *, described: bool) -> None:
        """A window was screened."""
        self._described += described

    def _heed(self, answer: Answer) -> None:
        wanted, label = self.desk.wanted(), self._label_of(answer.serial)
        if label is None or wanted is None:
            return
        if not answer.taken:
            if self._last(label) is not Step.REJECTED:
                reason = answer.reason or Reason.INCOMPLETE
                self._note(label, Step.REJECTED, UpdateRejected(reason, answer.sentence))
                self.desk.clear()
            return
        if wanted.withdrawn:
            if self._last(label) is not Step.ROLLED_BACK:
                why = UpdateRejected(Reason.WITHDRAWN, "The study took this update back.")
                self._note(label, Step.ROLLED_BACK, why)
                self._end()
        elif self._last(label) is Step.STAGED:
            self._note(label, Step.ACTIVATED)
            self.desk.clear()
            self._end()

    def _wake_again(self) -> None:
        """The power may have failed before the installer was done, and nothing else wakes it."""
        wanted = self.desk.wanted()
        if wanted is not None and self.desk.answer() is None and not self._asked_lately():
            self.desk.ask_again(wanted)
            self._asked_s = self.monotonic()

    def _asked_lately(self) -> bool:
        return self._asked_s is not None and self.monotonic() - self._asked_s < ASK_AGAIN_S

    def _end(self) -> None:
        self.start_again = True
        self.end()

    def _note_given_up(self) -> None:
        serial = self.desk.given_up()
        label = None if serial is None else self._label_of(serial)
        if label is not None and self._last(label) is not Step.ROLLED_BACK:
            why = UpdateRejected(Reason.UNHEALTHY, "It did not stay up on this device.")
            self._note(label, Step.ROLLED_BACK, why)

    def _keep_if_healthy(self) -> None:
        slot = self.desk.on_probation()
        lived_s = self.monotonic() - self._began_s
        if slot is not None and release_is_healthy(
            lived_s=lived_s, windows=self._described, demands=self.demands
        ):
            self.desk.keep(slot.label.serial)
            self._note(slot.label, Step.COMMITTED)

    def _is_asked_for(self, serial: int, *, withdrawn: bool) -> bool:
        """Asked for, and that is enough: it is on its way, or waits for the next start.

        A way back that the installer refused (its disk?) is asked for again, but not at each look.
        """
        wanted, answer = self.desk.wanted(), self.desk.answer()
        if wanted is None or (wanted.serial, wanted.withdrawn) != (serial, withdrawn):
            return False
        return answer is None or answer.taken or (withdrawn and self._asked_lately())

    def _label_of(self, serial: int) -> Label | None:
        """As the history has it; None: it was not taken from here."""
        for line in reversed(self.history.lines()):
            if (line.kind, line.name, line.serial) == (Kind.RELEASE, NAME, serial) and line.sha256:
                return Label(
                    kind=line.kind,
                    name=line.name,
                    serial=line.serial,
                    says=line.says,
                    sha256=line.sha256,
                )
        return None

    def _last(self, label: Label) -> Step:
        for line in reversed(self.history.lines()):
            if line.sha256 == label.sha256:
                return line.step
        raise ContractError("A label that the history gave is in it.")

    def _note(self, label: Label, step: Step, why: UpdateRejected | None = None) -> None:
        self.history.add_news(Line.of(label, step, int(self.clock().timestamp()), why=why))
