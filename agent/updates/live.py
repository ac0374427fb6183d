"""Screens without a break while bundles come and go: the swap between two windows.

Rules it upholds: the microphone stays open, its bounded queue bridges the moment; a window is
screened by one bundle, whole, and its record says which; a new bundle that fails on a window is
taken back at once and the same window is screened by the old one, so a bad update costs none; what
the person, the study and the rounds see changes together with what screens.

The copy of a window's sound that this needs exists only on probation and only inside `screen`; both
are overwritten before it returns.

In the life of a bundle: `current` → **here** → probation → commit, or back.
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Self

from agent.home import Home
from agent.screening import Ear, Screened, Screener
from agent.store import Store
from agent.updates.history import History, Line, Step, history_file
from agent.updates.probation import Demands, Watchdog, Watched, failed_at, too_slow
from agent.updates.slots import Label
from edge_models.errors import BundleError, Explained
from edge_models.own import Own
from edge_models.raw import RawAudio
from edge_models.windows import AudioWindow
from sync.updates.rejected import Reason, UpdateRejected

OnSwap = Callable[[Home], None]
MakeWatchdog = Callable[[float, Callable[[], object]], Watchdog]


class LiveEar:
    """Screens with the current bundle, whichever that is; a context manager.

    `store` is the caller's own connection; `say` shows a sentence to the person; `clock` is the
    time, `monotonic` seconds for durations. A bundle that can't be begun with is taken back, so
    `home` may be another one than was given.

    Raises:
        BundleError: not even the shipped bundle can be used.
        SlotError: a bad one can't be taken back.
    """

    def __init__(
        self,
        home: Home,
        store: Store,
        *,
        clock: Callable[[], datetime],
        say: Callable[[str], None] = lambda _: None,
        demands: Demands | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        watchdog: MakeWatchdog = Watchdog,
    ) -> None:
        self._store, self._clock, self._say = store, clock, say
        self._history = History(history_file(home.settings.state_folder))
        self._demands = demands or Demands()
        self._monotonic, self._watchdog = monotonic, watchdog
        self._told: list[OnSwap] = []
        self._watched: Watched | None = None
        self._slots = None if home.settings.bundle else home.slots
        self._stamp = self._slots.stamp() if self._slots else None
        self._note_what_was_cut_short()
        self.home, self._ear = self._begin(home)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._watched is not None:
            self._watched.ended_well()

    def tell(self, on_swap: OnSwap) -> None:
        """From now on, have this told of the home after each change."""
        self._told.append(on_swap)

    def screen(self, window: AudioWindow | None, *, alone: bool | None) -> Screened:
        """Screen a window; before that, turn to another bundle if there is one."""
        self._look()
        if self._watched is None or window is None:
            return self._ear.screen(window, alone=alone)
        sound = RawAudio(window.sound.samples.copy(), window.sound.first_sample)
        spare = AudioWindow(window.first_sample, sound, window.missing, window.context_samples)
        try:
            screened = self._screen_on_probation(self._watched, window, alone)
            return screened or self._ear.screen(spare, alone=alone)
        finally:
            window.wipe()
            spare.wipe()

    def _screen_on_probation(
        self, watched: Watched, window: AudioWindow, alone: bool | None
    ) -> Screened | None:
        """None: the bundle was taken back, and the window is the old one's."""
        begun_s = self._monotonic()
        watched.before_window()
        try:
            with self._watchdog_of(watched.label).watching():
                screened = self._ear.screen(window, alone=alone)
            proven = watched.after_window(
                described=screened.judged.embedding is not None,
                took_s=self._monotonic() - begun_s,
            )
        except UpdateRejected as why:
            self._take_back(watched.label, why)
            return None
        except Exception as fault:  # noqa: BLE001  (this is the supervisor)
            self._take_back(watched.label, failed_at(fault))
            return None
        if proven:
            self._commit(watched.label)
        return screened

    def _look(self) -> None:
        """Turn to what is current, if that is another; one look at the disk where it isn't."""
        if self._slots is None or (stamp := self._slots.stamp()) == self._stamp:
            return
        self._stamp = stamp
        slot, ours = self._slots.current(), self.home.slot
        if (slot and slot.label) != (ours and ours.label):
            self._turn_to(self.home.renewed())

    def _turn_to(self, home: Home) -> None:
        self._watched = None
        self.home, self._ear = self._begin(home)
        self._say(f"The bundle '{named(self.home)}' screens from now on.")
        for told in self._told:
            told(self.home)

    def _begin(self, home: Home) -> tuple[Home, Ear]:
        """Load a home's bundle; one that can't be used is taken back, for the one before it."""
        while True:
            self._watched, slot = None, home.slot
            if home.passed_by is not None:
                home = self._before(home, self._current_label(), _unusable(home.passed_by))
            elif slot is None:
                return home, self._ear_of(home)
            elif slot.committed:
                try:
                    return home, self._ear_of(home)
                except BundleError as fault:
                    home = self._before(home, slot.label, _unusable(fault))
            else:
                try:
                    watched = Watched(slot, self._demands, self._monotonic)
                    with self._watchdog_of(slot.label).watching():
                        ear = self._ear_of(home)
                    self._watched = watched
                    return home, ear
                except UpdateRejected as why:
                    if why.reason is Reason.NO_ROOM:  # nobody's fault: it is begun with next time
                        self._say(str(why))
                        home = home.renewed(proven_only=True)
                    else:
                        home = self._before(home, slot.label, why)
                except Exception as fault:  # noqa: BLE001  (this is the supervisor)
                    home = self._before(home, slot.label, failed_at(fault))

    def _ear_of(self, home: Home) -> Ear:
        bundle = home.bundle
        kept = self._store.baseline(bundle.hearing)
        own = Own.empty(bundle) if kept is None else Own.from_bytes(kept, bundle)
        return Ear(Screener(bundle, home.head), own, home.serial)

    def _take_back(self, label: Label, why: UpdateRejected) -> None:
        self._turn_to(self._before(self.home, label, why))
        self._stamp = self._slots.stamp() if self._slots else None

    def _before(self, home: Home, label: Label | None, why: UpdateRejected) -> Home:
        """Go back from a bundle, for good, and say why; the home of what is current then."""
        if label is not None:
            self._go_back(label, why)
            self._say(f"{why.cause} The bundle of before is used again.")
        return home.renewed()

    def _go_back(self, label: Label, why: UpdateRejected) -> None:
        if self._slots is not None:
            still_runs = self._current_label() == label  # or it was gone back from during a window
            self._slots.roll_back(why.reason, why.cause, of=label)
            if still_runs:
                self._history.add(Line.of(label, Step.ROLLED_BACK, self._now(), why=why))

    def _commit(self, label: Label) -> None:
        """Keep it for good; where the disk is full it stays on probation until the next window."""
        if self._slots is None:
            return
        try:
            self._slots.commit(label)
        except UpdateRejected:
            return
        self._watched = None
        self._history.add(Line.of(label, Step.COMMITTED, self._now()))
        self._stamp = self._slots.stamp()

    def _watchdog_of(self, label: Label) -> Watchdog:
        def give_up() -> None:
            self._go_back(label, too_slow(self._demands))
            self._say(f"{too_slow(self._demands).cause} The agent starts again without it.")

        return self._watchdog(self._demands.longest_window_s, give_up)

    def _note_what_was_cut_short(self) -> None:
        """The power may have failed between going back and the line that says so."""
        for failed in self._slots.failed() if self._slots else ():
            if not self._history.has(Step.ROLLED_BACK, failed.label.sha256):
                why = UpdateRejected(
                    failed.reason or Reason.UNHEALTHY,
                    failed.sentence or "The update was taken back.",
                )
                self._history.add(Line.of(failed.label, Step.ROLLED_BACK, self._now(), why=why))

    def _current_label(self) -> Label | None:
        current = self._slots.current() if self._slots else None
        return current.label if current else None

    def _now(self) -> int:
        return int(self._clock().timestamp())


def named(home: Home) -> str:
    """How people call what screens, such as `affect-1 1.0.1, update 7`."""
    called = f"{home.bundle.name} {home.bundle.manifest.version}"
    return f"{called}, update {home.serial}" if home.serial else called


def _unusable(fault: Explained) -> UpdateRejected:
    return UpdateRejected(Reason.ALTERED, f"The update can't be used any more: {fault.cause}")
