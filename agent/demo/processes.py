"""The demo's processes: a coordinator, and participants two at a time."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.account import Account
from agent.demo.people import Person
from agent.errors import AgentError

_PATIENCE_S: Final = 60.0
_AT_ONCE: Final = 2
_LOOK_EVERY_S: Final = 0.2


class DemoError(AgentError):
    """A process of the demo did not do its part."""


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "edge_models.command", *words]


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

    @staticmethod
    @contextmanager
    def started(folder: Path, study: str) -> Iterator["Coordinator"]:
        """Start it; ends it when left."""
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "log.txt"
        with log.open("w", encoding="utf-8") as errors:
            process = subprocess.Popen(
                _command("coordinator", "--study", study, "--state", str(folder), "--minimum", "1"),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            try:
                said = _words_of(_ready_line(process, "coordinator", log))
                yield Coordinator(process, said["mqtt"], said["page"], said["broker"])
            finally:
                _end(process)

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
    account: Account | None = None
    failure: str = ""

    def words(self, coordinator: Coordinator) -> list[str]:
        """The command line of its run."""
        camera = ["--camera", str(self.person.video)] if self.person.video else []
        return _command(
            "run", "--state", str(self.folder), "--study", self.study, "--pace", "fast",
            "--broker", coordinator.mqtt, "--no-page", "--report-at-end",
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
                _command("page", "--state", str(self.folder), "--study", self.study, "--port", "0"),
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
