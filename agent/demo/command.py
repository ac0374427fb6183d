"""Show the whole chain on this machine: broker, coordinator, participants, real recordings.

    sottovoce demo                       then look at the two pages; Ctrl-C ends it
    sottovoce demo --headless            the same, and exit: non-zero if any step failed
    sottovoce demo --recordings DIR      your own recordings (else SOTTOVOCE_DATA, else two
                                         clips that public packages carry)

Each participant is a `sottovoce run` of its own, streaming a person's recordings faster than
real time through the code a device runs, with its own key, store and budget. The coordinator is
a `sottovoce coordinator`. From 20 people on it founds a study: everybody enrols with an invite,
and the week leaves through a secure sum. Fewer people, or no Mosquitto: each report is noised for
itself. Nothing is simulated but the clock.
"""

import argparse
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from agent.demo.people import Person, fetch_carried_clips, people_from
from agent.demo.processes import (
    Coordinator,
    Participant,
    enrol_all,
    hold_round,
    run_participants,
)
from agent.demo.summary import cohort_table, participants_table
from agent.errors import SettingError
from sync.broker import mosquitto_path
from sync.periods import period_of
from sync.secure_sum.terms import LEAST_COHORT

_STUDY = "demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sottovoce demo`."""
    parser.add_argument("--recordings", type=Path, help="a folder of recordings")
    parser.add_argument("--participants", type=int, default=24, metavar="N")
    parser.add_argument("--headless", action="store_true", help="exit when reports have arrived")
    parser.add_argument("--keep", type=Path, help="keep stores and logs in this folder")


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 if every participant's report arrived and both pages answered."""
    if not 1 <= arguments.participants <= 500:
        raise SettingError("The demo takes 1 to 500 participants.", "Try --participants 24.")
    console = Console()
    with ExitStack() as stack:
        stack.enter_context(_ends_in_order())
        folder = stack.enter_context(_workshop(arguments.keep))
        people = _people(arguments, folder, console)
        with Progress(console=console) as progress:
            starting = progress.add_task("Starting broker and coordinator", total=1)
            founds = len(people) >= LEAST_COHORT and mosquitto_path() is not None
            coordinator = stack.enter_context(
                Coordinator.started(folder / "coordinator", _STUDY, founds=founds)
            )
            progress.advance(starting)
            participants = [
                Participant(person, folder / person.name, _STUDY, founds) for person in people
            ]
            if founds:
                enrolling = progress.add_task("Participants enrolling", total=len(people))
                enrol_all(participants, coordinator, lambda: progress.advance(enrolling))
            streaming = progress.add_task("Participants streaming", total=len(people))
            finished = run_participants(
                participants, coordinator, lambda: progress.advance(streaming)
            )
            arriving = progress.add_task("Reports arriving", total=len(people))
            failures = []
            if founds:
                failures = hold_round(finished, coordinator, period_of(datetime.now(UTC)))
            cohort = coordinator.wait_for_reports(
                len(people), lambda count: progress.update(arriving, completed=count)
            )
        console.print(participants_table(finished))
        console.print(cohort_table(cohort, finished))
        page = stack.enter_context(finished[0].page(coordinator))
        failures += [
            *(f.failure for f in finished if f.failure),
            *coordinator.failures(len(people)),
        ]
        console.print(f"Broker:             {coordinator.broker}, at {coordinator.mqtt}")
        console.print(f"Coordinator's page: {coordinator.page}")
        console.print(f"Participant's page: {page}   ({finished[0].person.name})")
        for failure in failures:
            console.print(f"Failed: {failure}", style="bold red")
        if not arguments.headless:
            console.print("Look at the pages; Ctrl-C ends the demo.")
            coordinator.wait()
        return 1 if failures else 0


@contextmanager
def _ends_in_order() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does: with everything that it has started."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _workshop(keep: Path | None) -> Iterator[Path]:
    """A folder for keys, stores and logs: the one named, else one that is removed at the end."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="sottovoce-demo-") as name:
        yield Path(name)


def _people(arguments: argparse.Namespace, folder: Path, console: Console) -> list[Person]:
    source = arguments.recordings or os.environ.get("SOTTOVOCE_DATA")
    if source:
        people = people_from(Path(source), arguments.participants)
    else:
        with console.status("Fetching two public clips (no recordings were named)"):
            clips = fetch_carried_clips(folder / "clips")
        people = people_from(clips, arguments.participants)
    if len(people) < arguments.participants:
        console.print(f"The recordings tell {len(people)} people apart: so many take part.")
    return people
