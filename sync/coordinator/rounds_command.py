"""Start rounds of secure sums, watch them, list them; or try one with simulated devices.

    sottovoce rounds start --state DIR --period 2026-W48 --step-minutes 30
    sottovoce rounds start --state DIR --head --rounds 20 --optimiser fedavg
    sottovoce rounds watch --state DIR
    sottovoce rounds list --state DIR
    sottovoce rounds simulate --devices 300 --dropout 0.1
    sottovoce rounds simulate --devices 100 --head --rounds 20

`start` asks the coordinator that runs on the same state; it begins the round within a second. With
`--head` it asks for a course: so many rounds that train the head, then a vote by the devices, and a
head for everybody if they prove it better. `--optimiser` is fedavg, fedadam or flower:NAME, a
strategy of Flower's in an environment of its own, `flower/` in the coordinator's folder.
"""

import argparse
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from edge_models.bundle import shipped_bundle
from edge_models.training.cohort import LARGEST, SMALLEST
from sync.coordinator.authority import has_study
from sync.coordinator.course import Asked, Course, kept
from sync.coordinator.drafts import LEAST_STEP_S, MOST_STEP_S, draft_of
from sync.coordinator.fleet import Device, Fleet, dying
from sync.coordinator.round_book import BOOK_FILE, Entry, RoundBook, State, Wish, open_round_book
from sync.coordinator.simulated import simulated_course
from sync.envelope import decoded
from sync.errors import PolicyError, StudyError
from sync.messages import CELLS, HISTOGRAMS, first_cells
from sync.periods import period_before, period_of, period_start
from sync.policy import Purpose, parse_policy, policy_digest
from sync.secure_sum.server import Opened
from sync.secure_sum.terms import STEPS, SignedTerms, Terms
from sync.secure_sum.wire import Step
from sync.shared_noise import unscaled

_LOOK_EVERY_S: Final = 0.5
_SIMULATED_STUDY: Final = "simulated"
_STEPS: Final = dict(
    zip(STEPS, (Step.ADVERT, Step.SHARES, Step.MASKED, Step.CONFIRM, Step.OPENING), strict=True)
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line accepts."""
    deeds = parser.add_subparsers(dest="deed", required=True, metavar="start|watch|list|simulate")
    start = deeds.add_parser("start", help="ask the running coordinator for a round")
    start.add_argument("--period", help="which week (default: the last one that is over)")
    _add_course(start)
    start.add_argument("--step-minutes", type=float, default=60.0, help="for each of five steps")
    watch = deeds.add_parser("watch", help="show running rounds until none is left")
    watch.add_argument("--for-s", type=float, default=float("inf"), help="at most so long")
    listing = deeds.add_parser("list", help="show every round and how it ended")
    for deed in (start, watch, listing):
        deed.add_argument(
            "--state",
            type=Path,
            default=Path("~/.local/share/sottovoce-coordinator"),
            help="the coordinator's folder (default: %(default)s)",
        )
    simulate = deeds.add_parser("simulate", help="one round with simulated devices, no network")
    simulate.add_argument("--devices", type=int, default=100)
    simulate.add_argument("--dropout", type=float, default=0.0, help="share of devices that die")
    simulate.add_argument("--at", choices=STEPS, default="mask", help="at which step they die")
    _add_course(simulate)
    simulate.add_argument("--seed", type=int, default=0, help="of who dies; noise is fresh")


def _add_course(deed: argparse.ArgumentParser) -> None:
    deed.add_argument("--head", action="store_true", help="a course that trains the head")
    deed.add_argument("--rounds", type=int, default=20, help="of a course, before its vote")
    deed.add_argument("--optimiser", default="fedavg", help="fedavg, fedadam or flower:NAME")
    deed.add_argument("--moving-clip", action="store_true", help="let the clip follow the norms")


def _asked(arguments: argparse.Namespace, minutes: float) -> Asked:
    return Asked(arguments.rounds, arguments.optimiser, arguments.moving_clip, minutes)


def run(arguments: argparse.Namespace) -> int:
    """Do it; 0 if it went well, 1 if a simulated round was not opened.

    Raises:
        PolicyError: a round can't be had like that.
        ProtocolError: the period is no ISO week.
        RoundBookError: the rounds can't be read or kept.
        StudyError: there is no study in that folder.
    """
    console = Console()
    if arguments.deed == "simulate":
        return (_simulate_course if arguments.head else _simulate)(arguments, console)
    path = arguments.state.expanduser() / BOOK_FILE
    if not path.exists() and not has_study(path.parent):
        raise StudyError(
            f"No study was founded in '{path.parent}'.",
            "Name its folder with --state, or found one: sottovoce study init NAME --host HOST",
        )
    with open_round_book(path) as book:
        match arguments.deed:
            case "start":
                _start(arguments, book, console)
            case "watch":
                _watch(book, arguments.for_s, console)
            case _:
                console.print(listed(book.entries()))
                if courses := kept(book):
                    console.print(courses_listed(courses))
    return 0


def _start(arguments: argparse.Namespace, book: RoundBook, console: Console) -> None:
    period = arguments.period or period_before(period_of(datetime.now(UTC)))
    if period_start(period) > datetime.now(UTC):
        raise PolicyError(
            f"The week {period} has not begun: nobody has anything to tell of it.",
            "Name one that is over, or leave --period out for the last one.",
        )
    if not LEAST_STEP_S <= 60 * arguments.step_minutes <= MOST_STEP_S:
        raise PolicyError(
            f"{arguments.step_minutes:g} minutes are too short or too long for a step.",
            "Allow between a second and six days.",
        )
    if arguments.head:
        book.wish(_asked(arguments, arguments.step_minutes).wish())
        console.print(
            f"Asked the coordinator for a course of {arguments.rounds} rounds and a vote. "
            "See: sottovoce rounds list"
        )
        return
    book.wish(Wish(Purpose.REPORT.value, period, arguments.step_minutes))
    console.print(f"Asked the coordinator for a round over {period}. See: sottovoce rounds watch")


def _watch(book: RoundBook, longest_s: float, console: Console) -> None:
    """Bars of the running rounds, by their steps, until none is left."""
    until = time.monotonic() + longest_s
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"),
               TimeElapsedColumn())  # fmt: skip
    shown: dict[str, int] = {}
    with Progress(*columns, console=console) as progress:
        while time.monotonic() < until:
            entries = book.entries()
            for entry in entries:
                if entry.state is not State.RUNNING and entry.round not in shown:
                    continue
                closed = book.closings(entry.round) if entry.state is State.RUNNING else len(STEPS)
                note = STEPS[min(closed, len(STEPS) - 1)] if entry.state is State.RUNNING else (
                    _ending(entry))  # fmt: skip
                if entry.round not in shown:
                    name = f"{entry.round[:8]} {_terms(entry).subject}"
                    shown[entry.round] = progress.add_task(name, total=len(STEPS), note=note)
                progress.update(shown[entry.round], completed=closed, note=note)  # type: ignore[arg-type]
            if not book.wishes() and all(e.state is not State.RUNNING for e in entries):
                break
            time.sleep(_LOOK_EVERY_S)
    if book.wishes():
        console.print("A round was asked for, and no coordinator has begun it. Does it run?")
    elif not shown:
        console.print("No round is running. Start one: sottovoce rounds start")


def listed(entries: tuple[Entry, ...]) -> Table:
    """Every round as a row."""
    table = Table("round", "about", "began", "joined", "summed", "how it ended")
    for entry in entries:
        terms = _terms(entry)
        began = f"{datetime.fromtimestamp(entry.started_at, UTC):%Y-%m-%d %H:%M}"
        table.add_row(
            entry.round[:8],
            f"{terms.purpose} {terms.subject[:10]}",
            began,
            str(entry.joined or "–"),
            str(entry.members or "–"),
            _ending(entry),
        )
    return table


def courses_listed(courses: tuple[Course, ...]) -> Table:
    """Every course as a row; epsilons, at its delta, of a person who was in all of its rounds."""
    table = Table(
        "course",
        "optimiser",
        "rounds",
        "gain (nats)",
        "ε, accountant",
        "ε, ledgers",
        "how it stands",
    )
    for course in courses:
        cost, voted = course.cost(), "–"
        if course.gain is not None and course.at_least is not None:
            voted = f"{course.gain:+.3f}, over {course.at_least:+.3f}"
        table.add_row(
            str(course.number),
            course.optimiser,
            f"{len(course.counted)} of {course.rounds}",
            voted,
            f"{cost.accountant:.2f}",
            f"at most {cost.ledger_bound:.2f} (δ {course.delta:g})",
            course.why if course.ended else "is running",
        )
    return table


def _ending(entry: Entry) -> str:
    match entry.state:
        case State.RUNNING:
            return "is running"
        case State.OPENED:
            return f"opened over {entry.members} people"
        case State.FAILED:
            return f"not opened: {entry.why}"


def _terms(entry: Entry) -> Terms:
    return decoded(entry.terms, SignedTerms).terms


class _Answers:
    """A simulated person: the answers follow from the number, so that the truth is known."""

    def __init__(self, number: int) -> None:
        self.number = number

    def is_willing(self, terms: Terms) -> bool:
        return terms.purpose == Purpose.REPORT.value

    def numbers(self, terms: Terms) -> list[int]:
        cells = [0] * terms.length
        for first, histogram in zip(first_cells(), HISTOGRAMS, strict=True):
            cells[first + self.number % len(histogram.bins)] = 1
        return cells


def _simulate(arguments: argparse.Namespace, console: Console) -> int:
    if not 3 <= arguments.devices <= 20_000 or not 0 <= arguments.dropout <= 1:
        raise PolicyError(
            "A simulation takes 3 to 20,000 devices, of which a share between 0 and 1 dies.",
            "Try --devices 300 --dropout 0.1.",
        )
    payload = shipped_bundle().policy
    policy, digest = parse_policy(payload), policy_digest(payload)
    now = int(time.time())
    with (
        tempfile.TemporaryDirectory(prefix="sottovoce-rounds-") as folder,
        open_round_book(Path(folder) / BOOK_FILE) as book,
        console.status(f"{arguments.devices} devices take part in a round"),
    ):
        fleet = Fleet(
            arguments.devices, book, study=_SIMULATED_STUDY, policy=policy, policy_digest=digest,
            contributor=_Answers, now=now, seed=arguments.seed,
        )  # fmt: skip
        draft = draft_of(
            Purpose.REPORT, period_before(period_of(datetime.fromtimestamp(now, UTC))),
            study=_SIMULATED_STUDY, policy=policy, policy_digest=digest, now=now, step_s=60,
        )  # fmt: skip
        result = fleet.run(draft, dying(arguments.dropout, _STEPS[arguments.at], arguments.seed))
        (entry,) = book.entries()
    console.print(_costs(fleet))
    if not isinstance(result, Opened):
        console.print(f"Not opened: {result.why}")
        return 1
    estimate = unscaled(result.total, _terms(entry).scale)
    numbers = {name: number for number, name in enumerate(fleet.devices)}
    truth = [0] * CELLS
    for name in result.members:
        for cell, value in enumerate(_Answers(numbers[name]).numbers(_terms(entry))):
            truth[cell] += value
    table = Table("question", "answer", "true", "opened", title="The sum, noise included")
    for first, histogram in zip(first_cells(), HISTOGRAMS, strict=True):
        for place, answer in enumerate(histogram.bins):
            cell = first + place
            table.add_row(
                histogram.name if place == 0 else "", answer, str(truth[cell]),
                f"{estimate[cell]:.1f}",
            )  # fmt: skip
    console.print(table)
    return 0


def _simulate_course(arguments: argparse.Namespace, console: Console) -> int:
    if not SMALLEST <= arguments.devices <= LARGEST or not 0 <= arguments.dropout <= 1:
        raise PolicyError(
            f"A simulated course takes {SMALLEST} to {LARGEST} people, of whom a share between 0 "
            "and 1 dies.",
            "Try --devices 100 --dropout 0.1.",
        )
    with console.status("A course begins") as status:
        done = simulated_course(
            shipped_bundle(),
            _asked(arguments, 1.0),
            devices=arguments.devices,
            dies=dying(arguments.dropout, _STEPS[arguments.at], arguments.seed),
            seed=arguments.seed,
            flower_python=Path("flower") / "bin" / "python",
            told=lambda course: status.update(
                f"{arguments.devices} simulated people: {len(course.counted)} of {course.rounds} "
                "rounds"
            ),
        )
    console.print(courses_listed((done.course,)))
    tried = Table("head", "balanced accuracy", "AUROC", title="On other simulated people")
    for name, quality in (("published before", done.before), ("candidate", done.candidate)):
        if quality is not None:
            tried.add_row(name, f"{quality.balanced_accuracy:.3f}", f"{quality.auroc:.3f}")
    console.print(tried)
    console.print(_costs(done.fleet))
    return 0 if done.candidate is not None else 1


def _costs(fleet: Fleet) -> str:
    devices: list[Device] = list(fleet.devices.values())
    count = len(devices)
    return (
        f"{count} devices: {1e3 * sum(d.cpu_s for d in devices) / count:.1f} ms of processor each, "
        f"{sum(d.said_bytes for d in devices) / count / 1024:.1f} KiB up and "
        f"{sum(d.heard_bytes for d in devices) / count / 1024:.1f} KiB down; coordinator "
        f"{fleet.cpu_s:.2f} s."
    )
