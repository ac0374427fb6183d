"""The demo on real recordings: every step of the chain, and an exit code that can be trusted."""

import subprocess
import sys
from pathlib import Path

import pytest

DEMO = [sys.executable, "-m", "edge_models.command", "demo", "--headless"]


@pytest.mark.slow
def test_the_whole_chain_runs_on_real_recordings(recordings: Path, tmp_path: Path) -> None:
    finished = subprocess.run(
        [*DEMO, "--participants", "6", "--recordings", str(recordings), "--keep", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "Coordinator's page: http://127.0.0.1:" in finished.stdout
    assert "Participant's page: http://127.0.0.1:" in finished.stdout
    assert "Failed" not in finished.stdout


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
