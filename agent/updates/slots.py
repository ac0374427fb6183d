"""A/B slots: what runs, what is ready, and the way back, for bundles and releases alike.

Rules it upholds: what runs is switched by exactly one rename; a label is written last, after all
that it speaks of is on disk, and what has no label is never switched to; each change of state is
one atomic step, so that whenever the power fails, either the old or the new holds, whole; the way
back needs no room on the disk; what runs is never written to.

In the life of a bundle: archive → **idle slot** → trial → `current` → probation → commit or back.

    a/  b/                   what two slots hold; `stage` gives the idle one, empty
    a.label                  what it is: without it, half written
    a.committed              it has proven itself
    a.failed                 the label of what was gone back from; a.why: the reason
    current -> a             what runs; absent: what the installation came with ("factory")
    back -> b                laid ready before `current` moves, so that going back needs no room

Which of the states holds is read from these names alone. A slot with a label that is not current
and not committed is *ready*; current and not committed, *on probation*; committed and not current,
the *previous* one. Two processes share a folder: short steps wait for each other, and only one at
a time may fill the idle slot.

Source: rename(2) ("atomically replaced"), fsync(2) (a file's name needs its folder's), flock(2).
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import Field

from agent.errors import SlotError
from sync.envelope import Message, decoded, encoded
from sync.errors import ProtocolError
from sync.updates.durable import DRAFT, locked_file, settle, sync, write_durably
from sync.updates.offers import Kind, Offer, Serial, Sha256, Short
from sync.updates.rejected import DISK_FULL, Reason, UpdateRejected

Letter = Literal["a", "b"]
LETTERS: Final[tuple[Letter, Letter]] = ("a", "b")
CURRENT: Final = "current"
_BACK: Final = "back"
_MARKS: Final = ("label", "failed", "committed", "why", "probation")
_MOST_LABEL_BYTES: Final = 4096


class Label(Message):
    """What a slot holds, as it was signed for: see `Offer`; `sha256` is the whole target's."""

    kind: Kind = Field(strict=False)
    name: Short
    serial: Serial
    says: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$")]
    sha256: Sha256
    policy_signature: Annotated[str, Field(pattern=r"^([0-9a-f]{128})?$")] = ""

    @classmethod
    def of(cls, offer: Offer, sha256: str) -> "Label":
        """The label of an offered target."""
        return cls(
            kind=offer.kind,
            name=offer.name,
            serial=offer.serial,
            says=offer.says,
            sha256=sha256,
            policy_signature=offer.policy_signature,
        )


class _Why(Message):
    reason: Reason = Field(strict=False)
    sentence: Annotated[str, Field(max_length=1000)]


_Kept = TypeVar("_Kept", Label, _Why)


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot with a label; `folder` holds what the label speaks of."""

    folder: Path
    label: Label
    committed: bool

    @property
    def record(self) -> Path:
        """Where its probation is recorded; gone with the slot."""
        return self.folder.with_name(f"{self.folder.name}.probation")


@dataclass(frozen=True, slots=True)
class Failed:
    """What was gone back from; `reason` is None where the power failed before it was kept."""

    label: Label
    reason: Reason | None
    sentence: str


class Slots:
    """The slots in `folder`, which is made when first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def current(self) -> Slot | None:
        """What is to run; None: what the installation came with.

        Where `current` leads to something that failed or is not whole, it is the one before.
        """
        pointed = self._pointed()
        if pointed is None:
            return None
        return self._slot(pointed) or self._good(_other(pointed))

    def previous(self) -> Slot | None:
        """What `roll_back` leads to; None: what the installation came with."""
        current = self.current()
        return None if current is None else self._good(_other(_letter(current)))

    def staged(self) -> Slot | None:
        """What waits to be activated."""
        current = self.current()
        ready = (self._slot(letter) for letter in LETTERS if not _is(letter, current))
        return next((slot for slot in ready if slot and not slot.committed), None)

    def failed(self) -> tuple[Failed, ...]:
        """What was gone back from, until its slot is filled again."""
        found = []
        for letter in LETTERS:
            label = self._label(letter, "failed")
            if label is not None:
                why = _read(self._mark(letter, "why"), _Why)
                reason, sentence = (why.reason, why.sentence) if why else (None, "")
                found.append(Failed(label, reason, sentence))
        return tuple(found)

    @property
    def on_probation(self) -> bool:
        """Whether what runs has not proven itself yet."""
        current = self.current()
        return current is not None and not current.committed

    def stamp(self) -> tuple[int, int] | None:
        """Changes with every switch, and costs one look at the disk; None: factory."""
        try:
            found = (self.folder / CURRENT).lstat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    @contextmanager
    def stage(self, label: Label) -> Iterator[Path]:
        """Give the idle slot's folder, empty, to be filled; its label follows when that is done.

        Whatever goes wrong inside, the slot is emptied again and holds nothing.

        Raises:
            SlotError: what runs is on probation and needs its way back, or somebody else is
                filling the slot right now, or the folder can't be written.
            UpdateRejected: NO_ROOM, the disk is full.
        """
        with _explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked("staging.lock", wait=False), _explained(self.folder):
            with self._locked():
                self._tidy()
                if self.on_probation:
                    raise SlotError(
                        "The newest update is still on probation, and needs the slot before it.",
                        "It proves itself within minutes of listening; try again then.",
                    )
                letter = self._idle()
                self._empty(letter)
            folder = self.folder / letter
            try:
                folder.mkdir()
                yield folder
                settle(folder)
                self._write(f"{letter}.label", encoded(label))
            except BaseException:
                with contextlib.suppress(OSError):
                    self._empty(letter)
                raise

    def activate(self, *, of: Label | None = None) -> Slot:
        """Switch to what is ready; from now on it is on probation.

        Raises:
            SlotError: nothing is ready, or not `of`, or the folder can't be written.
            UpdateRejected: NO_ROOM; what runs stays.
        """
        with self._locked(), _explained(self.folder):
            self._tidy()
            ready, former = self.staged(), self.current()
            if ready is None or (of is not None and ready.label != of):
                raise SlotError("No update is ready to be switched to.", "Fetch one first.")
            if former is None:
                (self.folder / _BACK).unlink(missing_ok=True)
            else:
                self._point(_letter(former), _BACK)
            self._point(_letter(ready), CURRENT)
            return ready

    def commit(self, of: Label | None = None) -> None:
        """What runs has proven itself; doing so again changes nothing.

        Nothing is done where another process has switched, so that what runs is not `of` any more.

        Raises:
            SlotError: what the installation came with runs, or the folder can't be written.
            UpdateRejected: NO_ROOM; it stays on probation.
        """
        with self._locked(), _explained(self.folder):
            self._tidy()
            current = self.current()
            if current is None:
                raise SlotError("What this installation came with needs no proof.")
            if not current.committed and of in (None, current.label):
                self._write(f"{_letter(current)}.committed", b"")

    def roll_back(
        self, reason: Reason, sentence: str = "", *, of: Label | None = None
    ) -> Slot | None:
        """Go back to what ran before, and never again to what runs now; returns what runs then.

        Nothing is done where another process has switched, so that what runs is not `of` any more.

        It needs no room on the disk; on a full one only the reason may be lost.

        Raises:
            SlotError: what the installation came with runs already, or the folder can't be written.
        """
        with self._locked(), _explained(self.folder):
            self._tidy()
            current = self.current()
            if current is None:
                if of is not None:
                    return None
                raise SlotError(
                    "There is nothing before what runs now: it came with the installation.",
                    "Nothing was changed.",
                )
            if of not in (None, current.label):
                return current
            letter = _letter(current)
            with contextlib.suppress(OSError):
                self._write(f"{letter}.why", encoded(_Why(reason=reason, sentence=sentence[:1000])))
            self._mark(letter, "label").rename(self._mark(letter, "failed"))  # this is the step
            sync(self.folder)
            self._tidy()
            return self.current()

    # What follows runs under the lock.

    def _tidy(self) -> None:
        """Let `current` lead where `current()` says, after a step that the power cut short."""
        pointed, current = self._pointed(), self.current()
        link = self.folder / CURRENT
        if current is None:
            if os.path.lexists(link):
                link.unlink()
                sync(self.folder)
        elif pointed != _letter(current):
            if _leads_to(self.folder / _BACK) == _letter(current):
                (self.folder / _BACK).rename(link)
                sync(self.folder)
            else:
                self._point(_letter(current), CURRENT)

    def _idle(self) -> Letter:
        current, ready = self.current(), self.staged()
        if current is not None:
            return _other(_letter(current))
        return LETTERS[0] if ready is None else _letter(ready)

    def _empty(self, letter: Letter) -> None:
        """Take a slot's label first, for good, and then all the rest."""
        self._mark(letter, "label").unlink(missing_ok=True)
        sync(self.folder)
        folder = self.folder / letter
        if folder.is_symlink() or folder.is_file():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
        for mark in _MARKS:
            self._mark(letter, mark).unlink(missing_ok=True)
        sync(self.folder)

    def _point(self, letter: Letter, name: str) -> None:
        """Prepare a link beside, then put it in place by one rename."""
        draft = self.folder / f"{DRAFT}.{name}"
        draft.unlink(missing_ok=True)
        draft.symlink_to(letter)
        sync(self.folder)
        draft.rename(self.folder / name)
        sync(self.folder)

    def _write(self, name: str, content: bytes) -> None:
        write_durably(self.folder / name, content, 0o644)

    @contextmanager
    def _locked(self, name: str = "lock", *, wait: bool = True) -> Iterator[None]:
        with _explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                lock = locked_file(self.folder / name, wait=wait)
            except BlockingIOError:
                raise SlotError(
                    "Another process is fetching an update right now.", "Wait until it is done."
                ) from None
        with lock:
            yield

    # What follows reads.

    def _pointed(self) -> Letter | None:
        return _leads_to(self.folder / CURRENT)

    def _slot(self, letter: Letter) -> Slot | None:
        label, folder = self._label(letter, "label"), self.folder / letter
        if label is None or folder.is_symlink() or not folder.is_dir():
            return None
        return Slot(folder, label, self._mark(letter, "committed").exists())

    def _good(self, letter: Letter) -> Slot | None:
        slot = self._slot(letter)
        return slot if slot and slot.committed else None

    def _label(self, letter: Letter, mark: Literal["label", "failed"]) -> Label | None:
        return _read(self._mark(letter, mark), Label)

    def _mark(self, letter: Letter, mark: str) -> Path:
        return self.folder / f"{letter}.{mark}"


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        if fault.errno in DISK_FULL:
            raise UpdateRejected(
                Reason.NO_ROOM,
                f"There is no room on the disk of '{folder}' for an update.",
                "What runs now stays as it is; make room, and it is tried again.",
            ) from fault
        raise SlotError(
            f"The folder of updates '{folder}' can't be used: {fault.strerror}.",
            "Check who owns it and whether its disk is sound; what runs now stays as it is.",
        ) from fault


def _read(path: Path, kind: type[_Kept]) -> _Kept | None:
    try:
        with path.open("rb") as file:
            return decoded(file.read(_MOST_LABEL_BYTES), kind)
    except (OSError, ProtocolError):
        return None


def _leads_to(link: Path) -> Letter | None:
    try:
        said = str(link.readlink())
    except OSError:
        return None
    return next((letter for letter in LETTERS if said == letter), None)


def _letter(slot: Slot) -> Letter:
    return "a" if slot.folder.name == "a" else "b"


def _other(letter: Letter) -> Letter:
    return "b" if letter == "a" else "a"


def _is(letter: Letter, slot: Slot | None) -> bool:
    return slot is not None and _letter(slot) == letter
