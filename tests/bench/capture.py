"""The microphone: how soon it is heard, what it costs, what it holds in memory.

Measured through PortAudio on a PulseAudio server of its own, whose null sink is the microphone;
each run is a process of its own, as the agent is. `make bench` prints it.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from edge_models.raw import RawAudio
from edge_models.recordings import Resampler
from edge_models.windows import WindowCutter
from tests.bench.figure import Figure
from tests.pulse import Pulse, pulse_server

_STARTS: Final = 5
_LISTEN_S: Final = 20.0
_BLOCK: Final = 1_600

# The agent's capture and windows, and nothing after them. Prints what it measured as JSON.
_LISTEN: Final = """
import json, resource, sys, time
from agent.capture.frames import Gap
from agent.capture.microphone import Microphone
from agent.capture.portaudio import PortAudio
from agent.capture.sensing import Indicator
from edge_models.windows import WindowCutter
seconds, started = float(sys.argv[1]), float(sys.argv[2])
cutter, gaps, cpu, heard = WindowCutter(), 0, None, 0
with Microphone("default", backend=PortAudio(), indicator=Indicator()) as microphone:
    for item in microphone.blocks():
        if isinstance(item, Gap):
            gaps += 1
            continue
        if cpu is None:
            first_s = time.time() - started
            cpu = time.process_time()
        heard += len(item)
        for window in cutter.push(item):
            window.wipe()
        item.wipe()
        if heard >= seconds * 16000:
            break
    cpu = time.process_time() - cpu
print(json.dumps({"first_s": first_s, "cpu_s": cpu, "gaps": gaps,
                  "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


@dataclass(frozen=True, slots=True)
class _Listened:
    first_s: float
    cpu_s: float
    gaps: int
    mb: float


def measure() -> list[Figure]:
    """Every figure of the capture path."""
    return [*_through_portaudio(), *_in_process()]


def _through_portaudio() -> list[Figure]:
    if not shutil.which("pulseaudio"):
        return [Figure("capture: PortAudio", "not measured", "", None, "PulseAudio is absent")]
    with tempfile.TemporaryDirectory() as folder, pulse_server(Path(folder)) as pulse:
        first_s = [_listen(pulse, 0.1).first_s for _ in range(_STARTS)]
        pulse.play(_noise(Path(folder) / "noise.wav", _LISTEN_S + 20.0))
        steady = _listen(pulse, _LISTEN_S)
    percent = 100 * steady.cpu_s / _LISTEN_S
    return [
        Figure(
            "capture: start to first frame",
            f"{statistics.median(first_s):.2f} s (worst {max(first_s):.2f} s)",
            "< 3 s",
            max(first_s) < 3.0,
            f"a new process, its imports, PortAudio, the first block; {_STARTS} starts",
        ),
        Figure(
            "capture: CPU",
            f"{percent:.2f} % of one core",
            "< 2 % (whole agent, microphone only)",
            percent < 2.0,
            f"PortAudio's thread, queue, windows; {_LISTEN_S:.0f} s, {steady.gaps} gaps",
        ),
        Figure(
            "capture: memory",
            f"{steady.mb:.0f} MB resident",
            "< 120 MB (whole agent, microphone only)",
            steady.mb < 120.0,
            "the same process at its largest: Python, NumPy, PortAudio, resampler, windows",
        ),
    ]


def _noise(path: Path, seconds: float) -> Path:
    samples = np.random.default_rng(1).normal(0, 3_000, round(16_000 * seconds))
    soundfile.write(path, samples.astype(np.int16), 16_000)
    return path


def _listen(pulse: Pulse, seconds: float) -> _Listened:
    done = subprocess.run(
        [sys.executable, "-c", _LISTEN, str(seconds), str(time.time())],
        env={**pulse.environment, "PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    return _Listened(**json.loads(done.stdout))


def _in_process() -> list[Figure]:
    rng = np.random.default_rng(1)
    blocks = [rng.normal(0, 0.1, _BLOCK).astype(np.float32) for _ in range(600)]
    sound_s = len(blocks) * _BLOCK / 16_000
    cutter, begun_s = WindowCutter(), time.process_time()
    for number, samples in enumerate(blocks):
        for window in cutter.push(RawAudio(samples, number * _BLOCK)):
            window.wipe()
    windows_s = time.process_time() - begun_s
    resampler, begun_s = Resampler(48_000), time.process_time()
    for samples in blocks:  # three of these are one block at 48 kHz
        resampler.push(samples)
    resampling_s = 3 * (time.process_time() - begun_s)
    return [
        Figure(
            "capture: windows alone",
            f"{100 * windows_s / sound_s:.3f} % of one core",
            "",
            None,
            f"blocks of 100 ms into windows of 10 s, {sound_s:.0f} s of sound",
        ),
        Figure(
            "capture: resampling alone",
            f"{100 * resampling_s / sound_s:.2f} % of one core",
            "",
            None,
            "48 kHz to 16 kHz, for a microphone that refuses 16 kHz",
        ),
    ]
