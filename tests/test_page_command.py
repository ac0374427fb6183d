"""`sottovoce page` as a process: it says when it is ready, serves, and ends in order."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.keys import KEY_FILE, STORE_FILE, load_key
from agent.store import Store
from tests.stored import KEY, LAST_MONDAY, fill_week


@contextmanager
def page_process(state: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "edge_models.command", "page", "--state", str(state), *words]
    ours = ("SOTTOVOCE_PASSPHRASE", "CREDENTIALS_DIRECTORY")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("end_by", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_what_is_stored_and_ends_in_order(tmp_path: Path, end_by: signal.Signals) -> None:
    state = tmp_path / "state"
    key = load_key(state)
    with Store(state / STORE_FILE, key) as store:
        fill_week(store, LAST_MONDAY, days=1)
    with page_process(state, "--study", "spring", "--port", "0") as process:
        assert process.stdout is not None
        ready = process.stdout.readline().split()
        assert ready[0] == "ready" and ready[1].startswith("page=http://127.0.0.1:")
        address = ready[1].removeprefix("page=")
        with urllib.request.urlopen(f"{address}/api/status", timeout=10) as answer:
            shown = json.load(answer)
        assert shown["study"] == "spring" and shown["agent_runs"] is False
        assert address in process.stdout.readline()
        process.send_signal(end_by)
        _, errors = process.communicate(timeout=20)
        assert (process.returncode, errors) == (0, "")


def test_a_store_from_another_key_is_told_and_left_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    load_key(state)
    with Store(state / STORE_FILE, KEY) as store:
        fill_week(store, LAST_MONDAY, days=1)
    before = (state / STORE_FILE).read_bytes()
    with page_process(state, "--port", "0") as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "another key" in errors and "Traceback" not in errors
    assert (state / STORE_FILE).read_bytes() == before


def test_a_key_that_others_can_read_is_told(tmp_path: Path) -> None:
    state = tmp_path / "state"
    load_key(state)
    (state / KEY_FILE).chmod(0o644)
    with page_process(state, "--port", "0") as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "chmod 600" in errors and "Traceback" not in errors
