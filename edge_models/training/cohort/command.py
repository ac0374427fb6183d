"""Draw a *simulated* cohort: virtual participants with voices, weeks, PHQ-9 and GAD-7.

    sottovoce cohort --people 1000 --weeks 8 --out cohort.parquet
    sottovoce cohort --people 300 --weeks 12 --prior pupils --out pupils.csv
    sottovoce cohort --people 5000 --weeks 4 --voices test --recordings DIR --out others.csv

Nobody in it exists. Answers follow a survey's law, voices are the affect speech of real recordings
(SOTTOVOCE_DATA), or, where there are none, made up from public constants. Three tables are
written, each with "simulated" in its name: windows, people, answers. A window is named by its
segment and place in the recordings; nothing heard is copied. What came out is printed beside
what is published. One seed gives one cohort.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from edge_models.bundle import shipped_bundle
from edge_models.errors import RecordingError
from edge_models.training.cohort.answers import PRIORS, Prior, PriorName
from edge_models.training.cohort.calendar import Habits
from edge_models.training.cohort.draw import LARGEST, MOST_WEEKS, SMALLEST, drawn_cohort, refuse
from edge_models.training.cohort.made_up import made_up_voices
from edge_models.training.cohort.room import AT_HOME, Room
from edge_models.training.cohort.summary import Summary, summarised
from edge_models.training.cohort.tables import marked, written
from edge_models.training.cohort.voices import Voices, voices_of_recordings
from edge_models.training.described_cache import Cache, usual_folder
from edge_models.training.recordings import recordings_folder
from edge_models.training.seeds import seed_number
from edge_models.training.shown import shown

DEFAULT_SEED: Final = 7
_UNANSWERED: Final = 0.1
Item = TypeVar("Item")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sottovoce cohort`."""
    parser.add_argument(
        "--people", type=int, required=True, metavar="N", help=f"{SMALLEST} to {LARGEST}"
    )
    parser.add_argument("--weeks", type=int, default=8, metavar="W", help=f"1 to {MOST_WEEKS}")
    parser.add_argument("--seed", type=seed_number, default=DEFAULT_SEED)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".csv or .parquet")
    parser.add_argument("--recordings", type=Path, metavar="DIR", help="else SOTTOVOCE_DATA")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="of described windows; else that of `train`"
    )
    parser.add_argument(
        "--prior", type=PriorName, choices=list(PriorName), default=PriorName.GENERAL,
        help="whose answers: adults at large, or pupils",
    )  # fmt: skip
    parser.add_argument(
        "--voices", choices=("all", "train", "test"), default="all",
        help="of the speakers: two thirds to train with, the others to test on",
    )  # fmt: skip
    parser.add_argument("--windows-a-day", type=float, default=Habits().windows_a_day)
    parser.add_argument("--silent-days", type=float, default=Habits().silent_days, metavar="SHARE")
    parser.add_argument("--unanswered", type=float, default=_UNANSWERED, metavar="SHARE")
    parser.add_argument(
        "--both", type=float, default=AT_HOME.both, metavar="SHARE",
        help="of windows in which another speaks, too",
    )  # fmt: skip
    parser.add_argument(
        "--other", type=float, default=AT_HOME.other, metavar="SHARE",
        help="of windows in which only another speaks",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Describe voices, draw, write, and tell what came out."""
    refuse(arguments.people, arguments.weeks)
    names = marked(arguments.out)
    habits = Habits(arguments.windows_a_day, arguments.silent_days, arguments.unanswered)
    room = Room(arguments.both, arguments.other)
    prior = PRIORS[arguments.prior]
    console = Console(stderr=True)
    voices = _voices(arguments, room, console)
    if arguments.voices != "all":
        voices = voices.parted(arguments.seed)[arguments.voices == "test"]
    with console.status("Drawing people and their weeks"):
        cohort = drawn_cohort(
            voices,
            arguments.people,
            arguments.weeks,
            arguments.seed,
            prior=prior,
            habits=habits,
            room=room,
        )
    about = {
        "seed": str(arguments.seed),
        "prior": prior.source,
        "voices": "made up" if voices.made_up else f"{arguments.voices} speakers of recordings",
    }
    with Progress(console=console) as progress:
        task = progress.add_task("Writing windows", total=len(cohort))
        for done in written(cohort, arguments.out, about):
            progress.update(task, completed=done)
    console.print(table_of(summarised(cohort), prior, voices.made_up))
    console.print(f"Written: {', '.join(str(name) for name in names)}", soft_wrap=True)
    return 0


def _voices(arguments: argparse.Namespace, room: Room, console: Console) -> Voices:
    bundle, seed = shipped_bundle(), arguments.seed
    try:
        recordings = arguments.recordings or recordings_folder()
    except RecordingError:
        console.print("There are no recordings: the voices are made up from public constants.")
        return made_up_voices(bundle, seed, together=room.both > 0)
    together = partial(shown, text="Describing two at once", console=console)
    return voices_of_recordings(
        recordings,
        bundle,
        seed,
        partial(shown, text="Describing recordings", console=console),
        together=together if room.both else None,
        cache=Cache(arguments.cache or usual_folder()),
    )


def table_of(told: Summary, prior: Prior, made_up: bool) -> Table:
    """A summary as it is printed."""
    kind = "made-up" if made_up else "recorded"
    table = Table(
        title=f"Simulated: {told.people} people who don't exist, {told.voices} {kind} voices, "
        f"{told.windows:,} windows"
    )
    for column in ("", "drawn", "of who answered", f"published ({prior.source})"):
        table.add_column(column, justify="left" if not column else "right")
    for one in told.shares:
        published = f"{one.published:.1%} ± {one.within:.1%}"
        table.add_row(one.text, f"{one.drawn:.1%}", f"{one.answered:.1%}", published)
    table.add_section()
    for text, value in (
        ("PHQ-9 and the one before, correlation", f"{told.again:.2f}"),
        ("questionnaires not answered", f"{told.unanswered:.1%}"),
        ("silent days", f"{told.silent:.1%}, {told.run_days:.1f} in a row"),
        ("silent days, best and worst quarter", f"{told.silent_best:.1%}, {told.silent_worst:.1%}"),
        ("sad windows, PHQ-9 < 10 and >= 10", f"{told.sad_well:.1%}, {told.sad_low:.1%}"),
        ("windows with another, of another", f"{told.both:.1%}, {told.other:.1%}"),
    ):
        table.add_row(text, value, "", "")
    return table
