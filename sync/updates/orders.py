"""What a device does about a rollout: take it, go back, or stay as it is.

Rules it upholds: the highest number that was seen of a kind and name counts, and outlives a
restart; an older directive, or another of the same number, is refused; nothing is taken twice that
failed here once; a device goes back only to what its other slot holds, never to anything fetched.

In the life of a bundle: `rollout.json` → **orders** → fetch, or the slots' way back. Pure: the
updater keeps `Heard` beside its slots, before it does what is asked.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from sync.envelope import Message, decoded, encoded
from sync.errors import ProtocolError
from sync.messages import Version
from sync.updates.offers import Kind, Sha256, Short
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.rollout import VERSION, Directive, Number, State

MOST_HEARD: Final = 64


class Order(StrEnum):
    """What a directive asks of one device."""

    TAKE = "take"
    GO_BACK = "go-back"
    STAY = "stay"


@dataclass(frozen=True, slots=True)
class Installed:
    """What a device has of a kind and name: serials; 0 is what it was shipped with.

    `runs` now; `other`: what it ran before and still has, None if nothing; `refused`: what failed
    here, what the person declined, and what was rolled back.
    """

    runs: int
    other: int | None = None
    refused: frozenset[int] = frozenset()


def order_of(directive: Directive, pseudonym: str, installed: Installed, now: int) -> Order:
    """What this directive asks of this device at `now` (seconds, trusted time)."""
    if installed.runs in directive.withdrawn:
        back = installed.other
        if back is not None and back not in directive.withdrawn:
            return Order.GO_BACK
    if (
        directive.state in (State.STARTED, State.FINISHED)
        and not directive.is_stale(now)
        and directive.serial > installed.runs
        and directive.serial not in installed.refused
        and directive.includes(pseudonym)
    ):
        return Order.TAKE
    return Order.STAY


class Known(Message):
    """The newest directive that a device has seen of a kind and name: its number and digest."""

    kind: Annotated[Kind, Field(strict=False)]
    name: Short
    number: Number
    sha256: Sha256


class Heard(Message):
    """All that a device has to remember of rollouts, across restarts."""

    version: Version = VERSION
    known: Annotated[tuple[Known, ...], Field(max_length=MOST_HEARD, strict=False)] = ()

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if len({(each.kind, each.name) for each in self.known}) != len(self.known):
            raise ValueError("one number is known of a kind and name")
        return self

    def follow(self, directive: Directive) -> Self:
        """What is remembered once this directive is believed; keep it before acting on it.

        Raises:
            UpdateRejected: OLDER than one that was seen, EQUIVOCAL (another of the same number),
                or NO_ROOM for yet another name.
        """
        about = (directive.kind, directive.name)
        others = tuple(each for each in self.known if (each.kind, each.name) != about)
        for each in self.known:
            if (each.kind, each.name) == about:
                _not_older(directive, each)
        if len(others) >= MOST_HEARD:
            raise UpdateRejected(
                Reason.NO_ROOM, "A rollout is of yet another name, and too many are known here."
            )
        known = Known(
            kind=directive.kind,
            name=directive.name,
            number=directive.number,
            sha256=directive.digest,
        )
        return type(self)(known=(*others, known))

    def to_bytes(self) -> bytes:
        """The one encoding, for the device's folder."""
        return encoded(self)


def parse_heard(content: bytes) -> Heard:
    """What a device has remembered.

    Raises:
        UpdateRejected: INCOMPLETE: the file is damaged. Whoever takes it for empty would follow an
            old directive again.
    """
    try:
        return decoded(content, Heard)
    except ProtocolError as fault:
        raise UpdateRejected(
            Reason.INCOMPLETE,
            "What this device remembers of updates is damaged.",
            "Ask your study; once `updates/heard` in the state folder is removed, it follows anew.",
        ) from fault


def _not_older(directive: Directive, known: Known) -> None:
    if directive.number < known.number:
        raise UpdateRejected(Reason.OLDER, "A rollout is older than one that this device has seen.")
    if directive.number == known.number and directive.digest != known.sha256:
        raise UpdateRejected(
            Reason.EQUIVOCAL, "Two different rollouts of one number were shown to this device."
        )
