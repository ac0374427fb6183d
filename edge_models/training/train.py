"""Train the shipped bundle again from real recordings, test it, and write its card.

    sottovoce train                              SOTTOVOCE_DATA into the shipped bundle
    sottovoce train --recordings DIR --out DIR   other recordings, another folder
    sottovoce train --keep-front-end             a new classifier on the front end as it is
    sottovoce train --keep-front-end --evaluation DIR/evaluation.json
                                                 what `sottovoce evaluate` found goes into its card
    sottovoce train --corpus daic-woz=DIR --keep-front-end --out DIR     a licensed corpus

DIR holds a MANIFEST.csv with the columns path, dataset, licence, identity, label, extra; or, after
NAME=, that corpus as it is given out. A missing one is told with its tree and where it is
requested. What was heard once is kept as numbers in the cache (delete it any time): a second run is
quick, and one that was interrupted resumes. One seed gives one bundle. The old bundle is replaced
only when the new one passed its own golden vectors in both runtimes. What comes out is a screening
aid trained on acted speech; CARD.md says how good.
"""

import argparse
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Final, TypeVar

import torch
from rich.console import Console

from edge_models.acoustic import SUMMARY_NAMES
from edge_models.assessment import TASKS
from edge_models.baseline import Population
from edge_models.bundle import load_bundle, shipped_folder
from edge_models.errors import BundleError
from edge_models.golden import Agreement, parse_golden
from edge_models.golden_sound import golden_summary
from edge_models.head import Head
from edge_models.manifest import EVALUATION, FRONT_END, MANIFEST_NAME, SESSIONS
from edge_models.runner import OnnxGraph, TfliteGraph
from edge_models.training import assemble
from edge_models.training.card import Made, card, gate_chapter, main_figure
from edge_models.training.coevaluation.markdown import chapter_of
from edge_models.training.corpora import LOADERS, Clip, Measured, gathered, what_is_measured
from edge_models.training.described import SPEEDS, FrontEnd, described
from edge_models.training.described_cache import Cache, usual_folder
from edge_models.training.evaluate import Evaluation, evaluated
from edge_models.training.export_frontend import export_frontend
from edge_models.training.gate import train_gate
from edge_models.training.int8_model import Int8Model, trained
from edge_models.training.recordings import recordings_folder
from edge_models.training.seeds import seed_number
from edge_models.training.shown import shown
from edge_models.training.streams import Floats, Kind, Windows

DEFAULT_SEED: Final = 7
NAME: Final = "affect-1"
_CHAPTERS: Final = ("agreement.md", "gate.md")
_PACKAGES: Final = ("torch", "onnx", "onnxruntime", "ai-edge-litert", "tflite-runtime", "numpy")
Item = TypeVar("Item")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sottovoce train`."""
    parser.add_argument("--recordings", type=Path, metavar="DIR", help="else SOTTOVOCE_DATA")
    parser.add_argument(
        "--corpus",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help=f"learn from this corpus ({', '.join(LOADERS)}); may be given several times, and "
        "beside --recordings",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="of described windows; else sottovoce/described in XDG_CACHE_HOME or ~/.cache",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="else the shipped bundle's folder")
    parser.add_argument("--seed", type=seed_number, default=DEFAULT_SEED)
    parser.add_argument(
        "--datasets", nargs="+", default=[], metavar="SET", help="learn from these sets only"
    )
    parser.add_argument(
        "--keep-front-end",
        action="store_true",
        help="take gate, descriptors and functionals from the shipped bundle",
    )
    parser.add_argument(
        "--evaluation",
        type=Path,
        metavar="FILE",
        help="evaluation.json of `sottovoce evaluate` on the same recordings, for the card",
    )


def run(arguments: argparse.Namespace) -> int:
    """Train, test, assemble, check, and only then replace what is in the folder."""
    torch.set_num_threads(1)
    console = Console(stderr=True)
    together = chapter_of(arguments.evaluation) if arguments.evaluation else ""
    recordings, clips = spoken(arguments, console)
    out: Path = arguments.out or shipped_folder()
    with tempfile.TemporaryDirectory(prefix="sottovoce-") as staging:
        folder = Path(staging)
        _place_front_end(folder, recordings, arguments.seed, arguments.keep_front_end, console)
        for said in ("policy.json", "consent.md"):
            shutil.copyfile(shipped_folder() / said, folder / said)
        front_end = FrontEnd.of_graphs(*((folder / name).read_bytes() for name in FRONT_END))
        windows = described(
            recordings,
            clips,
            front_end,
            arguments.seed,
            lambda told: shown(told, "Describing recordings", console),
            cache=Cache(arguments.cache or usual_folder()),
            skipped=lambda part: console.print(f"Of the recordings {part}."),
            speeds=SPEEDS,
        )
        evaluation = evaluated(
            windows, arguments.seed, lambda folds, text: shown(folds, text, console)
        )
        with console.status("Training on everybody"):
            model = trained(windows, arguments.seed)
        sound = golden_summary(front_end.acoustic)
        if together:
            (folder / EVALUATION).write_text(together, encoding="utf-8")
        agreement = _written(folder, model, evaluation, windows, clips, sound, arguments.seed)
        load_bundle(folder).check()
        _replace(out, folder)
    _tell(console, out, evaluation, agreement, what_is_measured(clips))
    return 0


def spoken(arguments: argparse.Namespace, console: Console) -> tuple[Path, tuple[Clip, ...]]:
    """The recordings' folder, and the clips to learn from, of it or of the corpora named."""
    needed = arguments.recordings or not (arguments.corpus and arguments.keep_front_end)
    recordings: Path = (arguments.recordings or recordings_folder()) if needed else Path()
    listed = recordings if arguments.recordings or not arguments.corpus else None
    found = gathered(listed, arguments.corpus, arguments.datasets)
    for part in found.left_out:
        console.print(f"Of the corpora {part}.")
    return recordings, found.clips


def _place_front_end(
    folder: Path, recordings: Path, seed: int, keep: bool, console: Console
) -> None:
    if keep:
        for name in (*FRONT_END, *_CHAPTERS):
            source = shipped_folder() / name
            if source.exists():
                shutil.copyfile(source, folder / name)
            elif name in FRONT_END:
                raise BundleError(
                    f"The shipped bundle has no '{name}' to keep.", "Leave --keep-front-end out."
                )
        return
    with console.status("Exporting the acoustic front end"), torch.no_grad():
        export_frontend(folder)
    with console.status("Training the speech gate (some minutes)"):
        figures = train_gate(recordings, folder, seed)
    (folder / "gate.md").write_text(gate_chapter(figures), encoding="utf-8")
    agreement = shipped_folder() / "agreement.md"
    if agreement.exists():  # of the code, not of the recordings
        shutil.copyfile(agreement, folder / agreement.name)


def _written(
    folder: Path,
    model: Int8Model,
    evaluation: Evaluation,
    windows: Windows,
    clips: tuple[Clip, ...],
    sound: Floats,
    seed: int,
) -> Agreement:
    """Write everything that the manifest names, and the manifest last."""
    head = model.head(evaluation.platt)
    assemble.write_body(folder, model, head, SUMMARY_NAMES)
    (folder / SESSIONS).write_bytes(evaluation.sessions.to_bytes())
    assemble.write_golden(folder, model, head, windows, sound, seed)
    agreement = _agreement(folder, model.population, head, sound)
    licence = assemble.licence_of(clips)
    made_with = tuple(f"{name} {version(name)}" for name in _PACKAGES)
    as_recorded = windows.at(windows.take == 0)
    made = Made(
        name=NAME,
        version=assemble.VERSION,
        licence=licence[0],
        notice=licence[1],
        made_with=made_with,
        thresholds=assemble.THRESHOLDS,
        seed=seed,
        clips=clips,
        used=int((as_recorded.kind == Kind.CLIP).sum()),
        joined=int((windows.kind == Kind.JOINED).sum()),
        files=assemble.entries_of(folder),
        agreement=agreement,
    )
    chapters = [
        (folder / name).read_text(encoding="utf-8")
        for name in _CHAPTERS
        if (folder / name).exists()
    ]
    told = folder / EVALUATION
    together = told.read_text(encoding="utf-8") if told.exists() else ""
    text = card(made, evaluation, chapters, together)
    (folder / "CARD.md").write_text(text, encoding="utf-8")
    assemble.write_manifest(folder, NAME, licence, made_with)
    return agreement


def _agreement(folder: Path, population: Population, head: Head, sound: Floats) -> Agreement:
    golden = parse_golden((folder / "golden.json").read_bytes(), population, head)
    onnx = OnnxGraph((folder / "body.onnx").read_bytes())
    tflite = TfliteGraph((folder / "body.tflite").read_bytes())
    return golden.check(onnx, tflite, sound, population, head)


def _replace(out: Path, folder: Path) -> None:
    """Put the new files where the old ones are; the manifest last, so a half copy is noticed."""
    out.mkdir(parents=True, exist_ok=True)
    new = sorted(folder.iterdir(), key=lambda path: path.name == MANIFEST_NAME)
    for path in new:
        shutil.copyfile(path, out / path.name)
    load_bundle(out)


def _tell(
    console: Console,
    out: Path,
    evaluation: Evaluation,
    agreement: Agreement,
    measured: Measured,
) -> None:
    datasets = sorted({figure.dataset for figure in evaluation.figures})
    for dataset in datasets:
        figure = main_figure(evaluation, dataset)
        console.print(
            f"{dataset}: {measured.tasks[TASKS.index(figure.task)]} on people it never met, "
            f"balanced accuracy {figure.balanced_accuracy} a clip, "
            f"{figure.six or 'too few windows'} over six "
            f"({measured} figures)"
        )
    console.print(
        f"Runtimes differ by at most {agreement.between_steps:.0f} int8 step. "
        f"The bundle is in {out}; read CARD.md there."
    )
