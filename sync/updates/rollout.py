"""Who takes an update now: the coordinator's signed directive, in rings, as devices read it.

Rules it upholds: a directive is signed by the study's certified coordinator and says nothing of
what may run, which the offline keys alone say: it can hold an update back and can't let one in.
Its number rises with each change of a kind and name. Who is in a ring is in each larger one; who is
in the first follows from a key of the rollout's own, so that no device is always the first to try.
A directive opens nothing once it is a week old: who holds newer ones back from a device stops its
updates, and does not choose them.

In the life of a bundle: `rollouts` decides → **directive**, in `rollout.json` → `orders` on the
device, which fetches what it is asked to.
"""

import hashlib
import hmac
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Final, Self

from pydantic import Field, StrictInt, ValidationError, model_validator

from edge_models.errors import ContractError
from sync.envelope import MOST_PAYLOAD_BYTES, Message, decoded, encoded
from sync.errors import ProtocolError
from sync.identity import Credential, Identity, Role, parse_credential, verify
from sync.messages import StudyName, Version
from sync.updates.offers import Kind, Serial, Sha256, Short, TargetPath
from sync.updates.rejected import Reason, UpdateRejected

ROLLOUT_FILE: Final = "rollout.json"
"""Its path below the repository; never more than `MOST_ROLLOUT_BYTES`."""
MOST_ROLLOUT_BYTES: Final = MOST_PAYLOAD_BYTES
VERSION: Final = 1
EVERYBODY: Final = 1000
"""Shares are counted per mille."""
MOST_DIRECTIVES: Final = 8
MOST_WITHDRAWN: Final = 16
MOST_AGE_S: Final = 7 * 24 * 3600
"""An older directive opens nothing; the coordinator signs its directives anew each day."""

_PURPOSE: Final = "rollout"
_PLACE_BYTES: Final = 8

PerMille = Annotated[StrictInt, Field(ge=1, le=EVERYBODY)]
Moment = Annotated[StrictInt, Field(ge=0, le=2**40)]
Number = Annotated[StrictInt, Field(ge=1, le=2**31)]


class State(StrEnum):
    """Where a rollout is."""

    STARTED = "started"
    PAUSED = "paused"  # nobody new takes it
    ABORTED = "aborted"  # and who has it goes back
    FINISHED = "finished"  # its last ring has taken it; who was away still does


class Directive(Message):
    """One change of a rollout, as every device of a study reads it.

    File: `rollout.json` of the repository, in a `Signed`.

    Fields: `number` rises with each directive of its kind and name; `serial`, `path` and `sha256`
    name the target; `rings` are rising shares per mille, of which the first `open` ones are open;
    `key` (hex, 32 bytes) orders the devices; `withdrawn`: serials of this name that nobody is to
    run, this one's or earlier ones'; `signed_at` in seconds since 1970.
    """

    version: Version
    study: StudyName
    number: Number
    kind: Annotated[Kind, Field(strict=False)]
    name: Short
    serial: Serial
    path: TargetPath
    sha256: Sha256
    rings: Annotated[tuple[PerMille, ...], Field(min_length=1, max_length=8, strict=False)]
    open: Annotated[StrictInt, Field(ge=1, le=8)]
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    state: Annotated[State, Field(strict=False)]
    withdrawn: Annotated[tuple[Serial, ...], Field(max_length=MOST_WITHDRAWN, strict=False)]
    signed_at: Moment

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if any(later <= earlier for earlier, later in pairwise(self.rings)):
            raise ValueError("each ring is larger than the one before")
        if self.open > len(self.rings):
            raise ValueError("only a ring that there is can be open")
        if (self.state is State.ABORTED) != (self.serial in self.withdrawn):
            raise ValueError("what is aborted, and only that, is withdrawn")
        if self.kind is Kind.HEAD:
            raise ValueError("a head is for everybody once devices have voted for it")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the one encoding, in hexadecimal."""
        return hashlib.sha256(encoded(self)).hexdigest()

    @property
    def per_mille(self) -> int:
        """The share of devices that the open rings hold."""
        return self.rings[self.open - 1]

    def includes(self, pseudonym: str) -> bool:
        """Whether this device is in an open ring, whatever the state."""
        return self.ring_of(pseudonym, self.open) is not None

    def ring_of(self, pseudonym: str, rings: int | None = None) -> int | None:
        """The first of its rings (from 1) that this device is in; None: it is in none of them.

        HMAC-SHA256 of the pseudonym under the rollout's key, read as a number between 0 and 1.
        """
        marked = hmac.digest(bytes.fromhex(self.key), pseudonym.encode(), "sha256")
        place = int.from_bytes(marked[:_PLACE_BYTES], "big") * EVERYBODY
        for number, share in enumerate(self.rings[:rings], 1):
            if place < share << 8 * _PLACE_BYTES:
                return number
        return None

    def is_stale(self, now: int) -> bool:
        """Whether it is too old to open anything, at `now` (seconds, the device's trusted time)."""
        return now - self.signed_at > MOST_AGE_S


class Signed(Message):
    """A directive with the coordinator's credential and signature over its digest (hex)."""

    directive: Directive
    credential: Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,256}$")]
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


class Rollouts(Message):
    """What `rollout.json` holds: the newest directive of each kind and name."""

    version: Version
    rollouts: Annotated[tuple[Signed, ...], Field(max_length=MOST_DIRECTIVES, strict=False)]

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        about = [(each.directive.kind, each.directive.name) for each in self.rollouts]
        if len(set(about)) != len(about):
            raise ValueError("there is one directive of a kind and name")
        return self


def sign_rollouts(directives: tuple[Directive, ...], coordinator: Identity) -> bytes:
    """The content of `rollout.json`.

    Raises:
        ContractError: too many directives, or two of one kind and name.
    """
    try:
        signed = Rollouts(
            version=VERSION, rollouts=tuple(_signed(each, coordinator) for each in directives)
        )
    except ValidationError as fault:
        raise ContractError("These directives can't be in one file.") from fault
    if len(content := encoded(signed)) > MOST_ROLLOUT_BYTES:
        raise ContractError("These directives are too long for one file.")
    return content


def parse_rollouts(
    content: bytes, *, study: str, authority: bytes, now: int
) -> tuple[Directive, ...]:
    """The directives of a `rollout.json`, if this study's coordinator signed each of them.

    Raises:
        UpdateRejected: TOO_LARGE, MALFORMED, UNSIGNED (somebody else's), EXPIRED (the credential
            has ended) or OTHER_STUDY.
    """
    if len(content) > MOST_ROLLOUT_BYTES:
        raise UpdateRejected(
            Reason.TOO_LARGE, "The list of who takes an update now is longer than it may be."
        )
    try:
        rollouts = decoded(content, Rollouts).rollouts
    except ProtocolError as fault:
        raise UpdateRejected(
            Reason.MALFORMED, "The list of who takes an update now can't be read."
        ) from fault
    return tuple(_checked(each, study, authority, now) for each in rollouts)


def _checked(signed: Signed, study: str, authority: bytes, now: int) -> Directive:
    directive = signed.directive
    if directive.study != study:
        raise UpdateRejected(Reason.OTHER_STUDY, "A rollout is of another study.")
    try:
        credential = parse_credential(bytes.fromhex(signed.credential))
        _of_coordinator(credential, study, authority)
        verify(
            credential.signing_key, _PURPOSE, _digest(directive), bytes.fromhex(signed.signature)
        )
    except ProtocolError as fault:
        raise UpdateRejected(
            Reason.UNSIGNED, "A rollout is not signed by this study's coordinator."
        ) from fault
    if now >= credential.expires:
        raise UpdateRejected(
            Reason.EXPIRED, "The coordinator that signed a rollout is no longer the study's."
        )
    return directive


def _of_coordinator(credential: Credential, study: str, authority: bytes) -> None:
    """Whether it has ended is another question, with another answer: it is asked afterwards."""
    credential.check(
        study=study, authority=authority, role=Role.COORDINATOR, now=credential.expires - 1
    )


def _signed(directive: Directive, coordinator: Identity) -> Signed:
    return Signed(
        directive=directive,
        credential=coordinator.credential.to_bytes().hex(),
        signature=coordinator.sign(_PURPOSE, _digest(directive)).hex(),
    )


def _digest(directive: Directive) -> bytes:
    return bytes.fromhex(directive.digest)
