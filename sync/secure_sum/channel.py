"""What two members of a round share: a secret that only they can make, and keys from it.

Rules upheld here: keys are fresh in each round, one pair for talking (`channel`) and one for
masking (`mask`), so that giving a mask away opens no message; each key has one purpose, one
direction and one round, which is why its nonce may be zero.

Source: RFC 7748 (X25519), RFC 5869 (HKDF-SHA-256), RFC 8439 (ChaCha20-Poly1305).
"""

import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sync.errors import ProtocolError

KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
CONFIRMATION_BYTES: Final = 16
_IGNORED_BIT: Final = 1 << 255
_FIELD: Final = 2**255 - 19
_SMALL_ORDER: Final = frozenset(
    (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        _FIELD - 1,
        _FIELD,
        _FIELD + 1,
    )
)
"""The points from which every private key makes the secret zero (RFC 7748, section 6.1)."""
_ONCE: Final = bytes(12)


def public_half(private_key: bytes) -> bytes:
    """The X25519 public key, 32 bytes."""
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def check_public(public_key: bytes) -> None:
    """Return if a secret could come from this public key (32 bytes), without making one.

    Raises:
        ProtocolError: it is of small order.
    """
    if int.from_bytes(public_key, "little") % _IGNORED_BIT in _SMALL_ORDER:
        raise ProtocolError("A public key is none that a secret could come from.")


class Agreement:
    """One side of key agreements with many others, from one private key (32 bytes)."""

    __slots__ = ("_key",)

    def __init__(self, private_key: bytes) -> None:
        self._key = X25519PrivateKey.from_private_bytes(private_key)

    def with_(self, public_key: bytes) -> bytes:
        """The secret shared with the owner of a public key, 32 bytes, equal for both.

        Raises:
            ProtocolError: the public key is of small order, and would give no secret.
        """
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(public_key))
        except ValueError:
            raise ProtocolError("A public key is none that a secret could come from.") from None


def derived(secret: bytes, roster: bytes, purpose: str, sender: int, receiver: int) -> bytes:
    """A 32-byte key for one purpose, round (by the roster's digest) and direction."""
    info = (
        b"sottovoce/1/" + purpose.encode() + b"\0"
        + sender.to_bytes(4, "big") + receiver.to_bytes(4, "big")
    )  # fmt: skip
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=roster, info=info).derive(secret)


def sealed(key: bytes, message: bytes, bound_to: bytes) -> bytes:
    """Encrypted and authenticated, bound to a context; use a key once."""
    return ChaCha20Poly1305(key).encrypt(_ONCE, message, bound_to)


def opened(key: bytes, sealed_message: bytes, bound_to: bytes) -> bytes:
    """What `sealed` closed under the same key and context.

    Raises:
        ProtocolError: it was altered, or is of another pair, round or roster.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(_ONCE, sealed_message, bound_to)
    except InvalidTag:
        raise ProtocolError("A neighbour's message was altered, or is of another roster.") from None


def confirmation(key: bytes, digest: bytes) -> bytes:
    """Shows one neighbour, and nobody else, that we saw what has this digest; 16 bytes."""
    return hmac.digest(key, digest, "sha256")[:CONFIRMATION_BYTES]


def confirms(key: bytes, digest: bytes, shown: bytes) -> bool:
    """Whether `shown` is the confirmation of this digest."""
    return hmac.compare_digest(confirmation(key, digest), shown)
