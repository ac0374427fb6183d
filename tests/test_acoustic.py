"""The acoustic front end against openSMILE, Praat, and sounds whose answer is known."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import opensmile
import parselmouth
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_models.acoustic import DESCRIPTOR_NAMES, SUMMARY_NAMES, AcousticFrontEnd
from edge_models.errors import ContractError
from edge_models.raw import RawAudio
from edge_models.recordings import read_recording
from edge_models.runner import OnnxGraph
from edge_models.windows import AudioWindow, WindowCutter, windows_of

BUNDLE = Path(__file__).resolve().parent.parent / "edge_models" / "bundles" / "affect-1"
F0 = DESCRIPTOR_NAMES.index("F0semitoneFrom27.5Hz_sma3nz")
LOUDNESS = 0
Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def front_end() -> AcousticFrontEnd:
    graphs = [(BUNDLE / f"{name}.onnx").read_bytes() for name in ("descriptors", "functionals")]
    return AcousticFrontEnd(OnnxGraph(graphs[0]), OnnxGraph(graphs[1]))


@pytest.fixture(scope="module")
def speech(recordings: Path) -> list[Floats]:
    """Two clips of each corpus: read and acted, English and German, women and men."""
    clips = []
    for corpus in ("libri_multi", "libri_single", "ravdess", "emodb"):
        paths = sorted((recordings / "speech" / corpus).rglob("*.flac"))
        for path in (paths[len(paths) // 5], paths[4 * len(paths) // 5]):
            clips.append(np.concatenate([block.samples for block in read_recording(path)]))
    return clips


def described(front_end: AcousticFrontEnd, sound: Floats) -> Floats:
    """The whole sound as one window."""
    size = -(-len(sound) // 160) * 160
    (window,) = windows_of(iter([RawAudio(sound.copy(), 0)]), window_samples=size)
    return front_end.descriptors(window)


def oracle(level: opensmile.FeatureLevel) -> opensmile.Smile:
    return opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, level)


def correlation(one: Floats, other: Floats) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def pulses(hertz: float, seconds: float = 1.0, wobble: float = 0.0) -> Floats:
    """A pulse train through one resonance; every second period is longer by `wobble`."""
    size = int(seconds * 16_000)
    train, place, longer = np.zeros(size), 100.0, False
    while place < size:
        train[int(place)] += 1.0
        longer = not longer
        place += 16_000 / hertz * (1.0 + (wobble if longer else 0.0))
    time = np.arange(400) / 16_000
    shape = np.exp(-400.0 * time) * np.sin(2 * np.pi * 700.0 * time)
    sound = np.convolve(train, shape)[:size]
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def test_names_and_order_are_those_of_opensmile() -> None:
    assert (
        list(DESCRIPTOR_NAMES) == oracle(opensmile.FeatureLevel.LowLevelDescriptors).feature_names
    )
    assert list(SUMMARY_NAMES) == oracle(opensmile.FeatureLevel.Functionals).feature_names


def test_descriptors_agree_with_opensmile_on_real_speech(
    front_end: AcousticFrontEnd, speech: list[Floats]
) -> None:
    smile = oracle(opensmile.FeatureLevel.LowLevelDescriptors)
    found = []
    for clip in speech:
        theirs = smile.process_signal(clip, 16_000).to_numpy()
        ours = described(front_end, clip)[: len(theirs)]
        # The first and the last row see a different edge of the stream.
        theirs, ours = theirs[1 : len(ours) - 2], ours[1:-2]
        voiced = (theirs[:, F0] > 0) & (ours[:, F0] > 0)
        assert np.mean((theirs[:, F0] > 0) == (ours[:, F0] > 0)) > 0.95
        rows = [np.ones(len(ours), bool)] * 10 + [voiced] * 15
        found.append([correlation(ours[row, i], theirs[row, i]) for i, row in enumerate(rows)])
    median = dict(zip(DESCRIPTOR_NAMES, np.median(found, axis=0), strict=True))
    strict = [*DESCRIPTOR_NAMES[:10], DESCRIPTOR_NAMES[F0]]
    assert {name: median[name] for name in strict if median[name] < 0.95} == {}
    loose = ["HNRdBACF_sma3nz", *(f"F{n}frequency_sma3nz" for n in (1, 2, 3))]
    assert {name: median[name] for name in loose if median[name] < 0.9} == {}


def test_f0_agrees_with_praat(front_end: AcousticFrontEnd, speech: list[Floats]) -> None:
    found = []
    for clip in speech:
        ours = described(front_end, clip)[:, F0]
        pitch = parselmouth.Sound(clip.astype(float), 16_000).to_pitch_ac(0.01, 60.0)
        # Row n is about the 60 ms that start at n·10 ms.
        values = [pitch.get_value_at_time(0.01 * row + 0.03) for row in range(len(ours))]
        theirs = np.nan_to_num(np.array(values))
        both = (ours > 0) & (theirs > 0)
        tones = 12 * np.log2(theirs[both] / 27.5)
        found.append(np.median(np.abs(tones - ours[both])))
    assert np.median(found) < 0.25


@pytest.mark.parametrize("hertz", [80.0, 120.0, 200.0, 320.0])
def test_a_pulse_train_has_its_own_f0(front_end: AcousticFrontEnd, hertz: float) -> None:
    inner = described(front_end, pulses(hertz))[20:-20]
    assert np.all(inner[:, F0] > 0)
    assert np.median(inner[:, F0]) == pytest.approx(12 * np.log2(hertz / 27.5), abs=0.3)


def test_ten_decibels_more_are_louder_by_the_power_law(front_end: AcousticFrontEnd) -> None:
    time = np.arange(16_000) / 16_000
    quiet = (0.05 * np.sin(2 * np.pi * 1_000 * time)).astype(np.float32)
    loud = (quiet * 10**0.5).astype(np.float32)
    rows = [described(front_end, sound)[20:-20, LOUDNESS].mean() for sound in (quiet, loud)]
    assert rows[1] / rows[0] == pytest.approx(10**0.33, rel=0.02)


def test_flux_of_a_steady_tone_is_small_beside_that_of_speech(
    front_end: AcousticFrontEnd, speech: list[Floats]
) -> None:
    time = np.arange(16_000) / 16_000
    tone = (0.1 * np.sin(2 * np.pi * 500 * time)).astype(np.float32)
    flux = DESCRIPTOR_NAMES.index("spectralFlux_sma3")
    steady = described(front_end, tone)[20:-20, flux].max()
    assert steady < 0.2 * described(front_end, speech[0])[:, flux].mean()


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(16_000),
        np.full(16_000, 0.5),
        np.random.default_rng(1).standard_normal(16_000) * 0.1,
        np.sign(np.sin(np.arange(16_000) * 0.05)),
        np.eye(1, 16_000, 8_000)[0],
        np.full(16_000, 1e-30),
    ],
    ids=["silence", "constant", "noise", "clipped", "click", "denormal"],
)
def test_every_sound_gives_finite_numbers(
    front_end: AcousticFrontEnd, sound: npt.NDArray[np.float64]
) -> None:
    rows = described(front_end, sound.astype(np.float32))
    assert rows.shape == (100, 25)
    assert np.isfinite(rows).all()
    for mask in (np.ones(100, bool), np.zeros(100, bool), np.arange(100) == 50):
        assert np.isfinite(front_end.summary(rows, mask)).all()


def test_silence_and_noise_have_no_voice(front_end: AcousticFrontEnd) -> None:
    noise = 0.1 * np.random.default_rng(2).standard_normal(32_000)
    assert described(front_end, np.zeros(16_000, np.float32))[:, F0].max() == 0
    assert np.mean(described(front_end, noise.astype(np.float32))[:, F0] > 0) < 0.1


@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.integers(1, 20_000), min_size=1, max_size=12))
def test_rows_do_not_depend_on_how_the_stream_was_cut(
    front_end: AcousticFrontEnd, cuts: list[int]
) -> None:
    sound = np.concatenate([pulses(150.0, 0.8), np.zeros(4_000, np.float32), pulses(220.0, 0.7)])

    def blocks() -> Iterator[RawAudio]:
        first = 0
        for size in [*cuts, len(sound)]:
            if first < len(sound):
                yield RawAudio(sound[first : first + size].copy(), first)
            first += size

    def rows(stream: Iterator[RawAudio]) -> Floats:
        return np.concatenate(
            [front_end.descriptors(window) for window in windows_of(stream, 16_000)]
        )

    whole = rows(iter([RawAudio(sound.copy(), 0)]))
    assert np.array_equal(rows(blocks()), whole)


def test_short_windows_side_by_side_equal_one_long_window(
    front_end: AcousticFrontEnd, speech: list[Floats]
) -> None:
    for clip in speech[:4]:
        size = len(clip) // 16_000 * 16_000
        long = described(front_end, clip[:size])
        cutter = WindowCutter(16_000)
        windows = [*cutter.push(RawAudio(clip[:size].copy(), 0)), *cutter.finish()]
        short = np.concatenate([front_end.descriptors(window) for window in windows])
        spread = long.std(axis=0) + 1e-6
        apart = np.abs(short - long) / spread
        assert np.mean(apart < 1e-3) > 0.999


def test_a_window_of_another_shape_is_our_bug(front_end: AcousticFrontEnd) -> None:
    bare = RawAudio(np.zeros(6_400, np.float32), 0)
    with pytest.raises(ContractError):
        front_end.descriptors(AudioWindow(0, bare))
    with pytest.raises(ContractError):
        front_end.descriptors(AudioWindow(0, RawAudio(np.zeros(16_000, np.float32), 0), 0, 1_600))
    with pytest.raises(ContractError):
        front_end.summary(np.zeros((4, 24), np.float32), np.ones(4, bool))
    with pytest.raises(ContractError):
        front_end.summary(np.zeros((4, 25), np.float32), np.ones(3, bool))
    with pytest.raises(ContractError):
        front_end.summary(np.zeros((0, 25), np.float32), np.ones(0, bool))
