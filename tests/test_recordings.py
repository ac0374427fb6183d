"""Recordings of every format become mono 16 kHz, and what can't be heard says why."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_models.errors import RecordingError
from edge_models.recordings import clipped_fraction, duration_s, read_recording

RNG = np.random.default_rng(11)


def _tone(rate_hz: int, seconds: float = 0.5) -> np.ndarray:
    return 0.4 * np.sin(2 * np.pi * 440 * np.arange(round(rate_hz * seconds)) / rate_hz)


def _heard(path: Path, block_s: float = 1.0) -> np.ndarray:
    return np.concatenate([block.samples for block in read_recording(path, block_s)])


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"]
)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
def test_every_format_becomes_the_same_tone(
    tmp_path: Path, subtype: str, channels: int, rate_hz: int
) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.stack([_tone(rate_hz)] * channels, 1), rate_hz, subtype=subtype)
    heard = _heard(path)
    assert len(heard) == 8_000
    assert duration_s(path) == 0.5
    middle = slice(1_000, 7_000)
    assert np.abs(heard[middle] - _tone(16_000)[middle]).max() < 0.02


@pytest.mark.parametrize("ending", ["flac", "ogg", "mp3"])
def test_compressed_formats_are_decoded(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x.{ending}"
    soundfile.write(path, _tone(16_000, 1.0), 16_000)
    assert abs(len(_heard(path)) - 16_000) <= 1_200
    assert 0.2 < np.abs(_heard(path)).max() < 0.6


def test_stereo_is_averaged(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.stack([_tone(16_000), np.zeros(8_000)], 1), 16_000, subtype="FLOAT")
    assert np.allclose(_heard(path), _tone(16_000) / 2, atol=1e-6)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.floats(0.003, 0.7), st.sampled_from([16_000, 22_050, 48_000]))
def test_the_samples_do_not_depend_on_the_block(
    tmp_path: Path, block_s: float, rate_hz: int
) -> None:
    path = tmp_path / f"{rate_hz}.wav"
    if not path.exists():
        soundfile.write(path, RNG.normal(0, 0.1, rate_hz), rate_hz)
    assert np.array_equal(_heard(path, block_s), _heard(path))


def test_blocks_follow_each_other(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", _tone(48_000, 2.0), 48_000)
    blocks = list(read_recording(tmp_path / "x.wav", 0.1))
    ends = [block.first_sample + len(block) for block in blocks]
    assert blocks[0].first_sample == 0
    assert [block.first_sample for block in blocks[1:]] == ends[:-1]


def test_silence_is_a_recording_and_clipping_is_measured(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(1_600), 16_000)
    assert not _heard(tmp_path / "x.wav").any()
    loud = np.clip(5 * _tone(16_000), -1, 1).astype(np.float32)
    assert clipped_fraction(loud) > 0.5
    assert clipped_fraction(_tone(16_000).astype(np.float32)) == 0.0


def _wav(samples: np.ndarray, subtype: str = "FLOAT") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16_000, format="WAV", subtype=subtype)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.wav", b"", "is empty"),
        ("x.wav", _wav(np.zeros(0)), "0 seconds"),
        ("x.wav", b"RIFF\x00\x00garbage", "can't be decoded"),
        ("x.wav", _wav(np.array([0.0, np.nan, 0.0])), "not numbers"),
        ("x.wav", _wav(np.array([0.0, np.inf, 0.0])), "not numbers"),
        ("x.mp4", b"\x00\x00\x00 ftypisom", "ffmpeg -i"),
        ("x.txt", b"dear diary", "can't be decoded"),
    ],
    ids=["empty", "no samples", "garbage", "NaN", "infinite", "video", "text"],
)
def test_what_cannot_be_heard_says_why(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordingError, match=words) as failure:
        _heard(tmp_path / name)
    assert failure.value.remedy


def test_an_absent_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no file"):
        _heard(tmp_path / "none.wav")
    with pytest.raises(RecordingError, match="is a folder"):
        _heard(tmp_path)


def _noise(seconds: float, ending: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(3).normal(0, 0.1, round(16_000 * seconds))
    soundfile.write(buffer, noise, 16_000, format=ending)
    return buffer.getvalue()


@pytest.mark.parametrize("ending", ["wav", "aiff", "au", "flac", "ogg", "mp3"])
def test_a_file_cut_short_gives_what_it_holds_and_says_where_it_breaks(
    tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"x.{ending}"
    path.write_bytes(_noise(4.0, ending))
    whole = _heard(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    heard = []
    with pytest.raises(RecordingError, match=r"damaged|breaks off") as failure:
        heard += [block.samples for block in read_recording(path, 0.5)]
    assert failure.value.remedy
    blocks = []
    with pytest.raises(RecordingError):
        for block in read_recording(path, 0.1):
            blocks.append(block.samples)
    begun = np.concatenate(blocks)
    assert 16_000 < len(begun) < len(whole)
    assert np.abs(begun[:8_000] - whole[:8_000]).max() < 1e-3


def test_a_flac_from_a_pipe_that_tells_no_length_is_heard_whole(tmp_path: Path) -> None:
    content = bytearray(_noise(2.3, "flac"))
    told = np.frombuffer(bytes(content[21:26]), np.uint8)  # STREAMINFO: 4 + 32 bits of length
    assert int.from_bytes(bytes([told[0] & 0x0F, *told[1:]]), "big") == 36_800
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    (tmp_path / "x.flac").write_bytes(bytes(content))
    (tmp_path / "told.flac").write_bytes(_noise(2.3, "flac"))
    assert np.array_equal(_heard(tmp_path / "x.flac"), _heard(tmp_path / "told.flac"))
    assert duration_s(tmp_path / "x.flac") == pytest.approx(2.3)


def test_a_wav_from_a_pipe_that_tells_no_length_is_heard_whole(tmp_path: Path) -> None:
    content = bytearray(_wav(np.full(1_600, 0.25), "PCM_16"))
    place = content.index(b"data") + 4
    content[4:8] = content[place : place + 4] = b"\xff" * 4
    (tmp_path / "x.wav").write_bytes(bytes(content))
    assert np.array_equal(_heard(tmp_path / "x.wav"), np.full(1_600, 0.25, np.float32))


@pytest.mark.parametrize("ending", ["flac", "ogg", "mp3"])
def test_compressed_samples_do_not_depend_on_the_block_either(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x.{ending}"
    path.write_bytes(_noise(2.0, ending))
    for block_s in (0.02, 0.1, 0.77):
        assert np.array_equal(_heard(path, block_s), _heard(path, 10.0))


@pytest.mark.parametrize("rate_hz", [1_000, 11_025, 22_050, 96_000, 384_000])
def test_clipped_sound_of_any_rate_stays_within_full_scale(tmp_path: Path, rate_hz: int) -> None:
    square = np.sign(np.sin(2 * np.pi * 50 * np.arange(rate_hz) / rate_hz) + 1e-9)
    soundfile.write(tmp_path / "x.wav", square, rate_hz, subtype="FLOAT")
    heard = _heard(tmp_path / "x.wav")
    assert len(heard) == 16_000
    assert 0.9 < np.abs(heard).max() <= 1.0


@pytest.mark.parametrize("rate_hz", [999, 400_000])
def test_a_rate_that_no_microphone_has_says_how_to_convert(tmp_path: Path, rate_hz: int) -> None:
    soundfile.write(tmp_path / "a b.wav", np.zeros(2_000), rate_hz)
    with pytest.raises(RecordingError, match=f"{rate_hz} Hz") as failure:
        _heard(tmp_path / "a b.wav")
    assert "ffmpeg -i '" in failure.value.remedy


def test_a_video_is_known_by_its_first_bytes_too(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"\x00\x00\x00\x20ftypisom" + bytes(40))
    with pytest.raises(RecordingError, match="is a video"):
        _heard(tmp_path / "x.wav")


def test_integers_in_a_float_file_are_told_not_clipped(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(_wav(_tone(16_000) * 32_768))
    with pytest.raises(RecordingError, match=r"not in -1\.\.1"):
        _heard(tmp_path / "x.wav")
    (tmp_path / "x.wav").write_bytes(_wav(_tone(16_000) * 4))
    assert np.abs(_heard(tmp_path / "x.wav")).max() == 1.0


def test_a_named_pipe_is_refused_and_a_dash_is_a_file_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.wav")
    with pytest.raises(RecordingError, match="not a plain file"):
        _heard(Path("pipe.wav"))
    Path("-").write_bytes(_wav(np.full(1_600, 0.25)))
    assert len(_heard(Path("-"))) == 1_600
    with pytest.raises(RecordingError, match="can't be read"):
        _heard(Path("x" * 300))


def test_a_real_recording_sounds_the_same_at_another_rate_and_in_stereo(
    recordings: Path, tmp_path: Path
) -> None:
    original = sorted((recordings / "speech" / "libri_multi").rglob("*.flac"))[0]
    samples, rate_hz = soundfile.read(original, dtype="float32")
    assert rate_hz == 16_000
    assert np.array_equal(_heard(original), samples)
    studio = soxr.resample(samples, 16_000, 44_100, quality="VHQ")
    soundfile.write(tmp_path / "x.wav", np.stack([studio, studio], 1), 44_100, subtype="PCM_24")
    heard = _heard(tmp_path / "x.wav")
    assert abs(len(heard) - len(samples)) <= 1
    both = min(len(heard), len(samples))
    error = heard[:both] - samples[:both]
    below_7_khz = np.fft.rfft(error)[: round(both * 7_000 / 16_000)]
    assert np.sum(np.abs(below_7_khz) ** 2) < 1e-5 * np.sum(np.abs(np.fft.rfft(samples)) ** 2)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_bytes_are_samples_or_a_recording_error(tmp_path: Path, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["FLAC", "WAV", "OGG", "AIFF", "noise"]))
    if kind == "noise":
        content = bytearray(data.draw(st.binary(max_size=400)))
    else:
        buffer = io.BytesIO()
        soundfile.write(buffer, np.linspace(-0.5, 0.5, 900), 16_000, format=kind)
        content = bytearray(buffer.getvalue())
        for _ in range(data.draw(st.integers(1, 6))):
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] = data.draw(st.integers(0, 255))
        content = content[: data.draw(st.integers(1, len(content)))]
    path = tmp_path / "x.wav"
    path.write_bytes(bytes(content))
    try:
        for block in read_recording(path):
            assert np.isfinite(block.samples).all()
            assert np.abs(block.samples).max() <= 1.0
    except RecordingError as failure:
        assert failure.remedy
