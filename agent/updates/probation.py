"""Probation: what a new bundle must show on this device before it is kept.

Rules it upholds: a start is counted, durably, before a graph of the bundle is loaded, so what kills
the process is gone back from at the third start; what is slow, fails or computes nonsense is gone
back from at once; nothing is kept on trust: only windows that were described through all of the
bundle (gate, front end, body, head) speak for it.

A person who is silent, paused or away proves nothing and breaks nothing. Such a bundle stays on
probation, with the way back open, until it has heard enough: there is no deadline, since what runs
meanwhile has passed its golden vectors here. Dying is the bundle's fault only while it is *at
risk*: in the first minutes after a start, and inside a window. Who pulls the plug at night fails
nothing.

In the life of a bundle: `current` → **probation** → commit, or back.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field, StrictBool, StrictFloat, StrictInt

from agent.updates.durable import write_durably
from agent.updates.slots import Slot
from sync.envelope import Message, decoded, encoded
from sync.errors import ProtocolError
from sync.updates.offers import Sha256
from sync.updates.rejected import Reason, UpdateRejected

_GIVEN_UP: Final = 70  # EX_SOFTWARE of sysexits.h: the service is started again
_MOST_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Demands:
    """What is asked: `windows` described, `lived_s` of running, at most `longest_window_s` for one.

    `crashes`: after so many deaths it is not started again.
    """

    windows: int = 6
    lived_s: float = 600.0
    longest_window_s: float = 30.0
    crashes: int = 2


class Probation(Message):
    """How far a bundle has come; `sha256` is its label's, so no other's record counts."""

    sha256: Sha256
    crashes: Annotated[StrictInt, Field(ge=0, le=1000)] = 0
    windows: Annotated[StrictInt, Field(ge=0, le=10**6)] = 0
    lived_s: Annotated[StrictFloat, Field(ge=0, le=1e9, allow_inf_nan=False)] = 0.0
    at_risk: StrictBool = False

    def started(self, demands: Demands) -> "Probation":
        """At a start, before anything is loaded; whoever died at risk begins anew.

        Raises:
            UpdateRejected: UNHEALTHY, it died too often.
        """
        begun = self
        if self.at_risk:
            crashes = self.crashes + 1
            if crashes >= demands.crashes:
                raise UpdateRejected(
                    Reason.UNHEALTHY,
                    f"The update ended the agent {crashes} times and was not started again.",
                    "What ran before it runs again.",
                )
            begun = Probation(sha256=self.sha256, crashes=crashes)
        return begun.model_copy(update={"at_risk": True})

    def heard(self, *, described: bool, took_s: float, demands: Demands) -> "Probation":
        """After a window that went well; only one that was described counts.

        Raises:
            UpdateRejected: UNHEALTHY, it took too long.
        """
        if took_s > demands.longest_window_s:
            raise too_slow(demands)
        return self.model_copy(update={"windows": self.windows + described})

    def lived(self, since_s: float, now_s: float, demands: Demands) -> "Probation":
        """After running from `since_s` to `now_s`; past risk when that was long enough."""
        lived_s = min(self.lived_s + max(0.0, now_s - since_s), 1e9)
        at_risk = self.at_risk and lived_s < demands.lived_s
        return self.model_copy(update={"lived_s": lived_s, "at_risk": at_risk})

    def is_proven(self, demands: Demands) -> bool:
        """Whether it has shown all that is asked."""
        return self.windows >= demands.windows and self.lived_s >= demands.lived_s


def too_slow(demands: Demands) -> UpdateRejected:
    """The refusal of a bundle that keeps a window for too long."""
    return UpdateRejected(
        Reason.UNHEALTHY,
        f"The update needed more than {demands.longest_window_s:.0f} s for ten seconds of sound.",
        "What ran before it runs again.",
    )


def failed_at(fault: BaseException) -> UpdateRejected:
    """The refusal of a bundle that raised; its text is not repeated, for it may hold anything."""
    return UpdateRejected(
        Reason.UNHEALTHY,
        f"The update failed while it screened ({type(fault).__name__}).",
        "What ran before it runs again.",
    )


def read_record(slot: Slot) -> Probation:
    """How far the bundle in a slot has come; a record that is damaged or another's counts as none.

    What can't be read says that nobody has died yet: a torn record is not written by a death, since
    it is replaced as a whole.
    """
    try:
        with slot.record.open("rb") as file:
            record = decoded(file.read(_MOST_BYTES), Probation)
    except (OSError, ProtocolError):
        return Probation(sha256=slot.label.sha256)
    return record if record.sha256 == slot.label.sha256 else Probation(sha256=slot.label.sha256)


class Watched:
    """One run of a bundle on probation: the record on disk, and what becomes of it.

    `clock` is monotonic seconds. Raises of the constructor:

    Raises:
        UpdateRejected: UNHEALTHY, it died too often; NO_ROOM where the start can't be noted, for
            what can't be counted is not tried.
    """

    def __init__(self, slot: Slot, demands: Demands, clock: Callable[[], float]) -> None:
        self._slot, self._demands, self._clock = slot, demands, clock
        self.label = slot.label
        self.record = read_record(slot)
        self._looked_s = clock()
        self._keep(self.record.started(demands))

    def before_window(self) -> None:
        """Note, durably, that a death from now on would be the bundle's."""
        if not self.record.at_risk:
            self._try_to_keep(self.record.model_copy(update={"at_risk": True}))

    def after_window(self, *, described: bool, took_s: float) -> bool:
        """Count a window that went well; True: all is shown, commit it.

        Raises:
            UpdateRejected: UNHEALTHY, the window took too long.
        """
        heard = self.record.heard(described=described, took_s=took_s, demands=self._demands)
        now_s = self._clock()
        known = heard.lived(self._looked_s, now_s, self._demands)
        self._looked_s = now_s
        if described or known.at_risk != self.record.at_risk:
            self._try_to_keep(known)
        else:
            self.record = known
        return known.is_proven(self._demands)

    def ended_well(self) -> None:
        """Note that the run ends as it was asked to; if it can't be noted, it counts as a death."""
        known = self.record.lived(self._looked_s, self._clock(), self._demands)
        self._try_to_keep(known.model_copy(update={"at_risk": False}))

    def _try_to_keep(self, record: Probation) -> None:
        """On a full disk the run goes on; what it has shown is known until it ends."""
        with contextlib.suppress(UpdateRejected):
            self._keep(record)
        self.record = record

    def _keep(self, record: Probation) -> None:
        try:
            write_durably(self._slot.record, encoded(record))
        except OSError as fault:
            raise UpdateRejected(
                Reason.NO_ROOM, "The disk is too full to watch over an update."
            ) from fault
        self.record = record


class Watchdog:
    """Ends the process when one piece of work takes too long, after `on_late` has gone back.

    A call that hangs in native code can't be ended in any other way; the service is started again.
    """

    def __init__(
        self,
        limit_s: float,
        on_late: Callable[[], object],
        give_up: Callable[[int], object] = os._exit,
    ) -> None:
        self._limit_s, self._on_late, self._give_up = limit_s, on_late, give_up

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch over the body."""
        done = threading.Event()

        def wait() -> None:
            if not done.wait(self._limit_s):
                try:
                    self._on_late()
                finally:
                    self._give_up(_GIVEN_UP)

        thread = threading.Thread(target=wait, name="watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
