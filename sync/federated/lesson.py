"""What a coordinator says beside a round's terms: the lesson of a round, and a head for everybody.

Rules it upholds: both are signed by the study's certified coordinator, each under a purpose of its
own; the terms of a round name their lesson by its digest, so neither can be changed or swapped;
every number is finite and bounded before anybody computes with it. What a round may cost or carry
stands in the terms and in the device's own policy, and never here: the clip of a lesson is what a
whole vector is worth *outside*, and moves nothing of its bound in whole units.

A lesson's heads are points in the frame along the *bundle's* own head, so a device measures them
with what it already has. A head for everybody has a version, and no device goes back to an older.

In the life of a federated round: **lesson** → terms → update or vote → sum → optimiser → gate →
**head for everybody**.
"""

import hashlib
from typing import Annotated, Final, Literal, Self

import numpy as np
from pydantic import Field, StrictFloat, StrictInt, ValidationError, model_validator

from edge_models.errors import ContractError
from edge_models.frame import Reals
from edge_models.head import Head
from sync.envelope import Message, decoded, encoded
from sync.errors import ProtocolError
from sync.federated.update import Training
from sync.identity import Identity, Role, parse_credential, verify
from sync.messages import BundleName, StudyName, Version

VERSION: Final = 1
MOST_NUMBERS: Final = 256
"""Of a point: a head of three rows over 84 numbers. It bounds a lesson to a few KiB."""
MOST_VALUE: Final = 1e5

Number = Annotated[StrictFloat, Field(ge=-MOST_VALUE, le=MOST_VALUE, allow_inf_nan=False)]
Point = Annotated[tuple[Number, ...], Field(min_length=6, max_length=MOST_NUMBERS, strict=False)]
"""A head in the frame along the bundle's own, 3 (R + 1) numbers."""
Share = Annotated[StrictFloat, Field(ge=0.001, le=0.999, allow_inf_nan=False)]
Digits = Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,256}$")]


class Lesson(Message):
    """What a head or canary round is about.

    Topic: `sottovoce/v1/{study}/all`, QoS 1, in a `Signed`, before the terms whose subject it is.

    Fields: `course` and `place` number the round (no two lessons of a study are equal); `current`:
    the head to train from, or to vote against; `candidate`: the head that is voted on, empty in a
    round of the head; `clip`: the norm that an update is shortened to, in the frame; `steps`,
    `rate` and `shares` as in `update.Training`.
    """

    version: Version
    study: StudyName
    purpose: Literal["head", "canary"]
    bundle: BundleName
    course: Annotated[StrictInt, Field(ge=1, le=2**31)]
    place: Annotated[StrictInt, Field(ge=1, le=1000)]
    current: Point
    candidate: Annotated[tuple[Number, ...], Field(max_length=MOST_NUMBERS, strict=False)]
    clip: Annotated[StrictFloat, Field(ge=1e-6, le=1e6, allow_inf_nan=False)]
    steps: Annotated[StrictInt, Field(ge=1, le=32)]
    rate: Annotated[StrictFloat, Field(gt=0, le=10, allow_inf_nan=False)]
    shares: Annotated[tuple[Share, Share, Share], Field(strict=False)]

    @model_validator(mode="after")
    def _fits_its_purpose(self) -> Self:
        wanted = len(self.current) if self.purpose == "canary" else 0
        if len(self.candidate) != wanted:
            raise ValueError("a vote, and only a vote, is on a candidate of the head's size")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the one encoding, in hexadecimal: the subject of the round's terms."""
        return hashlib.sha256(encoded(self)).hexdigest()

    @property
    def training(self) -> Training:
        """How every device of the round trains."""
        return Training(self.steps, self.rate, self.shares)


class HeadForAll(Message):
    """A head that the votes let through; `number` rises with each that is published.

    Topic: `sottovoce/v1/{study}/all` or `/down/{pseudonym}`, QoS 1, in a `Signed`.
    """

    version: Version
    study: StudyName
    bundle: BundleName
    number: Annotated[StrictInt, Field(ge=1, le=2**31)]
    head: Head


class Signed(Message):
    """One of both, with the coordinator's credential and signature over its digest (hex)."""

    lesson: Lesson | None
    head: HeadForAll | None
    credential: Digits
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.lesson is None) == (self.head is None):
            raise ValueError("it holds a lesson or a head")
        return self


def sign_lesson(lesson: Lesson, coordinator: Identity) -> bytes:
    """The announcement of a round's lesson: the content of a HEAD parcel."""
    return _signed(lesson, None, coordinator)


def sign_head(head: HeadForAll, coordinator: Identity) -> bytes:
    """The announcement of a head for everybody: the content of a HEAD parcel."""
    return _signed(None, head, coordinator)


def parse_said(payload: bytes, *, study: str, authority: bytes, now: int) -> Lesson | HeadForAll:
    """The lesson or head that these bytes announce, if this study's coordinator signed it.

    Raises:
        ProtocolError: they hold neither, or somebody else's.
    """
    signed = decoded(payload, Signed)
    said = signed.lesson or signed.head
    if said is None:  # the model's validator has seen to it
        raise ProtocolError("A message holds neither a lesson nor a head.")
    credential = parse_credential(bytes.fromhex(signed.credential)).check(
        study=study, authority=authority, role=Role.COORDINATOR, now=now
    )
    verify(credential.signing_key, _purpose(said), _digest(said), bytes.fromhex(signed.signature))
    if said.study != study:
        raise ProtocolError("A lesson or head is of another study.")
    return said


def point_of(numbers: tuple[float, ...]) -> Reals:
    """A point as it is computed with, float64 (D,)."""
    return np.asarray(numbers, np.float64)


def numbers_of(point: Reals) -> tuple[float, ...]:
    """A point as it is said.

    Raises:
        ContractError: it is not finite, or further out than any head.
    """
    if not np.isfinite(point).all() or np.abs(point).max(initial=0.0) > MOST_VALUE:
        raise ContractError("A point this far out is not a head.")
    return tuple(map(float, point))


def _signed(lesson: Lesson | None, head: HeadForAll | None, coordinator: Identity) -> bytes:
    said = lesson or head
    if said is None:
        raise ContractError("There is a lesson or a head to sign.")
    try:
        signed = Signed(
            lesson=lesson,
            head=head,
            credential=coordinator.credential.to_bytes().hex(),
            signature=coordinator.sign(_purpose(said), _digest(said)).hex(),
        )
    except ValidationError as fault:  # pydantic repeats the values
        raise ContractError("A lesson or head can't be announced.") from fault
    return encoded(signed)


def _purpose(said: Lesson | HeadForAll) -> str:
    return "lesson" if isinstance(said, Lesson) else "head"


def _digest(said: Lesson | HeadForAll) -> bytes:
    return hashlib.sha256(encoded(said)).digest()
