"""The terms of a round, signed by the coordinator before anybody takes part.

Rules upheld here: what a device agrees to is all here, and signed; the cohort's least size, the
price and the clip can't be changed afterwards, since every later message names the terms' digest;
the neighbour graph's seed is committed to before the first key is offered.

In the life of a round: announced first; a device compares them with its own policy, and refuses.
"""

import hashlib
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StrictInt, model_validator

from sync.envelope import Message, decoded, encoded
from sync.errors import ProtocolError
from sync.identity import Credential, Identity, Role, parse_credential, verify
from sync.messages import PolicyReference, StudyName, Version
from sync.policy import Exact

LEAST_COHORT: Final = 20
"""K: a device joins no round that might be opened over fewer people, unless its study's policy,
which is signed, says another number."""
MOST_MEMBERS: Final = 1 << 16
MOST_NUMBERS: Final = 1 << 14
STEPS: Final = ("advertise", "share", "mask", "confirm", "open")
"""What a device does, in order; each has its deadline."""

_PURPOSE: Final = "round terms"
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 digest in hexadecimal."""
Deadline = Annotated[StrictInt, Field(ge=0, le=2**40)]
"""A moment in whole seconds since 1970."""


class Terms(Message):
    """What a round is about, and what it costs.

    Topic: `sottovoce/v1/{study}/all`, QoS 1, in a `SignedTerms`.

    Fields: `round` (32 random bytes, hexadecimal); `purpose`: a weekly report, an update of the
    head or the evaluation of one; `subject`: the period, or the digest of the head it is about;
    `length` numbers, each in Z mod 2^32; `minimum` (K) people at least; `policy` name@version and
    `policy_digest`; `rho`: the price in zCDP, exact; `squared_clip`: the bound of a person's
    vector, squared L2, in whole units before `scale` multiplies it; `deadlines` of the five
    `STEPS`, rising; `seed_commitment`: SHA-256 of the 32-byte seed revealed with the roster.
    """

    version: Version
    study: StudyName
    round: Digest
    purpose: Literal["report", "head", "canary"]
    subject: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,64}$")]
    length: Annotated[StrictInt, Field(ge=1, le=MOST_NUMBERS)]
    minimum: Annotated[StrictInt, Field(ge=3, le=MOST_MEMBERS)]
    policy: PolicyReference
    policy_digest: Digest
    rho: Exact
    squared_clip: Annotated[StrictInt, Field(ge=1, le=2**50)]
    scale: Annotated[StrictInt, Field(ge=1, le=2**20)]
    deadlines: Annotated[tuple[Deadline, ...], Field(min_length=5, max_length=5, strict=False)]
    seed_commitment: Digest

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if sorted(set(self.deadlines)) != list(self.deadlines):
            raise ValueError("deadlines rise from step to step")
        if self.rho <= 0:
            raise ValueError("rho is positive")
        return self

    @property
    def digest(self) -> bytes:
        """SHA-256 of the one encoding, 32 bytes: how every later message names these terms."""
        return hashlib.sha256(encoded(self)).digest()


class SignedTerms(Message):
    """Terms as announced: with the coordinator's credential and signature, both hexadecimal."""

    terms: Terms
    credential: Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,256}$")]
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]

    def to_bytes(self) -> bytes:
        """The one encoding."""
        return encoded(self)


def sign_terms(terms: Terms, coordinator: Identity) -> SignedTerms:
    """The announcement of a round."""
    return SignedTerms(
        terms=terms,
        credential=coordinator.credential.to_bytes().hex(),
        signature=coordinator.sign(_PURPOSE, terms.digest).hex(),
    )


def parse_terms(
    payload: bytes, *, study: str, authority: bytes, now: int
) -> tuple[Terms, Credential]:
    """The terms that these bytes announce, and the credential of the coordinator who signed them.

    Raises:
        ProtocolError: they hold none, or not of this study's certified coordinator.
    """
    signed = decoded(payload, SignedTerms)
    credential = parse_credential(bytes.fromhex(signed.credential)).check(
        study=study, authority=authority, role=Role.COORDINATOR, now=now
    )
    verify(credential.signing_key, _PURPOSE, signed.terms.digest, bytes.fromhex(signed.signature))
    if signed.terms.study != study:
        raise ProtocolError("Terms are of another study.")
    return signed.terms, credential
