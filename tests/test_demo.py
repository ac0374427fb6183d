"""The demo on real recordings: every step of the chain, and an exit code that can be trusted."""

import subprocess
import sys
from pathlib import Path

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
