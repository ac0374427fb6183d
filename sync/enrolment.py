"""What a device and a study's desk say to each other, once, to make the device a member.

Rules upheld here: the device makes both its keys and proves that it holds them; the two proofs
name each other, the invite and the study, so that none can be taken out and used elsewhere; what
either side says can be read and made only with the invite's secret, which never travels; a
refusal is signed by the study's certified coordinator, so that nobody else can tell a device that
its invite is bad. Bytes in, values out: no connection, no disk, no clock in here.

In the life of a device: `invites` → **enrolment** → an identity, with which `transport` connects.

    device                                              desk
    Ask(name of the invite, sealed Request)      →      known, unused, in time? keys proven?
    Grant or InviteRefused                       ←      sealed Grant, or signed Refusal

Source: RFC 2986 (certification request), RFC 5869 (HKDF), RFC 8439 (ChaCha20-Poly1305).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Final

from cryptography import x509
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import NameOID
from pydantic import Field

from sync.envelope import Message, decoded, encoded
from sync.errors import InviteRefused, ProtocolError
from sync.identity import KEY_BYTES, Identity, Role, parse_credential, public_key, sign, verify
from sync.invites import Invite, invite_name
from sync.messages import Noise, Pseudonym, StudyName, Version

RandomBytes = Callable[[int], bytes]
"""`secrets.token_bytes`."""

MOST_ASK_BYTES: Final = 4096
MOST_ANSWER_BYTES: Final = 16384
INVITE_NAME_BYTES: Final = 16

_VERSION: Final = 1
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_GRANTED: Final = b"\x01"
_REFUSED: Final = b"\x02"
_PROOF: Final = "enrolment"
_RENEWAL: Final = "renewal"
_REFUSAL: Final = "enrolment refusal"
_CONTEXT: Final = b"sottovoce/1/enrolment/"

Hex = Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,1024}$")]
"""A certificate, request or credential: up to 1 KiB in hexadecimal."""
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""32 bytes in hexadecimal."""
Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
"""64 bytes in hexadecimal."""


class Reason(StrEnum):
    """Why a desk refuses."""

    UNKNOWN = "unknown"
    USED = "used"
    EXPIRED = "expired"
    UNREADABLE = "unreadable"
    TAKEN = "taken"
    REVOKED = "revoked"


_TOLD: Final[dict[Reason, tuple[str, str]]] = {
    Reason.UNKNOWN: (
        "The study does not know this invite.",
        "It may have been withdrawn: ask the study for a fresh one.",
    ),
    Reason.USED: (
        "This invite was used already, by another device or another try.",
        "Ask the study for a fresh one. If you never used it, say so: somebody else did.",
    ),
    Reason.EXPIRED: ("This invite has expired.", "Ask the study for a fresh one."),
    Reason.UNREADABLE: (
        "The study could not read this device's request.",
        "Update sottovoce on this device, and try the same invite again.",
    ),
    Reason.TAKEN: (
        "Another device of the study has this device's name.",
        "If its state folder was copied, use a new one (--state), and the same invite.",
    ),
    Reason.REVOKED: (
        "The study has revoked this device.",
        "Ask the study why. To take part again, use a new state folder (--state).",
    ),
}


@dataclass(frozen=True, slots=True)
class DeviceKeys:
    """What a device makes for itself: `tls_key` (PKCS #8, PEM) and `signing_key` (32 bytes)."""

    tls_key: bytes = field(repr=False)
    signing_key: bytes = field(repr=False)


class Request(Message):
    """What a device asks for: certificates for two keys that it holds, under a pseudonym.

    `certificate_request` (DER, hexadecimal) names the invite and is signed with the TLS key;
    `proof` signs it, the invite and the study with the Ed25519 `signing_key`; `renewal` does so
    with the key that the pseudonym had until now, and is empty where it had none.
    """

    version: Version
    study: StudyName
    pseudonym: Pseudonym
    certificate_request: Hex
    signing_key: Key
    proof: Signature
    renewal: Annotated[str, Field(pattern=r"^([0-9a-f]{128})?$")]

    def renews(self, invite_name: bytes, signing_key: bytes) -> bool:
        """Whether whoever holds the private half of `signing_key` asks for this."""
        body = _proven(self.study, invite_name, self.pseudonym, self.certificate_request)
        try:
            verify(signing_key, _RENEWAL, body, bytes.fromhex(self.renewal))
        except ProtocolError:
            return False
        return True


class Grant(Message):
    """What a member gets; certificates (DER) and credentials in hexadecimal.

    `certificate` of the TLS key, with the pseudonym as its common name; `ca_certificate`, by
    which the broker is known; `credential` of the signing key; `coordinator`'s credential;
    `policy_signature` of the study's authority over its privacy policy; `noise`: where it is added.
    """

    version: Version
    study: StudyName
    pseudonym: Pseudonym
    certificate: Hex
    ca_certificate: Hex
    credential: Hex
    coordinator: Hex
    policy_signature: Signature
    noise: Noise


class Refusal(Message):
    """A desk's no to one ask (named by its digest), signed by the study's coordinator."""

    version: Version
    reason: Reason = Field(strict=False)
    coordinator: Hex
    signature: Signature


@dataclass(frozen=True, slots=True)
class Ask:
    """A device's sealed request: the only thing that the enrolment connection sends.

    `invite_name` 16 bytes; `sealed` nonce and ciphertext.
    """

    invite_name: bytes
    sealed: bytes

    def to_bytes(self) -> bytes:
        """The one encoding: version, name, sealed request."""
        return bytes([_VERSION]) + self.invite_name + self.sealed

    @property
    def digest(self) -> bytes:
        """SHA-256 of the encoding, 32 bytes: a retry has the same."""
        return hashlib.sha256(self.to_bytes()).digest()


def new_keys(random_bytes: RandomBytes) -> DeviceKeys:
    """A TLS key (ECDSA on P-256; every broker knows it) and a signing key (Ed25519)."""
    tls_key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return DeviceKeys(tls_key, random_bytes(KEY_BYTES))


def make_ask(
    invite: Invite,
    keys: DeviceKeys,
    pseudonym: str,
    *,
    random_bytes: RandomBytes,
    previous_key: bytes | None = None,
) -> Ask:
    """Ask for membership; keep the bytes, and send the same ones until there is an answer.

    `previous_key`: the private signing key that this pseudonym has had in the study, if any.
    """
    tls_key = serialization.load_pem_private_key(keys.tls_key, None)
    assert isinstance(tls_key, ec.EllipticCurvePrivateKey)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, invite.name.hex())])
    wanted = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .sign(tls_key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
        .hex()
    )
    body = _proven(invite.study, invite.name, pseudonym, wanted)
    request = Request(
        version=_VERSION,
        study=invite.study,
        pseudonym=pseudonym,
        certificate_request=wanted,
        signing_key=public_key(keys.signing_key).hex(),
        proof=sign(keys.signing_key, _PROOF, body).hex(),
        renewal="" if previous_key is None else sign(previous_key, _RENEWAL, body).hex(),
    )
    key = _key(invite.secret, invite.study, b"ask")
    return Ask(invite.name, _sealed(key, encoded(request), random_bytes))


def parse_ask(payload: bytes) -> Ask:
    """The ask that these bytes hold, still sealed.

    Raises:
        ProtocolError: they hold none.
    """
    least = 1 + INVITE_NAME_BYTES + _NONCE_BYTES + _TAG_BYTES
    if not least <= len(payload) <= MOST_ASK_BYTES or payload[0] != _VERSION:
        raise ProtocolError("An ask for enrolment has another form.")
    return Ask(payload[1 : 1 + INVITE_NAME_BYTES], payload[1 + INVITE_NAME_BYTES :])


def open_ask(ask: Ask, *, study: str, secret: bytes) -> Request:
    """The request in an ask, its keys proven.

    Raises:
        ProtocolError: it was not made with this invite for this study, or holds a key unproven.
    """
    request = decoded(_opened(_key(secret, study, b"ask"), ask.sealed), Request)
    if request.study != study or invite_name(secret) != ask.invite_name:
        raise ProtocolError("A request names another study or invite.")
    body = _proven(study, ask.invite_name, request.pseudonym, request.certificate_request)
    verify(bytes.fromhex(request.signing_key), _PROOF, body, bytes.fromhex(request.proof))
    tls_public_key(request, ask.invite_name)
    return request


def tls_public_key(request: Request, invite_name: bytes) -> ec.EllipticCurvePublicKey:
    """The TLS key of a request, which the sender has proven to hold.

    Raises:
        ProtocolError: it is not a P-256 key, is not proven, or was proven to another invite.
    """
    try:
        wanted = x509.load_der_x509_csr(bytes.fromhex(request.certificate_request))
        key = wanted.public_key()
        (name,) = wanted.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        proven = wanted.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as fault:
        raise ProtocolError("A certification request can't be read.") from fault
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise ProtocolError("A certification request is for a key of another kind.")
    if not proven or name.value != invite_name.hex():
        raise ProtocolError("A certification request is not proven.")
    return key


def granted(
    grant: Grant, ask: Ask, *, study: str, secret: bytes, random_bytes: RandomBytes
) -> bytes:
    """The desk's yes, for whoever holds the invite and made this very ask."""
    key = _key(secret, study, b"answer" + ask.digest)
    return _GRANTED + _sealed(key, encoded(grant), random_bytes)


def refused(reason: Reason, asked: bytes, *, coordinator: Identity, study: str) -> bytes:
    """The desk's no to the bytes `asked`."""
    return _REFUSED + encoded(
        Refusal(
            version=_VERSION,
            reason=reason,
            coordinator=coordinator.credential.to_bytes().hex(),
            signature=coordinator.sign(_REFUSAL, _no(study, reason, asked)).hex(),
        )
    )


def read_answer(payload: bytes, *, ask: Ask, invite: Invite, now: int) -> Grant:
    """What the desk answered to this ask; `now` in seconds since 1970.

    Raises:
        InviteRefused: the study refuses, and says why.
        ProtocolError: this is no answer of the study that the invite is from.
    """
    kind, rest = payload[:1], payload[1:]
    if len(payload) > MOST_ANSWER_BYTES or kind not in (_GRANTED, _REFUSED):
        raise _foreign()
    try:
        if kind == _REFUSED:
            raise _refusal(decoded(rest, Refusal), ask, invite, now)
        key = _key(invite.secret, invite.study, b"answer" + ask.digest)
        grant = decoded(_opened(key, rest), Grant)
        for credential, role in (
            (grant.credential, Role.DEVICE),
            (grant.coordinator, Role.COORDINATOR),
        ):
            parse_credential(bytes.fromhex(credential)).check(
                study=invite.study, authority=invite.authority, role=role, now=now
            )
    except ProtocolError as fault:
        raise _foreign() from fault
    if grant.study != invite.study:
        raise _foreign()
    return grant


def _refusal(refusal: Refusal, ask: Ask, invite: Invite, now: int) -> InviteRefused:
    credential = parse_credential(bytes.fromhex(refusal.coordinator)).check(
        study=invite.study, authority=invite.authority, role=Role.COORDINATOR, now=now
    )
    body = _no(invite.study, refusal.reason, ask.to_bytes())
    verify(credential.signing_key, _REFUSAL, body, bytes.fromhex(refusal.signature))
    return InviteRefused(*_TOLD[refusal.reason])


def _foreign() -> ProtocolError:
    return ProtocolError(
        "What answered is not the study that this invite is from: nothing was taken from it.",
        "Check this device's clock, and ask the study for a fresh invite.",
    )


def _proven(study: str, invite_name: bytes, pseudonym: str, certificate_request: str) -> bytes:
    """What both private keys sign: of one length but for the request, which ends it."""
    name = study.encode()
    head = bytes([len(name)]) + name + invite_name + bytes.fromhex(pseudonym)
    return head + bytes.fromhex(certificate_request)


def _no(study: str, reason: Reason, asked: bytes) -> bytes:
    words = f"{study}/{reason}".encode()
    return hashlib.sha256(asked).digest() + words


def _key(secret: bytes, study: str, purpose: bytes) -> bytes:
    """One key a direction and ask; HKDF-SHA-256 with the study in its salt."""
    return HKDF(
        algorithm=hashes.SHA256(),
        length=KEY_BYTES,
        salt=hashlib.sha256(_CONTEXT + study.encode()).digest(),
        info=_CONTEXT + purpose,
    ).derive(secret)


def _sealed(key: bytes, content: bytes, random_bytes: RandomBytes) -> bytes:
    nonce = random_bytes(_NONCE_BYTES)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, content, None)


def _opened(key: bytes, sealed: bytes) -> bytes:
    nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    if len(rest) < _TAG_BYTES:
        raise ProtocolError("A sealed message is too short.")
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, rest, None)
    except InvalidTag:
        raise ProtocolError("A sealed message does not open with this invite.") from None
