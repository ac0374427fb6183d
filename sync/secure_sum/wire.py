"""The bytes of a secure sum: every message, and how to read one back.

Rules upheld here: any bytes give a message or `ProtocolError`; a length is checked before anything
is cut out; each message names its round first; whatever a member sends is signed by it, under one
purpose, over everything else in the message. All integers are big-endian but the numbers of a
masked vector, which are little-endian as the mask generator gives them.

| step | from | body |
|---|---|---|
| ADVERT | member | credential 121, channel key 32, mask key 32; signed over the terms' digest |
| ROSTER | coordinator | seed 32, signature 64, n (4), n digests; the neighbours' adverts |
| SHARES | member | commitment 32, one ciphertext (112) for each neighbour |
| INBOX | coordinator | bits: which neighbours shared; their ciphertexts |
| MASKED | member | N numbers (4 each) |
| SURVIVORS | coordinator | signature 64; bits: whose vectors arrived |
| CONFIRM | member | the survivors' digest 32; 16 for each neighbour that survived |
| CONFIRMS | coordinator | bits: which neighbours confirmed; 16 each |
| OPENING | member | own seed 32; one share (48) for each neighbour that shared |
| REFUSAL | member | why, in words |

Neighbours are always in rising order of their place in the roster. Bits: the first is the highest.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from sync.errors import ProtocolError
from sync.identity import CREDENTIAL_BYTES, SIGNATURE_BYTES, Credential, Identity, parse_credential
from sync.identity import verify as verify_signature
from sync.secure_sum.channel import TAG_BYTES, check_public
from sync.secure_sum.masks import Vector
from sync.secure_sum.shamir import SHARE_BYTES

ROUND_BYTES: Final = 32
KEY_BYTES: Final = 32
DIGEST_BYTES: Final = 32
SEED_BYTES: Final = 32
LONGEST_REASON_BYTES: Final = 300
CIPHERTEXT_BYTES: Final = 2 * SHARE_BYTES + TAG_BYTES
ADVERT_BYTES: Final = CREDENTIAL_BYTES + 2 * KEY_BYTES + SIGNATURE_BYTES

_KEYS: Final = "round keys"
_STEP: Final = "round step"
_ROSTER: Final = "round roster"
_SURVIVORS: Final = "round survivors"


class Step(IntEnum):
    """What a message is; it follows the round's 32 bytes."""

    ADVERT = 1
    ROSTER = 2
    SHARES = 3
    INBOX = 4
    MASKED = 5
    SURVIVORS = 6
    CONFIRM = 7
    CONFIRMS = 8
    OPENING = 9
    REFUSAL = 10


@dataclass(frozen=True, slots=True)
class Advert:
    """A member's keys for one round. `body` is its encoding, whose digest the roster lists."""

    credential: Credential
    channel_key: bytes
    mask_key: bytes
    signature: bytes

    @property
    def body(self) -> bytes:
        """249 bytes."""
        return self.credential.to_bytes() + self.channel_key + self.mask_key + self.signature

    def check(self, terms_digest: bytes) -> None:
        """Return if the certified key signed these keys for these terms, and they are keys.

        Raises:
            ProtocolError: it did not, or no secret could come from them.
        """
        check_public(self.channel_key)
        check_public(self.mask_key)
        verify_signature(
            self.credential.signing_key, _KEYS, self.signed_part(terms_digest), self.signature
        )

    def signed_part(self, terms_digest: bytes) -> bytes:
        """What the signature covers."""
        return terms_digest + self.channel_key + self.mask_key


def make_advert(
    identity: Identity, terms_digest: bytes, channel_key: bytes, mask_key: bytes
) -> Advert:
    """Sign a member's public keys for a round."""
    signature = identity.sign(_KEYS, terms_digest + channel_key + mask_key)
    return Advert(identity.credential, channel_key, mask_key, signature)


def parse_advert(body: bytes) -> Advert:
    """The advert in 249 bytes; nothing in it is believed yet.

    Raises:
        ProtocolError: they hold none.
    """
    if len(body) != ADVERT_BYTES:
        raise ProtocolError(f"An advert has {ADVERT_BYTES} bytes.")
    credential, channel_key, mask_key, signature = struct.unpack(
        f"{CREDENTIAL_BYTES}s{KEY_BYTES}s{KEY_BYTES}s{SIGNATURE_BYTES}s", body
    )
    return Advert(parse_credential(credential), channel_key, mask_key, signature)


@dataclass(frozen=True, slots=True)
class Roster:
    """Who takes part: the seed of the ring, and the digest of each member's advert, in order."""

    seed: bytes
    leaves: tuple[bytes, ...]

    def digest(self, terms_digest: bytes) -> bytes:
        """32 bytes that fix terms, seed and roster; everything later is bound to them."""
        whole = hashlib.sha256(b"sottovoce/1/roster\0" + terms_digest + self.seed)
        whole.update(b"".join(self.leaves))
        return whole.digest()


def survivors_digest(roster: bytes, survivors: bytes) -> bytes:
    """32 bytes that fix a roster's digest and the bits of whose vectors arrived."""
    return hashlib.sha256(b"sottovoce/1/survivors\0" + roster + survivors).digest()


def framed(round_id: bytes, step: Step, body: bytes) -> bytes:
    """A message of the coordinator, or the part of a member's that is signed."""
    return round_id + bytes((step,)) + body


def signed(identity: Identity, round_id: bytes, step: Step, body: bytes) -> bytes:
    """A message of a member: signed over all of it."""
    message = framed(round_id, step, body)
    return message + identity.sign(_STEP, message)


def split(payload: bytes) -> tuple[bytes, Step, bytes]:
    """Round, step and body.

    Raises:
        ProtocolError: it is too short, or no step of this protocol.
    """
    if len(payload) <= ROUND_BYTES:
        raise ProtocolError("A message of a round names its round and its step.")
    try:
        step = Step(payload[ROUND_BYTES])
    except ValueError:
        raise ProtocolError("A message of a round names a step that there is not.") from None
    return payload[:ROUND_BYTES], step, payload[ROUND_BYTES + 1 :]


def unsigned(payload: bytes, signing_key: bytes) -> bytes:
    """The body of a member's message, its signature checked.

    Raises:
        ProtocolError: the signature is false or missing.
    """
    message, signature = payload[:-SIGNATURE_BYTES], payload[-SIGNATURE_BYTES:]
    if len(message) <= ROUND_BYTES:
        raise ProtocolError("A member's message is signed.")
    verify_signature(signing_key, _STEP, message, signature)
    return message[ROUND_BYTES + 1 :]


def roster_body(
    coordinator: Identity, terms_digest: bytes, roster: Roster, adverts: Sequence[bytes]
) -> bytes:
    """A ROSTER for one member, with the adverts of its neighbours."""
    signature = coordinator.sign(_ROSTER, roster.digest(terms_digest))
    return (
        roster.seed
        + signature
        + len(roster.leaves).to_bytes(4, "big")
        + b"".join(roster.leaves)
        + b"".join(adverts)
    )


def parse_roster(body: bytes, terms_digest: bytes, signing_key: bytes) -> tuple[Roster, bytes]:
    """The roster that the coordinator signed, and the bytes of the neighbours' adverts.

    Raises:
        ProtocolError: it is too short, or not signed by that key.
    """
    fixed = SEED_BYTES + SIGNATURE_BYTES + 4
    if len(body) < fixed:
        raise ProtocolError("A roster is cut short.")
    count = int.from_bytes(body[fixed - 4 : fixed], "big")
    end = fixed + count * DIGEST_BYTES
    if len(body) < end:
        raise ProtocolError("A roster is cut short.")
    leaves = tuple(body[at : at + DIGEST_BYTES] for at in range(fixed, end, DIGEST_BYTES))
    roster = Roster(body[:SEED_BYTES], leaves)
    signature = body[SEED_BYTES : SEED_BYTES + SIGNATURE_BYTES]
    verify_signature(signing_key, _ROSTER, roster.digest(terms_digest), signature)
    return roster, body[end:]


def survivors_body(coordinator: Identity, roster: bytes, survivors: bytes) -> bytes:
    """SURVIVORS, the same for everybody."""
    return coordinator.sign(_SURVIVORS, survivors_digest(roster, survivors)) + survivors


def parse_survivors(body: bytes, roster: bytes, members: int, signing_key: bytes) -> bytes:
    """The bits of whose vectors arrived, as the coordinator signed them.

    Raises:
        ProtocolError: of another length, or not signed by that key.
    """
    signature, survivors = body[:SIGNATURE_BYTES], body[SIGNATURE_BYTES:]
    parse_bits(survivors, members)
    verify_signature(signing_key, _SURVIVORS, survivors_digest(roster, survivors), signature)
    return survivors


def bits_of(flags: Sequence[bool]) -> bytes:
    """Flags as bits, the first the highest; the last byte is filled with zeros."""
    return np.packbits(np.asarray(flags, dtype=bool)).tobytes()


def bits_size(count: int) -> int:
    """How many bytes so many bits take."""
    return -(-count // 8)


def parse_bits(payload: bytes, count: int) -> tuple[bool, ...]:
    """Exactly `count` flags.

    Raises:
        ProtocolError: of another length, or padded with anything but zeros.
    """
    if len(payload) != bits_size(count):
        raise ProtocolError(f"Bits for {count} members take {bits_size(count)} bytes.")
    flags = np.unpackbits(np.frombuffer(payload, dtype=np.uint8))
    if flags[count:].any():
        raise ProtocolError("Bits are padded with zeros.")
    return tuple(bool(flag) for flag in flags[:count])


def flagged_parts(body: bytes, count: int, part_bytes: int) -> tuple[bytes | None, ...]:
    """For each of `count` places its part, or None: bits first, then the parts that there are.

    Raises:
        ProtocolError: the lengths don't fit.
    """
    flags = parse_bits(body[: bits_size(count)], count)
    parts = iter(equal_parts(body[bits_size(count) :], sum(flags), part_bytes))
    return tuple(next(parts) if flag else None for flag in flags)


def equal_parts(body: bytes, count: int, part_bytes: int) -> tuple[bytes, ...]:
    """`count` parts of the same size, and nothing else.

    Raises:
        ProtocolError: the body has another length.
    """
    if len(body) != count * part_bytes:
        raise ProtocolError(f"A message holds {count} parts of {part_bytes} bytes.")
    return tuple(body[at : at + part_bytes] for at in range(0, len(body), part_bytes))


def parse_vector(body: bytes, length: int) -> Vector:
    """N numbers mod 2^32, uint32 (length,).

    Raises:
        ProtocolError: they are more or fewer.
    """
    if len(body) != 4 * length:
        raise ProtocolError(f"A masked vector has {length} numbers.")
    return np.frombuffer(body, dtype="<u4").astype(np.uint32, copy=False)
