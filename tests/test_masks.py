"""Masks come from the full secret by a real stream cipher, as two implementations agree."""

import hashlib
import hmac

import numpy as np
import pytest

from sync.errors import ProtocolError
from sync.secure_sum.channel import (
    Agreement,
    check_public,
    confirmation,
    confirms,
    derived,
    opened,
    public_half,
    sealed,
)
from sync.secure_sum.device import pair_mask
from sync.secure_sum.masks import keystream, mask

FIELD = 2**255 - 19
SMALL_ORDER = [
    *(0, 1, FIELD - 1, FIELD, FIELD + 1),
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
]


def chacha20_block(key: bytes, counter: int) -> bytes:
    """RFC 8439, section 2.3, in plain integers, with a nonce of zeros."""

    def quarter(a: int, b: int, c: int, d: int) -> None:
        for to, other, turned, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[to] = (state[to] + state[other]) % 2**32
            mixed = state[turned] ^ state[to]
            state[turned] = (mixed << by | mixed >> (32 - by)) % 2**32

    words = [int.from_bytes(key[at : at + 4], "little") for at in range(0, 32, 4)]
    start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *words, counter, 0, 0, 0]
    state = list(start)
    for _ in range(10):
        for column in range(4):
            quarter(column, 4 + column, 8 + column, 12 + column)
        for turn in range(4):
            quarter(turn, 4 + (turn + 1) % 4, 8 + (turn + 2) % 4, 12 + (turn + 3) % 4)
    total = [(one + other) % 2**32 for one, other in zip(state, start, strict=True)]
    return b"".join(word.to_bytes(4, "little") for word in total)


def test_the_first_blocks_are_those_of_rfc_8439() -> None:
    """Appendix A.1, test vectors 1 (key zero, counter 0) and 2 (counter 1)."""
    first = bytes.fromhex(
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
        "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
    )
    second = bytes.fromhex(
        "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
        "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
    )
    assert keystream(bytes(32), 128) == first + second
    assert mask(bytes(32), 2).tolist() == [0xADE0B876, 0x903DF1A0]


def test_a_mask_is_chacha20_recomputed_in_plain_integers() -> None:
    secret = hashlib.sha256(b"any secret").digest()
    plain = b"".join(chacha20_block(secret, block) for block in range(5))
    assert mask(secret, 70).tolist() == np.frombuffer(plain[:280], dtype="<u4").tolist()


def test_every_one_of_the_256_bits_of_a_secret_changes_about_half_the_mask() -> None:
    """No folding to 32 bits: a generator seeded with part of the secret, or with its sum or xor,
    keeps some of these masks equal. 512 bits: within 8 standard deviations of a half.
    """
    secret = hashlib.sha256(b"a secret").digest()
    usual = np.frombuffer(keystream(secret, 64), dtype=np.uint8)
    masks = {usual.tobytes()}
    for bit in range(256):
        changed = bytearray(secret)
        changed[bit // 8] ^= 1 << bit % 8
        other = np.frombuffer(keystream(bytes(changed), 64), dtype=np.uint8)
        assert abs(int(np.unpackbits(usual ^ other).sum()) - 256) < 8 * 11.4
        masks.add(other.tobytes())
    assert len(masks) == 257


@pytest.mark.parametrize("fold", ["first word", "xor", "sum"])
def test_the_weak_generator_of_others_would_be_caught(fold: str) -> None:
    """The planted bug: 32 bits of the secret into a Mersenne Twister."""

    def weak(secret: bytes) -> bytes:
        words = np.frombuffer(secret, dtype="<u4")
        seed = {"first word": words[0], "xor": np.bitwise_xor.reduce(words), "sum": words.sum()}
        return np.random.RandomState(int(seed[fold]) % 2**32).bytes(64)

    secret = hashlib.sha256(b"a secret").digest()
    swapped = secret[:4] + secret[8:12] + secret[4:8] + secret[12:]
    assert weak(secret) == weak(swapped)
    assert keystream(secret, 64) != keystream(swapped, 64)


def test_two_members_make_the_same_mask_and_no_other_pair_does() -> None:
    one, other, third = (hashlib.sha256(name).digest() for name in (b"1", b"2", b"3"))
    roster = bytes(32)
    ours = pair_mask(Agreement(one), public_half(other), roster, 16, 4, 9)
    assert np.array_equal(ours, pair_mask(Agreement(other), public_half(one), roster, 16, 9, 4))
    for different in (
        pair_mask(Agreement(third), public_half(other), roster, 16, 4, 9),
        pair_mask(Agreement(one), public_half(other), roster, 16, 4, 8),
        pair_mask(Agreement(one), public_half(other), b"\1" + bytes(31), 16, 4, 9),
    ):
        assert not np.array_equal(ours, different)


def test_keys_differ_by_purpose_round_and_direction() -> None:
    keys = {
        derived(secret, roster, purpose, sender, receiver)
        for secret in (bytes(32), b"\1" * 32)
        for roster in (bytes(32), b"\1" * 32)
        for purpose in ("mask", "share", "confirm")
        for sender, receiver in ((1, 2), (2, 1), (0x10000, 2))
    }
    assert len(keys) == 2 * 2 * 3 * 3


def test_a_derived_key_is_hkdf_by_its_definition() -> None:
    """RFC 5869 with one block of output, by HMAC alone."""
    secret, roster = hashlib.sha256(b"s").digest(), hashlib.sha256(b"r").digest()
    info = b"sottovoce/1/share\0" + (3).to_bytes(4, "big") + (4).to_bytes(4, "big")
    extracted = hmac.digest(roster, secret, "sha256")
    expanded = hmac.digest(extracted, info + b"\1", "sha256")
    assert derived(secret, roster, "share", 3, 4) == expanded


@pytest.mark.parametrize("top_bit", [0, 1 << 255])
@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_public_key_of_small_order_is_refused_by_both_looks(point: int, top_bit: int) -> None:
    key = (point | top_bit).to_bytes(32, "little")
    with pytest.raises(ProtocolError):
        check_public(key)
    with pytest.raises(ProtocolError):
        Agreement(bytes(31) + b"\x40").with_(key)


def test_other_public_keys_are_not_refused() -> None:
    for number in (2, 9, FIELD - 2, FIELD + 2, 2**255 - 1):
        key = number.to_bytes(32, "little")
        check_public(key)
        assert Agreement(bytes(31) + b"\x40").with_(key) != bytes(32)


def test_what_was_sealed_opens_only_under_its_key_and_context() -> None:
    key = bytes(32)
    closed = sealed(key, b"x" * 96, b"roster")
    assert opened(key, closed, b"roster") == b"x" * 96
    for other_key, message, context in (
        (b"\1" * 32, closed, b"roster"),
        (key, closed[:-1] + bytes((closed[-1] ^ 1,)), b"roster"),
        (key, closed, b"another"),
        (key, b"", b"roster"),
    ):
        with pytest.raises(ProtocolError):
            opened(other_key, message, context)


def test_a_confirmation_is_of_one_digest_under_one_key() -> None:
    shown = confirmation(bytes(32), b"a" * 32)
    assert confirms(bytes(32), b"a" * 32, shown)
    assert not confirms(bytes(32), b"b" * 32, shown)
    assert not confirms(b"\1" * 32, b"a" * 32, shown)
    assert not confirms(bytes(32), b"a" * 32, shown[:15])
