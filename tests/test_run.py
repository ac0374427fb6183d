"""`sottovoce run` as a person runs it: on recordings, without a broker, with trouble."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

RUN = [sys.executable, "-m", "edge_models.command", "run"]


def _run(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*RUN, "--state", str(folder / "state"), "--no-page", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "HOME": str(folder)},
    )


def _speech(recordings: Path, count: int = 12) -> list[str]:
    return [str(p) for p in sorted((recordings / "speech" / "libri_multi").glob("*.flac"))[:count]]


def _account(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "account.json").read_text())
    return found


def test_recordings_are_screened_and_the_report_waits_without_a_broker(
    recordings: Path, tmp_path: Path
) -> None:
    account = str(tmp_path / "account.json")
    words = ["--microphone", *_speech(recordings), "--report-at-end", "--account", account]
    finished = _run(tmp_path, *words)
    assert finished.returncode == 0, finished.stderr
    found = _account(tmp_path)
    assert int(str(found["scored"])) >= 3
    assert (found["reports_sent"], found["reports_waiting"], found["bytes_out"]) == (0, 1, 0)
    assert 0 < float(str(found["epsilon_spent"])) < 3
    assert "sad" not in finished.stdout, "a log carries no scores"


def test_an_absent_broker_is_named_and_nothing_is_lost(recordings: Path, tmp_path: Path) -> None:
    account = str(tmp_path / "account.json")
    words = ["--microphone", *_speech(recordings, 3), "--report-at-end", "--account", account]
    finished = _run(tmp_path, *words, "--broker", "127.0.0.1:9")
    assert finished.returncode == 0
    assert "No broker listens at 127.0.0.1:9" in finished.stderr
    assert _account(tmp_path)["reports_waiting"] == 1


def test_a_second_run_goes_on_from_the_first_ones_baseline_and_budget(
    recordings: Path, tmp_path: Path
) -> None:
    account = str(tmp_path / "account.json")
    words = ["--microphone", *_speech(recordings, 6), "--report-at-end", "--account", account]
    assert _run(tmp_path, *words).returncode == 0
    first = _account(tmp_path)
    assert _run(tmp_path, *words).returncode == 0
    again = _account(tmp_path)
    assert again["epsilon_spent"] == first["epsilon_spent"], "a week is paid for once"
    assert again["reports_waiting"] == 1


def test_two_faces_are_not_alone_and_are_not_scored(recordings: Path, tmp_path: Path) -> None:
    account = str(tmp_path / "account.json")
    clip = recordings / "clips" / "intel_head_female-and-male.gif"
    finished = _run(
        tmp_path, "--microphone", *_speech(recordings, 6), "--camera", str(clip),
        "--account", account,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    abstained = _account(tmp_path)["abstained"]
    assert isinstance(abstained, dict)
    assert abstained.get("not alone", 0) >= 1


def test_a_camera_alone_is_watched_and_never_scored(recordings: Path, tmp_path: Path) -> None:
    account = str(tmp_path / "account.json")
    clip = recordings / "clips" / "pyfeat_single_face.mp4"
    words = ["--microphone", "off", "--camera", str(clip), "--account", account]
    finished = _run(tmp_path, *words)
    assert finished.returncode == 0, finished.stderr
    found = _account(tmp_path)
    assert found["scored"] == 0
    assert float(str(found["face_s"])) > 2
    assert found["gaps"] == {}


def test_an_unreadable_recording_is_a_gap_and_the_others_are_heard(
    recordings: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.flac").write_bytes(b"nothing")
    account = str(tmp_path / "account.json")
    words = ["--microphone", str(tmp_path / "broken.flac"), *_speech(recordings, 4)]
    finished = _run(tmp_path, *words, "--account", account)
    assert finished.returncode == 0
    found = _account(tmp_path)
    assert found["gaps"] == {"microphone unreadable": 1}
    assert int(str(found["windows"])) >= 2


def test_a_store_of_another_key_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(16_000 * 11), 16_000)
    assert _run(tmp_path, "--microphone", str(tmp_path / "x.wav")).returncode == 0
    store = tmp_path / "state" / "store.db"
    before = store.read_bytes()
    (tmp_path / "state" / "key").write_bytes(os.urandom(32))
    finished = _run(tmp_path, "--microphone", str(tmp_path / "x.wav"))
    assert finished.returncode == 1
    assert "key" in finished.stderr
    assert store.read_bytes() == before


def test_a_full_disk_is_named_and_what_was_recorded_stays(recordings: Path, tmp_path: Path) -> None:
    assert _run(tmp_path, "--microphone", *_speech(recordings, 3)).returncode == 0
    limited = subprocess.run(
        ["bash", "-c", 'ulimit -f 64; exec "$@"', "bash", *RUN, "--state", str(tmp_path / "state"),
         "--no-page", "--microphone", *_speech(recordings, 100)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip
    assert limited.returncode != 0
    assert "Traceback" not in limited.stderr
    account = str(tmp_path / "account.json")
    words = ["--microphone", *_speech(recordings, 3), "--account", account]
    assert _run(tmp_path, *words).returncode == 0


def test_a_wrong_setting_and_a_missing_file_exit_with_one_sentence(tmp_path: Path) -> None:
    for words, said in (
        (["--microphone", "none.wav"], "There is no recording 'none.wav'"),
        (["--microphone", "off"], "both off"),
        (["--camera", "nowhere.mp4"], "no camera or video"),
        (["--broker", "somewhere"], "HOST:PORT"),
        (["--study", "Not A Study"], "study"),
    ):
        finished = _run(tmp_path, *words)
        assert finished.returncode == 2
        assert said in finished.stderr
        assert len(finished.stderr.strip().splitlines()) == 1


def test_a_termination_signal_ends_it_in_order(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(16_000 * 600), 16_000)
    agent = subprocess.Popen(
        [*RUN, "--state", str(tmp_path / "state"), "--page-port", "0", "--pace", "real",
         "--microphone", str(tmp_path / "x.wav")],
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert agent.stdout is not None
    assert "http://127.0.0.1:" in agent.stdout.readline()
    agent.send_signal(signal.SIGTERM)
    output, _ = agent.communicate(timeout=20)
    assert agent.returncode == 0
    assert "windows in" in output
