"""What the classifier costs: body and head in both runtimes, and loading the bundle."""

import statistics
import time
from collections.abc import Callable

import numpy as np

from edge_models.bundle import load_bundle, shipped_bundle, shipped_folder
from edge_models.classifier import Classifier
from edge_models.own import Own
from tests.bench.figure import Figure

_ROUNDS = 2_000


def _median_us(work: Callable[[], object], rounds: int = _ROUNDS) -> float:
    for _ in range(20):
        work()
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return 1e6 * statistics.median(taken)


def measure() -> list[Figure]:
    """Medians of one thread, all in one process."""
    bundle = shipped_bundle()
    rng = np.random.default_rng(1)
    summary = (
        bundle.population.median
        + bundle.population.spread * rng.normal(0, 1, len(bundle.population))
    ).astype(np.float32)
    z = Own.empty(bundle).baseline.normalised(summary)[None]
    how = f"median of {_ROUNDS} windows, one thread"
    figures = []
    for runtime in ("onnx", "tflite"):
        body = bundle.graph("body", runtime)
        taken = _median_us(lambda body=body: bundle.head.score(body.run({"z": z})[0][0]))
        figures.append(Figure(f"int8 body and head, {runtime}", f"{taken:.0f} µs", "", None, how))
    classifier = Classifier(bundle)

    _, own = Own.empty(bundle).heard(summary, classifier.embedding)

    def window() -> None:
        embedding, _ = own.heard(summary, classifier.embedding)
        classifier.assess(embedding)

    taken = _median_us(window)
    figures.append(
        Figure(
            "baseline, body, own moments, head and assessment of a window",
            f"{taken:.0f} µs",
            "< 50 ms with the functionals",
            taken < 50_000,
            how,
        )
    )
    loading = _median_us(lambda: load_bundle(shipped_folder()), 30) / 1e3
    figures.append(
        Figure("load and verify the bundle", f"{loading:.1f} ms", "", None, "median of 30")
    )
    total = sum(path.stat().st_size for path in shipped_folder().iterdir())
    figures.append(
        Figure("size of the bundle", f"{total / 1e3:.0f} kB", "< 1 MB", total < 1e6, "all files")
    )
    apart = bundle.check()
    figures.append(
        Figure(
            "ONNX and TFLite on the golden vectors",
            f"{apart.between_steps:.0f} int8 step, {apart.between_scores:.4f} in a score",
            "<= 1 step",
            apart.between_steps <= 1.001,
            f"largest difference over {apart.vectors} vectors",
        )
    )
    return figures
