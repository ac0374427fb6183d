"""What the acoustic front end costs beside openSMILE, and how well the two agree."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import opensmile
import soundfile

from edge_models.acoustic import AcousticFrontEnd
from edge_models.raw import RawAudio
from edge_models.runner import OnnxGraph
from edge_models.speech_gate import SpeechGate
from edge_models.windows import WINDOW_SAMPLES, windows_of
from tests.bench._agreement import recordings_folder, table
from tests.bench.figure import Figure

BUNDLE = Path(__file__).resolve().parents[2] / "edge_models" / "bundles" / "affect-1"
ROUNDS = 15


def measure() -> list[Figure]:
    """Speed in one run on one thread, then agreement over every shared corpus of speech."""
    folder = recordings_folder()
    paths = sorted((folder / "speech" / "libri_multi").rglob("*.flac"))[:12]
    sound = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in paths])
    sound = sound[: 3 * WINDOW_SAMPLES]
    names = ("descriptors", "functionals", "gate")
    graphs = [OnnxGraph((BUNDLE / f"{name}.onnx").read_bytes()) for name in names]
    front_end, gate = AcousticFrontEnd(graphs[0], graphs[1]), SpeechGate(graphs[2])
    smile = opensmile.Smile(
        opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.LowLevelDescriptors
    )

    def ours() -> None:
        for window in windows_of(iter([RawAudio(sound.copy(), 0)])):
            gate.speech(window)
            front_end.descriptors(window)

    def theirs() -> None:
        smile.process_signal(sound, 16_000)

    def descriptors_only() -> None:
        for window in windows_of(iter([RawAudio(sound.copy(), 0)])):
            front_end.descriptors(window)

    seconds = len(sound) / 16_000
    alone, _ = _side_by_side(descriptors_only, theirs)
    cost, other = _side_by_side(ours, theirs)
    figures = [
        Figure(
            "front end (windowing, gate, descriptors) beside openSMILE",
            f"{other / cost:.1f}x faster: {1e3 * cost / seconds:.2f} against "
            f"{1e3 * other / seconds:.2f} ms per second of sound",
            ">= 10x",
            other / cost >= 10,
            f"median of {ROUNDS} alternating rounds over {seconds:.0f} s of LibriSpeech, one "
            "thread; openSMILE eGeMAPSv02 descriptors of the same samples in one call",
        ),
        Figure(
            "of that, windowing and descriptors without the gate",
            f"{1e3 * alone / seconds:.2f} ms per second of sound",
            "",
            None,
            "the same run, one thread",
        ),
    ]
    for row in table(folder):
        if row.least is not None:
            figures.append(
                Figure(
                    f"agreement of {row.name} with openSMILE",
                    f"r {row.median:.3f} (worst file {row.worst:.3f})",
                    f">= {row.least}",
                    row.median >= row.least,
                    "Pearson r per file, median over files; see the bundle's agreement table",
                )
            )
    return figures


def _side_by_side(ours: Callable[[], None], theirs: Callable[[], None]) -> tuple[float, float]:
    """Median seconds of each, in alternating rounds, after one round to warm up."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(ROUNDS + 1):
        for run, kept in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            run()
            if turn:
                kept.append(time.perf_counter() - start)
    return float(np.median(times[0])), float(np.median(times[1]))
