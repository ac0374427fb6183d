"""Starts the agent's release, and goes back to the one before when a new one does not stay up.

    python3.11 -I /opt/sottovoce/launch.py --state /var/lib/sottovoce run --config …

It stands alone (standard library only) and outside the releases, as PREFIX/launch.py: no update
replaces it, so what judges a release never comes with it; only deploy/install.sh does, by hand.

Rules it upholds: a start of a release on probation is counted, on disk, before it happens; what
can't be counted is not tried; after three starts that failed (a crash, an exit that nobody asked
for, no beat in time) one rename gives the release up, and the one before runs; a release that was
kept is never counted, watched or ended. Signals and exit codes pass through as they are; exit code
75 means "start again, there is a new release". It writes in the state folder only: whoever runs
the agent needs no right to its code, and can choose between the releases in PREFIX at most.

In the life of a release: installer → **started here** → kept by the agent, or given up here.

PREFIX/releases/                  as `slots` lays it out; only the installer writes there
STATE/updates/launch/starts.json  {"serial": 7, "starts": 2, "given_up": false}, by this file
STATE/updates/launch/kept.json    {"serial": 7}, by the agent once it has been healthy for long
"""

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

MOST_STARTS: Final = 3
SETTLED_S: Final = 600.0
"""Dying later than that counts only if the launcher has seen it: a power cut is nobody's fault."""
START_AGAIN: Final = 75
BEAT_VARIABLE: Final = "SOTTOVOCE_BEAT_FD"
"""The number of a pipe's end; until it is kept, the agent writes a byte there now and then."""

_ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_PASSED_ON: Final = (*_ENDING, signal.SIGUSR1, signal.SIGUSR2)


class Trial(NamedTuple):
    """A release on probation: its number, the folder of the notes about it, and its starts."""

    serial: int
    notes: Path
    starts: int = 0

    def is_kept(self) -> bool:
        """Whether the agent has kept it."""
        return read(self.notes / "kept.json").get("serial") == self.serial

    def counted(self) -> int | None:
        """How many starts were counted; None once it was given up, or if that can't be told."""
        counted = read(self.notes / "starts.json")
        if counted.get("serial") != self.serial:
            return None if not counted and (self.notes / "starts.json").exists() else 0
        starts = counted.get("starts")
        return starts if starts in range(MOST_STARTS + 1) and not counted.get("given_up") else None

    def keep_count(self, starts: int, *, given_up: bool = False) -> None:
        """Replace the note by one rename; a power cut leaves the old or the new one."""
        self.notes.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = {"serial": self.serial, "starts": starts, "given_up": given_up}
        with (self.notes / "starts.new").open("w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        (self.notes / "starts.new").replace(self.notes / "starts.json")
        folder = os.open(self.notes, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def conclude(self, *, failed: bool) -> None:
        """Take the counted start back unless it failed: what was asked for says nothing."""
        with suppress(OSError):  # the greater count stays
            self.keep_count(self.starts - (not failed))


def read(path: Path) -> dict[str, Any]:
    """A small JSON object; whatever else is there counts as nothing."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def choose(prefix: Path, notes: Path) -> tuple[str, Trial | None]:
    """The slot to start now, and its trial; a start on probation has been counted on return."""
    releases = prefix / "releases"
    current = (releases / "current").resolve().name
    other = {"a": "b", "b": "a"}.get(current, "")
    serial = read(releases / f"{current}.label").get("serial")
    way_back = all((releases / f"{other}.{mark}").exists() for mark in ("label", "committed"))
    if type(serial) is not int:  # `current` leads to what was taken back, or nowhere
        if way_back:
            return other, None
        sys.exit(f"There is no release in '{releases}'.\nRemedy: sudo bash deploy/install.sh")
    trial = Trial(serial, notes)
    if not way_back or (releases / f"{current}.committed").exists() or trial.is_kept():
        return current, None
    starts = trial.counted()
    if starts is None:
        return other, None
    try:
        if starts < MOST_STARTS:
            trial.keep_count(starts + 1)
            return current, trial._replace(starts=starts + 1)
        trial.keep_count(starts, given_up=True)
        say(f"Release {serial} did not stay up, {starts} times: the one before runs from now on.")
    except OSError as fault:
        say(f"A start of the new release can't be counted ({fault.strerror}): the old one runs.")
    return other, None


def run(command: list[str], silence_s: float, trial: Trial | None) -> tuple[int, bool]:
    """Run the agent; returns its end as Popen.returncode says it, and whether it was asked to."""
    ours, libc = os.getpid(), ctypes.CDLL(None)

    def alone() -> None:  # in the child, before the agent: it ends when this launcher is killed
        libc.prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if os.getppid() != ours:
            os._exit(1)

    beats, beat = os.pipe()
    os.set_blocking(beats, False)
    os.environ[BEAT_VARIABLE] = str(beat)
    try:
        child = subprocess.Popen(command, pass_fds=(beat,), process_group=0, preexec_fn=alone)
        os.close(beat)
    except OSError as fault:
        say(f"The agent can't be started: {fault.strerror}.")
        return 1, False
    was_asked, is_settled = False, False
    began_at = heard_at = time.monotonic()
    while (code := child.poll()) is None:
        got = signal.sigtimedwait({*_PASSED_ON, signal.SIGCHLD}, min(0.5, silence_s / 4))
        if got is not None and got.si_signo != signal.SIGCHLD:
            was_asked = was_asked or got.si_signo in _ENDING
            child.send_signal(got.si_signo)
        with suppress(BlockingIOError):
            heard_at = time.monotonic() if os.read(beats, 4096) else heard_at
        silent = time.monotonic() - heard_at > silence_s
        if silent and not was_asked and trial is not None and not trial.is_kept():
            say(f"The agent gave no sign of life for {silence_s:g} s and was ended.")
            os.killpg(child.pid, signal.SIGKILL)  # not yet waited for, so the number is its own
            child.wait()
        if trial is not None and not is_settled and time.monotonic() - began_at > SETTLED_S:
            is_settled = True
            trial.conclude(failed=False)  # who pulls the plug from now on breaks nothing
    os.close(beats)
    return code, was_asked


def supervise(prefix: Path, notes: Path, words: list[str], silence_s: float, pause_s: float) -> int:
    """Start what is to run, again and again where it must be; returns how the last one ended."""
    while True:
        slot, trial = choose(prefix, notes)
        command = [str(prefix / "releases" / slot / "bin" / "sottovoce"), *words]
        code, was_asked = run(command, silence_s, trial)
        if trial is not None:
            trial.conclude(failed=not was_asked and code != 0)
        if was_asked or (code != START_AGAIN and (not code or trial is None or trial.is_kept())):
            return code
        if (stopped := signal.sigtimedwait(_ENDING, pause_s)) is not None:
            return -stopped.si_signo


def say(sentence: str) -> None:
    """Into the journal."""
    print(sentence, file=sys.stderr, flush=True)


def main() -> None:
    """Supervise, then end as the agent ended: by its exit code or by its signal."""
    parser = argparse.ArgumentParser(prog="launch.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--state", type=Path, required=True, help="the agent's state folder")
    parser.add_argument("--silence-s", type=float, default=180, help="longest time without a beat")
    parser.add_argument("--pause-s", type=float, default=2, help="between an end and a new start")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="what the agent is told")
    said = parser.parse_args()
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_PASSED_ON, signal.SIGCHLD})
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own would make an exception of it
    prefix, notes = Path(__file__).resolve().parent, said.state / "updates" / "launch"
    code = supervise(prefix, notes, said.words, said.silence_s, said.pause_s)
    if code >= 0:
        sys.exit(code)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
    os.kill(os.getpid(), -code)


if __name__ == "__main__":
    main()
