"""What the models keep and what they forget: the aims of `sottovoce evaluate`, and what int8 costs.

Training and evaluation run as a user runs them, so this takes a quarter of an hour.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_models.bundle import load_bundle
from edge_models.errors import RecordingError
from edge_models.runner import Graph, OnnxGraph, TfliteGraph
from edge_models.training.coevaluation.plans import folds_of_people
from edge_models.training.coevaluation.schema import parse_evaluation
from edge_models.training.coevaluation.story import aims
from edge_models.training.corpora import affect_clips
from edge_models.training.described import SPEEDS, FrontEnd, described
from edge_models.training.described_cache import Cache
from edge_models.training.encoder import fitted
from edge_models.training.int8_model import Int8Model, rounded
from edge_models.training.metrics import balanced_accuracy
from edge_models.training.quantise import onnx_body
from edge_models.training.recordings import recordings_folder
from edge_models.training.streams import (
    Floats,
    Kind,
    Passed,
    Windows,
    aligned,
    moments_of,
    passed,
    random_order,
)
from edge_models.training.tflite_writer import tflite_body
from tests.bench.figure import Figure

_SEED = 7
_MOST_TRAINING_S = 15 * 60
_COMMAND = (sys.executable, "-m", "edge_models.command")


def measure() -> list[Figure]:
    """Everything; without recordings nothing can be measured."""
    try:
        recordings = recordings_folder()
    except RecordingError as missing:
        return [Figure("models", "no recordings", "", None, str(missing))]
    with tempfile.TemporaryDirectory(prefix="sottovoce-") as place:
        folder = Path(place)
        train_s = _seconds("train", "--out", folder / "bundle", "--cache", folder / "cache")
        evaluate_s = _seconds("evaluate", "--out", folder / "report", "--cache", folder / "cache")
        told = parse_evaluation((folder / "report" / "evaluation.json").read_bytes())
        windows = _windows(recordings, folder)
        sizes = [(folder / "bundle" / name).stat().st_size for name in ("body.onnx", "body.tflite")]
    how = "`sottovoce evaluate`: value (95 % over people)"
    return [
        *(Figure(aim.text, str(aim.measured), "", aim.reached, how) for aim in aims(told)),
        *_rounding(windows),
        Figure(
            "both int8 bodies",
            f"{sizes[0]:,} and {sizes[1]:,} bytes",
            "< 300 kB",
            max(sizes) < 300_000,
            "ONNX and TFLite",
        ),
        Figure(
            "sottovoce train, nothing remembered",
            f"{train_s / 60:.1f} min",
            "<= 15 min",
            train_s <= _MOST_TRAINING_S,
            "front end, gate, five nested folds, all shared speech",
        ),
        Figure("sottovoce evaluate", f"{evaluate_s / 60:.1f} min", "", None, "sound remembered"),
    ]


def _seconds(*words: str | Path) -> float:
    begun = time.monotonic()
    subprocess.run([*_COMMAND, *map(str, words)], check=True, capture_output=True)
    return time.monotonic() - begun


def _windows(recordings: Path, folder: Path) -> Windows:
    return described(
        recordings,
        affect_clips(recordings),
        FrontEnd.of_bundle(load_bundle(folder / "bundle")),
        _SEED,
        cache=Cache(folder / "cache"),
        speeds=SPEEDS,
    )


def _rounding(windows: Windows) -> list[Figure]:
    """Float beside int8, and one runtime beside the other, on people never met (three folds)."""
    fold = folds_of_people(windows)
    drops, same, count = [], 0, 0
    for one in range(int(fold.max()) + 1):
        known, met = windows.at(fold != one), windows.at(fold == one)
        full = fitted(known, _SEED)
        model = rounded(full, known, _SEED)
        rng = np.random.default_rng(_SEED)
        stream = passed(met, model.population, random_order(met, Kind.CLIP, rng))
        weights, bias = (part.detach().numpy() for part in full.encoder.embed.parameters())
        learnt = passed(known, model.population, random_order(known, Kind.CLIP, rng))
        usual = moments_of(learnt.z @ weights.T + bias, learnt.run)
        real = aligned(stream.z @ weights.T + bias, stream.run, usual)
        drops.append(_right(model, real, met, stream) - _right(model, None, met, stream))
        by = [_decisions(graph, model, stream) for graph in _graphs(model)]
        same, count = same + int((by[0] == by[1]).sum()), count + by[0].size
    points = 100 * float(np.mean(drops))
    return [
        Figure(
            "balanced accuracy of distress lost by int8",
            f"{points:.2f} points",
            "<= 1",
            points <= 1,
            "single windows, mean of three folds",
        ),
        Figure(
            "decisions on which ONNX Runtime and TFLite agree",
            f"{100 * same / count:.2f} %",
            ">= 99 %",
            same / count >= 0.99,
            f"{count} decisions of three tasks on people never met",
        ),
    ]


def _right(model: Int8Model, rows: Floats | None, met: Windows, stream: Passed) -> float:
    logits = model.logits(model.embeddings(stream) if rows is None else rows)[:, 2]
    truth = met.truth[stream.places, 2]
    return balanced_accuracy(1 / (1 + np.exp(-logits)), truth)


def _graphs(model: Int8Model) -> tuple[Graph, Graph]:
    return OnnxGraph(onnx_body(model.body)), TfliteGraph(tflite_body(model.body))


def _decisions(graph: Graph, model: Int8Model, stream: Passed) -> npt.NDArray[np.bool_]:
    raw = np.concatenate([graph.run({"z": row[None]})[0] for row in stream.z])
    moved = aligned(raw.astype(np.float32), stream.run, model.moments)
    return np.asarray(model.logits(moved) >= 0)
