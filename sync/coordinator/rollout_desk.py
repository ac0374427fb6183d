"""Rollouts at work: takes wishes, counts what devices say, and writes the signed directives.

Rules upheld here: every act is in the audit log and in the book before devices can hear of it;
`rollout.json` is replaced as a whole, and is made again from the book after a fault; a book that
was put back from a backup never takes back what was published since: it follows the published
directives, and pauses what it knows no better.

In the life of a bundle: between `post`, which hears devices, and the repository's folder.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Protocol

from pydantic import Field, ValidationError

from edge_models.errors import Explained
from sync.coordinator.rollout_book import Deed, RolloutBook, Wish
from sync.coordinator.rollouts import Count, Rollout, RolloutError, Rules
from sync.envelope import Message, decoded, encoded
from sync.errors import ProtocolError
from sync.identity import Identity
from sync.publishing.files import put
from sync.publishing.roles import Listed
from sync.retry import say_in_log
from sync.updates.offers import Kind, Offer, Serial
from sync.updates.progress import parse_progress
from sync.updates.rejected import UpdateRejected
from sync.updates.rollout import (
    MOST_DIRECTIVES,
    MOST_ROLLOUT_BYTES,
    ROLLOUT_FILE,
    VERSION,
    Directive,
    PerMille,
    State,
    parse_rollouts,
    sign_rollouts,
)

_COUNT_EVERY_S: Final = 5
_TELL_EVERY_S: Final = 60
_KEY_BYTES: Final = 32


class Log(Protocol):
    """Where every act is written down for good, signed: `publishing`'s `OnlineSigner` is one."""

    def record(self, act: str, details: Mapping[str, str], now: datetime) -> None:
        """One act, on disk when this returns."""


class Start(Message):
    """What somebody wants rolled out, and how: the content of a START wish."""

    serial: Serial
    rings: Annotated[tuple[PerMille, ...], Field(min_length=1, max_length=8, strict=False)]
    rules: Rules


@dataclass(frozen=True, slots=True)
class Publisher:
    """Whose rollouts these are: the study, who signs for it, who is a member, where files lie.

    `find` gives what is on offer under a kind, name and serial, or raises `RolloutError`.
    """

    study: str
    coordinator: Identity
    authority: bytes
    members: Callable[[], Iterable[str]]
    repository: Path
    find: Callable[[Kind, str, str], tuple[Offer, Listed]]


class RolloutDesk:
    """Made once in a coordinator; `hear` and `advance` may be called from different threads."""

    def __init__(
        self,
        publisher: Publisher,
        book: RolloutBook,
        log: Log,
        *,
        random_bytes: Callable[[int], bytes],
        on_fault: Callable[[Explained], None] = say_in_log,
    ) -> None:
        self._publisher = publisher
        self._book = book
        self._log = log
        self._random_bytes = random_bytes
        self._on_fault = on_fault
        self._counted_at: int | None = None
        self._told_at: int | None = None
        self._agrees = False  # whether the book has been held against what is published

    def hear(self, pseudonym: str, content: bytes, now: int) -> None:
        """Keep the content of a PROGRESS parcel that a member sent.

        Raises:
            ProtocolError: it holds no progress.
            RolloutBookError: it could not be kept: it must not be acknowledged.
        """
        self._book.hear(pseudonym, parse_progress(content), now)

    def advance(self, now: int) -> bool:
        """Do what is due: wishes at once, counting every few seconds. True: devices should look.

        Call it again and again. A fault is told, and what could not be done is tried again.
        """
        try:
            self._agree(now)
            self._do_wishes(now)
            if self._counted_at is not None and now - self._counted_at < _COUNT_EVERY_S:
                return False
            for rollout in self._book.newest():
                after = rollout.looked_at(self.count(rollout, now), now)
                if after is not rollout:
                    self._keep(after, by="rule")
            changed = self._publish()
            self._counted_at = now
        except Explained as fault:
            if self._told_at is None or now - self._told_at >= _TELL_EVERY_S:
                self._told_at = now
                self._on_fault(fault)
            return False
        return changed

    def count(self, rollout: Rollout, now: int) -> Count:
        """How the devices of a rollout's open rings stand."""
        about = rollout.directive
        said = self._book.said(about.kind, about.name, about.serial)
        return rollout.count(self._publisher.members(), said, now)

    def _do_wishes(self, now: int) -> None:
        """Each once; where the world fails, it and those after it stay wanted."""
        wishes = self._book.take_wishes()
        for number, wish in enumerate(wishes):
            self._counted_at = None
            try:
                self._do(wish, now)
            except RolloutError as fault:
                self._on_fault(fault)
            except Explained:
                for undone in wishes[number:]:
                    self._book.wish(undone)
                raise

    def _do(self, wish: Wish, now: int) -> None:
        found = self._newest(wish.kind, wish.name)
        if wish.deed is Deed.START:
            self._keep(self._started(wish, found, now), by="person")
            return
        if found is None:
            raise RolloutError(
                f"Nothing of the {wish.kind.value} '{wish.name}' is rolled out.",
                "See what is: sottovoce rollout status",
            )
        match wish.deed:
            case Deed.PAUSE:
                after = found.paused(now)
            case Deed.RESUME:
                after = found.resumed(self.count(found, now), now)
            case _:
                after = found.aborted(now)
        self._keep(after, by="person")

    def _started(self, wish: Wish, before: Rollout | None, now: int) -> Rollout:
        try:
            start = decoded(wish.content, Start)
        except ProtocolError as fault:
            raise RolloutError("What is to be rolled out can't be read.", "Ask anew.") from fault
        what = self._publisher.find(wish.kind, wish.name, str(start.serial))
        if before is None and len(self._book.newest()) >= MOST_DIRECTIVES:
            raise RolloutError(
                f"There are rollouts of {MOST_DIRECTIVES} names already, and no room for more.",
                "Use a name that was rolled out before.",
            )
        if before is not None:
            may_follow(before.directive, start.serial)
        directive = _directive(
            self._publisher.study,
            *what,
            start,
            1 if before is None else before.directive.number + 1,
            () if before is None else before.directive.withdrawn,
            self._random_bytes(_KEY_BYTES),
            now,
        )
        return Rollout(directive, start.rules, began_at=now, opened_at=now)

    def _newest(self, kind: Kind, name: str) -> Rollout | None:
        for rollout in self._book.newest():
            if (rollout.directive.kind, rollout.directive.name) == (kind, name):
                return rollout
        return None

    def _keep(self, rollout: Rollout, *, by: str) -> None:
        """The log first: an act that nobody hears of is better than one that is not written."""
        about = rollout.directive
        self._log.record(
            "rollout",
            {
                "by": by,
                "kind": about.kind.value,
                "name": about.name,
                "serial": str(about.serial),
                "number": str(about.number),
                "state": about.state.value,
                "per mille": str(about.per_mille),
                "sha256": about.sha256,
                "directive": about.digest,
                "why": rollout.why,
            },
            datetime.fromtimestamp(about.signed_at, UTC),
        )
        self._book.keep(rollout)

    def _publish(self) -> bool:
        directives = tuple(rollout.directive for rollout in self._book.newest())
        if not directives:
            return False
        content = sign_rollouts(directives, self._publisher.coordinator)
        if content == self._published():
            return False
        file = self._publisher.repository / ROLLOUT_FILE
        try:
            put(file, content)
        except OSError as fault:
            raise RolloutError(
                f"'{file}' can't be written ({fault.strerror}): devices hear nothing new.",
                "Free some space, or make the folder writable for the coordinator.",
            ) from fault
        return True

    def _published(self) -> bytes:
        """The file as it is; empty where there is none."""
        file = self._publisher.repository / ROLLOUT_FILE
        try:
            with file.open("rb") as found:
                return found.read(MOST_ROLLOUT_BYTES + 1)
        except FileNotFoundError:
            return b""
        except OSError as fault:
            raise RolloutError(
                f"'{file}' can't be read ({fault.strerror}).",
                "Make the folder readable for the coordinator.",
            ) from fault

    def _agree(self, now: int) -> None:
        """After a start: follow what is published, where the book is older."""
        if self._agrees:
            return
        for directive in self._said_before(now):
            known = self._newest(directive.kind, directive.name)
            if known is None or known.directive.number < directive.number:
                rules = Rules() if known is None else known.rules
                kept = Rollout(directive, rules, directive.signed_at, now)
                if directive.state in (State.STARTED, State.FINISHED):
                    why = "Paused: what the coordinator kept was older than what it had published."
                    self._keep(replace(kept.paused(now), why=why), by="rule")
                else:  # that act is in the log
                    self._book.keep(kept)
        self._agrees = True

    def _said_before(self, now: int) -> tuple[Directive, ...]:
        """What is published in our name; what is not, is no word of ours, and is replaced."""
        content = self._published()
        if not content:
            return ()
        try:
            return parse_rollouts(
                content, study=self._publisher.study, authority=self._publisher.authority, now=now
            )
        except UpdateRejected as fault:
            self._on_fault(fault)
            return ()


def may_follow(before: Directive, serial: int) -> None:
    """Whether a version may be rolled out after the one that was before.

    Raises:
        RolloutError: it is not newer, or the other one is still on its way.
    """
    if serial <= before.serial:
        raise RolloutError(
            f"{before.name} {serial} is not newer than {before.serial}, which was rolled out.",
            "Publish it again: it gets a higher serial. A rollout that is paused can be resumed.",
        )
    if before.state is State.STARTED:
        raise RolloutError(
            f"{before.name} {before.serial} is still being rolled out.",
            "Let it finish, or first: sottovoce rollout pause or abort",
        )


def start_of(serial: int, rings: tuple[int, ...], rules: Rules) -> bytes:
    """The content of a START wish.

    Raises:
        RolloutError: there are no such rings.
    """
    try:
        return encoded(Start(serial=serial, rings=rings, rules=rules))
    except ValidationError as fault:
        raise RolloutError(
            "A rollout has 1 to 8 rings of 0.1 to 100 per cent.", "Such as --rings 1,10,50,100."
        ) from fault


def _directive(
    study: str,
    offer: Offer,
    listed: Listed,
    start: Start,
    number: int,
    withdrawn: tuple[int, ...],
    key: bytes,
    now: int,
) -> Directive:
    try:
        return Directive(
            version=VERSION,
            study=study,
            number=number,
            kind=offer.kind,
            name=offer.name,
            serial=offer.serial,
            path=listed.path,
            sha256=listed.sha256,
            rings=start.rings,
            open=1,
            key=key.hex(),
            state=State.STARTED,
            withdrawn=withdrawn,
            signed_at=now,
        )
    except ValidationError as fault:
        raise RolloutError(
            "These rings can't be had: each is larger than the one before.",
            "Such as --rings 1,10,50,100.",
        ) from fault
