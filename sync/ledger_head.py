"""Where a device's privacy ledger stands, said to its study, and the study's answer.

Rules it upholds: a device that was put back to an older state can't know it by itself, but its
study remembers; the study's answer is evidence, not an order: a device stops only if its own
ledger really lacks, or contradicts, what the study has seen, so that a late or doubled message
stops nobody; digests are blinded for each study, so that two studies can't recognise a device.

In the life of a release: the head travels with what a device sends; the coordinator compares it
with the newest that it knows, and answers with a signed notice if they don't fit.
"""

import hmac
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Final, Self

from pydantic import Field, StrictInt, model_validator

from sync.budget import Ledger
from sync.envelope import Message, decoded, encoded
from sync.errors import LedgerRefused, ProtocolError
from sync.identity import Identity, Role, parse_credential, verify
from sync.messages import VERSION, Pseudonym, StudyName, Version

TRAIL: Final = 64
"""How many of the newest digests a head shows, so that the study can find the one it knows."""

_PURPOSE: Final = "ledger notice"
_BLIND: Final = b"sottovoce/ledger/head/1/"
_DIGEST_BYTES: Final = 16
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
"""An entry's digest, blinded for one study."""
Spent = Annotated[str, Field(pattern=r"^[0-9]{1,64}/[1-9][0-9]{0,63}$")]
"""A rho in zCDP, exact."""
Count = Annotated[StrictInt, Field(ge=0, le=1_000_000)]


class LedgerHead(Message):
    """How many releases a device has paid for, what they cost in all, and the newest digests.

    `trail` ends with the digest after `count` entries; a ledger without entries has one, too.
    """

    version: Version
    study: StudyName
    pseudonym: Pseudonym
    count: Count
    spent: Spent
    trail: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=TRAIL, strict=False)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.trail) != min(self.count + 1, TRAIL):
            raise ValueError("a trail has a digest for each count that it covers")
        return self

    @property
    def spent_rho(self) -> Fraction:
        """What the releases cost in all, in zCDP."""
        return Fraction(self.spent)

    def at(self, count: int) -> str | None:
        """The digest after `count` entries, None where the trail does not reach."""
        place = count - self.count - 1
        return self.trail[place] if -len(self.trail) <= place < 0 else None

    def to_bytes(self) -> bytes:
        """The one encoding."""
        return encoded(self)


def head_of(ledger: Ledger, start: bytes, *, study: str, pseudonym: str) -> LedgerHead:
    """What a device says of its ledger to a study; `start` as in `Ledger.chain`."""
    spent = ledger.spent_rho
    return LedgerHead(
        version=VERSION,
        study=study,
        pseudonym=pseudonym,
        count=len(ledger.spends),
        spent=f"{spent.numerator}/{spent.denominator}",
        trail=tuple(_blinded(digest, study) for digest in ledger.chain(start)[-TRAIL:]),
    )


def parse_head(payload: bytes) -> LedgerHead:
    """The head that these bytes hold.

    Raises:
        ProtocolError: they hold none.
    """
    return decoded(payload, LedgerHead)


class Standing(StrEnum):
    """How what a device says of its ledger fits what its study knows."""

    AGREES = "agrees"
    BEHIND = "behind"  # fewer or cheaper releases than the study has seen
    FORKED = "forked"  # other releases than the study has seen


def standing(known: LedgerHead | None, said: LedgerHead, received: Fraction) -> Standing:
    """How `said` fits the newest head that is `known`, and the rho of all that was `received`."""
    if said.spent_rho < received:
        return Standing.BEHIND
    if known is None:
        return Standing.AGREES
    if said.count < known.count or said.spent_rho < known.spent_rho:
        return Standing.BEHIND
    seen = said.at(known.count)
    if seen is not None and seen != known.trail[-1]:
        return Standing.FORKED
    return Standing.AGREES


class LedgerNotice(Message):
    """What a study has seen of a device's ledger: its `digest` after `count` entries."""

    version: Version
    study: StudyName
    pseudonym: Pseudonym
    count: Count
    digest: Digest


class SignedNotice(Message):
    """A notice with the coordinator's credential and signature, both hexadecimal."""

    notice: LedgerNotice
    credential: Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,256}$")]
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]

    def to_bytes(self) -> bytes:
        """The one encoding."""
        return encoded(self)


def sign_notice(known: LedgerHead, coordinator: Identity) -> SignedNotice:
    """The coordinator's word of the newest head that it knows of a device."""
    notice = LedgerNotice(
        version=VERSION,
        study=known.study,
        pseudonym=known.pseudonym,
        count=known.count,
        digest=known.trail[-1],
    )
    return SignedNotice(
        notice=notice,
        credential=coordinator.credential.to_bytes().hex(),
        signature=coordinator.sign(_PURPOSE, encoded(notice)).hex(),
    )


def parse_notice(
    payload: bytes, *, study: str, pseudonym: str, authority: bytes, now: int
) -> LedgerNotice:
    """The notice for this device that these bytes hold.

    Raises:
        ProtocolError: they hold none, or not of this study's certified coordinator.
    """
    signed = decoded(payload, SignedNotice)
    credential = parse_credential(bytes.fromhex(signed.credential)).check(
        study=study, authority=authority, role=Role.COORDINATOR, now=now
    )
    verify(
        credential.signing_key, _PURPOSE, encoded(signed.notice), bytes.fromhex(signed.signature)
    )
    if (signed.notice.study, signed.notice.pseudonym) != (study, pseudonym):
        raise ProtocolError("A notice is for another study or person.")
    return signed.notice


def heed(notice: LedgerNotice, ledger: Ledger, start: bytes) -> None:
    """Return if the notice says nothing that this ledger does not hold already.

    Raises:
        LedgerRefused: the study has seen releases that this ledger does not know.
    """
    chain = ledger.chain(start)
    if notice.count < len(chain) and hmac.compare_digest(
        _blinded(chain[notice.count], notice.study), notice.digest
    ):
        return
    raise LedgerRefused(
        f"The study has seen {notice.count} paid releases of this device that its privacy ledger "
        f"does not hold as they were: it holds {len(ledger.spends)}. An older copy was put back, "
        "or the device's key is used twice.",
        "Nothing more is released, and screening goes on. Put the newest state back, or leave the "
        "study and enrol anew.",
    )


def _blinded(digest: bytes, study: str) -> str:
    return hmac.digest(digest, _BLIND + study.encode(), "sha256")[:_DIGEST_BYTES].hex()
