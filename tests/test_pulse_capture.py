"""The real PyAudio path: sample-exact, and a cable that is pulled and plugged in again."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.pulse import pulse_server

pytestmark = pytest.mark.xdist_group("pulse")

# Prints one JSON line for each gap, and at the end where the sound was written (a test's own file).
_RECORD = """
import json, sys
import numpy as np
from agent.capture.frames import Gap
from agent.capture.microphone import Microphone, Patience
from agent.capture.portaudio import PortAudio
from agent.capture.sensing import Indicator
seconds, out = float(sys.argv[1]), sys.argv[2]
patience = Patience(retry_first_s=0.2, retry_most_s=1.0, silent_s=60)
microphone = Microphone("default", backend=PortAudio(), indicator=Indicator(), patience=patience)
stream = np.zeros(int(seconds * 16000) + 16000, np.float32)
print("listening", flush=True)
for item in microphone.blocks():
    if isinstance(item, Gap):
        print(json.dumps({"reason": item.reason, "start_s": item.start_s, "end_s": item.end_s}), flush=True)
        continue
    end = item.first_sample + len(item)
    if end > len(stream):
        break
    if not stream.any():
        print(json.dumps({"first_block_s": item.first_sample / 16000}), flush=True)
    stream[item.first_sample : end] = item.samples
np.save(out, stream)
"""  # noqa: E501


def _recorder(seconds: float, out: Path, environment: dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _RECORD, str(seconds), str(out)],
        env={**environment, "PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_what_is_played_is_recorded_to_the_sample(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    played = (rng.normal(0, 3000, 3 * 16_000)).clip(-32000, 32000).astype(np.int16)
    played[:8_000] = 0  # a null sink swallows up to 20 ms while it wakes up
    soundfile.write(tmp_path / "played.wav", played, 16_000)
    with pulse_server(tmp_path / "pulse") as pulse:
        recorder = _recorder(7, tmp_path / "heard.npy", pulse.environment)
        assert recorder.stdout is not None
        assert recorder.stdout.readline() == "listening\n"
        first = json.loads(recorder.stdout.readline())
        assert "first_block_s" in first
        player = pulse.play(tmp_path / "played.wav")
        _, chatter = recorder.communicate(timeout=60)
        assert player.wait(timeout=10) == 0
    assert chatter == ""  # ALSA, JACK and PortAudio report to no one
    heard = np.rint(np.load(tmp_path / "heard.npy") * 32768).astype(np.int64)
    size = len(heard) + len(played)
    match = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(played, size)), size)
    offset = int(np.argmax(match))
    assert np.array_equal(heard[offset : offset + len(played)], played)


def test_a_pulled_cable_is_a_named_gap_and_the_recording_goes_on(tmp_path: Path) -> None:
    tone = (8000 * np.sin(np.arange(20 * 16_000) * 0.1)).astype(np.int16)
    soundfile.write(tmp_path / "tone.wav", tone, 16_000)
    with pulse_server(tmp_path / "pulse") as pulse:
        recorder = _recorder(10, tmp_path / "heard.npy", pulse.environment)
        assert recorder.stdout is not None
        assert recorder.stdout.readline() == "listening\n"
        pulse.play(tmp_path / "tone.wav")
        first = json.loads(recorder.stdout.readline())
        pulse.pull_out()
        gap = json.loads(recorder.stdout.readline())
        assert gap["reason"] in {"unplugged", "stalled"}
        assert gap["start_s"] > first["first_block_s"]
        pulse.plug_in()
        pulse.play(tmp_path / "tone.wav")
        rest, chatter = recorder.communicate(timeout=60)
    # PortAudio's own thread tells of the loss as it happens; ALSA and JACK stay silent.
    assert all(line.startswith("Expression '") for line in chatter.splitlines())
    gaps = [gap, *(json.loads(line) for line in rest.splitlines())]
    assert all(one["end_s"] == other["start_s"] for one, other in itertools.pairwise(gaps))
    heard = np.load(tmp_path / "heard.npy")
    lost = slice(round(gap["start_s"] * 16_000), round(gaps[-1]["end_s"] * 16_000))
    assert not heard[lost].any()
    assert np.abs(heard[lost.stop :]).max() > 0.1
