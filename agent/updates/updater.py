"""Looks for updates when the study says so, and does what its rollouts ask of this device.

Rules it upholds: the offline keys say what may run (`trust`), the coordinator's rollout says who
takes it now (`orders`), and a device takes nothing without both; what was heard of a rollout is
kept before it is acted on; whatever goes wrong, what runs goes on, and one sentence says why; no
fault of ours ends the looking, since what comes next may be the cure; the threads that sense never
wait for any of this.

In the life of a bundle: LOOK, or an hour → refresh → orders → `bundles` → history → the study.
"""

import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from agent.adopted import heed
from agent.errors import SlotError
from agent.home import Home
from agent.updates.bundles import PARTS_FOLDER, Bundles
from agent.updates.history import History, history_file
from agent.updates.locks import alone, updates_folder
from agent.updates.release_desk import ReleaseDesk
from agent.updates.releases import Releases
from agent.updates.telling import Teller
from agent.updates.trusting import NoUpdates, trust_of
from edge_models.errors import ContractError, Explained
from sync.errors import ProtocolError
from sync.participation import Enrolled
from sync.policy import policy_digest
from sync.updates.asks import Look
from sync.updates.downloads import disk_faults
from sync.updates.durable import write_durably
from sync.updates.offers import MOST_HEAD_BYTES, Kind, head_path
from sync.updates.orders import Heard, Installed, Order, order_of, parse_heard
from sync.updates.progress import Progress
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.rollout import (
    MOST_ROLLOUT_BYTES,
    ROLLOUT_FILE,
    Directive,
    parse_rollouts,
)
from sync.updates.source import NotThere, Source
from sync.updates.trust import Trust

LOOK_EVERY_S: Final = 3600.0
_AGAIN_S: Final = 60.0  # and twice as long after each look that found nobody
_JITTER: Final = 1024  # up to a quarter more: a fleet that was cut off does not come back as one
_PATIENCE_S: Final = 5.0
_HEARD_FILE: Final = "heard"
_MOST_HEARD_BYTES: Final = 64 * 1024


class Updater:
    """A context manager: inside, it looks by itself. Only for a member, who has a line.

    `source` is the study's repository; `say` tells the study, and raises BrokerError.
    """

    def __init__(
        self,
        home: Home,
        source: Source,
        *,
        say: Callable[[Progress], None],
        releases: Releases | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        look_every_s: float = LOOK_EVERY_S,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._home, self._clock, self._releases = home, clock, releases
        self._source = source
        self._folder = updates_folder(home)
        history = History(history_file(home.settings.state_folder))
        self.bundles = Bundles(home.slots, history, self._folder / PARTS_FOLDER, clock)
        slots = {Kind.BUNDLE: home.slots}
        if releases is not None:
            slots[Kind.RELEASE] = releases.desk.slots
        self._teller = Teller(self._folder, history, slots, say, clock)
        self._look_every_s, self._patience_s = look_every_s, patience_s
        self._due, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="updater", daemon=True)
        self._head_taken = ""
        self._watches = home.slots.on_probation
        self.trouble: Explained | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._due.set()
        self._thread.join(self._patience_s)  # a look may fetch for an hour; it survives worse ends

    @property
    def starts_again(self) -> bool:
        """Whether the agent is to end with `START_AGAIN`: another release is ready."""
        return self._releases is not None and self._releases.start_again

    def hear(self, *, described: bool) -> None:
        """A window was screened: it speaks for the release that runs; the bundle may be proven."""
        if self._watches and not self._home.slots.on_probation:
            self._watches = False
            self._due.set()  # there is something to tell
        if self._releases is not None:
            self._releases.hear(described=described)

    def look_soon(self, _look: Look | None = None) -> None:
        """Look at the next chance; any thread may say so."""
        self._due.set()

    def adopt(self, home: Home) -> None:
        """From the next look on, compare with what runs in this home."""
        self._home = home
        self._due.set()  # there is something to tell

    def look(self) -> None:
        """Look once, and do what is to be done.

        Raises:
            UpdateRejected: with the reason; what runs stays.
            SlotError: another process is at it, or what runs is on probation.
            StoreError: the device's store can't be read.
        """
        with alone(self._folder):
            trust = trust_of(self._home, self._source, self._clock)
            trust.refresh()
            fault: Explained | None = None
            for directive in self._directives(trust):
                try:
                    self._follow(trust, directive)
                except (UpdateRejected, SlotError) as why:
                    fault = fault or why  # one kind's trouble is not the other's
            self._take_head(trust)
            self._watches = self._home.slots.on_probation
            if fault is not None:
                raise fault

    def _run(self) -> None:
        again_s = _AGAIN_S
        while not self._stop.is_set():
            try:
                self.look()
                self.trouble = None
            except NoUpdates:
                self.trouble = None
            except Explained as fault:
                self.trouble = fault
            except Exception as fault:  # noqa: BLE001  (what comes next may be the cure)
                self.trouble = _fault_of_ours(fault)
            soon = isinstance(self.trouble, SlotError) or _comes_again(self.trouble)
            try:
                if self._releases is not None:
                    self._releases.follow()
                    soon |= self._releases.waits or self._releases.desk.on_probation() is not None
                self._teller.tell()
            except (Explained, OSError):  # said again, as soon as the line or the disk takes it
                soon = True
            except Exception as fault:  # noqa: BLE001  (as above)
                self.trouble = _fault_of_ours(fault)
            wait_s = min(again_s, self._look_every_s) if soon else self._look_every_s
            again_s = min(2 * again_s, LOOK_EVERY_S) if _comes_again(self.trouble) else _AGAIN_S
            self._due.wait(wait_s * (1 + secrets.randbelow(_JITTER) / (4 * _JITTER)))
            self._due.clear()

    def _directives(self, trust: Trust) -> tuple[Directive, ...]:
        member = self._home.membership
        if member is None:
            return ()
        try:
            content = b"".join(self._source.read(ROLLOUT_FILE, MOST_ROLLOUT_BYTES))
        except NotThere:
            return ()
        return parse_rollouts(
            content, study=member.study, authority=member.authority, now=trust.moment
        )

    def _follow(self, trust: Trust, directive: Directive) -> None:
        self._remember(directive)
        installed = self._installed(directive)
        if installed is None:
            return
        assert self._home.membership is not None
        pseudonym = self._home.membership.pseudonym
        match order_of(directive, pseudonym, installed, trust.moment):
            case Order.GO_BACK:
                self._go_back(directive)
            case Order.TAKE:
                self._take(trust, directive)
            case Order.STAY:
                pass

    def _installed(self, directive: Directive) -> Installed | None:
        """None: nothing of this kind and name is for this device."""
        if directive.kind is Kind.RELEASE:
            return None if self._releases is None else self._releases.installed(directive.name)
        if self._home.settings.bundle or directive.name != self._home.bundle.name:
            return None  # the settings name a folder: its owner looks after it
        return self.bundles.installed(directive.name)

    def _take(self, trust: Trust, directive: Directive) -> None:
        """A bundle waits while a release is on probation: its failure would count against both."""
        target = trust.offer(directive.path)
        if target is None or target.offer is None:
            raise UpdateRejected(Reason.UNKNOWN, "A rollout names an update that nobody signed.")
        said = (target.sha256, target.offer.kind, target.offer.name, target.offer.serial)
        if said != (directive.sha256, directive.kind, directive.name, directive.serial):
            raise UpdateRejected(
                Reason.MIXED, "A rollout and the signed list disagree about an update."
            )
        with suppress(OSError):  # then the study hears of it without the number
            self._teller.asked(directive.sha256, directive.number)
        if directive.kind is Kind.RELEASE:
            assert self._releases is not None
            self._releases.take(trust, directive)
        elif self._releases is None or self._releases.desk.on_probation() is None:
            self._make_way(directive)
            self.bundles.take(self._home, trust, directive.path)

    def _make_way(self, directive: Directive) -> None:
        """Where nobody speaks a bundle proves nothing; a newer one need not wait for it."""
        current = self._home.slots.current()
        if (
            current is not None
            and not current.committed
            and directive.serial > current.label.serial
        ):
            self.bundles.go_back(
                UpdateRejected(Reason.SUPERSEDED, "A newer one came before it had proven itself."),
                of=current.label,
            )
            self._home = self._home.renewed()

    def _go_back(self, directive: Directive) -> None:
        if directive.kind is Kind.RELEASE:
            assert self._releases is not None
            self._releases.go_back(directive)
            return
        current = self._home.slots.current()
        if current is not None and current.label.serial in directive.withdrawn:
            why = UpdateRejected(Reason.WITHDRAWN, "The study took this update back.")
            self.bundles.go_back(why, of=current.label)

    def _remember(self, directive: Directive) -> None:
        file = self._folder / _HEARD_FILE
        heard = Heard()
        with disk_faults(), suppress(FileNotFoundError):
            heard = parse_heard(file.read_bytes()[:_MOST_HEARD_BYTES])
        following = heard.follow(directive)
        if following == heard:
            return
        try:
            write_durably(file, following.to_bytes())
        except OSError as fault:
            raise UpdateRejected(
                Reason.NO_ROOM, f"What was heard of updates can't be kept ({fault.strerror})."
            ) from fault

    def _take_head(self, trust: Trust) -> None:
        """The study's newest head for this bundle, by the same door as one said on the line."""
        member, bundle = self._home.membership, self._home.bundle
        target = trust.offer(head_path(bundle.space))
        if member is None or target is None or target.sha256 == self._head_taken:
            return
        file = trust.download(target, self._folder / PARTS_FOLDER)
        content = _read(file)
        enrolled = Enrolled(
            member.study,
            member.identity,
            member.authority,
            self._home.study.policy,
            policy_digest(bundle.policy),
        )
        with self._home.open_store() as store:
            try:
                heed(store, content, enrolled=enrolled, bundle=bundle, learns=False,
                     now=trust.moment)  # fmt: skip
            except ProtocolError as fault:
                raise UpdateRejected(Reason.NOT_ALLOWED, fault.cause, fault.remedy) from fault
        self._head_taken = target.sha256


def _read(file: Path) -> bytes:
    try:
        content = file.read_bytes()
        file.unlink()
    except OSError as fault:
        raise UpdateRejected(Reason.INCOMPLETE, "A fetched file can't be read.") from fault
    return content[:MOST_HEAD_BYTES]


def _fault_of_ours(fault: Exception) -> ContractError:
    """Its text is not repeated, for it may hold anything."""
    return ContractError(
        f"A fault in the program kept this device from its updates ({type(fault).__name__})."
    )


def _comes_again(fault: Explained | None) -> bool:
    return isinstance(fault, UpdateRejected) and fault.reason in (
        Reason.UNREACHABLE,
        Reason.TOO_SLOW,
    )


def releases_of(home: Home, end: Callable[[], None]) -> Releases | None:
    """The releases of this installation; None where there is no installer, as in a checkout."""
    desk = ReleaseDesk.here(home.settings.state_folder)
    if desk is None:
        return None
    history = History(history_file(home.settings.state_folder))
    return Releases(desk, history, lambda: datetime.now(UTC), end)
