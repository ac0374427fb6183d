"""The speech gate: what it refuses, and that the cut of the stream can't change its answer."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edge_models
from edge_models.errors import ContractError
from edge_models.raw import RawAudio
from edge_models.runner import OnnxGraph
from edge_models.speech_gate import (
    SpeechGate,
    pcm16,
    runs_of,
    smoothed,
    votes,
)
from edge_models.windows import (
    CONTEXT_SAMPLES,
    HOP_SAMPLES,
    WINDOW_SAMPLES,
    AudioWindow,
    WindowCutter,
    windows_of,
)

Sound = npt.NDArray[np.float32]

GATE = Path(edge_models.__file__).parent / "bundles" / "affect-1" / "gate.onnx"
LARGEST_FILE_BYTES = 150_000
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def gate() -> SpeechGate:
    return SpeechGate(OnnxGraph(GATE.read_bytes()))


def window_of(sound: Sound) -> AudioWindow:
    """One window of the whole sound, silence on both sides."""
    (window,) = windows_of([RawAudio(sound.copy(), 0)], -(-len(sound) // HOP_SAMPLES) * HOP_SAMPLES)
    return window


def voice(seconds: float, seed: int = 3) -> Sound:
    """Something voiced and syllabic, from oscillators: no recording is needed for a property."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    pitch = 2 * np.pi * np.cumsum(130 + 20 * np.sin(2 * np.pi * 0.7 * time)) / RATE_HZ
    tone = sum(np.sin(k * pitch) / k for k in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * 2 * time), 0, None)
    sound = 0.1 * tone * syllables + 0.001 * rng.standard_normal(len(time))
    return np.asarray(sound, np.float32)


# --- smoothing -------------------------------------------------------------------------------


def test_a_stop_consonants_gap_is_closed_and_a_pause_is_not() -> None:
    belief = np.ones(60, np.float32)
    belief[20:24] = 0
    belief[40:52] = 0
    speech = smoothed(belief, 0.5, longest_gap_rows=4, shortest_speech_rows=3)
    assert speech[:40].all()
    assert not speech[40:52].any()


def test_a_click_is_too_short_to_be_speech() -> None:
    belief = np.zeros(40, np.float32)
    belief[10:14] = 1
    assert not smoothed(belief, 0.5, longest_gap_rows=4, shortest_speech_rows=5).any()
    assert smoothed(belief, 0.5, longest_gap_rows=4, shortest_speech_rows=4).sum() == 4


def test_silence_at_a_windows_edge_is_not_called_speech() -> None:
    belief = np.zeros(30, np.float32)
    belief[3:27] = 1
    assert list(np.flatnonzero(smoothed(belief))) == list(range(3, 27))


beliefs = st.lists(st.floats(0, 1, width=32), max_size=80).map(
    lambda each: np.asarray(each, np.float32)
)


@given(beliefs, st.floats(0.1, 0.9), st.integers(0, 12), st.integers(1, 12))
def test_after_smoothing_no_run_is_too_short_and_no_gap_too_small(
    belief: Sound, threshold: float, gap: int, burst: int
) -> None:
    speech = smoothed(belief, threshold, gap, burst)
    starts, ends = runs_of(speech)
    assert speech.shape == belief.shape
    assert all(ends - starts >= burst)
    assert all(starts[1:] - ends[:-1] > gap)


@given(beliefs, st.floats(0.1, 0.5), st.floats(0.5, 0.9))
def test_a_stricter_threshold_never_finds_more_rows(belief: Sound, low: float, high: float) -> None:
    assert not (smoothed(belief, high) & ~smoothed(belief, low)).any()


@given(beliefs)
def test_smoothing_leaves_the_belief_as_it_was(belief: Sound) -> None:
    before = belief.copy()
    smoothed(belief)
    assert np.array_equal(before, belief)


@given(st.lists(st.booleans(), max_size=60).map(lambda each: np.array(each, np.bool_)))
def test_runs_put_together_give_the_mask_again(mask: npt.NDArray[np.bool_]) -> None:
    again = np.zeros_like(mask)
    for start, end in zip(*runs_of(mask), strict=True):
        assert end > start
        again[start:end] = True
    assert np.array_equal(again, mask)


# --- webrtcvad -------------------------------------------------------------------------------


def test_full_scale_does_not_wrap_around_in_sixteen_bits() -> None:
    extremes = np.array([-2, -1, 0, 1, 2], np.float32)
    assert pcm16(extremes).tolist() == [-32768, -32768, 0, 32767, 32767]


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 7, 100])
def test_every_row_gets_a_vote_even_where_frames_do_not_fit(rows: int) -> None:
    decided = votes(voice(rows / 100))
    assert decided.shape == (rows,)
    assert set(np.unique(decided)) <= {0.0, 1.0}


def test_webrtcvad_starts_afresh_for_every_stretch() -> None:
    loud, sound = voice(2, seed=1), voice(1)
    first = votes(sound)
    votes(loud)
    assert np.array_equal(first, votes(sound))


# --- the contract ----------------------------------------------------------------------------


class FlatGraph:
    """A graph that believes the same of each row, or answers the wrong number of rows."""

    def __init__(self, belief: float, surplus_rows: int = 0) -> None:
        self.belief = belief
        self.surplus_rows = surplus_rows
        self.heard: dict[str, Any] = {}

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        self.heard = dict(inputs)
        rows = len(inputs["samples"]) // HOP_SAMPLES + self.surplus_rows
        return [np.full(rows, self.belief, np.float32)]


def test_the_graph_hears_the_context_and_the_answer_covers_the_inner_rows_only() -> None:
    graph = FlatGraph(0.9)
    window = window_of(voice(1.5))
    assert SpeechGate(graph).speech(window).shape == (150,)
    assert graph.heard["samples"].shape == (RATE_HZ * 3 // 2 + 2 * CONTEXT_SAMPLES,)
    assert graph.heard["votes"].shape == (190,)


def test_a_graph_that_answers_too_many_rows_is_refused() -> None:
    with pytest.raises(ContractError):
        SpeechGate(FlatGraph(0.9, surplus_rows=1)).speech(window_of(voice(1)))


@pytest.mark.parametrize("inner", [0, 100, HOP_SAMPLES + 1])
def test_a_window_that_is_not_whole_rows_is_refused(inner: int) -> None:
    sound = np.zeros(inner + 2 * CONTEXT_SAMPLES, np.float32)
    with pytest.raises(ContractError):
        SpeechGate(FlatGraph(0.9)).speech(AudioWindow(0, RawAudio(sound, 0)))


# --- the shipped graph, without recordings ----------------------------------------------------


def test_the_file_is_small_and_uses_standard_operators_only() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(GATE.read_bytes())
    assert GATE.stat().st_size < LARGEST_FILE_BYTES
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert [entry.version for entry in model.opset_import] == [17]


@pytest.mark.parametrize("seconds", [0.01, 0.1, 0.25, 1.49, 10, 30])
def test_windows_of_any_length_get_one_decision_for_each_row(
    gate: SpeechGate, seconds: float
) -> None:
    window = window_of(voice(seconds))
    speech = gate.speech(window)
    assert speech.shape == (window.frames,) and speech.dtype == np.bool_


def made_up(kind: str) -> Sound:
    rng = np.random.default_rng(11)
    time = np.arange(10 * RATE_HZ) / RATE_HZ
    silence = np.zeros(len(time))
    hiss = rng.standard_normal(len(time))
    clicks = (rng.random(len(time)) < 3e-4) * rng.uniform(-1, 1, len(time))
    sounds = {
        "digital silence": silence,
        "an offset": silence + 0.3,
        "dither": np.rint(hiss) / 32768,
        "quiet hiss": 0.001 * hiss,
        "loud hiss": 0.2 * hiss,
        "clipped hiss": np.clip(3 * hiss, -1, 1),
        "brown noise": 0.01 * np.convolve(hiss, 0.98 ** np.arange(400))[: len(time)],
        "hum": 0.2 * np.sign(np.sin(2 * np.pi * 50 * time)),
        "a tone": 0.5 * np.sin(2 * np.pi * 440 * time),
        "clicks": clicks,
    }
    return np.asarray(sounds[kind], np.float32)


@pytest.mark.parametrize(
    "kind",
    [
        "digital silence",
        "an offset",
        "dither",
        "quiet hiss",
        "loud hiss",
        "clipped hiss",
        "brown noise",
        "hum",
        "a tone",
        "clicks",
    ],
)
def test_what_is_plainly_not_a_voice_is_not_speech(gate: SpeechGate, kind: str) -> None:
    assert gate.speech(window_of(made_up(kind))).mean() <= 0.01


def blocks_of(sound: Sound, cuts: list[int]) -> Iterator[RawAudio]:
    edges = [0, *sorted(cut % len(sound) for cut in cuts), len(sound)]
    for first, last in pairwise(edges):
        if last > first:
            yield RawAudio(sound[first:last].copy(), first)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 10**6), max_size=12))
def test_the_decisions_do_not_depend_on_how_the_stream_was_cut(cuts: list[int]) -> None:
    gate = SpeechGate(OnnxGraph(GATE.read_bytes()))
    sound = voice(23.456)
    whole = [gate.probability(window) for window in windows_of([RawAudio(sound.copy(), 0)])]
    cutter = WindowCutter(WINDOW_SAMPLES)
    pieces = [
        gate.probability(window)
        for block in blocks_of(sound, cuts)
        for window in cutter.push(block)
    ]
    pieces += [gate.probability(window) for window in cutter.finish()]
    assert len(whole) == len(pieces) == 3
    for one, other in zip(whole, pieces, strict=True):
        assert np.array_equal(one, other)


def test_the_order_in_which_windows_are_asked_about_does_not_matter(gate: SpeechGate) -> None:
    windows = list(windows_of([RawAudio(voice(25), 0)]))
    forward = [gate.speech(window) for window in windows]
    backward = [gate.speech(window) for window in reversed(windows)]
    for one, other in zip(forward, reversed(backward), strict=True):
        assert np.array_equal(one, other)


def test_the_windows_sound_is_left_as_it_was(gate: SpeechGate) -> None:
    window = window_of(voice(2))
    before = window.sound.samples.copy()
    gate.speech(window)
    assert np.array_equal(before, window.sound.samples)
