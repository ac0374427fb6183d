"""Judge privacy and utility together, at every level, on people that no model met: one page.

    sottovoce evaluate --out DIR                     SOTTOVOCE_DATA, models trained anew
    sottovoce evaluate --quick --out DIR             a first look in a few minutes
    sottovoce evaluate --bundle DIR --recordings NEW --out DIR     a bundle, on people it never met
    sottovoce evaluate --corpus androids=DIR --out DIR             a licensed corpus
    sottovoce evaluate --faces --out DIR             faces as well, and simulated pairs with voices

Writes evaluation.json, evaluation.md and evaluation.html (one file, nothing is loaded) into --out.
Identity is attacked by a panel of attackers that are retrained on each level; affect is told from
sessions of six windows. Interrupted, it resumes: finished parts lie in --out until it is done.
With --bundle nothing is trained; that its people are new to the bundle is your word.
--faces takes the photographs and clips of the same manifest, about three minutes more; where it
lists none, the report says so and the rest is judged. No bundle holds a facial body to judge.
Figures of acted emotions are affect figures, never of a diagnosis.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from edge_models import assessment
from edge_models.bundle import Bundle, load_bundle, shipped_bundle
from edge_models.errors import RecordingError
from edge_models.training.coevaluation.cells import Cells, code_of, key_of
from edge_models.training.coevaluation.judge import Effort, evaluated
from edge_models.training.coevaluation.markdown import markdown
from edge_models.training.coevaluation.page import page
from edge_models.training.coevaluation.plans import LEAST_GALLERY, Plan, galleries, plans_of
from edge_models.training.coevaluation.schema import Evaluation
from edge_models.training.coevaluation.story import lead
from edge_models.training.coevaluation.subjects import GivenBundle, Subject, TrainedAnew
from edge_models.training.coevaluation.with_faces import (
    FacePart,
    looked,
    refused_with_a_bundle,
)
from edge_models.training.contour_statistics import contour_table
from edge_models.training.corpora import LOADERS, Clip, gathered, licences_of
from edge_models.training.described import SPEEDS, FrontEnd, described
from edge_models.training.described_cache import Cache, usual_folder
from edge_models.training.face_attacks import QUICK_FACES, FaceEffort
from edge_models.training.face_evaluation import LookedAt
from edge_models.training.identity import QUICK_PANEL
from edge_models.training.recordings import recordings_folder
from edge_models.training.seeds import seed_number
from edge_models.training.shown import shown
from edge_models.training.streams import Floats, Windows
from edge_models.training.whole import written_whole

DEFAULT_SEED: Final = 7
QUICK: Final = Effort(
    passes=1,
    permutations=1,
    attribute_permutations=1,
    noises=(1.0,),
    panel=QUICK_PANEL,
    resamples=200,
    quick=True,
)
GIVEN: Final = "people of these recordings"
_CONTOURS: Final = "contours"
_TELLING: Final = (
    *("affect.py", "story.py", "rows.py", "sheet.py", "markdown.py"),
    *("plane.py", "pareto.py", "style.py", "page.py"),
    *("face_story.py", "face_rows.py", "face_schema.py"),
)
"""Modules that only tell of finished parts: a change to them keeps the parts."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sottovoce evaluate`."""
    parser.add_argument("--recordings", type=Path, metavar="DIR", help="else SOTTOVOCE_DATA")
    parser.add_argument(
        "--corpus",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help=f"judge by this corpus ({', '.join(LOADERS)}); may be given several times",
    )
    parser.add_argument("--datasets", nargs="+", default=[], metavar="SET", help="these sets only")
    parser.add_argument(
        "--bundle", type=Path, metavar="DIR", help="judge this bundle as it is, train nothing"
    )
    parser.add_argument("--quick", action="store_true", help="fewer attackers and repetitions")
    parser.add_argument("--faces", action="store_true", help="judge faces and simulated pairs too")
    parser.add_argument("--seed", type=seed_number, default=DEFAULT_SEED)
    parser.add_argument("--cache", type=Path, metavar="DIR", help="of what was heard and seen")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")


def run(arguments: argparse.Namespace) -> int:
    """Describe, carry out the plans, write the three files, forget the parts."""
    torch.set_num_threads(1)
    console = Console(stderr=True)
    if arguments.faces and arguments.bundle:
        raise refused_with_a_bundle()
    effort = QUICK if arguments.quick else Effort()
    bundle = load_bundle(arguments.bundle) if arguments.bundle else shipped_bundle()
    subject: Subject = GivenBundle(bundle) if arguments.bundle else TrainedAnew(arguments.seed)
    folder, clips = _spoken(arguments, console)
    seen: LookedAt | str | None = None
    if arguments.faces:
        listed = arguments.recordings or (None if arguments.corpus else recordings_folder())
        seen = looked(listed, arguments.cache, console)
    front_end = FrontEnd.of_bundle(bundle)
    windows = described(
        folder,
        clips,
        front_end,
        arguments.seed,
        lambda told: shown(told, "Describing recordings", console),
        cache=Cache(arguments.cache or usual_folder()),
        skipped=lambda part: console.print(f"Of the recordings {part}."),
        speeds=() if arguments.bundle else SPEEDS,
    )
    plans = _given(windows) if arguments.bundle else plans_of(windows)
    words = [subject.name, str(arguments.seed), str(effort), bundle.hearing, bundle.space]
    code = code_of(Path(assessment.__file__).parent, _TELLING)
    words.append(code)
    columns = [getattr(windows, name) for name in windows.__slots__]
    cells = Cells(arguments.out, key_of(columns, words))
    part = None
    if isinstance(seen, LookedAt):
        hardly = QUICK_FACES if arguments.quick else FaceEffort()
        part = FacePart(seen, windows, arguments.seed, hardly, arguments.out, [code])
    contours = None
    if not arguments.quick:
        contours = _contours(folder, clips, front_end, windows, cells, console)
    with _bar(console) as bar:
        task = bar.add_task("", total=None)
        evaluation = evaluated(
            windows,
            subject,
            plans,
            licences_of(clips),
            arguments.seed,
            effort,
            cells,
            lambda text, steps: bar.update(task, description=text, total=steps, advance=1),
            contours,
            _warned(bundle, clips, console) if arguments.bundle else _left_out(seen),
        )
    if part is not None:
        evaluation = part.joined(evaluation, console)
    write(arguments.out, evaluation)
    cells.remove()
    if part is not None:
        part.remove()
    for line in lead(evaluation):
        console.print(line)
    console.print(f"Read {arguments.out / 'evaluation.html'}.")
    return 0


def write(out: Path, evaluation: Evaluation) -> None:
    """Write the three files, each beside and then renamed; the JSON last."""
    files = {
        "evaluation.md": markdown(evaluation),
        "evaluation.html": page(evaluation),
        "evaluation.json": evaluation.model_dump_json(indent=1) + "\n",
    }
    for name, text in files.items():
        with written_whole(out / name) as part:
            part.write_text(text, encoding="utf-8")


def _spoken(arguments: argparse.Namespace, console: Console) -> tuple[Path, tuple[Clip, ...]]:
    """The recordings' folder and the clips, of it or of the corpora named."""
    listed = arguments.recordings or (None if arguments.corpus else recordings_folder())
    found = gathered(listed, arguments.corpus, arguments.datasets)
    for part in found.left_out:
        console.print(f"Of the corpora {part}.")
    return listed or Path(), found.clips


def _left_out(seen: LookedAt | str | None) -> tuple[str, ...]:
    """A limit, where faces were asked for and there are none."""
    return (seen,) if isinstance(seen, str) else ()


def _warned(bundle: Bundle, clips: Sequence[Clip], console: Console) -> tuple[str, ...]:
    """A limit, told at once as well, where a bundle's card names the sets it is judged on."""
    card = bundle.card.lower()
    known = [name for name in sorted({clip.dataset for clip in clips}) if name.lower() in card]
    if not known:
        return ()
    said = (
        f"The bundle's card names {', '.join(known)}: it probably learned from these very people, "
        "so the figures below flatter it."
    )
    console.print(said)
    return (said,)


def _given(windows: Windows) -> tuple[Plan, ...]:
    """One plan: everybody is tested, nobody known."""
    everybody = np.ones(len(windows), bool)
    if not list(galleries(windows, everybody)):
        raise RecordingError(
            f"No set holds {LEAST_GALLERY} people with speech, so nobody can be told apart.",
            "Give recordings of more people; the column 'identity' names them.",
        )
    return (Plan("given", GIVEN, ~everybody, everybody),)


def _contours(
    folder: Path,
    clips: Sequence[Clip],
    front_end: FrontEnd,
    windows: Windows,
    cells: Cells,
    console: Console,
) -> Floats:
    """Level 0, heard once and kept until the evaluation is complete."""
    kept = cells.get(_CONTOURS)
    if kept is None:
        told = shown(clips, "Describing contours", console)
        kept = {_CONTOURS: contour_table(folder, told, front_end, windows)}
        cells.put(_CONTOURS, kept)
    return kept[_CONTOURS]


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)
