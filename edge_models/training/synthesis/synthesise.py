"""Make synthetic windows, attack them, and publish those of the method that wins, if one does.

    sottovoce synthesise --out DIR                     all methods on z-scores; two also at ε = 8
    sottovoce synthesise --out DIR --level embedding   another level; or summary
    sottovoce synthesise --out DIR --method copula     one family of methods only
    sottovoce synthesise --out DIR --epsilon 4         only a method with this ε may win

DIR gets comparison.md, comparison.json and, if a method wins, synthetic.csv with synthetic.json
beside it. All recordings with an affect label take part; each method is tested on people whom it
never met. A table is not private for being synthetic: the page says what ε it has, or none. An
interrupted run goes on where it was when it is started again with the same options.
"""

import argparse
import hashlib
import secrets
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import torch
from rich.console import Console

from edge_models.bundle import shipped_bundle
from edge_models.errors import RecordingError
from edge_models.training.assemble import licence_of
from edge_models.training.corpora import Clip, affect_clips
from edge_models.training.described import FrontEnd, described
from edge_models.training.recordings import recordings_folder
from edge_models.training.seeds import positive_number, seed_number
from edge_models.training.shown import shown
from edge_models.training.streams import Windows
from edge_models.training.synthesis import report
from edge_models.training.synthesis.accountant import DELTA, Budget
from edge_models.training.synthesis.background import background_clips
from edge_models.training.synthesis.comparison import compared, winner
from edge_models.training.synthesis.contenders import FAMILIES, Contender, contenders
from edge_models.training.synthesis.levels import Level, as_recorded
from edge_models.training.synthesis.published import publish

DEFAULT_SEED: Final = 7
USUAL_EPSILON: Final = 8.0
LEAST_EPSILON: Final = 0.01
LARGEST_EPSILON: Final = 100.0
Item = TypeVar("Item")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sottovoce synthesise`."""
    parser.add_argument("--out", type=Path, metavar="DIR", required=True)
    parser.add_argument("--recordings", type=Path, metavar="DIR", help="else SOTTOVOCE_DATA")
    parser.add_argument("--method", choices=("all", *FAMILIES), default="all")
    parser.add_argument("--level", type=Level, choices=tuple(Level), default=Level.NORMALISED)
    parser.add_argument(
        "--epsilon",
        type=positive_number,
        help=f"of each person, at delta {DELTA:g}; only methods with it may win",
    )
    parser.add_argument("--seed", type=seed_number, default=DEFAULT_SEED)


def run(arguments: argparse.Namespace) -> int:
    """Describe, compare, choose, and write the page and perhaps a table."""
    torch.set_num_threads(1)
    console = Console(stderr=True)
    recordings: Path = arguments.recordings or recordings_folder()
    windows, background, licence = _heard(recordings, arguments.seed, console)
    return synthesised(
        windows,
        background,
        licence,
        families=FAMILIES if arguments.method == "all" else (arguments.method,),
        epsilon=arguments.epsilon,
        level=arguments.level,
        seed=arguments.seed,
        out=arguments.out,
        console=console,
    )


def synthesised(
    windows: Windows,
    background: Windows | None,
    licence: tuple[str, str],
    *,
    families: tuple[str, ...],
    epsilon: float | None,
    level: Level,
    seed: int,
    out: Path,
    console: Console,
) -> int:
    """All after describing. Without background there is no ε, since the bounds wouldn't be public.

    Raises:
        RecordingError: the windows can't be learnt from, or can't be given the ε asked for.
    """
    windows = as_recorded(windows)
    background = as_recorded(background) if background is not None else None
    budget = _budget(epsilon, background)
    methods = contenders(families, budget)
    if epsilon is not None and all(one.budget is None for one in methods):
        raise RecordingError(
            f"'{families[0]}' has no variant with an ε.", "Choose --method copula, gan or all."
        )

    told = report.Told(level, seed, *licence, budget, epsilon is not None)
    out.mkdir(parents=True, exist_ok=True)
    kept = out / f".unfinished-{_fingerprint(windows, background, level, seed, budget)}"
    comparison = compared(
        windows,
        background,
        level,
        methods,
        seed,
        kept,
        partial(shown, console=console),
    )
    won = winner(comparison.figures, with_epsilon=told.with_epsilon)
    chosen = next((one for one in methods if won is not None and one.name == won.name), None)
    publish(out, windows, background, comparison, won, chosen, told, _source(chosen, seed))
    shutil.rmtree(kept)
    console.print(report.verdict(won, told).replace("*", ""))
    console.print(f"Read {out / 'comparison.md'}.")
    return 0


def _heard(
    recordings: Path, seed: int, console: Console
) -> tuple[Windows, Windows | None, tuple[str, str]]:
    affect, outside = affect_clips(recordings), background_clips(recordings)
    front_end = FrontEnd.of_bundle(shipped_bundle())

    def heard(clips: Sequence[Clip], text: str) -> Windows:
        return described(
            recordings, clips, front_end, seed, lambda told: shown(told, text, console)
        )

    windows = heard(affect, "Describing affect speech")
    background = heard(outside, "Describing background speakers") if outside else None
    return windows, background, licence_of((*affect, *outside))


def _budget(epsilon: float | None, background: Windows | None) -> Budget | None:
    if background is None:
        if epsilon is not None:
            raise RecordingError(
                "There are no background speakers to take public bounds from, so no table can "
                "have an ε.",
                "Add speech of ten other people to the manifest, or leave --epsilon out.",
            )
        return None
    asked = USUAL_EPSILON if epsilon is None else epsilon
    if not LEAST_EPSILON <= asked <= LARGEST_EPSILON:
        raise RecordingError(
            f"An ε of {asked:g} is outside what is offered.",
            f"Give --epsilon between {LEAST_EPSILON:g} and {LARGEST_EPSILON:g}.",
        )
    return Budget(asked)


def _source(chosen: Contender | None, seed: int) -> np.random.Generator:
    """The randomness of the published table; noise that hides people has no seed to try."""
    secret = chosen is not None and chosen.budget is not None
    return np.random.default_rng(secrets.randbits(256) if secret else seed)


def _fingerprint(
    windows: Windows, background: Windows | None, level: Level, seed: int, budget: Budget | None
) -> str:
    """Of all that decides what is drawn, so that a run resumes its own draws only."""
    told = hashlib.sha256(repr((str(level), seed, budget)).encode())
    for table in (windows, background):
        if table is not None:
            told.update(table.summaries.tobytes())
            told.update("\n".join(table.person.tolist()).encode())
            told.update(table.emotion.tobytes())
    return told.hexdigest()[:16]
