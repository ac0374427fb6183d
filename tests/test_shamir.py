"""Shamir's sharing: enough shares give the secret, one fewer say nothing, liars are found."""

import hashlib
import itertools
import secrets
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_models.errors import ContractError
from sync.errors import ProtocolError
from sync.secure_sum.false_shares import without_false
from sync.secure_sum.shamir import PRIME, SECRET_BYTES, SHARE_BYTES, secret_of, shares_of

FALSE_ALARM_Z = 6.0
"""Six standard deviations: a false alarm in about 10^9 runs, were the source not seeded."""


def stream(name: str) -> Callable[[int], bytes]:
    """Bytes that look random and are the same in every run."""
    counter = itertools.count()

    def draw(size: int) -> bytes:
        seed = f"{name} {next(counter)}".encode()
        return hashlib.shake_256(seed).digest(size)

    return draw


def limbs_of(share: bytes) -> list[int]:
    return [int.from_bytes(share[at : at + 3], "little") for at in range(0, SHARE_BYTES, 3)]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_threshold_of_the_shares_gives_the_secret(data: st.DataObject) -> None:
    points = data.draw(st.lists(st.integers(1, PRIME - 1), min_size=1, max_size=40, unique=True))
    threshold = data.draw(st.integers(1, len(points)))
    wanted = data.draw(
        st.lists(st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES), min_size=1, max_size=3)
    )
    shares = shares_of(wanted, points, threshold, secrets.token_bytes)
    chosen = data.draw(st.permutations(range(len(points))))[:threshold]
    for which, secret in enumerate(wanted):
        assert secret_of([(points[at], shares[at][which]) for at in chosen]) == secret


def test_the_last_point_of_the_largest_cohort_holds_a_share() -> None:
    points = [1, 2, 65_535, 65_536]
    shares = shares_of([bytes(range(32))], points, 3, secrets.token_bytes)
    held = [(point, share[0]) for point, share in zip(points, shares, strict=True)]
    assert secret_of(held[1:]) == bytes(range(32))


def test_a_share_is_the_polynomial_at_its_point_by_plain_arithmetic() -> None:
    drawn: list[bytes] = []

    def noted(size: int) -> bytes:
        drawn.append(stream("plain")(size))
        return drawn[-1]

    secret = stream("secret")(32)
    points = [1, 7, 65_536]
    shares = shares_of([secret], points, 3, noted)
    words = [int.from_bytes(drawn[0][at : at + 4], "little") for at in range(0, 128, 4)]
    assert max(words) < 2**32 // PRIME * PRIME
    limbs = [int.from_bytes(secret[at : at + 2], "little") for at in range(0, 32, 2)]
    for point, (share,) in zip(points, shares, strict=True):
        assert limbs_of(share) == [
            (limb + words[at] * point + words[16 + at] * point**2) % PRIME
            for at, limb in enumerate(limbs)
        ]


@pytest.mark.parametrize("limb", [0, 1, 65_535])
def test_one_share_of_two_is_exactly_uniform_whatever_the_secret(limb: int) -> None:
    """Not a sample: with every coefficient once, the share takes every value once."""
    secret = limb.to_bytes(2, "little") * 16
    every = np.zeros(16 * 4097, dtype="<u4")
    every[:PRIME] = np.arange(PRIME)
    (row, _) = shares_of([secret] * 4097, [40_000, 7], 2, lambda _: every.tobytes())
    raw = np.frombuffer(b"".join(row), dtype=np.uint8).reshape(-1, 3).astype(np.int64)
    values = (raw @ [1, 256, 65_536])[:PRIME]
    assert np.array_equal(np.sort(values), np.arange(PRIME))


def test_one_share_fewer_fits_every_secret_equally_well() -> None:
    """Lagrange at zero for the points 1, 2, 3 is s = 3a - 3b + c: for every s there is one c."""
    one, two, three = shares_of([b"\x2a\x00" * 16], [1, 2, 3], 3, stream("fits"))
    a, b, c = (limbs_of(share)[0] for (share,) in (one, two, three))
    assert (3 * a - 3 * b + c) % PRIME == 42
    assert len({(s - 3 * a + 3 * b) % PRIME for s in range(PRIME)}) == PRIME


def test_shares_are_uniform() -> None:
    """Mean and each of 16 bins within six standard deviations; seeded, so never by chance."""
    draw = stream("uniform")
    values = np.array(
        [
            limbs_of(share)
            for _ in range(400)
            for (share,) in shares_of([b"\xff" * 32], [1, 9, 200, 65_536], 3, draw)
        ]
    ).ravel()
    count = len(values)
    spread = PRIME / np.sqrt(12 * count)
    assert abs(values.mean() - (PRIME - 1) / 2) < FALSE_ALARM_Z * spread
    bins = np.bincount(values * 16 // PRIME, minlength=16)
    assert len(bins) == 16
    expected = count / 16
    assert np.abs(bins - expected).max() < FALSE_ALARM_Z * np.sqrt(expected * 15 / 16)


def test_a_draw_that_would_favour_small_values_is_thrown_away() -> None:
    asked: list[int] = []

    def draw(size: int) -> bytes:
        asked.append(size)
        return b"\xff\xff\xff\xff" * (size // 4) if len(asked) == 1 else bytes(size)

    ((share,), *_) = shares_of([b"\x05\x00" * 16], [3, 4], 2, draw)
    assert asked == [64, 64]
    assert limbs_of(share) == [5] * 16


@pytest.mark.parametrize(
    ("points", "threshold"),
    [([], 1), ([0, 1], 1), ([1, 65_537], 1), ([1, 1], 1), ([1, 2], 0), ([1, 2], 3)],
)
def test_points_and_thresholds_that_hide_nothing_are_our_bug(
    points: list[int], threshold: int
) -> None:
    with pytest.raises(ContractError):
        shares_of([bytes(32)], points, threshold, secrets.token_bytes)


def test_a_number_that_is_none_mod_65537_is_refused() -> None:
    largest, beyond = (65_536).to_bytes(3, "little"), (65_537).to_bytes(3, "little")
    assert len(secret_of([(1, bytes(48))])) == 32
    with pytest.raises(ProtocolError, match="none mod"):
        secret_of([(1, beyond + bytes(45))])
    with pytest.raises(ProtocolError, match="fit together"):
        secret_of([(1, largest + bytes(45))])


@pytest.mark.parametrize("shares", [[], [(1, bytes(48))] * 2, [(1, bytes(47))]])
def test_shares_that_can_be_none_are_refused(shares: list[tuple[int, bytes]]) -> None:
    with pytest.raises(ProtocolError):
        secret_of(shares)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_false_shares_are_found_up_to_half_of_the_spare_ones(data: st.DataObject) -> None:
    spare = data.draw(st.integers(2, 12))
    threshold = data.draw(st.integers(1, 20))
    points = data.draw(
        st.lists(
            st.integers(1, PRIME - 1),
            min_size=threshold + spare, max_size=threshold + spare, unique=True,
        )
    )  # fmt: skip
    secret = data.draw(st.binary(min_size=32, max_size=32))
    held = [
        (point, share)
        for point, (share,) in zip(
            points, shares_of([secret], points, threshold, secrets.token_bytes), strict=True
        )
    ]
    liars = data.draw(st.lists(st.integers(0, len(held) - 1), max_size=spare // 2, unique=True))
    for liar in liars:
        point, share = held[liar]
        number = (limbs_of(share)[5] + data.draw(st.integers(1, PRIME - 1))) % PRIME
        held[liar] = (point, share[:15] + number.to_bytes(3, "little") + share[18:])
    fitting = without_false(held, threshold)
    assert len(fitting) >= threshold
    assert not {held[liar] for liar in liars} & set(fitting)
    assert secret_of(fitting[:threshold]) == secret
    assert secret_of(fitting[-threshold:]) == secret


def test_too_many_false_shares_are_an_error_or_another_secret_but_nothing_else() -> None:
    held = [
        (point, share)
        for point, (share,) in enumerate(
            shares_of([bytes(32)], range(1, 13), 8, secrets.token_bytes), start=1
        )
    ]
    for liars in range(3, 12):
        told = [(p, bytes(48) if p <= liars else s) for p, s in held]
        try:
            assert len(secret_of(without_false(told, 8)[:8])) == 32
        except ProtocolError as refused:
            assert "fit together" in refused.cause


def test_without_a_share_to_spare_no_false_one_can_be_found() -> None:
    with pytest.raises(ProtocolError, match="none to spare"):
        without_false([(1, bytes(48)), (2, bytes(48))], 2)
