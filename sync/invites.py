"""One person's invitation into a study: a value, and the text and QR code that carry it.

Rules upheld here: an invite says whom to trust (the certificate that the study's desk shows, and
the authority's public key) before any connection is opened; its one secret is never sent, only
used; a text that was mistyped is told apart from one that is no invite, and never half believed.

In the life of a device: the first thing it is given. `enrolment` turns it into an identity.

Text: `SOTTOVOCE1-` and RFC 4648 base32 of the body and four bytes of its SHA-256; upper case only,
so that a QR code packs it as alphanumeric (ISO/IEC 18004, 7.4.4).
"""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Final

from edge_models.errors import ContractError
from sync.errors import ProtocolError

SECRET_BYTES: Final = 32
FINGERPRINT_BYTES: Final = 32
KEY_BYTES: Final = 32

_PREFIX: Final = "SOTTOVOCE1"
_ANY_PREFIX: Final = re.compile(r"SOTTOVOCE(\d)")
_STUDY: Final = re.compile("[a-z0-9][a-z0-9-]{0,31}")
_HOST: Final = re.compile(r"[A-Za-z0-9:._-]{1,253}")
_CHECK_BYTES: Final = 4
_LONGEST_TEXT: Final = 1024
_MEANT: Final = str.maketrans("018", "OIB")  # digits that base32 lacks, and what they look like
_TAIL_BYTES: Final = 2 + 2 + FINGERPRINT_BYTES + KEY_BYTES + SECRET_BYTES + 4


@dataclass(frozen=True, slots=True)
class Invite:
    """What a study hands to one person, once.

    `host` is where the broker (`broker_port`) and the enrolment desk (`desk_port`) are; `door` the
    SHA-256 of the certificate that the desk shows (DER, 32 bytes); `authority` the Ed25519 public
    key that certifies everybody in the study (32 bytes); `secret` 32 random bytes, good for one
    enrolment; `expires` in whole seconds since 1970.

    Raises:
        ContractError: a part has a form that it can't have.
    """

    study: str
    host: str
    broker_port: int
    desk_port: int
    door: bytes
    authority: bytes
    secret: bytes = field(repr=False)
    expires: int

    def __post_init__(self) -> None:
        if not _STUDY.fullmatch(self.study) or not _HOST.fullmatch(self.host):
            raise ContractError("An invite needs a study's short name and a host.")
        if not all(0 < port < 65536 for port in (self.broker_port, self.desk_port)):
            raise ContractError("An invite needs two ports.")
        if (len(self.door), len(self.authority), len(self.secret)) != (
            FINGERPRINT_BYTES,
            KEY_BYTES,
            SECRET_BYTES,
        ):
            raise ContractError("An invite's fingerprint, key and secret have 32 bytes each.")
        if not 0 < self.expires < 2**32:
            raise ContractError("An invite ends between 1970 and 2106.")

    @property
    def name(self) -> bytes:
        """What the desk knows it by, 16 bytes; it says nothing of the secret."""
        return invite_name(self.secret)

    def to_text(self) -> str:
        """The one text of this invite."""
        study, host = self.study.encode(), self.host.encode()
        body = bytes([len(study)]) + study + bytes([len(host)]) + host
        body += self.broker_port.to_bytes(2, "big") + self.desk_port.to_bytes(2, "big")
        body += self.door + self.authority + self.secret + self.expires.to_bytes(4, "big")
        coded = base64.b32encode(body + _check(body)).decode().rstrip("=")
        return f"{_PREFIX}-{coded}"


def invite_name(secret: bytes) -> bytes:
    """The public name of the invite with this secret, 16 bytes."""
    return hashlib.sha256(b"sottovoce/1/invite name\0" + secret).digest()[:16]


def parse_invite(text: str) -> Invite:
    """The invite that a person pasted, scanned or typed; spaces, hyphens and case don't matter.

    Raises:
        ProtocolError: it is none, is of another version, or was mistyped.
    """
    if len(text) > _LONGEST_TEXT:
        raise _no_invite()
    letters = re.sub(r"[\s-]", "", text).upper()
    version = _ANY_PREFIX.match(letters)
    if not letters.startswith(_PREFIX):
        if version is None:
            raise _no_invite()
        raise ProtocolError(
            f"This invite is of version {version[1]}, which this sottovoce does not know.",
            "Update sottovoce, or ask the study for an invite that fits.",
        )
    coded = letters.removeprefix(_PREFIX).translate(_MEANT)
    try:
        content = base64.b32decode(coded + "=" * (-len(coded) % 8))
    except (binascii.Error, ValueError):
        raise _mistyped() from None
    body, check = content[:-_CHECK_BYTES], content[-_CHECK_BYTES:]
    if not hmac.compare_digest(_check(body), check):
        raise _mistyped()
    try:
        invite = _read(body)
    except (ContractError, UnicodeDecodeError, IndexError):
        raise _no_invite() from None
    if invite.to_text() != f"{_PREFIX}-{coded}":  # bits left over at the end
        raise _mistyped()
    return invite


def _read(body: bytes) -> Invite:
    study_end = 1 + body[0]
    host_end = study_end + 1 + body[study_end]
    tail = body[host_end:]
    if len(tail) != _TAIL_BYTES:
        raise ContractError("An invite has one length.")
    fixed, place = [], 0
    for length in (2, 2, FINGERPRINT_BYTES, KEY_BYTES, SECRET_BYTES, 4):
        fixed.append(tail[place : place + length])
        place += length
    return Invite(
        study=body[1:study_end].decode("ascii"),
        host=body[study_end + 1 : host_end].decode("ascii"),
        broker_port=int.from_bytes(fixed[0], "big"),
        desk_port=int.from_bytes(fixed[1], "big"),
        door=fixed[2],
        authority=fixed[3],
        secret=fixed[4],
        expires=int.from_bytes(fixed[5], "big"),
    )


def _check(body: bytes) -> bytes:
    return hashlib.sha256(b"sottovoce/1/invite\0" + body).digest()[:_CHECK_BYTES]


def _no_invite() -> ProtocolError:
    return ProtocolError(
        "This is not an invite of a study.",
        f"An invite begins with {_PREFIX}-: paste all of it, or scan its code again.",
    )


def _mistyped() -> ProtocolError:
    return ProtocolError(
        "This invite has a typing error or is not whole.",
        "Compare it with the one that you were given, or paste it instead of typing.",
    )
