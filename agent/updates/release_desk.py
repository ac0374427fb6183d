"""Where the agent hands a release over to the installer, and learns what became of it.

Rules it upholds: the agent never writes code that it will run: it fetches and hands over; the
installer, which runs as another user and checks everything for itself, installs. What is handed
over is a repository of its own, in the folders of the study's, so both check it by the same rules.

In the life of a release: rollout or person → **fetched and handed over** → installer → answer.

STATE/updates/release/mirror/      the metadata that led to it, the list, and wheels that are new
STATE/updates/release/wanted.json  {"serial": 7, "attempt": 1}: written last; wakes the installer
PREFIX/releases/answer.json        what the installer says to it
PREFIX/wheels/                     the wheels that are here already
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypeVar

from pydantic import Field, StrictBool, StrictInt

from agent.keys import UPDATES_FOLDER
from agent.updates.probation import Demands
from agent.updates.slots import Slot, Slots
from agent.updates.wheelhouse import Wheelhouse
from sync.envelope import Message, decoded, encoded
from sync.errors import ProtocolError
from sync.updates.downloads import disk_faults
from sync.updates.durable import write_durably
from sync.updates.offers import Kind, Offer, Serial, wheel_path
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.targets import Target
from sync.updates.trust import Trust
from sync.updates.tuf_client import METADATA
from sync.updates.wheels import WheelList, parse_wheel_list, this_platform

NAME: Final = "sottovoce"
RELEASES: Final = "releases"
WHEELS: Final = "wheels"
ANSWER: Final = "answer.json"
STARTS: Final = "launch/starts.json"
KEPT: Final = "launch/kept.json"
WANTED: Final = "release/wanted.json"
MIRROR: Final = "release/mirror"
MOST_NOTE_BYTES: Final = 4096
_Note = TypeVar("_Note", bound=Message)


class Wanted(Message):
    """The release that this device is to have; `attempt` rises when it is asked for again.

    `withdrawn`: it is to have the one before this instead, since the study took this one back.
    """

    serial: Serial
    attempt: Annotated[StrictInt, Field(ge=1, le=2**31)] = 1
    withdrawn: StrictBool = False


class Kept(Message):
    """The release that has proven itself."""

    serial: Serial


class Starts(Message):
    """What the launcher has counted of a release on probation."""

    serial: Serial
    starts: Annotated[StrictInt, Field(ge=0, le=1000)]
    given_up: StrictBool


class Answer(Message):
    """What became of a release that was wanted; `reason` is set where it was refused."""

    serial: Serial
    attempt: Annotated[StrictInt, Field(ge=1, le=2**31)]
    taken: StrictBool
    reason: Reason | None = Field(default=None, strict=False)
    sentence: Annotated[str, Field(max_length=1000)] = ""


@dataclass(frozen=True, slots=True)
class ReleaseDesk:
    """The two folders that a device's releases concern: where code lies, and the agent's own."""

    prefix: Path
    state_folder: Path

    @classmethod
    def here(cls, state_folder: Path) -> "ReleaseDesk | None":
        """The desk of the installation that this process runs from; None: there is no installer."""
        slot = Path(sys.prefix)
        if slot.parent.name != RELEASES or slot.name not in ("a", "b"):
            return None
        return cls(slot.parent.parent, state_folder)

    @property
    def slots(self) -> Slots:
        """The releases; this side only reads them."""
        return Slots(self.prefix / RELEASES)

    @property
    def wheels(self) -> Wheelhouse:
        """The wheels that are here already; this side only looks."""
        return Wheelhouse(self.prefix / WHEELS)

    @property
    def _updates(self) -> Path:
        return self.state_folder / UPDATES_FOLDER

    def hand_over(self, trust: Trust, target: Target) -> None:
        """Fetch a release's list and what wheels are missing; then ask the installer for it.

        What was fetched is not fetched again.

        Raises:
            UpdateRejected: as `Trust.download`; NOT_ALLOWED, it is not for this kind of machine;
                INCOMPLETE names a wheel that the study lists and does not offer.
        """
        offer = release_offer(target)
        listed = wheels_of(offer, self._fetched(trust, target).read_bytes())
        for wheel in self.wheels.missing(listed.for_platform(this_platform())):
            found = trust.offer(wheel_path(wheel.file))
            if found is None or found.sha256 != wheel.sha256 or found.length != wheel.bytes:
                raise UpdateRejected(
                    Reason.INCOMPLETE, f"The study lists the wheel '{wheel.file}' but offers none."
                )
            self._fetched(trust, found)
        self._lay_out(trust.documents())
        self._ask(offer.serial, withdrawn=False)

    def withdraw(self, serial: int) -> None:
        """Ask the installer to go back from this release, which the study took back.

        Raises:
            UpdateRejected: NO_ROOM, it can't be asked.
        """
        self._ask(serial, withdrawn=True)

    def _ask(self, serial: int, *, withdrawn: bool) -> None:
        before = answer_in(self.prefix)
        again = before.attempt if before is not None and before.serial == serial else 0
        self._write(WANTED, Wanted(serial=serial, attempt=again + 1, withdrawn=withdrawn))

    def ask_again(self, wanted: Wanted) -> None:
        """Write the same note anew, which wakes the installer.

        Raises:
            UpdateRejected: NO_ROOM, it can't be asked.
        """
        self._write(WANTED, wanted)

    def wanted(self) -> Wanted | None:
        """What was asked for last."""
        return self._noted(WANTED, Wanted)

    def answer(self) -> Answer | None:
        """What the installer says to what was asked last; None: nothing yet.

        After a yes the agent ends with `launch.START_AGAIN`, and the new release is started.
        """
        found, wanted = answer_in(self.prefix), self._noted(WANTED, Wanted)
        if found is None or wanted is None:
            return None
        return found if (found.serial, found.attempt) == (wanted.serial, wanted.attempt) else None

    def clear(self) -> None:
        """Remove fetched wheels and lists of them."""
        targets = self._updates / MIRROR / "targets"
        for path in sorted(targets.rglob("*"), reverse=True) if targets.is_dir() else ():
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()

    def on_probation(self) -> Slot | None:
        """The release that runs, while it has yet to prove itself."""
        running = self.slots.current()
        if running is None or running.committed or running.folder != Path(sys.prefix):
            return None
        kept = self._noted(KEPT, Kept)
        return None if kept is not None and kept.serial == running.label.serial else running

    def given_up(self) -> int | None:
        """The release that the launcher gave up last; for the history, and for the study."""
        starts = self._noted(STARTS, Starts)
        return starts.serial if starts is not None and starts.given_up else None

    def keep(self, serial: int) -> None:
        """The release has proven itself: the launcher leaves it alone, the installer commits it."""
        self._write(KEPT, Kept(serial=serial))

    def _noted(self, name: str, kind: type[_Note]) -> _Note | None:
        return _read(self._updates / name, kind)

    def _lay_out(self, documents: Iterable[tuple[str, bytes]]) -> None:
        """Show the installer what this side believes, however it came here, and nothing besides."""
        with disk_faults():
            laid = {self._updates / MIRROR / path: content for path, content in documents}
            for place, content in laid.items():
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_durably(place, content)
            for left in (self._updates / MIRROR / METADATA).iterdir():
                if left not in laid:
                    left.unlink()

    def _fetched(self, trust: Trust, target: Target) -> Path:
        place = self._updates / MIRROR / target.lies_at
        with disk_faults():
            if not place.is_file() or place.stat().st_size != target.length:
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                trust.download(target, place.parent).replace(place)
        return place

    def _write(self, name: str, note: Message) -> None:
        path = self._updates / name
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_durably(path, encoded(note))
        except OSError as fault:
            raise UpdateRejected(
                Reason.NO_ROOM, f"The state folder can't be written ({fault.strerror})."
            ) from fault


def answer_in(prefix: Path) -> Answer | None:
    """The installer's last answer."""
    return _read(prefix / RELEASES / ANSWER, Answer)


def release_offer(target: Target | None) -> Offer:
    """What a target says it is, if that is a release of the agent.

    Raises:
        UpdateRejected: UNKNOWN, nothing is offered there, or something else.
    """
    offer = target.offer if target is not None else None
    if offer is None or (offer.kind, offer.name) != (Kind.RELEASE, NAME):
        raise UpdateRejected(Reason.UNKNOWN, "The study offers no such release of the agent.")
    return offer


def wheels_of(offer: Offer, raw: bytes) -> WheelList:
    """The list of wheels that was offered, which must be the offer's own.

    Raises:
        UpdateRejected: MALFORMED, or MIXED where it is another release's.
    """
    listed = parse_wheel_list(raw)
    if (listed.name, listed.serial, listed.says) != (offer.name, offer.serial, offer.says):
        raise UpdateRejected(Reason.MIXED, "A release's list of wheels is another release's.")
    return listed


def release_is_healthy(*, lived_s: float, windows: int, demands: Demands | None = None) -> bool:
    """Whether a release has shown all that is asked: it ran for long enough, and it described.

    `windows` counts those that went through all of the bundle since it was started.
    """
    asked = demands or Demands()
    return lived_s >= asked.lived_s and windows >= asked.windows


def _read(path: Path, kind: type[_Note]) -> _Note | None:
    try:
        with path.open("rb") as file:
            return decoded(file.read(MOST_NOTE_BYTES), kind)
    except (OSError, ProtocolError):
        return None
