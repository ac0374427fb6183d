"""The promise: raw sound and pictures stay in memory, for seconds; nothing raw leaves.

The agent runs as a person runs it, on a canary recording and a clip of a face, under `strace`;
what it wrote, sent, logged and left in memory is searched for the canary in every form.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

from sync.broker import embedded_broker
from tests.memory_image import Needles, files_below, memory_of, traced_writes

RUN = [sys.executable, "-m", "edge_models.command", "run"]
RATE_HZ = 16_000


def _canary(seconds: float, seed: int) -> np.ndarray:
    """Noise shaped like syllables: unlike anything that the agent could write by chance."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    loud = 4_000 * (0.3 + np.abs(np.sin(2 * np.pi * 3 * time_s)))
    return np.rint(loud * rng.normal(0, 1, len(time_s))).clip(-32_000, 32_000).astype(np.int16)


def _frames(clip: Path, count: int) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(clip))
    pictures = [capture.read()[1][:, :, ::-1] for _ in range(count)]
    capture.release()
    return pictures


def _environment(folder: Path) -> dict[str, str]:
    """All that a process may write to lies in the test's own folder."""
    for name in ("tmp", "home"):
        (folder / name).mkdir(exist_ok=True)
    return {
        **os.environ,
        "TMPDIR": str(folder / "tmp"),
        "HOME": str(folder / "home"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.mark.slow
def test_nothing_raw_is_written_sent_or_logged(tmp_path: Path, recordings: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace: apt-get install strace")
    speech = sorted((recordings / "speech" / "libri_multi").glob("*.flac"))[0]
    sound, _ = soundfile.read(speech, dtype="int16", stop=12 * RATE_HZ)
    soundfile.write(tmp_path / "canary.wav", sound, RATE_HZ)
    clip = recordings / "clips" / "pyfeat_single_face.mp4"
    needles = [Needles.of_sound(sound), *map(Needles.of_picture, _frames(clip, 40)[::8])]
    assert all(len(needle.patterns) > 20 for needle in needles)

    with embedded_broker(tmp_path / "broker") as broker:
        finished = subprocess.run(
            [strace, "-f", "--seccomp-bpf", "-xx", "-s", "4194304", "-o", str(tmp_path / "trace"),
             "-e", "trace=write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg,"
                   "vmsplice,splice,sendfile,copy_file_range,process_vm_writev,connect",
             *RUN, "--state", str(tmp_path / "state"), "--show", "--report-at-end",
             "--microphone", str(tmp_path / "canary.wav"), "--camera", str(clip),
             "--broker", f"{broker.host}:{broker.port}", "--page-port", "0"],
            env=_environment(tmp_path),
            capture_output=True,
            timeout=300,
            check=False,
        )  # fmt: skip
    assert finished.returncode == 0, finished.stderr.decode()
    reached = re.findall(
        rb'sa_family=AF_INET6?, .*?inet_\w+\(.*?"([^"]+)"', (tmp_path / "trace").read_bytes()
    )
    addresses = {bytes.fromhex(a.replace(b"\\x", b"").decode()) for a in reached}
    assert addresses == {b"127.0.0.1"}, "the broker, and nobody else"
    written = traced_writes(tmp_path / "trace")
    assert b"sottovoce/v1/" in written, "the trace must see what is sent, or it proves nothing"
    haystacks = [written, finished.stdout, finished.stderr]
    haystacks += [*files_below(tmp_path / "state"), *files_below(tmp_path / "home")]
    haystacks += [*files_below(tmp_path / "tmp"), *files_below(tmp_path / "broker")]
    for needle in needles:
        assert sum(needle.count_in(haystack) for haystack in haystacks) == 0
    # The same search does find the canary where it is: it can fail.
    assert needles[0].count_in((tmp_path / "canary.wav").read_bytes()) > 50


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read the agent's memory at all")
def test_memory_holds_the_last_seconds_at_most(tmp_path: Path) -> None:
    old, recent = _canary(8, seed=1), _canary(40, seed=2)
    soundfile.write(tmp_path / "old.wav", old, RATE_HZ)
    soundfile.write(tmp_path / "recent.wav", recent, RATE_HZ)
    agent = subprocess.Popen(
        [*RUN, "--state", str(tmp_path / "state"), "--no-page", "--pace", "real", "--microphone",
         str(tmp_path / "old.wav"), str(tmp_path / "recent.wav"), "--show"],
        env=_environment(tmp_path),
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert agent.stdout is not None
        assert agent.stdout.readline()  # the first window, 0 to 10 s, has been described
        assert agent.stdout.readline()  # and the second, 10 to 20 s
        heard_s, aged = 19.0, Needles.of_sound(old, every=6_007)
        fresh = Needles.of_sound(
            recent[int((heard_s - 14) * RATE_HZ) :][: 14 * RATE_HZ], every=6_007
        )
        image = list(memory_of(agent.pid))
    finally:
        agent.kill()
        agent.wait()
    assert sum(fresh.count_in(chunk) for chunk in image) > 0, "the search must find what is there"
    assert sum(aged.count_in(chunk) for chunk in image) == 0


def test_a_crash_leaves_no_core_and_says_nothing_raw(tmp_path: Path) -> None:
    sound = _canary(30, seed=3)
    soundfile.write(tmp_path / "canary.wav", sound, RATE_HZ)
    agent = subprocess.Popen(
        ["bash", "-c", 'ulimit -c unlimited; exec "$@"', "bash", *RUN,
         "--state", str(tmp_path / "state"), "--no-page", "--pace", "real", "--show",
         "--microphone", str(tmp_path / "canary.wav")],
        env=_environment(tmp_path),
        cwd=tmp_path / "home",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert agent.stdout is not None
    assert agent.stdout.readline()
    limit = Path(f"/proc/{agent.pid}/limits").read_text(encoding="ascii")
    core = next(line for line in limit.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]
    agent.send_signal(signal.SIGSEGV)
    output, errors = agent.communicate(timeout=30)
    assert agent.returncode == -signal.SIGSEGV
    needle = Needles.of_sound(sound)
    assert needle.count_in(output + errors) == 0
    for content in (*files_below(tmp_path / "home"), *files_below(tmp_path / "state")):
        assert needle.count_in(content) == 0


def test_an_exception_in_the_middle_carries_no_samples(tmp_path: Path) -> None:
    sound = _canary(12, seed=4)
    soundfile.write(tmp_path / "canary.wav", sound, RATE_HZ)
    broken = (
        "import sys\nfrom edge_models import acoustic\nfrom edge_models.command import main\n"
        "def fail(self, window):\n    raise RuntimeError(f'broken at {window}')\n"
        "acoustic.AcousticFrontEnd.descriptors = fail\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    finished = subprocess.run(
        [sys.executable, "-X", "dev", "-c", broken, "run", "--state", str(tmp_path / "state"),
         "--no-page", "--microphone", str(tmp_path / "canary.wav")],
        env=_environment(tmp_path),
        capture_output=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    assert b"broken at" in finished.stderr
    assert finished.returncode != 0
    assert Needles.of_sound(sound).count_in(finished.stdout + finished.stderr) == 0
    assert b"array(" not in finished.stderr


def test_no_library_keeps_a_device_number_or_reports_to_its_maker(tmp_path: Path) -> None:
    code = (
        "from edge_models.bundle import shipped_bundle\n"
        "import edge_models.face_mesh\n"
        "shipped_bundle().graph('gate')"
    )
    kept = ("PATH", "PYTHONPATH")  # neither CI nor an opt-out of the caller's own
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "HOME": str(tmp_path)},
        check=True,
        timeout=60,
    )
    assert not [path.name for path in tmp_path.rglob("*") if path.is_file()]


def test_the_search_finds_what_it_is_for() -> None:
    sound = _canary(1, seed=5)
    needle = Needles.of_sound(sound)
    assert needle.count_in(sound.tobytes()) > 5
    assert needle.count_in((sound.astype(np.float32) / 32768).tobytes()) > 5
    assert needle.count_in(os.urandom(100_000)) == 0
    picture = np.random.default_rng(6).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    assert Needles.of_picture(picture).count_in(picture[:, :, ::-1].tobytes()) > 5
