"""The launcher: real processes that crash, hang, ask to be started again, and are killed."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.updates import launch

SOURCE: Final = Path(launch.__file__)
PATIENCE_S: Final = 60.0
BEATS: Final = "os.write(int(os.environ['SOTTOVOCE_BEAT_FD']), b'.')\n"
SLEEPS: Final = "time.sleep(600)\n"


class Device:
    """A prefix with two releases that are scripts, and a state folder."""

    def __init__(self, folder: Path) -> None:
        self.prefix, self.state, self.log = folder / "prefix", folder / "state", folder / "log"
        self.notes = self.state / "updates" / "launch"
        (self.prefix / "releases").mkdir(parents=True)
        self.state.mkdir()
        self.log.touch()
        shutil.copy(SOURCE, self.prefix / "launch.py")
        self.release("a", "")
        self.label("a", 1, committed=True)
        self.choose("a")

    def release(self, slot: str, does: str) -> None:
        """A release that says in the log that it was started, and then does this."""
        program = self.prefix / "releases" / slot / "bin" / "sottovoce"
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(
            f"#!{sys.executable} -I\nimport json, os, pathlib, signal, sys, time\n"
            f"with open({str(self.log)!r}, 'a') as log: log.write('{slot}')\n{does}"
        )
        program.chmod(0o755)

    def label(self, slot: str, serial: int, *, committed: bool = False) -> None:
        (self.prefix / "releases" / f"{slot}.label").write_text(json.dumps({"serial": serial}))
        if committed:
            (self.prefix / "releases" / f"{slot}.committed").touch()

    def choose(self, slot: str) -> None:
        (self.prefix / "beside").symlink_to(slot)
        (self.prefix / "beside").replace(self.prefix / "releases" / "current")

    def on_probation(self, does: str) -> None:
        """Release 7 in slot b is on probation; the one before is in a and ends by itself."""
        self.release("b", does)
        self.label("b", 7)
        self.choose("b")

    def command(self, *words: str, silence_s: float = PATIENCE_S) -> list[str]:
        said = ["--state", str(self.state), "--pause-s", "0.01", "--silence-s", str(silence_s)]
        return [sys.executable, "-I", str(self.prefix / "launch.py"), *said, *(words or ("run",))]

    def launch(self, *words: str, silence_s: float = PATIENCE_S) -> int:
        """Run the launcher to its end."""
        command = self.command(*words, silence_s=silence_s)
        return subprocess.run(command, timeout=PATIENCE_S, check=False).returncode

    @contextmanager
    def launched(self) -> Iterator["subprocess.Popen[bytes]"]:
        """The launcher at work, once its agent has said that it is ready."""
        process = subprocess.Popen(self.command())
        try:
            until(lambda: (self.state / "ready").exists())
            yield process
        finally:
            process.kill()
            process.wait()

    @property
    def started(self) -> str:
        return self.log.read_text()

    @property
    def starts(self) -> dict[str, object]:
        found = json.loads((self.notes / "starts.json").read_text())
        assert isinstance(found, dict)
        return found

    @property
    def ready(self) -> str:
        """What a release does to say that it is ready."""
        return f"pathlib.Path({str(self.state / 'ready')!r}).write_text(str(os.getpid()))\n"


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def runs(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


# What the agent says comes through.


@pytest.mark.parametrize("code", [0, 1, 2, 130])
def test_an_exit_code_passes_through_and_nothing_is_started_again(
    device: Device, code: int
) -> None:
    device.release("a", f"sys.exit({code})")
    assert device.launch() == code
    assert device.started == "a"
    assert not device.notes.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV])
def test_who_is_killed_by_a_signal_is_seen_to_be(device: Device, number: signal.Signals) -> None:
    device.release("a", f"signal.signal({number:d}, 0)\n" if number != signal.SIGKILL else "")
    program = device.prefix / "releases" / "a" / "bin" / "sottovoce"
    program.write_text(program.read_text() + f"os.kill(os.getpid(), {number:d}); {SLEEPS}")
    assert device.launch() == -number


def test_the_agent_is_told_what_the_launcher_was_told(device: Device) -> None:
    device.release("a", "sys.exit(sys.argv[1:] != ['run', '--config', '-x'])")
    assert device.launch("run", "--config", "-x") == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_reaches_the_agent_which_ends_in_order(
    device: Device, number: signal.Signals
) -> None:
    device.release(
        "a", f"signal.signal({number:d}, lambda *_: sys.exit(7))\n{device.ready}{SLEEPS}"
    )
    with device.launched() as process:
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 7
    assert device.started == "a"


def test_a_signal_that_asks_for_no_end_ends_nothing(device: Device) -> None:
    device.on_probation(
        f"signal.signal({signal.SIGUSR1:d}, lambda *_: sys.exit(3))\n{device.ready}{SLEEPS}"
    )
    with device.launched() as process:
        process.send_signal(signal.SIGUSR1)
        until(lambda: device.started.startswith("bb"))  # the exit was nobody's wish: it counts


# A new release.


def test_75_starts_what_current_leads_to_by_then(device: Device) -> None:
    releases = str(device.prefix / "releases")
    device.release("b", "")
    device.label("b", 7)
    device.release(
        "a",
        f"os.chdir({releases!r})\nos.symlink('b', 'beside')\n"
        "os.replace('beside', 'current')\nsys.exit(75)",
    )
    assert device.launch() == 0
    assert device.started == "ab"


def test_a_release_that_was_asked_to_end_is_not_started_again_whatever_it_says(
    device: Device,
) -> None:
    device.on_probation(
        f"signal.signal({signal.SIGTERM:d}, lambda *_: sys.exit(75))\n{device.ready}{SLEEPS}"
    )
    with device.launched() as process:
        process.terminate()
        assert process.wait(PATIENCE_S) == 75
    assert device.started == "b"


@pytest.mark.parametrize("ends", ["sys.exit(1)", "sys.exit(2)", "os.kill(os.getpid(), 9)"])
def test_a_crash_loop_on_probation_leads_back_after_three_starts(device: Device, ends: str) -> None:
    device.on_probation(ends)
    device.release("a", "sys.exit(4)")
    assert device.launch() == 4
    assert device.started == "bbba"
    assert device.starts == {"serial": 7, "starts": 3, "given_up": True}
    assert device.launch() == 4  # and it stays so
    assert device.started == "bbbaa"


def test_a_release_that_can_not_even_be_started_leads_back(device: Device) -> None:
    device.on_probation("")
    shutil.rmtree(device.prefix / "releases" / "b")
    assert device.launch() == 0
    assert device.started == "a"


def test_a_newer_release_begins_its_own_count(device: Device) -> None:
    device.on_probation("sys.exit(1)")
    device.launch()
    device.release("b", "")
    device.label("b", 8)
    assert device.launch() == 0
    assert device.started == "bbbab"


def test_being_told_to_end_says_nothing_against_a_release(device: Device) -> None:
    device.on_probation(f"{device.ready}{SLEEPS}")
    for _ in range(4):  # a person who switches the device off every evening
        with device.launched() as process:
            process.terminate()
            assert process.wait(PATIENCE_S) == -signal.SIGTERM
        (device.state / "ready").unlink()
    assert device.started == "bbbb"


def test_a_release_without_a_sign_of_life_is_ended_with_all_its_processes(device: Device) -> None:
    child = str(device.state / "child")
    device.on_probation(
        f"import subprocess\nchild = subprocess.Popen(['sleep', '600'])\n"
        f"with open({child!r}, 'a') as file: print(child.pid, file=file)\n{BEATS}"
        f"signal.signal({signal.SIGTERM:d}, signal.SIG_IGN)\n{SLEEPS}"
    )
    assert device.launch(silence_s=3.0) == 0
    assert device.started == "bbba"
    children = [int(line) for line in Path(child).read_text().split()]
    assert len(children) == 3
    assert not any(runs(number) for number in children)


def test_a_release_that_beats_is_left_alone(device: Device) -> None:
    device.on_probation(f"for _ in range(60):\n    time.sleep(0.1)\n    {BEATS}")
    assert device.launch(silence_s=4.0) == 0
    assert device.started == "b"


def test_a_release_that_was_kept_is_neither_watched_nor_counted(device: Device) -> None:
    kept = str(device.notes / "kept.json")
    device.on_probation(
        f"pathlib.Path({kept!r}).write_text(json.dumps({{'serial': 7}}))\n"
        "time.sleep(float(sys.argv[1]))\nsys.exit(5)"
    )
    assert device.launch("5", silence_s=3.0) == 5
    assert device.launch("0", silence_s=3.0) == 5
    assert device.started == "bb"
    assert device.starts == {"serial": 7, "starts": 1, "given_up": False}


def test_a_power_cut_counts_only_while_a_release_settles_in_but_a_crash_always_does(
    device: Device,
) -> None:
    program = device.prefix / "launch.py"
    settles_s = launch.SETTLED_S
    program.write_text(
        program.read_text().replace(f"SETTLED_S: Final = {settles_s}", "SETTLED_S = 0")
    )
    device.on_probation(f"{device.ready}{SLEEPS}")
    for _ in range(4):
        with device.launched():
            until(lambda: device.starts["starts"] == 0)
        (device.state / "ready").unlink()
    assert device.started == "bbbb"
    device.release("b", "time.sleep(1.5)\nsys.exit(1)")
    assert device.launch() == 0
    assert device.started == "bbbbbbba"


def test_what_can_not_be_counted_is_not_tried(device: Device) -> None:
    device.on_probation("")
    (device.state / "updates").write_text("in the way")
    assert device.launch() == 0
    assert device.started == "a"


@pytest.mark.parametrize("leads_to", ["c", "../elsewhere", ".", "/"])
def test_current_leads_to_a_release_or_nothing_is_started(device: Device, leads_to: str) -> None:
    current = device.prefix / "releases" / "current"
    current.unlink()
    current.symlink_to(leads_to)
    done = subprocess.run(
        device.command(), timeout=PATIENCE_S, check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Remedy: sudo bash deploy/install.sh" in done.stderr
    assert not device.started


def test_a_release_that_was_taken_back_is_not_started_even_where_current_leads_to_it(
    device: Device,
) -> None:
    device.on_probation("")
    releases = device.prefix / "releases"
    (releases / "b.label").rename(releases / "b.failed")  # `Slots.roll_back`, cut short
    assert device.launch() == 0
    assert device.started == "a"


def test_a_first_release_has_no_way_back_and_is_not_counted(device: Device) -> None:
    device.on_probation("sys.exit(6)")
    (device.prefix / "releases" / "a.label").unlink()
    assert device.launch() == 6
    assert device.started == "b"
    assert not device.notes.exists()


# Power cuts and kills.


def test_the_agent_does_not_outlive_its_launcher(device: Device) -> None:
    device.release("a", f"{device.ready}{SLEEPS}")
    with device.launched() as process:
        agent = int((device.state / "ready").read_text())
        process.kill()
        process.wait()
        until(lambda: not runs(agent))


STEPS: Final = ("mkdir", "openat", "write", "fsync", "rename")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("fault", ["signal=SIGKILL", "error=ENOSPC"])
@pytest.mark.parametrize("call", STEPS)
def test_killed_or_refused_at_any_step_it_never_tries_a_release_a_fourth_time(
    device: Device, fault: str, call: str
) -> None:
    """Each of the launcher's calls on its notes in turn: at three starts, and at giving up."""
    device.on_probation("sys.exit(1)")
    trace = ["strace", "-qq", "-o", str(device.log) + ".calls", "-P", str(device.notes)]
    for name in ("starts.new", "starts.json"):
        trace += ["-P", str(device.notes / name)]
    for step in range(1, 200):
        device.log.write_text("")
        shutil.rmtree(device.state / "updates", ignore_errors=True)
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={step}"]
        command = [*trace, *inject, *device.command()]
        subprocess.run(command, timeout=PATIENCE_S, check=False)
        calls = Path(str(device.log) + ".calls").read_text()
        if "INJECTED" not in calls and "+++ killed" not in calls:
            break
        assert device.launch() == 0
        assert device.started.endswith("a")
        assert device.started.count("b") <= launch.MOST_STARTS
        assert device.starts == {"serial": 7, "starts": 3, "given_up": True}
    assert 3 < step < 199  # each of three starts has at least one


# The file itself.


def test_it_stands_alone_and_is_short() -> None:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    names = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert names <= set(sys.stdlib_module_names)
    assert len(SOURCE.read_text(encoding="utf-8").splitlines()) < 200


@given(label=st.binary(max_size=80), starts=st.binary(max_size=80), kept=st.binary(max_size=80))
def test_whatever_the_notes_say_a_release_is_chosen(
    label: bytes, starts: bytes, kept: bytes
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        device = Device(Path(os.path.realpath(folder)))
        device.on_probation("")
        device.notes.mkdir(parents=True)
        (device.prefix / "releases" / "b.label").write_bytes(label)
        (device.notes / "starts.json").write_bytes(starts)
        (device.notes / "kept.json").write_bytes(kept)
        assert launch.choose(device.prefix, device.notes) == ("a", None)


@given(
    starts=st.one_of(
        st.binary(max_size=40),
        st.fixed_dictionaries(
            {
                "serial": st.sampled_from([7, 8, "7", None]),
                "starts": st.sampled_from([0, 3, -1, "1"]),
            }
        ).map(lambda said: json.dumps(said).encode()),
    )
)
def test_whatever_was_counted_no_more_than_three_starts_follow(starts: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        device = Device(Path(os.path.realpath(folder)))
        device.on_probation("")
        device.notes.mkdir(parents=True)
        (device.notes / "starts.json").write_bytes(starts)
        chosen = [launch.choose(device.prefix, device.notes)[0] for _ in range(6)]
        assert chosen == sorted(chosen, reverse=True)  # once back, it stays back
        assert chosen.count("b") <= launch.MOST_STARTS
