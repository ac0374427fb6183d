"""The trial in a child process: what is good passes, and whatever a child does harms nothing."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agent.updates import trial
from agent.updates.trial import try_bundle
from edge_models.bundle import shipped_folder
from sync.updates.rejected import Reason, UpdateRejected
from tests.updating import fails_at_the_first_speech, text, write_variant


def rejected(folder: Path, **limits: float) -> str:
    before = sorted(path.name for path in folder.iterdir()) if folder.exists() else None
    with pytest.raises(UpdateRejected) as refused:
        try_bundle(folder, **limits)  # type: ignore[arg-type]
    assert refused.value.reason is Reason.GOLDEN
    if before is not None:
        assert sorted(path.name for path in folder.iterdir()) == before
    return refused.value.cause


def test_the_shipped_bundle_passes_in_both_runtimes() -> None:
    tried = try_bundle(shipped_folder())
    assert max(tried.onnx_steps, tried.tflite_steps) <= 1 + 1e-3 and tried.sound_spreads <= 0.1
    assert tried.seconds > 0


def other_head(folder: Path) -> None:
    """Its scores are not those of its golden vectors."""
    path = folder / "head.json"
    table = json.loads(path.read_bytes())
    table["shifts"] = [one + 0.1 for one in table["shifts"]]
    path.write_text(json.dumps(table))


def gate_is_a_body(folder: Path) -> None:
    """No golden vector runs through the gate: the trial listens with it, too."""
    shutil.copyfile(folder / "body.onnx", folder / "gate.onnx")


def other_tflite(folder: Path) -> None:
    raw = bytearray((folder / "body.tflite").read_bytes())
    weights = np.frombuffer(raw, np.int8)
    weights[len(raw) // 2 : len(raw) // 2 + 400] ^= 0x55
    (folder / "body.tflite").write_bytes(weights.tobytes())


@pytest.mark.parametrize(
    "change", [other_head, gate_is_a_body, other_tflite, fails_at_the_first_speech,
               text("body.tflite", "no graph"), text("golden.json", "{}")],
)  # fmt: skip
def test_a_bundle_that_answers_otherwise_is_rejected(
    change: Callable[[Path], object], tmp_path: Path
) -> None:
    rejected(write_variant(tmp_path / "bundle", change))


def test_a_folder_without_a_bundle_is_rejected(tmp_path: Path) -> None:
    assert "can't be read" in rejected(tmp_path / "nothing")


def test_a_bundle_altered_after_it_was_packed_is_rejected(tmp_path: Path) -> None:
    folder = write_variant(tmp_path / "bundle")
    (folder / "head.json").write_bytes((folder / "head.json").read_bytes() + b" ")
    assert "manifest describes" in rejected(folder)


def test_too_little_memory_is_the_childs_trouble_only(tmp_path: Path) -> None:
    rejected(shipped_folder(), memory_bytes=8 << 20)


def test_one_that_is_too_slow_is_ended(tmp_path: Path) -> None:
    assert "within" in rejected(shipped_folder(), limit_s=0.01)


@pytest.mark.parametrize(
    ("deed", "said"),
    [
        ("import os; os.kill(os.getpid(), 11)", "signal 11"),
        ("import os; os.abort()", "signal 6"),
        ("import ctypes; ctypes.string_at(1)", "signal 11"),
        ("import sys; sys.exit(3)", "code 3"),
        ("import os; os._exit(0)", "no answer"),
        ("print('[1, 2'); import os; os._exit(0)", "no answer"),
        ("print('{}', flush=True); import os; os._exit(0)", "no answer"),
        ("import time; time.sleep(60)", "within"),
        ("import os, time; os.fork() or time.sleep(60); time.sleep(60)", "within"),
        ("while True: pass", "within"),
    ],
)
def test_whatever_native_code_does_in_the_child_is_a_rejected_update(
    deed: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deed stands for what a runtime would do on a graph that breaks it."""
    monkeypatch.setattr(trial, "_CHILD", deed)
    assert said in rejected(shipped_folder(), limit_s=1.0)


def test_an_ended_child_leaves_none_of_its_own_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mark = tmp_path / "pids"
    deed = (
        f"import os, time\nos.fork()\n"
        f"open({str(mark)!r}, 'a').write(f'{{os.getpid()}}\\n')\ntime.sleep(600)"
    )
    monkeypatch.setattr(trial, "_CHILD", deed)
    rejected(shipped_folder(), limit_s=2.0)
    pids = [int(line) for line in mark.read_text().split()]
    assert len(pids) == 2
    for _ in range(100):
        if not any(_runs(pid) for pid in pids):
            return
        time.sleep(0.1)
    raise AssertionError("a child of the child still runs")


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_the_child_writes_no_file_and_leaves_no_core(tmp_path: Path) -> None:
    folder = write_variant(tmp_path / "bundle")
    try_bundle(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]
