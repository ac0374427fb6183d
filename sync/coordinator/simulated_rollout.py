"""A rollout over a simulated fleet, in one process: what a version that fails somewhere would do.

Each device decides by the real code (`rollout`, `orders`), says how it went in real parcels through
the one door, and the real desk, book and rules decide at the coordinator, over files that are
signed and parsed as ever. What is simulated: time, the slots (two serials), who is away, and on
which boards the new version fails its golden vectors or its probation. No network.

In the life of a bundle: before it begins, to see what rings and tolerance mean for one's study.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from sync.coordinator.halting import rings_for
from sync.coordinator.rollout_book import Deed, RolloutBook, Wish
from sync.coordinator.rollout_desk import Publisher, RolloutDesk, start_of
from sync.coordinator.rollouts import Rollout, Rules
from sync.identity import COORDINATOR, Identity, Role, issue_credential, public_key
from sync.inbox import Inbox
from sync.publishing.roles import Listed
from sync.release import release_protocol
from sync.topics import UpTopic
from sync.updates.offers import Kind, Offer, bundle_path
from sync.updates.orders import Heard, Installed, Order, order_of
from sync.updates.progress import Phase, progress_of
from sync.updates.rejected import Reason
from sync.updates.rollout import ROLLOUT_FILE, Directive, State, parse_rollouts

BEFORE: Final = 6
"""The serial that every device runs when it begins."""
SERIAL: Final = 7
_STUDY: Final = "simulated"
_NAME: Final = "affect-1"
_HOUR_S: Final = 3600
_BEGAN: Final = 1_795_000_000
_MOST_HOURS: Final = 24 * 60
_YEARS: Final = 10 * 366 * 24 * 3600
_SHA256: Final = hashlib.sha256(b"a simulated bundle").hexdigest()
_OLD_SHA256: Final = hashlib.sha256(b"the bundle before it").hexdigest()
_OFFER: Final = Offer(kind=Kind.BUNDLE, name=_NAME, serial=SERIAL, says="2.0.0")
_LISTED: Final = Listed(bundle_path(_NAME, SERIAL), _SHA256, 1, _OFFER)
_ASKS_EVERY_H: Final = 12  # a device that is on looks at least so often: by LOOK, or by itself
_TRIES_MOST_H: Final = 6  # from fetching to the end of its probation


class Chance:
    """The same bytes for the same seed: SHA-256 of a counter. For simulations, never for keys."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._drawn = 0

    def bytes(self, count: int) -> bytes:
        """At most 32."""
        self._drawn += 1
        return hashlib.sha256(f"{self._seed}/{self._drawn}".encode()).digest()[:count]

    def below(self, end: int) -> int:
        """A whole number from 0, below `end`."""
        return int.from_bytes(self.bytes(8), "big") % end

    def happens(self, share: float) -> bool:
        """Whether it does, with this probability."""
        return int.from_bytes(self.bytes(7), "big") < share * 2**56


class Acts:
    """A log of acts in memory."""

    def __init__(self) -> None:
        self.acts: list[dict[str, str]] = []

    def record(self, act: str, details: Mapping[str, str], now: datetime) -> None:
        """Kept for as long as the simulation lasts."""
        self.acts.append({"act": act, "at": now.isoformat(), **details})


@dataclass(slots=True)
class SimulatedDevice:
    """One board: what it runs, what it remembers, and what the new version will do on it.

    `fails` None: nothing; else the reason. `looks_at`, `ends_at`: hours; `trying`: the directive it
    follows now. `ran`: every serial that it ever ran.
    """

    pseudonym: str
    fails: Reason | None
    looks_at: int
    tries_h: int
    installed: Installed = field(default_factory=lambda: Installed(BEFORE, 0))
    heard: Heard = field(default_factory=Heard)
    trying: Directive | None = None
    ends_at: int = 0
    ran: list[int] = field(default_factory=lambda: [BEFORE])

    def look(self, directives: tuple[Directive, ...], hour: int) -> tuple[bytes, ...]:
        """Hear the newest directives and do what they ask; the frames that it says."""
        said: tuple[bytes, ...] = ()
        for directive in directives:
            self.heard = self.heard.follow(directive)
            match order_of(directive, self.pseudonym, self.installed, _BEGAN + hour * _HOUR_S):
                case Order.TAKE if self.trying is None:
                    said += self._begins(directive, hour)
                case Order.GO_BACK:
                    self.trying = None
                    said += self._goes_back(directive, Reason.WITHDRAWN, hour)
                case _:
                    pass
        return said

    def live(self, hour: int) -> tuple[bytes, ...]:
        """What its probation comes to, once it is over."""
        directive = self.trying
        if directive is None or hour < self.ends_at:
            return ()
        self.trying = None
        if self.fails is None:
            return self._says(directive, Phase.COMMITTED, None, hour)
        return self._goes_back(directive, self.fails, hour)

    def _begins(self, directive: Directive, hour: int) -> tuple[bytes, ...]:
        fetched = self._says(directive, Phase.FETCHED, None, hour)
        before = self.installed
        if self.fails is Reason.GOLDEN:
            self.installed = replace(before, refused=before.refused | {directive.serial})
            return fetched + self._says(directive, Phase.REJECTED, Reason.GOLDEN, hour)
        self.installed = replace(before, runs=directive.serial, other=before.runs)
        self.ran.append(directive.serial)
        self.trying, self.ends_at = directive, hour + self.tries_h
        return fetched + self._says(directive, Phase.TRYING, None, hour)

    def _goes_back(self, directive: Directive, reason: Reason, hour: int) -> tuple[bytes, ...]:
        """To the other slot, which is all that it has to go back to."""
        before = self.installed
        if before.other is None:
            return ()
        refused = before.refused | {before.runs}
        self.installed = Installed(before.other, None, refused)
        self.ran.append(before.other)
        return self._says(directive, Phase.ROLLED_BACK, reason, hour)

    def _says(
        self, directive: Directive, phase: Phase, reason: Reason | None, hour: int
    ) -> tuple[bytes, ...]:
        progress = progress_of(
            kind=directive.kind,
            name=directive.name,
            serial=directive.serial,
            rollout=directive.number,
            phase=phase,
            reason=reason,
            runs=self.installed.runs,
            runs_sha256=_SHA256 if self.installed.runs == SERIAL else _OLD_SHA256,
            moment=_BEGAN + hour * _HOUR_S + len(self.ran),
        )
        released = release_protocol(progress.to_parcel(), UpTopic(_STUDY, self.pseudonym))
        return tuple(each.payload for each in released)


@dataclass(frozen=True, slots=True)
class Hour:
    """How the rollout stood after an hour in which its directive changed."""

    hour: int
    rollout: Rollout
    in_rings: int
    committed: int
    failed: int
    went_back: int


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of it: each change of the rollout, and the fleet as it is at the end."""

    hours: tuple[Hour, ...]
    devices: tuple[SimulatedDevice, ...]

    @property
    def last(self) -> Rollout:
        """The rollout at its end."""
        return self.hours[-1].rollout


class SimulatedFleet:
    """Devices and their coordinator; `repository`: a folder to write `rollout.json` into.

    `failing` and `away`: shares of devices, the latter never on; `seed`: of who they are, and when
    devices look. Keys are fixed: nothing here is secret.
    """

    def __init__(
        self,
        devices: int,
        book: RolloutBook,
        repository: Path,
        *,
        failing: float,
        away: float = 0.0,
        rings: tuple[int, ...] | None = None,
        rules: Rules | None = None,
        seed: int = 0,
    ) -> None:
        chance = Chance(seed)
        self._rules = rules or Rules()
        self._rings = rings or rings_for(devices, self._rules.tolerated)
        self._book = book
        self._repository = repository
        self._authority = chance.bytes(32)
        self._inbox = Inbox()
        self.devices = tuple(_device(chance, failing, away) for _ in range(devices))
        self._by_name = {each.pseudonym: each for each in self.devices}
        self.acts = Acts()
        repository.mkdir(exist_ok=True)
        self.desk = RolloutDesk(
            Publisher(
                _STUDY,
                _coordinator(self._authority, chance.bytes(32)),
                public_key(self._authority),
                lambda: self._by_name,
                repository,
                lambda *_: (_OFFER, _LISTED),
            ),
            book,
            self.acts,
            random_bytes=chance.bytes,
        )

    def run(self, *, then_abort: bool = False) -> Simulated:
        """Hour by hour until it is halted or finished and all probations are over; at most 60 days.

        `then_abort`: once it is halted, somebody withdraws it, and devices have a day to hear.
        """
        content = start_of(SERIAL, self._rings, self._rules)
        self._book.wish(Wish(Deed.START, Kind.BUNDLE, _NAME, content))
        hours: list[Hour] = []
        told, until = b"", _MOST_HOURS
        for hour in range(_MOST_HOURS):
            now = _BEGAN + hour * _HOUR_S
            if self.desk.advance(now):
                told = (self._repository / ROLLOUT_FILE).read_bytes()
            (rollout,) = self._book.newest()
            if not hours or hours[-1].rollout.directive.number != rollout.directive.number:
                hours.append(self._hour(hour, rollout))
            self._live(told, hour)
            state = rollout.directive.state
            if state is State.PAUSED and then_abort:
                self._book.wish(Wish(Deed.ABORT, Kind.BUNDLE, _NAME))
            if state in (State.FINISHED, State.ABORTED) or (
                state is State.PAUSED and not then_abort
            ):
                until = min(until, hour + 2 * _ASKS_EVERY_H)
            if hour >= until:
                break
        if hours[-1].hour != hour:
            hours.append(self._hour(hour, rollout))
        return Simulated(tuple(hours), self.devices)

    def _live(self, told: bytes, hour: int) -> None:
        now = _BEGAN + hour * _HOUR_S
        directives = parse_rollouts(
            told, study=_STUDY, authority=public_key(self._authority), now=now
        )
        for device in self.devices:
            said = device.live(hour)
            if device.looks_at >= 0 and (hour - device.looks_at) % _ASKS_EVERY_H == 0:
                said += device.look(directives, hour)
            for frame in said:
                self._hear(device.pseudonym, frame, now)

    def _hear(self, pseudonym: str, frame: bytes, now: int) -> None:
        heard = self._inbox.receive(pseudonym, frame, float(now))
        if heard.parcel is not None:
            self.desk.hear(pseudonym, heard.parcel.content, now)
            self._inbox.finish(pseudonym, heard.digest, float(now))

    def _hour(self, hour: int, rollout: Rollout) -> Hour:
        count = self.desk.count(rollout, _BEGAN + hour * _HOUR_S)
        return Hour(
            hour,
            rollout,
            count.devices,
            sum(d.installed.runs == SERIAL and d.trying is None for d in self.devices),
            count.failures,
            sum(d.ran[-1] == BEFORE and SERIAL in d.ran for d in self.devices),
        )


def _device(chance: Chance, failing: float, away: float) -> SimulatedDevice:
    reason = (Reason.GOLDEN, Reason.UNHEALTHY)[chance.below(2)]
    fails = reason if chance.happens(failing) else None
    looks_at = -1 if chance.happens(away) else chance.below(_ASKS_EVERY_H)
    tries_h = 1 + chance.below(_TRIES_MOST_H)
    return SimulatedDevice(chance.bytes(16).hex(), fails, looks_at, tries_h)


def _coordinator(authority: bytes, key: bytes) -> Identity:
    credential = issue_credential(
        authority,
        study=_STUDY,
        role=Role.COORDINATOR,
        name=COORDINATOR,
        signing_key=public_key(key),
        expires=_BEGAN + _YEARS,
    )
    return Identity(key, credential)
