"""Recordings stand in for a microphone: one stream, named gaps, and the pace that was asked for."""

import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from agent.capture.frames import Gap, GapReason, Sensor
from agent.capture.recorded import recorded
from agent.capture.sensing import Indicator
from edge_models.raw import RawAudio


def _write(path: Path, seconds: float, level: float = 0.5) -> Path:
    soundfile.write(path, np.full(round(16_000 * seconds), level), 16_000)
    return path


def test_files_are_one_stream_and_an_unreadable_one_is_a_gap(tmp_path: Path) -> None:
    broken = tmp_path / "b.wav"
    broken.write_bytes(b"not sound at all")
    names = [_write(tmp_path / "a.wav", 1.0), broken, _write(tmp_path / "c.wav", 0.5, 0.25)]
    indicator = Indicator()
    items = list(recorded(names, indicator=indicator))
    gaps = [item for item in items if isinstance(item, Gap)]
    assert [gap.reason for gap in gaps] == [GapReason.UNREADABLE]
    assert "can't be decoded" in gaps[0].detail
    assert gaps[0].start_s == 1.0
    sounds = [item for item in items if isinstance(item, RawAudio)]
    assert sum(len(sound) for sound in sounds) == 24_000
    assert sounds[-1].first_sample == 16_000
    assert indicator.now == frozenset()


def test_what_a_broken_file_holds_is_heard_before_its_gap(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.wav", 3.0)
    path.write_bytes(path.read_bytes()[: 44 + 2 * 20_000])
    *sounds, gap, after = recorded([path, _write(tmp_path / "b.wav", 0.1)], indicator=Indicator())
    assert sum(len(sound) for sound in sounds if isinstance(sound, RawAudio)) == 20_000
    assert isinstance(gap, Gap)
    assert gap.start_s == 1.25
    assert isinstance(after, RawAudio)
    assert after.first_sample == 20_000


def test_a_real_pace_gives_no_block_before_its_time(tmp_path: Path) -> None:
    now_s, given_at_s = 100.0, []

    def sleep(duration_s: float) -> None:
        nonlocal now_s
        now_s += duration_s

    stream = recorded(
        [_write(tmp_path / "a.wav", 1.0)],
        indicator=Indicator(),
        pace="real",
        clock=lambda: now_s,
        sleep=sleep,
    )
    for item in stream:
        assert isinstance(item, RawAudio)
        given_at_s.append(now_s - 100.0)
        assert given_at_s[-1] == pytest.approx((item.first_sample + len(item)) / 16_000)
        now_s += 0.05  # the listener takes its time; the pace makes up for it
    assert given_at_s[-1] == pytest.approx(1.0)


def test_a_stop_ends_it_at_the_next_block_and_the_light_goes_off(tmp_path: Path) -> None:
    stop, indicator = threading.Event(), Indicator()
    heard = 0
    for _ in recorded([_write(tmp_path / "a.wav", 5.0)], indicator=indicator, stop=stop):
        heard += 1
        assert indicator.now == {Sensor.MICROPHONE}
        stop.set()
    assert heard == 1
    assert indicator.now == frozenset()
