"""Own moments: nothing at first, everybody's in time, causal, and the same after a restart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_models.alignment import (
    COVARIANCE_WEIGHT,
    LONGEST_MEMORY,
    MEAN_WEIGHT,
    Alignment,
    Moments,
    parse_moments,
    written,
)
from edge_models.errors import BundleError, ContractError

E = 3
MEMORY = int(LONGEST_MEMORY)
numbers = st.floats(-(2.0**100), 2.0**100, width=32)
embeddings = arrays(np.float32, E, elements=numbers)
calm = arrays(np.float32, E, elements=st.floats(-8, 8, width=32))


def covariance(rng: np.random.Generator, size: int, narrow: float, wide: float) -> np.ndarray:
    """A covariance in any direction, each of its standard deviations between these two."""
    ways, _ = np.linalg.qr(rng.normal(size=(size, size)))
    made = (ways * rng.uniform(narrow, wide, size) ** 2) @ ways.T
    return (made + made.T) / 2


def moments_of(size: int, seed: int = 1) -> Moments:
    rng = np.random.default_rng(seed)
    return Moments(rng.normal(size=size), covariance(rng, size, 0.5, 2.0))


MOMENTS = moments_of(E)


def after(windows: list[np.ndarray] | np.ndarray, moments: Moments = MOMENTS) -> Alignment:
    alignment = Alignment.empty(moments)
    for window in windows:
        alignment = alignment.including(window)
    return alignment


def whitened(values: np.ndarray, moments: Moments) -> np.ndarray:
    """Values in which everybody has mean zero and covariance one."""
    root = np.linalg.cholesky(moments.covariance)
    return np.linalg.solve(root, (values - moments.mean).T).T


class Person:
    """Windows of somebody whose mean and covariance, seen in everybody's, are others."""

    def __init__(self, seed: int, size: int, moments: Moments) -> None:
        self.rng = np.random.default_rng(seed)
        self.moments = moments
        self.root = np.linalg.cholesky(moments.covariance)
        self.mean = self.rng.uniform(-2, 2, size)
        self.spread = np.linalg.cholesky(covariance(self.rng, size, 0.5, 2.0))

    def windows(self, count: int) -> np.ndarray:
        drawn = self.mean + self.rng.normal(size=(count, len(self.mean))) @ self.spread.T
        return (self.moments.mean + drawn @ self.root.T).astype(np.float32)


@given(embeddings)
def test_nobodys_moments_leave_an_embedding_where_it_is(embedding: np.ndarray) -> None:
    assert np.array_equal(Alignment.empty(MOMENTS).aligned(embedding), embedding)


@settings(max_examples=12)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_later_windows_of_anybody_lie_and_scatter_as_everybodys(seed: int, size: int) -> None:
    moments = moments_of(size, seed)
    person = Person(seed, size, moments)
    alignment = after(person.windows(MEMORY), moments)
    later = np.stack([alignment.aligned(window) for window in person.windows(1_000)])
    found = whitened(later, moments)
    # Off by chance: a mean of 360 windows by 0.06, an eigenvalue of five by 0.3 or 0.4 at most.
    assert np.abs(found.mean(axis=0)).max() < 0.3
    sizes = np.linalg.eigvalsh(np.atleast_2d(np.cov(found, rowvar=False)))
    assert sizes[0] > 0.6 and sizes[-1] < 1.6


def test_each_window_brings_a_person_nearer() -> None:
    people = [Person(seed, E, MOMENTS) for seed in range(20)]
    off = []
    for known in (0, 4, 40):
        means = []
        for person in people:
            alignment = after(person.windows(known))
            later = np.stack([alignment.aligned(one) for one in person.windows(200)])
            means.append(whitened(later, MOMENTS).mean(axis=0))
        off.append(float(np.linalg.norm(means, axis=1).mean()))
    assert off[0] > 1.5 * off[1] > 3 * off[2]


def test_how_a_window_differs_from_the_persons_usual_stays() -> None:
    """The map is linear and keeps directions apart: what is further from their usual stays so."""
    person = Person(5, E, MOMENTS)
    alignment = after(person.windows(60))
    own = np.array([0.5, -1.0, 0.3])
    middle = alignment.aligned(np.float32(alignment.mean))
    steps = [alignment.aligned(np.float32(alignment.mean + k * own)) - middle for k in (1, 2, -1)]
    assert np.allclose(2 * steps[0], steps[1], atol=1e-5)
    assert np.allclose(-steps[0], steps[2], atol=1e-5)
    assert own @ steps[0] > 0


def test_the_moments_are_shrunk_as_stated_and_become_everybodys() -> None:
    windows = Person(2, E, MOMENTS).windows(9)
    alignment = after(windows)
    apart = windows.mean(axis=0) - MOMENTS.mean
    mean = MOMENTS.mean + 9 * apart / (MEAN_WEIGHT + 9)
    scatter = COVARIANCE_WEIGHT * MOMENTS.covariance + 9 * np.cov(windows, rowvar=False, ddof=0)
    scatter += MEAN_WEIGHT * 9 / (MEAN_WEIGHT + 9) * np.outer(apart, apart)
    own = scatter / (COVARIANCE_WEIGHT + 9)
    assert np.allclose(alignment.aligned(np.float32(mean)), MOMENTS.mean, atol=1e-5)
    turn = [alignment.aligned(np.float32(mean + way)) - MOMENTS.mean for way in np.eye(E)]
    made = np.stack(turn, axis=1)
    assert np.allclose(made, made.T, atol=1e-5), "the map that moves least is symmetric"
    assert np.allclose(made @ own @ made.T, MOMENTS.covariance, atol=1e-4)


@given(st.lists(calm, min_size=1, max_size=6), calm)
def test_a_window_takes_no_part_in_its_own_alignment(
    windows: list[np.ndarray], last: np.ndarray
) -> None:
    before = after(windows)
    first = before.aligned(last)
    before.including(last)
    assert np.array_equal(before.aligned(last), first)
    assert before.to_bytes() == after(windows).to_bytes()


@given(st.lists(calm, min_size=2, max_size=8), st.randoms())
def test_the_order_of_earlier_windows_does_not_matter(windows: list[np.ndarray], chance) -> None:
    other = list(windows)
    chance.shuffle(other)
    one, two = after(windows), after(other)
    assert np.allclose(one.mean, two.mean, atol=1e-9)
    assert np.allclose(one.products, two.products, atol=1e-7)


@given(st.lists(embeddings, max_size=8), embeddings)
def test_every_finite_embedding_stays_finite(windows: list[np.ndarray], last: np.ndarray) -> None:
    moved = after(windows).aligned(last)
    assert moved.dtype == np.float32 and moved.shape == (E,) and np.isfinite(moved).all()


def test_a_person_who_always_sounds_the_same_is_still_aligned() -> None:
    same = np.float32([3, 1, -2])
    moved = after([same] * 50).aligned(same)
    assert np.linalg.norm(moved - MOMENTS.mean) < 0.25 * np.linalg.norm(same - MOMENTS.mean)


def test_embeddings_of_one_number_are_moved_and_scaled() -> None:
    moments = Moments(np.array([1.0]), np.array([[4.0]]))
    rng = np.random.default_rng(3)
    alignment = after(rng.normal(7, 1, (MEMORY, 1)).astype(np.float32), moments)
    later = [alignment.aligned(np.float32([value])) for value in (6.0, 7.0, 8.0)]
    assert np.allclose(np.ravel(later), [-1, 1, 3], atol=0.4)


def test_old_windows_fade_once_memory_is_full() -> None:
    rng = np.random.default_rng(4)
    late = 4 * MEMORY
    windows = rng.normal(size=(MEMORY + late, E)) + np.repeat([-3, 3], (MEMORY, late))[:, None]
    alignment = after(windows.astype(np.float32))
    assert alignment.windows == LONGEST_MEMORY
    assert (alignment.mean > 2.5).all()
    age = np.minimum(np.arange(len(windows))[::-1], late)
    weights = (1 - 1 / LONGEST_MEMORY) ** age
    assert np.allclose(alignment.mean, np.average(windows, axis=0, weights=weights), atol=1e-5)
    scatter = np.cov(windows, rowvar=False, ddof=0, aweights=weights)
    assert np.allclose(alignment.products / LONGEST_MEMORY, scatter, atol=1e-4)


# Bytes.


@given(st.lists(calm, max_size=6), calm)
def test_it_survives_a_restart_exactly(windows: list[np.ndarray], last: np.ndarray) -> None:
    alignment = after(windows)
    again = Alignment.from_bytes(alignment.to_bytes(), MOMENTS)
    assert np.array_equal(again.aligned(last), alignment.aligned(last))
    assert again.to_bytes() == alignment.to_bytes()


@settings(max_examples=200)
@given(st.binary(max_size=140))
def test_any_bytes_are_an_alignment_or_refused(raw: bytes) -> None:
    must_be_usable_or_refused(raw)


@settings(max_examples=300)
@given(st.integers(0, 19 + 8 * E * (E + 1)), st.integers(1, 255))
def test_a_flipped_byte_never_gives_numbers_that_are_not_finite(place: int, flip: int) -> None:
    raw = bytearray(after(Person(6, E, MOMENTS).windows(5)).to_bytes())
    raw[place] ^= flip
    must_be_usable_or_refused(bytes(raw))


def must_be_usable_or_refused(raw: bytes) -> None:
    try:
        alignment = Alignment.from_bytes(raw, MOMENTS)
    except ContractError:
        return
    for alignment_then in (alignment, alignment.including(np.float32([1, 2, 3]))):
        assert np.isfinite(alignment_then.aligned(np.float32([3, 2, 1]))).all()


@pytest.mark.parametrize("fault", ["short", "long", "nan", "far", "uneven", "negative", "hours"])
def test_damaged_bytes_are_refused(fault: str) -> None:
    alignment = after(Person(7, E, MOMENTS).windows(4))
    mean, products, windows = alignment.mean.copy(), alignment.products.copy(), 4.0
    if fault == "nan":
        mean[1] = np.nan
    if fault == "far":
        mean[1] = 1e200
    if fault == "uneven":
        products[0, 1] += 1
    if fault == "negative":
        products[2, 2] = -1
    if fault == "hours":
        windows = LONGEST_MEMORY + 1
    raw = Alignment(MOMENTS, windows, mean, products).to_bytes()
    raw = {"short": raw[:-1], "long": raw + b"\0"}.get(fault, raw)
    with pytest.raises(ContractError):
        Alignment.from_bytes(raw, MOMENTS)


def test_an_alignment_of_another_size_is_refused() -> None:
    with pytest.raises(ContractError, match="not an alignment of this bundle"):
        Alignment.from_bytes(Alignment.empty(moments_of(E + 1)).to_bytes(), MOMENTS)


@pytest.mark.parametrize("fault", ["length", "shape", "nan", "inf"])
def test_an_embedding_that_is_not_whole_is_refused(fault: str) -> None:
    embedding = np.float32([1, 2, 3])
    if fault == "length":
        embedding = embedding[:-1]
    elif fault == "shape":
        embedding = embedding[None]
    else:
        embedding[2] = float(fault)
    for alignment in (Alignment.empty(MOMENTS), after([np.float32([1, 1, 1])])):
        with pytest.raises(ContractError):
            alignment.aligned(embedding)
        with pytest.raises(ContractError):
            alignment.including(embedding)


# Everybody's.


@pytest.mark.parametrize(
    ("mean", "covariance"),
    [
        ([], np.zeros((0, 0))),
        ([0, 0], np.eye(3)),
        ([0, np.nan], np.eye(2)),
        ([0, 0], [[1, 0.5], [0.4, 1]]),
        ([0, 0], [[1, 2], [2, 1]]),
        ([0, 0], [[1, 1], [1, 1]]),
        ([0], [[0.0]]),
        ([[0]], [[1.0]]),
    ],
)
def test_moments_that_are_none_can_not_exist(mean: object, covariance: object) -> None:
    with pytest.raises(ContractError):
        Moments(np.asarray(mean, np.float64), np.asarray(covariance, np.float64))


@given(st.integers(1, 6), st.integers(0, 1000))
def test_moments_read_back_exactly(size: int, seed: int) -> None:
    moments = moments_of(size, seed)
    again = parse_moments(written(moments), size)
    assert np.array_equal(again.mean, moments.mean)
    assert np.array_equal(again.covariance, moments.covariance)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{}", b"[1]", b'{"mean":[0],"covariance":[[1]]}',
        b'{"mean":[0,0,0],"covariance":[[1,0,0],[0,1,0]]}',
        b'{"mean":[0,0,0],"covariance":[[1,0,0],[0,1,0],[0,0]]}',
        b'{"mean":[0,0,0],"covariance":[[1,0,0],[0,1,0],[0,0,-1]]}',
        b'{"mean":[0,0,NaN],"covariance":[[1,0,0],[0,1,0],[0,0,1]]}',
        b'{"mean":[0,0,0],"covariance":[[1,0,0],[0,1,0],[0,0,1]],"more":1}',
        written(MOMENTS) + b" " * (256 * 1024),
    ],
)  # fmt: skip
def test_what_is_not_moments_of_this_size_is_refused(raw: bytes) -> None:
    with pytest.raises(BundleError, match=r"moments\.json"):
        parse_moments(raw, E)


def test_whoever_sees_a_stream_from_its_first_window_can_undo_it() -> None:
    """A limit that is told, not wished for: nothing here is random."""
    raw = Person(3, E, MOMENTS).windows(40)
    alignment, undone = Alignment.empty(MOMENTS), Alignment.empty(MOMENTS)
    for window in raw:
        seen = alignment.aligned(window)
        origin = undone.aligned(np.zeros(E, np.float32)).astype(float)
        unit = np.eye(E, dtype=np.float32)
        turn = np.stack([undone.aligned(way).astype(float) - origin for way in unit], axis=1)
        found = np.linalg.solve(turn, seen - origin).astype(np.float32)
        np.testing.assert_allclose(found, window, atol=1e-2)
        alignment, undone = alignment.including(window), undone.including(found)
