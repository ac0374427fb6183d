"""The whole agent, as a process: share of a core, memory, window end to score, start to sound.

The microphone is PulseAudio's null sink with real speech played into it, the camera a clip of a
face given as a USB camera gives it (25 pictures a second, YUYV); both go through the code that a
device runs. Bytecode is warm.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import psutil

from edge_models.training.recordings import recordings_folder
from tests.bench.figure import Figure
from tests.pulse import pulse_server

_SECONDS = 60.0
_SETTLE_S = 15.0

_LIVE = """
import os, sys, time
from agent.hardening import harden
harden()
import numpy as np
from agent.capture import camera
from edge_models.command import main
film = {film!r}


class Webcam:
    # As cv2.VideoCapture deals with a USB camera at 640x480: 25 pictures a second in YUYV, which
    # it asks for before JPEG; a wanted one is made BGR in a buffer of its own and copied out.
    # That reading the file costs something is to our disadvantage: a driver fills its buffer.
    def __init__(self):
        import cv2
        self.cv2 = cv2
        self.driver = np.empty((480, 640, 2), np.uint8)
        self.frame = np.empty((480, 640, 3), np.uint8)
        self.file = open(film, "rb", buffering=0)
        self.pictures = os.fstat(self.file.fileno()).st_size // self.driver.nbytes
        self.count, self.start = 0, time.monotonic()

    def grab(self):
        self.count += 1
        time.sleep(max(0.0, self.start + self.count / 25 - time.monotonic()))
        return True

    def retrieve(self, image):
        self.file.seek(self.count % self.pictures * self.driver.nbytes)
        self.file.readinto(self.driver)
        self.cv2.cvtColor(self.driver, self.cv2.COLOR_YUV2BGR_YUYV, dst=self.frame)
        return True, self.cv2.copyTo(self.frame, None, image)

    def get(self, key):
        return 25.0 if key == self.cv2.CAP_PROP_FPS else 0.0

    def release(self):
        pass


if film:
    camera.open_camera = lambda source: camera.OpenCvDevice(Webcam())
sys.exit(main(sys.argv[1:]))
"""


def measure() -> list[Figure]:
    """Run the agent twice: with the microphone only, and with both sensors."""
    clip = recordings_folder() / "clips" / "pyfeat_single_face.mp4"
    figures = []
    for name, sees, most_share, most_mb in (
        ("microphone only", None, 2.0, 120.0),
        ("microphone and camera at 10 fps", clip, 12.0, 300.0),
    ):
        share, memory_mb = _steady(sees)
        how = f"`sottovoce run` for {_SECONDS:.0f} s, after {_SETTLE_S:.0f} s"
        figures += [
            Figure(f"{name}: share of one core", f"{share:.1f} %", f"< {most_share:.0f} %",
                   share < most_share, how),
            Figure(f"{name}: resident memory", f"{memory_mb:.0f} MB", f"< {most_mb:.0f} MB",
                   memory_mb < most_mb, how),
        ]  # fmt: skip
    return [*figures, *_latency()]


def _film(clip: Path, film: Path) -> None:
    """Write a clip as the pictures of a USB camera: YUYV, 640x480, grey around."""
    reader = cv2.VideoCapture(str(clip))
    with film.open("wb") as file:
        while (read := reader.read())[0]:
            height, width = read[1].shape[:2]
            top, left = (480 - height) // 2, (640 - width) // 2
            picture = np.full((480, 640, 3), 128, np.uint8)
            picture[top : top + height, left : left + width] = read[1]
            file.write(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_YUYV).tobytes())
    reader.release()


def _steady(clip: Path | None) -> tuple[float, float]:
    """Share of one core in per cent and resident MB of a running agent."""
    with tempfile.TemporaryDirectory() as name, pulse_server(Path(name) / "pulse") as pulse:
        film = Path(name) / "film"
        if clip is not None:
            _film(clip, film)
        speech = sorted((recordings_folder() / "speech" / "libri_multi").glob("*.flac"))
        player = subprocess.Popen(
            ["bash", "-c", 'while true; do for f in "$@"; do paplay "$f"; done; done', "bash",
             *map(str, speech[:20])],
            env=pulse.environment,
        )  # fmt: skip
        agent = subprocess.Popen(
            [sys.executable, "-c", _LIVE.format(film=str(film) if clip else ""), "run", "--state",
             f"{name}/state", "--page-port", "0", "--camera", "0" if clip else "off"],
            env={**pulse.environment, "PYTHONPATH": str(Path.cwd())},
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            time.sleep(_SETTLE_S)
            process = psutil.Process(agent.pid)
            before, began = sum(process.cpu_times()[:2]), time.monotonic()
            time.sleep(_SECONDS)
            spent = sum(process.cpu_times()[:2]) - before
            share = 100 * spent / (time.monotonic() - began)
            memory_mb = process.memory_info().rss / 1e6
        finally:
            for child in (*psutil.Process(player.pid).children(), psutil.Process(player.pid)):
                child.kill()
            agent.terminate()
            agent.wait(timeout=20)
            player.wait(timeout=5)
    return share, memory_mb


_TIMED = """
import json, sys, time
from pathlib import Path
import numpy as np
from edge_models.raw import RawAudio
from agent.screening import Screener
from edge_models.bundle import shipped_bundle
from edge_models.own import Own
from edge_models.recordings import read_recording
from edge_models.windows import windows_of
bundle = shipped_bundle()
screener, own = Screener(bundle), Own.empty(bundle)
blocks, first = [], 0
for path in sys.argv[1:]:
    for block in read_recording(Path(path)):
        block.first_sample = first
        first += len(block)
        blocks.append(block)
times = []
for window in windows_of(blocks):
    began = time.perf_counter()
    judged, own = screener.judge(screener.hear(window), own, alone=None)
    times.append(time.perf_counter() - began)
print(json.dumps([float(np.percentile(times[1:], q)) for q in (50, 95)]))
"""


def _latency() -> list[Figure]:
    speech = sorted((recordings_folder() / "speech" / "libri_multi").glob("*.flac"))[:60]
    timed = subprocess.run(
        [sys.executable, "-c", _TIMED, *map(str, speech)],
        capture_output=True,
        text=True,
        check=True,
    )
    median_s, slow_s = json.loads(timed.stdout)
    first_s = _first_sound_s()
    return [
        Figure("window end to score, p95", f"{1e3 * slow_s:.0f} ms (median {1e3 * median_s:.0f})",
               "< 50 ms", slow_s < 0.05, "gate to head, 10 s windows of real speech, one thread"),
        Figure("start to first captured frame", f"{first_s:.1f} s", "< 3 s", first_s < 3,
               "process start to the first block, PulseAudio null sink, median of 3"),
    ]  # fmt: skip


def _first_sound_s() -> float:
    """From the start of `sottovoce run` until the microphone's light is on, by its own trace."""
    code = (
        "import sys, time\n"
        "from agent.capture import microphone\n"
        "from edge_models.command import main\n"
        "blocks = microphone.Microphone.blocks\n"
        "def told(self):\n"
        "    for item in blocks(self):\n"
        "        if type(item).__name__ == 'RawAudio':\n"
        "            print('FIRST', time.time(), flush=True)\n"
        "            self.stop()\n"
        "        yield item\n"
        "microphone.Microphone.blocks = told\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    found = []
    with tempfile.TemporaryDirectory() as name, pulse_server(Path(name) / "pulse") as pulse:
        for attempt in range(3):
            began = time.time()
            ran = subprocess.run(
                [sys.executable, "-c", code, "run", "--state", f"{name}/{attempt}", "--page-port",
                 "0"],
                env={**pulse.environment, "PYTHONPATH": str(Path.cwd())},
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )  # fmt: skip
            match = re.search(r"FIRST ([\d.]+)", ran.stdout)
            assert match is not None, ran.stderr
            found.append(float(match.group(1)) - began)
    return sorted(found)[1]
