"""Windows lose no sample, hear none twice, and don't depend on how the stream was cut."""

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_models.errors import ContractError
from edge_models.raw import RawAudio
from edge_models.windows import CONTEXT_SAMPLES, HOP_SAMPLES, AudioWindow, WindowCutter, windows_of

WINDOW = 20 * HOP_SAMPLES
CONTEXT = 5 * HOP_SAMPLES


def _cut(stream: np.ndarray, cuts: list[int], gap_at: int = -1, gap: int = 0) -> list[AudioWindow]:
    cutter = WindowCutter(WINDOW, CONTEXT)
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    windows: list[AudioWindow] = []
    for start, end in itertools.pairwise(edges):
        shift = gap if start >= gap_at >= 0 else 0
        windows += cutter.push(RawAudio(stream[start:end].copy(), start + shift))
    return [*windows, *cutter.finish()]


streams = st.integers(0, 5 * WINDOW + 17).map(
    lambda n: np.arange(1, n + 1, dtype=np.float32) / np.float32(1e6)
)


@settings(max_examples=60, deadline=None)
@given(streams, st.lists(st.integers(0, 10**6), max_size=30))
def test_the_windows_do_not_depend_on_the_cut(stream: np.ndarray, cuts: list[int]) -> None:
    whole, pieces = _cut(stream, []), _cut(stream, cuts)
    assert len(whole) == len(pieces)
    for one, other in zip(whole, pieces, strict=True):
        assert one.first_sample == other.first_sample
        assert np.array_equal(one.sound.samples, other.sound.samples)


@settings(max_examples=60, deadline=None)
@given(streams, st.lists(st.integers(0, 10**6), max_size=10))
def test_no_sample_is_lost_or_heard_twice(stream: np.ndarray, cuts: list[int]) -> None:
    windows = _cut(stream, cuts)
    padded = len(stream) + -len(stream) % HOP_SAMPLES
    inner = [w.sound.samples[CONTEXT : len(w.sound) - CONTEXT] for w in windows]
    joined = np.concatenate(inner) if inner else np.zeros(0, np.float32)
    assert len(joined) == padded
    assert np.array_equal(joined[: len(stream)], stream)
    assert not joined[len(stream) :].any()


@settings(max_examples=40, deadline=None)
@given(streams)
def test_the_context_is_what_lies_beside_the_window(stream: np.ndarray) -> None:
    far = np.zeros(CONTEXT + WINDOW, np.float32)
    line = np.concatenate([far, stream, far])
    for window in _cut(stream, []):
        start = window.first_sample + len(far) - CONTEXT
        assert np.array_equal(window.sound.samples, line[start : start + len(window.sound)])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4 * WINDOW), st.integers(1, 3 * WINDOW))
def test_a_gap_reads_as_silence_and_is_counted(at: int, gap: int) -> None:
    stream = np.ones(5 * WINDOW, np.float32)
    windows = _cut(stream, [at], gap_at=at, gap=gap)
    assert sum(window.missing for window in windows) == gap
    inner = np.concatenate([w.sound.samples[CONTEXT : len(w.sound) - CONTEXT] for w in windows])
    assert not inner[at : at + gap].any()
    assert inner[:at].all()
    assert int(inner.sum()) == len(stream)


def test_blocks_that_overlap_or_go_back_are_our_bug() -> None:
    cutter = WindowCutter(WINDOW, CONTEXT)
    list(cutter.push(RawAudio(np.ones(100, np.float32), 0)))
    with pytest.raises(ContractError):
        list(cutter.push(RawAudio(np.ones(100, np.float32), 50)))


def test_nothing_follows_the_end_of_a_stream() -> None:
    cutter = WindowCutter(WINDOW, CONTEXT)
    list(cutter.push(RawAudio(np.ones(100, np.float32), 0)))
    list(cutter.finish())
    for afterwards in (
        cutter.push(RawAudio(np.ones(100, np.float32), 160)),
        cutter.skip_to(1_000),
        cutter.finish(),
    ):
        with pytest.raises(ContractError):
            list(afterwards)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2 * WINDOW), st.integers(0, WINDOW)), max_size=12))
def test_many_gaps_leave_every_block_in_its_place(stretches: list[tuple[int, int]]) -> None:
    line = np.zeros(sum(hole + size for hole, size in stretches) + HOP_SAMPLES, np.float32)
    cutter, place, holes = WindowCutter(WINDOW, CONTEXT), 0, 0
    windows: list[AudioWindow] = []
    for hole, size in stretches:
        place, holes = place + hole, holes + (hole if size else 0)
        line[place : place + size] = np.arange(1, size + 1)
        if size:
            windows += cutter.push(RawAudio(line[place : place + size].copy(), place))
        else:
            windows += cutter.skip_to(place)
            holes += hole
        place += size
        assert cutter.heard_until_sample == place
    windows += cutter.finish()
    assert sum(window.missing for window in windows) == holes
    for window in windows:
        inner = window.sound.samples[CONTEXT : CONTEXT + window.inner_samples]
        assert np.array_equal(inner, line[window.first_sample :][: window.inner_samples])


def test_a_window_cannot_be_pickled_and_its_repr_shows_no_sample() -> None:
    (window,) = windows_of([RawAudio(np.full(160, 0.123, np.float32), 0)])
    with pytest.raises(ContractError):
        pickle.dumps(window)
    assert "0.123" not in repr(window)


def test_blocks_are_wiped_once_copied_and_so_is_what_is_left() -> None:
    block = RawAudio(np.ones(WINDOW * 2, np.float32), 0)
    windows = list(windows_of([block], WINDOW))
    assert not block.samples.any()
    windows[0].wipe()
    assert not windows[0].sound.samples.any()


def test_a_window_knows_its_place_and_its_rows() -> None:
    stream = RawAudio(np.ones(WINDOW + 1, np.float32), 0)
    first, last = windows_of([stream], WINDOW)
    assert (first.frames, last.frames) == (20, 1)
    assert first.end_s == last.start_s == pytest.approx(0.2)
    assert len(first.sound) == WINDOW + 2 * CONTEXT_SAMPLES
