"""The demo's processes: a coordinator, and participants two at a time."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from agent.account import Account
from agent.config import Settings
from agent.demo.people import Person
from agent.enrol import enrol
from agent.errors import AgentError
from agent.home import device_key, open_home
from agent.keys import STORE_FILE
from agent.membership import IdentityFolder
from agent.parts import size_of
from agent.store import Store
from sync.invites import parse_invite

_LOOPBACK: Final = "127.0.0.1"
_PATIENCE_S: Final = 60.0
_STEP_S: Final = 20.0  # of a round; each step ends as soon as all have answered
_AT_ONCE: Final = 2
_LOOK_EVERY_S: Final = 0.2


class DemoError(AgentError):
    """A process of the demo did not do its part."""


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "edge_models.command", *words]


def _call(*words: str) -> str:
    """One of our commands, to its end; what it printed.

    Raises:
        DemoError: it failed; its own last words are the cause.
    """
    finished = subprocess.run(
        _command(*words), capture_output=True, text=True, timeout=_PATIENCE_S, check=False
    )
    if finished.returncode:
        raise DemoError(
            f"'sottovoce {words[0]}' failed in the demo.", finished.stderr.strip()[-400:]
        )
    return finished.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _fetch(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=5) as answer:  # loopback only
        return json.load(answer)


def _words_of(line: str) -> dict[str, str]:
    """`ready mqtt=… page=…` as a mapping."""
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


def _ready_line(process: subprocess.Popen[str], what: str, log: Path) -> str:
    """The first line that starts with `ready`; what came before is in the log."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ready"):
            return line
    raise DemoError(
        f"The demo's {what} ended before it was ready.",
        f"Its last words: {log.read_text(encoding='utf-8', errors='replace')[-400:].strip()}",
    )


@dataclass(slots=True)
class Coordinator:
    """The running coordinator, its addresses, and what its page says."""

    process: subprocess.Popen[str]
    mqtt: str
    page: str
    broker: str
    folder: Path

    @staticmethod
    @contextmanager
    def started(folder: Path, study: str, *, founds: bool) -> Iterator["Coordinator"]:
        """Start it, ends it when left; `founds`: a study that enrols its devices, with TLS."""
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "log.txt"
        with log.open("w", encoding="utf-8") as errors:
            if founds:
                ports = ("--port-mqtt", str(_free_port()), "--port-desk", str(_free_port()))
                _call("study", "init", study, "--host", _LOOPBACK, *ports, "--state", str(folder))
            process = subprocess.Popen(
                _command("coordinator", "--study", study, "--state", str(folder), "--minimum", "1"),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            try:
                said = _words_of(_ready_line(process, "coordinator", log))
                yield Coordinator(process, said["mqtt"], said["page"], said["broker"], folder)
            finally:
                _end(process)

    def invites(self, count: int) -> list[str]:
        """So many fresh ones."""
        said = _call("study", "invite", "--count", str(count), "--state", str(self.folder))
        return said.split()

    def begin_round(self, period: str) -> None:
        """Ask for a secure sum over a week."""
        _call(
            "rounds", "start", "--period", period, "--step-minutes", str(_STEP_S / 60),
            "--state", str(self.folder),
        )  # fmt: skip

    def cohort(self) -> Any:
        """What its page shows, as JSON."""
        return _fetch(f"{self.page}/api/cohort")

    def reports(self) -> int:
        """How many reports it has stored."""
        return int(_fetch(f"{self.page}/api/health")["reports"])

    def wait_for_reports(self, wanted: int, seen: Callable[[int], None]) -> Any:
        """Wait, within bounds, until so many reports are stored; returns the cohort."""
        until = time.monotonic() + _PATIENCE_S
        while (count := self.reports()) < wanted and time.monotonic() < until:
            seen(count)
            time.sleep(_LOOK_EVERY_S)
        seen(count)
        return self.cohort()

    def failures(self, wanted: int) -> list[str]:
        """What is wrong with what it received."""
        count = self.reports()
        return [] if count == wanted else [f"{count} of {wanted} reports arrived."]

    def wait(self) -> None:
        """Until the person presses Ctrl-C, or it ends."""
        self.process.wait()


@dataclass(slots=True)
class Participant:
    """One `sottovoce run`: before, while and after it streams."""

    person: Person
    folder: Path
    study: str
    is_member: bool = False
    account: Account | None = None
    failure: str = ""

    def enrol(self, invite: str) -> None:
        """Become a member of the study."""
        settings = Settings(state=str(self.folder))
        key = device_key(settings, {})
        with Store(settings.state_folder / STORE_FILE, key) as store:
            folder = IdentityFolder(settings.state_folder, key)
            enrol(parse_invite(invite), folder, store, again=False, now=datetime.now(UTC))

    def take_stock(self) -> None:
        """Add to the account what a round has cost and sent since the run ended."""
        if self.account is None:
            return
        home = open_home(Settings(state=str(self.folder)), {})
        with home.open_store() as store:
            sizes = [size_of(sent, home.seal) for sent in store.sent()]
            ledger = store.ledger()
            since = {
                "epsilon_spent": ledger.epsilon(home.study.policy.delta),
                "reports_sent": len(ledger.spends),
                "bytes_out": sum(sizes),
            }
            self.account = self.account.model_copy(update=since)

    def words(self, coordinator: Coordinator) -> list[str]:
        """The command line of its run; a member knows its broker, and reports in a round."""
        camera = ["--camera", str(self.person.video)] if self.person.video else []
        reports = (
            []
            if self.is_member
            else ["--study", self.study, "--broker", coordinator.mqtt, "--report-at-end"]
        )
        return _command(
            "run", "--state", str(self.folder), "--pace", "fast", "--no-page", *reports,
            "--account", str(self.folder / "account.json"),
            "--microphone", *map(str, self.person.sounds), *camera,
        )  # fmt: skip

    def finish(self, code: int) -> None:
        """Take in what the run left behind."""
        if code == 0:
            self.account = Account.read(self.folder / "account.json")
        else:
            log = (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")
            self.failure = f"{self.person.name}: {log.strip().splitlines()[-1:] or code}"

    @contextmanager
    def page(self, coordinator: Coordinator) -> Iterator[str]:
        """Its page, served from its store for as long as the context lasts."""
        with (self.folder / "page-log.txt").open("w", encoding="utf-8") as errors:
            process = subprocess.Popen(
                _command(
                    "page",
                    "--state",
                    str(self.folder),
                    "--port",
                    "0",
                    *([] if self.is_member else ["--study", self.study]),
                ),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            try:
                said = _words_of(_ready_line(process, "page", self.folder / "page-log.txt"))
                _fetch(f"{said['page']}/api/status")
                yield said["page"]
            except urllib.error.URLError as fault:
                raise DemoError("The participant's page does not answer.", str(fault)) from fault
            finally:
                _end(process)


def run_participants(
    waiting: Sequence[Participant], coordinator: Coordinator, finished: Callable[[], None]
) -> list[Participant]:
    """Run them all, a few at a time; each ends with an account or a failure."""
    queue = list(waiting)
    running: list[tuple[Participant, subprocess.Popen[str]]] = []
    try:
        while queue or running:
            while queue and len(running) < min(_AT_ONCE, os.cpu_count() or 1):
                participant = queue.pop(0)
                participant.folder.mkdir(parents=True, exist_ok=True)
                log = participant.folder / "log.txt"
                with log.open("w", encoding="utf-8") as output:
                    running.append(
                        (
                            participant,
                            subprocess.Popen(
                                participant.words(coordinator),
                                stdout=output,
                                stderr=output,
                                text=True,
                            ),
                        )
                    )
            for entry in list(running):
                participant, process = entry
                code = process.poll()
                if code is not None:
                    running.remove(entry)
                    participant.finish(code)
                    finished()
            time.sleep(_LOOK_EVERY_S / 4)
    finally:
        for _, process in running:
            _end(process)
    return list(waiting)


def enrol_all(
    participants: Sequence[Participant], coordinator: Coordinator, done: Callable[[], None]
) -> None:
    """Give each an invite, and let each use it.

    Raises:
        DemoError: one of them could not.
    """
    for participant, invite in zip(
        participants, coordinator.invites(len(participants)), strict=True
    ):
        participant.enrol(invite)
        done()


def hold_round(
    participants: Sequence[Participant], coordinator: Coordinator, period: str
) -> list[str]:
    """Let all take part in one secure sum over their week; returns what went wrong."""
    log = coordinator.folder / "devices.txt"
    halves = [participants[::2], participants[1::2]]
    processes: list[subprocess.Popen[str]] = []
    with log.open("w", encoding="utf-8") as errors:
        try:
            for half in halves:
                states = [str(participant.folder) for participant in half]
                processes.append(
                    subprocess.Popen(
                        _command(
                            "report", "--until-reported", "--finish-current",
                            "--for-s", str(6 * _STEP_S), "--state", *states,
                        ),
                        stdout=subprocess.PIPE,
                        stderr=errors,
                        text=True,
                    )
                )  # fmt: skip
            for process in processes:
                _ready_line(process, "devices", log)
            coordinator.begin_round(period)
            codes = [process.wait(timeout=6 * _STEP_S + _PATIENCE_S) for process in processes]
        finally:
            for process in processes:
                _end(process)
    for participant in participants:
        participant.take_stock()
    if not any(codes):
        return []
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return [f"Not every report got into the sum. {' '.join(said[-3:])}"]
