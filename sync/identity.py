"""Who somebody is in a study: a signing key, and the study's word that it is theirs.

Rules upheld here: the study's *authority* (whose key may stay offline) certifies each device and
the coordinator once, at enrolment; everything said later is signed with the certified key, under
a purpose, so that no signature can be taken for another; a credential names its study, its role
and its end, and is checked before anything that it vouches for is read.

In the life of a round: the coordinator signs its terms, a device signs the keys it offers.

Source: RFC 8032 (Ed25519). The signed string is `sottovoce/1/` purpose `\\0` body.
"""

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edge_models.errors import ContractError
from sync.errors import ProtocolError

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
COORDINATOR: Final = bytes(16)
"""The name of a study's coordinator; a device's is the 16 bytes of its pseudonym."""

MOST_ACQUAINTANCES: Final = 20_000

_BODY: Final = struct.Struct(">B16s32sQ")  # role, name, signing key, expires
CREDENTIAL_BYTES: Final = _BODY.size + SIGNATURE_BYTES
_CREDENTIAL: Final = "credential"


class Role(IntEnum):
    """What a certified key may sign."""

    DEVICE = 1
    COORDINATOR = 2


@dataclass(frozen=True, slots=True)
class Credential:
    """The authority's word that `name` signs with `signing_key` in its study until `expires`.

    `name` 16 bytes, `signing_key` 32 bytes (Ed25519, public), `expires` in seconds since 1970,
    `signature` 64 bytes. The study is part of what is signed and known to both sides; it is not
    repeated in the bytes.
    """

    role: Role
    name: bytes
    signing_key: bytes
    expires: int
    signature: bytes

    def to_bytes(self) -> bytes:
        """The one encoding: role, name, key, end, signature."""
        return self._body() + self.signature

    def _body(self) -> bytes:
        return _BODY.pack(self.role, self.name, self.signing_key, self.expires)

    def check(self, *, study: str, authority: bytes, role: Role, now: int) -> Self:
        """This credential, if `authority` (32 bytes, public) issued it for this study and role.

        Raises:
            ProtocolError: it is forged, of another study or role, or has ended.
        """
        if self.role is not role:
            raise ProtocolError("A credential is for another role.")
        verify(authority, _CREDENTIAL, _of(study, self._body()), self.signature)
        if now >= self.expires:
            raise ProtocolError(
                "A credential has ended.", "Enrol the device again, with a fresh invite."
            )
        return self


def parse_credential(payload: bytes) -> Credential:
    """The credential that these bytes hold; nothing in it is believed before `check`.

    Raises:
        ProtocolError: they hold none.
    """
    if len(payload) != CREDENTIAL_BYTES:
        raise ProtocolError(f"A credential has {CREDENTIAL_BYTES} bytes.")
    role, name, key, expires = _BODY.unpack_from(payload)
    try:
        return Credential(Role(role), name, key, expires, payload[_BODY.size :])
    except ValueError:
        raise ProtocolError("A credential names a role that there is not.") from None


def issue_credential(
    authority: bytes, *, study: str, role: Role, name: bytes, signing_key: bytes, expires: int
) -> Credential:
    """Certify a public key with the authority's private one (32 bytes each).

    Raises:
        ContractError: a part has a form that it can't have.
    """
    if len(name) != len(COORDINATOR) or len(signing_key) != KEY_BYTES or expires < 0:
        raise ContractError("A credential names 16 bytes, a key of 32 and an end.")
    if (role is Role.COORDINATOR) != (name == COORDINATOR):
        raise ContractError("Only the coordinator has the coordinator's name.")
    body = _BODY.pack(role, name, signing_key, expires)
    signature = sign(authority, _CREDENTIAL, _of(study, body))
    return Credential(role, name, signing_key, expires, signature)


class Acquaintances:
    """Credentials that were checked before: the authority's word about them does not change.

    It saves a member half of a round's signature checks once it has met its neighbours. Only what
    passed is remembered, by digest, at most `MOST_ACQUAINTANCES`; each end is looked at anew.
    """

    __slots__ = ("_authority", "_met", "_study")

    def __init__(self, study: str, authority: bytes, met: bytes = b"") -> None:
        self._study = study
        self._authority = authority
        size = hashlib.sha256().digest_size
        self._met = {met[at : at + size]: None for at in range(0, len(met), size)}

    def check(self, credential: Credential, role: Role, now: int) -> Credential:
        """As `Credential.check`, without a second look at a signature that was right.

        Raises:
            ProtocolError: it is forged, of another study or role, or has ended.
        """
        digest = hashlib.sha256(credential.to_bytes()).digest()
        if digest in self._met and credential.role is role and now < credential.expires:
            return credential
        credential.check(study=self._study, authority=self._authority, role=role, now=now)
        if len(self._met) >= MOST_ACQUAINTANCES:
            del self._met[next(iter(self._met))]
        self._met[digest] = None
        return credential

    def to_bytes(self) -> bytes:
        """The digests, for the encrypted store (they say whom this device has met)."""
        return b"".join(self._met)


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """A private signing key (32 bytes) and the credential of its public half."""

    private_key: bytes
    credential: Credential

    def __post_init__(self) -> None:
        if public_key(self.private_key) != self.credential.signing_key:
            raise ContractError("A credential belongs to another key.")

    def sign(self, purpose: str, body: bytes) -> bytes:
        """A signature, 64 bytes, under a purpose."""
        return sign(self.private_key, purpose, body)


def public_key(private_key: bytes) -> bytes:
    """The public half, 32 bytes."""
    return Ed25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def sign(private_key: bytes, purpose: str, body: bytes) -> bytes:
    """An Ed25519 signature, 64 bytes, of `body` under a purpose."""
    return Ed25519PrivateKey.from_private_bytes(private_key).sign(_signed(purpose, body))


def verify(signing_key: bytes, purpose: str, body: bytes, signature: bytes) -> None:
    """Return if `signature` is one of `body`, under this purpose, by this public key.

    Raises:
        ProtocolError: it is not.
    """
    try:
        Ed25519PublicKey.from_public_bytes(signing_key).verify(signature, _signed(purpose, body))
    except (InvalidSignature, ValueError):
        raise ProtocolError(
            f"A signature ({purpose}) is false.", "Check who else publishes to this topic."
        ) from None


def _signed(purpose: str, body: bytes) -> bytes:
    return b"sottovoce/1/" + purpose.encode() + b"\0" + body


def _of(study: str, body: bytes) -> bytes:
    name = study.encode()
    return len(name).to_bytes(1, "big") + name + body
