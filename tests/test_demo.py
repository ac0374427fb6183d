"""The demo on real recordings: every step of the chain, and an exit code that can be trusted."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

DEMO = [sys.executable, "-m", "edge_models.command", "demo", "--headless"]


@pytest.mark.slow
@pytest.mark.parametrize(("people", "noise"), [(6, "in each report"), (20, "in the sum")])
def test_the_whole_chain_runs_on_real_recordings(
    recordings: Path, tmp_path: Path, people: int, noise: str
) -> None:
    words = ["--participants", str(people), "--recordings", str(recordings)]
    finished = subprocess.run(
        [*DEMO, *words, "--keep", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "Coordinator's page: http://127.0.0.1:" in finished.stdout
    assert "Participant's page: http://127.0.0.1:" in finished.stdout
    assert "Failed" not in finished.stdout
    rounds = tmp_path / "coordinator" / "rounds.db"
    assert rounds.exists() == (noise == "in the sum")


def test_recordings_that_cannot_be_heard_fail_the_demo(tmp_path: Path) -> None:
    (tmp_path / "anna").mkdir()
    finished = subprocess.run(
        [*DEMO, "--recordings", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 2
    assert "There are no recordings" in finished.stderr


@pytest.mark.slow
def test_a_demo_that_is_told_to_end_leaves_nothing_running(
    recordings: Path, tmp_path: Path
) -> None:
    words = ["--participants", "20", "--recordings", str(recordings), "--keep", str(tmp_path)]
    demo = subprocess.Popen([*DEMO, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (tmp_path / "coordinator" / "reports.db").exists() and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(1.0)
    started = psutil.Process(demo.pid).children(recursive=True)
    assert started
    demo.terminate()
    assert demo.wait(timeout=60) == 130
    _, alive = psutil.wait_procs(started, timeout=20)
    assert not alive
