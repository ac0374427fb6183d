"""Installs a release that the agent has fetched; it runs as another user, without any network.

    python -I -m agent.updates.installer --prefix /opt/sottovoce adopt b WHEELS
    python -I -m agent.updates.installer --prefix … --trust FOLDER pin ROOT
    python -I -m agent.updates.installer --prefix … --state FOLDER settle
    python -I -m agent.updates.installer --prefix … --state FOLDER --trust FOLDER --user NAME work

Rules it upholds: who runs the agent can't write the agent's code; this can, and believes nothing
of what the agent hands over: it has a trust folder and a floor of time of its own, pinned by the
person who installed it, and verifies metadata, list and wheels anew; the new release is tried as
the agent's user, never as this one; what runs is not touched before one rename. Whether the study's
rollout has come to this device is the agent's business: here, only what TUF allows is installed.

`settle` goes back from a release that the launcher gave up, and commits one that the agent kept.
`work` settles, then takes the release that is wanted, and leaves an answer. `adopt` is the end of
an installation by hand: what install.sh put into a slot is committed, its wheels are kept.

In the life of a release: handed over → **idle slot, trial, `current`** → launcher.
"""

import argparse
import hashlib
import pwd
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final, TypeVar

from agent.keys import UPDATES_FOLDER
from agent.updates.child import Owner
from agent.updates.release_desk import (
    ANSWER,
    KEPT,
    MIRROR,
    MOST_NOTE_BYTES,
    NAME,
    RELEASES,
    STARTS,
    WANTED,
    WHEELS,
    Answer,
    Kept,
    Starts,
    Wanted,
    answer_in,
    release_offer,
    wheels_of,
)
from agent.updates.release_trial import try_release
from agent.updates.slots import LETTERS, Label, Slot, Slots
from agent.updates.wheelhouse import (
    MOST_UNPACKED_BYTES,
    SCRATCH,
    Wheelhouse,
    build_environment,
    check_room,
    check_wheel,
)
from edge_models.errors import Explained
from sync.envelope import Message, decoded, encoded
from sync.errors import ProtocolError
from sync.updates.durable import write_durably
from sync.updates.mirrors import FolderMirror
from sync.updates.offers import Kind, Offer, release_path, wheel_path
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.trust import Trust
from sync.updates.wheels import Wheel, WheelList, parse_wheel_list, this_platform

BY_HAND: Final = "by-hand"
"""The name in the label of what install.sh brought: it has no serial to compare with."""
_LIST: Final = "release.json"
_MOST_ROOT_BYTES: Final = 512 * 1024
_FOR_ALL_TO_READ: Final = 0o644
_Note = TypeVar("_Note", bound=Message)


class Installer:
    """One device's releases below `prefix`; `state` is the agent's, and read with suspicion."""

    def __init__(
        self,
        prefix: Path,
        state: Path,
        trust: Path,
        *,
        now: Callable[[], datetime],
        owner: Owner | None,
    ) -> None:
        self._prefix = prefix
        self._handed = FolderMirror(state / UPDATES_FOLDER)
        mirror = FolderMirror(state / UPDATES_FOLDER / MIRROR)
        self._trust = Trust(trust, mirror, mirror, now=now, study=None)
        self._fetched = trust / "fetched"
        self._owner = owner
        self.slots = Slots(prefix / RELEASES)
        self.wheels = Wheelhouse(prefix / WHEELS)

    def settle(self) -> None:
        """Go back from what the launcher gave up; commit what the agent kept.

        Raises:
            SlotError: the slots can't be written.
            UpdateRejected: NO_ROOM, to commit.
        """
        running = self.slots.current()
        if running is None or running.committed:
            return
        starts = self._note(STARTS, Starts)
        kept = self._note(KEPT, Kept)
        if kept is not None and kept.serial == running.label.serial:
            self.slots.commit()
            self._forget_old_wheels()
        elif starts is not None and starts.given_up and starts.serial == running.label.serial:
            self.slots.roll_back(
                Reason.UNHEALTHY, f"Version {running.label.says} did not stay up on this device."
            )

    def wanted(self) -> Wanted | None:
        """The release that the agent asks for, and has no answer about yet."""
        wanted, said = self._note(WANTED, Wanted), answer_in(self._prefix)
        if wanted is None:
            return None
        is_answered = said is not None and (said.serial, said.attempt) == (
            wanted.serial,
            wanted.attempt,
        )
        return None if is_answered else wanted

    def install(self, serial: int) -> Slot:
        """Verify, install, try and switch to this release; it is on probation from then on.

        Raises:
            UpdateRejected: with the reason; what runs is untouched.
            SlotError: what runs is on probation itself, or the slots can't be written.
        """
        try:
            return self._installed(serial)
        finally:  # what is left came from this disk: nothing is lost, and it would pile up
            shutil.rmtree(self._fetched, ignore_errors=True)

    def _installed(self, serial: int) -> Slot:
        self._trust.refresh()
        target = self._trust.offer(release_path(serial))
        offer = release_offer(target)
        assert target is not None
        self._check_newer(offer)
        raw = self._trust.download(target, self._fetched).read_bytes()
        listed = wheels_of(offer, raw)
        wheels = listed.for_platform(this_platform())
        for wheel in self.wheels.missing(wheels):
            self._take(wheel)
        with self.slots.stage(Label.of(offer, target.sha256)) as slot:
            self._fill(slot, wheels)
            write_durably(slot / _LIST, raw)
            try_release(slot, offer.says, owner=self._owner)
        activated = self.slots.activate()
        self._forget_old_wheels()
        return activated

    def go_back(self, serial: int) -> Slot:
        """Switch to the release before this one, which the study took back; never to anything else.

        Raises:
            UpdateRejected: INCOMPLETE, there is none before it.
            SlotError: the slots can't be written.
        """
        running, before = self.slots.current(), self.slots.previous()
        if running is None or running.label.serial != serial or before is None:
            raise UpdateRejected(
                Reason.INCOMPLETE, "The release that was taken back does not run, or is the first."
            )
        self.slots.roll_back(Reason.WITHDRAWN, f"The study took version {running.label.says} back.")
        return before

    def answer(self, wanted: Wanted, fault: Explained | None = None) -> None:
        """Leave word for the agent."""
        said = Answer(
            serial=wanted.serial,
            attempt=wanted.attempt,
            taken=fault is None,
            reason=fault.reason if isinstance(fault, UpdateRejected) else None,
            sentence=fault.cause[:1000] if fault else "",
        )
        write_durably(self._prefix / RELEASES / ANSWER, encoded(said), _FOR_ALL_TO_READ)

    def pin(self, root: bytes) -> None:
        """Pin the study's first root of update keys.

        Raises:
            UpdateRejected: it is none, or another one is pinned.
        """
        self._trust.init(root)

    def adopt(self, letter: str, wheels: Path) -> None:
        """Label, switch to and commit what install.sh has put into a slot from these wheels.

        Raises:
            UpdateRejected: NO_ROOM.
            SlotError: the slots can't be written.
        """
        came: list[Wheel] = []
        for file in sorted(wheels.glob("*.whl")):
            raw = file.read_bytes()
            wheel = Wheel(file=file.name, sha256=hashlib.sha256(raw).hexdigest(), bytes=len(raw))
            self.wheels.add(wheel, file)
            came.append(wheel)
        self._forget_old_wheels(came)
        folder = self._prefix / RELEASES
        says = version(NAME)
        own = Label(kind=Kind.RELEASE, name=BY_HAND, serial=1, says=says, sha256="0" * 64)
        write_durably(folder / f"{letter}.label", encoded(own))
        self.slots.activate()
        self.slots.commit()

    def _check_newer(self, offer: Offer) -> None:
        """Never what was taken back here, and never below what runs; by hand, anything may run."""
        running = self.slots.current()
        if any(failed.label.serial == offer.serial for failed in self.slots.failed()):
            raise UpdateRejected(
                Reason.UNHEALTHY, f"Version {offer.says} has failed on this device before."
            )
        if (
            running is not None
            and running.label.name == NAME
            and offer.serial <= running.label.serial
        ):
            raise UpdateRejected(
                Reason.OLDER, f"Version {offer.says} is not newer than the one that runs."
            )

    def _take(self, wheel: Wheel) -> None:
        found = self._trust.offer(wheel_path(wheel.file))
        if found is None or found.sha256 != wheel.sha256:
            raise UpdateRejected(
                Reason.INCOMPLETE, f"The study lists the wheel '{wheel.file}' but offers none."
            )
        came = self._trust.download(found, self._fetched)
        self.wheels.add(wheel, came)
        came.unlink()

    def _fill(self, slot: Path, wheels: tuple[Wheel, ...]) -> None:
        for left in slot.parent.glob(f"{SCRATCH}*"):  # by an installer that was cut short
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=slot.parent) as scratch:
            files = self.wheels.lay_out(wheels, Path(scratch))
            unpacked = 0
            for file in files:
                unpacked += check_wheel(file, MOST_UNPACKED_BYTES - unpacked)
            check_room(slot, unpacked)
            build_environment(files, slot)

    def _forget_old_wheels(self, kept: Iterable[Wheel] = ()) -> None:
        """Keep these, and those of the releases in both slots."""
        kept = list(kept)
        for letter in LETTERS:
            with suppress(OSError, UpdateRejected):
                kept += _listed(self._prefix / RELEASES / letter / _LIST).wheels
        if kept:
            self.wheels.keep_only(kept)

    def _note(self, name: str, kind: type[_Note]) -> _Note | None:
        """A note of the agent's user; one that is no note counts as none."""
        with suppress(UpdateRejected, ProtocolError):
            return decoded(b"".join(self._handed.read(name, MOST_NOTE_BYTES)), kind)
        return None


def _listed(file: Path) -> WheelList:
    return parse_wheel_list(file.read_bytes())


def work(installer: Installer) -> int:
    """Settle, then take what is wanted; a refusal is an answer, and no failure of this program."""
    installer.settle()
    while (wanted := installer.wanted()) is not None:  # the agent may have asked meanwhile
        try:
            slot = (
                installer.go_back(wanted.serial)
                if wanted.withdrawn
                else installer.install(wanted.serial)
            )
        except Explained as fault:
            installer.answer(wanted, fault)
            print(f"Release {wanted.serial} was not taken: {fault}")
        else:
            installer.answer(wanted)
            standing = "as before" if slot.committed else "on probation"
            print(f"Version {slot.label.says} is in slot '{slot.folder.name}', {standing}.")
        installer.settle()
    return 0


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="installer", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--prefix", type=Path, required=True, help="where releases are installed")
    parser.add_argument("--trust", type=Path, default=Path("/nonexistent"), help="its own folder")
    parser.add_argument("--state", type=Path, default=Path("/nonexistent"), help="the agent's")
    parser.add_argument("--user", help="whom the agent runs as; a new release is tried as them")
    acts = parser.add_subparsers(dest="act", required=True)
    adopt = acts.add_parser("adopt")
    adopt.add_argument("slot", choices=LETTERS)
    adopt.add_argument("wheels", type=Path)
    acts.add_parser("pin").add_argument("root", type=Path)
    acts.add_parser("settle")
    acts.add_parser("work")
    said = parser.parse_args()
    installer = Installer(
        said.prefix,
        said.state,
        said.trust,
        now=lambda: datetime.now(UTC),
        owner=_owner(said.user) if said.user else None,
    )
    try:
        match said.act:
            case "adopt":
                installer.adopt(said.slot, said.wheels)
            case "pin":
                with said.root.open("rb") as file:
                    installer.pin(file.read(_MOST_ROOT_BYTES))
            case "settle":
                installer.settle()
            case _:
                return work(installer)
    except Explained as fault:
        print(f"sottovoce's installer: {fault}", file=sys.stderr)
        return fault.exit_code
    return 0


def _owner(name: str) -> Owner:
    found = pwd.getpwnam(name)
    return Owner(found.pw_uid, found.pw_gid)


if __name__ == "__main__":
    raise SystemExit(main())
