"""Train head and body with each person's privacy bounded, and draw what epsilon costs.

    sottovoce private                                 the whole curve, into private-curve/
    sottovoce private --train head --people 100       one part of it
    sottovoce private --epsilon 2 inf --repeats 6     inf: the same training without privacy
    sottovoce private --labels answers                labels by questionnaires, as in a study
    sottovoce private --body shipped                  the shipped body's embeddings (see below)
    sottovoce private --seed 1                        a simulation: its noise can be drawn again

Simulated people (sottovoce has no real ones to show) speak with real voices of the recordings; a
person's contribution is clipped, Gaussian noise is added, and dp-accounting names epsilon, by
person. Trained are a head over a frozen body, a head along three directions of a public head
(narrow), and body and head together. All are tested on speakers whom nobody trained on. --body
shipped takes a body that has heard everybody: its figures are too good, and the report says so.

Finished trainings are kept in --out: run the same line again after an interruption. curve.md,
curve.csv and curve.json are written when all are done. Without --seed, sampling and noise come
from the operating system's cryptographic source.
"""

import argparse
import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    track,
)

from edge_models.bundle import shipped_bundle
from edge_models.errors import RecordingError
from edge_models.training import private_report
from edge_models.training.cohort import LARGEST, SMALLEST
from edge_models.training.corpora import affect_clips
from edge_models.training.described import FrontEnd, described
from edge_models.training.private_book import Book
from edge_models.training.private_cohort import Labels
from edge_models.training.private_curve import (
    RECIPES,
    Cell,
    Kind,
    Scope,
    Terms,
    public_counts,
    tried,
)
from edge_models.training.private_figures import figures_of, public_figures
from edge_models.training.private_ground import TURNS, Body, Ground, ground_of, whole_speakers
from edge_models.training.private_report import Made
from edge_models.training.private_source import SeededSource, Source, SystemSource
from edge_models.training.recordings import recordings_folder
from edge_models.training.seeds import seed_number
from edge_models.training.shown import shown
from edge_models.training.streams import Windows

PUBLIC_SEED: Final = 7
"""Of speakers' groups, cohorts, bodies and starting points: public, and the same in every run."""

DELTA: Final = 1e-6
_SCOPES: Final = {"head": Scope.HEAD, "narrow": Scope.NARROW, "both": Scope.BODY}
_VERSION: Final = 1  # of what a cell means; another is trained again


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sottovoce private`."""
    parser.add_argument("--recordings", type=Path, metavar="DIR", help="else SOTTOVOCE_DATA")
    parser.add_argument("--out", type=Path, default=Path("private-curve"), metavar="DIR")
    parser.add_argument("--train", nargs="+", choices=list(_SCOPES), default=list(_SCOPES))
    parser.add_argument(
        "--epsilon", nargs="+", type=float, default=[1.0, 2.0, 4.0, 8.0, math.inf], metavar="E"
    )
    parser.add_argument("--delta", type=float, default=DELTA, help="default: %(default)s")
    parser.add_argument(
        "--people", nargs="+", type=int, default=[100, 300, 1000, 3000], metavar="N"
    )
    parser.add_argument("--repeats", type=int, default=TURNS, help="default: %(default)s")
    parser.add_argument("--labels", choices=list(map(str, Labels)), default=str(Labels.ACTED))
    parser.add_argument("--body", choices=list(map(str, Body)), default=str(Body.PUBLIC))
    parser.add_argument("--seed", type=seed_number, help="draw noise: a simulation of privacy")


def run(arguments: argparse.Namespace) -> int:
    """Describe, train what is missing, write the curve."""
    torch.set_num_threads(1)
    console = Console(stderr=True)
    cells = asked(arguments)
    recordings = arguments.recordings or recordings_folder()
    front_end = FrontEnd.of_bundle(shipped_bundle())
    windows = described(
        recordings,
        affect_clips(recordings),
        front_end,
        PUBLIC_SEED,
        partial(shown, text="Describing recordings", console=console),
    )
    draw(windows, cells, arguments, console)
    return 0


def asked(arguments: argparse.Namespace) -> tuple[Cell, ...]:
    """The cells of a curve; `inf` brings shuffled labels along.

    Raises:
        RecordingError: a number is out of its domain, which the message names.
    """
    if not all(SMALLEST <= people <= LARGEST for people in arguments.people):
        raise RecordingError(
            "A simulated cohort has another size.", f"--people takes {SMALLEST} to {LARGEST}."
        )
    bounded = [epsilon for epsilon in arguments.epsilon if epsilon != math.inf]
    if not all(0.01 <= epsilon <= 100 for epsilon in bounded) or not 0 < arguments.delta < 0.01:
        raise RecordingError(
            "An epsilon or delta is out of bounds.",
            "--epsilon takes 0.01 to 100, and inf; --delta is above 0 and below 0.01.",
        )
    if arguments.repeats < 1:
        raise RecordingError("A curve has at least one repeat.", "Give --repeats 1 or more.")
    kinds = [(Kind.PRIVATE, epsilon) for epsilon in sorted(set(bounded))]
    if math.inf in arguments.epsilon:
        kinds += [(Kind.OPEN, 0.0), (Kind.SHUFFLED, 0.0)]
    return tuple(
        Cell(_SCOPES[name], people, kind, epsilon, repeat)
        for repeat in range(arguments.repeats)
        for name in dict.fromkeys(arguments.train)
        for people in sorted(set(arguments.people))
        for kind, epsilon in kinds
    )


def draw(
    windows: Windows, cells: Sequence[Cell], arguments: argparse.Namespace, console: Console
) -> None:
    """Train the cells that are missing in the folder, and write the curve of all that are asked.

    Raises:
        RecordingError: too few speakers, or the folder can't be used.
    """
    body = Body(arguments.body)
    terms = Terms(arguments.delta, PUBLIC_SEED, Labels(arguments.labels))
    setting = _setting(windows, arguments)
    book = Book(arguments.out, setting)
    grounds = _grounds(windows, cells, body, console)
    missing = [cell for cell in cells if cell not in book.cells]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("Training", total=len(cells), completed=len(cells) - len(missing))
        for cell in missing:
            progress.update(task, description=_told(cell))
            ground = grounds[cell.repeat % TURNS]
            source = _source(arguments.seed, cell)
            book.keep(cell, tried(cell, ground, terms, source))
            progress.advance(task)
    figures = (
        *public_figures([public_counts(one, PUBLIC_SEED) for one in grounds.values()], PUBLIC_SEED),
        *figures_of({cell: book.cells[cell] for cell in cells}, PUBLIC_SEED),
    )
    private_report.write(arguments.out, _made(windows, grounds, arguments, setting), figures)
    console.print(f"The curve is in {arguments.out / 'curve.md'}, figures in curve.csv and .json.")


def _grounds(
    windows: Windows, cells: Sequence[Cell], body: Body, console: Console
) -> dict[int, Ground]:
    turns = sorted({cell.repeat % TURNS for cell in cells})
    bundle = shipped_bundle() if body is Body.SHIPPED else None
    shown = track(turns, "Making public bodies", console=console)
    return {turn: ground_of(windows, turn, PUBLIC_SEED, bundle) for turn in shown}


def _source(seed: int | None, cell: Cell) -> Source:
    if seed is None:
        return SystemSource()
    return SeededSource(int(np.random.SeedSequence((seed, cell.seed)).generate_state(1)[0]))


def _told(cell: Cell) -> str:
    bound = f"ε = {cell.epsilon:g}" if cell.kind is Kind.PRIVATE else str(cell.kind)
    return f"{cell.scope}, {cell.people:,} people, {bound}"


def _made(
    windows: Windows, grounds: dict[int, Ground], arguments: argparse.Namespace, setting: str
) -> Made:
    ground = next(iter(grounds.values()))
    source = SystemSource() if arguments.seed is None else SeededSource(arguments.seed)
    return Made(
        body=Body(arguments.body),
        labels=Labels(arguments.labels),
        embedding_size=ground.frame.embedding_size,
        speakers=len(whole_speakers(windows)),
        private_speakers=len(np.unique(ground.private.speaker)),
        delta=arguments.delta,
        repeats=arguments.repeats,
        noise=source.name,
        is_simulated_noise=source.is_simulation,
        setting=setting,
    )


def _setting(windows: Windows, arguments: argparse.Namespace) -> str:
    """A digest of everything but the cell that a cell's figures depend on."""
    digest = hashlib.sha256()
    recipes = [asdict(one) for one in RECIPES[Labels(arguments.labels)].values()]
    chosen = (arguments.body, arguments.labels, arguments.delta, arguments.seed)
    for word in (_VERSION, *chosen, PUBLIC_SEED, recipes):
        digest.update(f"{word!r};".encode())
    if arguments.body == Body.SHIPPED:
        digest.update(repr(shipped_bundle().manifest).encode())
    for column in (windows.summaries, windows.truth, windows.person, windows.kind, windows.take):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()
