"""Figures of the ε–utility curve, their intervals over repeats and people, and what ε suffices.

Rules it upholds: an interval resamples repeats, and in each repeat whole speakers; every figure
stands beside a constant answer, the same training without privacy and on shuffled labels; what
"works" means is written down here, before anything was measured.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.assessment import TASKS
from edge_models.training.metrics import RESAMPLES, Estimate
from edge_models.training.private_accounting import Spent
from edge_models.training.private_curve import LEVELS, Cell, Counts, Kind, Scope, Tried

Reals = npt.NDArray[np.float64]
METRICS: Final = ("balanced accuracy", "macro-F1")
WITHIN: Final = 0.05
"""A private training *works* when its balanced accuracy is no further than this below the same
training without privacy, and its interval lies above a constant answer's 0.5."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one point of the curve; `constant` is a constant answer's."""

    scope: str
    people: int
    kind: Kind
    epsilon: float
    task: str
    level: str
    metric: str
    estimate: Estimate
    constant: float
    repeats: int
    spent: Spent | None
    numbers: int


def figures_of(cells: Mapping[Cell, Tried], seed: int) -> tuple[Figure, ...]:
    """All figures, by scope, size, kind and epsilon, in order."""
    points: dict[tuple[Scope, int, Kind, float], list[Tried]] = {}
    for cell in sorted(cells, key=_place):
        key = (cell.scope, cell.people, cell.kind, cell.epsilon)
        points.setdefault(key, []).append(cells[cell])
    found: list[Figure] = []
    for (scope, people, kind, epsilon), parts in points.items():
        named = (str(scope), people, kind, epsilon)
        found.extend(_figures(named, parts, seed))
    return tuple(found)


def public_figures(counts: Sequence[Counts], seed: int) -> tuple[Figure, ...]:
    """Of the public body's own head, which no private person has touched."""
    parts = [Tried(one, None, 0) for one in counts]
    return tuple(_figures(("public head", 0, Kind.OPEN, 0.0), parts, seed))


def enough(figures: Iterable[Figure]) -> dict[tuple[str, int], float | None]:
    """The least epsilon at which, and above which, distress over sessions works.

    By what is trained and how many people; None where not even the largest does. Without an open
    training to compare with, nothing is said.
    """
    chosen = [
        figure
        for figure in figures
        if (figure.task, figure.level, figure.metric) == ("distress", "session", METRICS[0])
    ]
    best = {(f.scope, f.people): f.estimate for f in chosen if f.kind is Kind.OPEN and f.people}
    return {key: _least(chosen, key, open_to.value - WITHIN) for key, open_to in best.items()}


def _least(figures: Sequence[Figure], key: tuple[str, int], wanted: float) -> float | None:
    own = [f for f in figures if (f.scope, f.people) == key and f.kind is Kind.PRIVATE]
    least = None
    for figure in sorted(own, key=lambda figure: -figure.epsilon):
        if figure.estimate.value < wanted or figure.estimate.low <= 0.5:
            break
        least = figure.epsilon
    return least


def _place(cell: Cell) -> tuple[int, int, int, float, int]:
    scopes, kinds = list(Scope), list(Kind)
    return (
        scopes.index(cell.scope),
        cell.people,
        kinds.index(cell.kind),
        cell.epsilon,
        cell.repeat,
    )


def _figures(
    named: tuple[str, int, Kind, float], parts: Sequence[Tried], seed: int
) -> Iterable[Figure]:
    rng = np.random.default_rng(seed)
    counts = [part.counts for part in parts]
    whole = np.mean([measured(one.sum(axis=0)) for one in counts], axis=0)
    drawn = [_resampled(counts, rng) for _ in range(RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    constant = _constant(np.sum([one.sum(axis=0) for one in counts], axis=0))
    for task, name in enumerate(TASKS):
        for level, where in enumerate(LEVELS):
            for metric, measure in enumerate(METRICS):
                at = (task, level, metric)
                estimate = Estimate(float(whole[at]), float(low[at]), float(high[at]))
                yield Figure(
                    *named,
                    name,
                    where,
                    measure,
                    estimate,
                    float(constant[at]),
                    len(parts),
                    parts[0].spent,
                    parts[0].numbers,
                )


def measured(counts: Counts) -> Reals:
    """Balanced accuracy and macro-F1 of counts, int64 (..., 4): float64 (..., 2)."""
    hits, missed, alarms, rejected = np.moveaxis(counts.astype(np.float64), -1, 0)
    sensitivity = hits / np.maximum(hits + missed, 1.0)
    specificity = rejected / np.maximum(alarms + rejected, 1.0)
    positive = 2.0 * hits / np.maximum(2.0 * hits + missed + alarms, 1.0)
    negative = 2.0 * rejected / np.maximum(2.0 * rejected + missed + alarms, 1.0)
    return np.stack([0.5 * (sensitivity + specificity), 0.5 * (positive + negative)], axis=-1)


def _constant(counts: Counts) -> Reals:
    """The same of always saying the commoner class."""
    positive = counts[..., 0] + counts[..., 1]
    negative = counts[..., 2] + counts[..., 3]
    nothing = np.zeros_like(positive)
    yes = np.stack([positive, nothing, negative, nothing], axis=-1)
    no = np.stack([nothing, positive, nothing, negative], axis=-1)
    return measured(np.where((positive >= negative)[..., None], yes, no))


def _resampled(counts: Sequence[Counts], rng: np.random.Generator) -> Reals:
    """One bootstrap draw: repeats with replacement, and in each its speakers.

    Source: Davison, Hinkley, Bootstrap Methods and their Application, 1997, section 3.8 (levels).
    """
    drawn = []
    for place in rng.integers(len(counts), size=len(counts)):
        speakers = counts[place]
        own = rng.integers(len(speakers), size=len(speakers))
        drawn.append(measured(speakers[own].sum(axis=0)))
    return np.asarray(np.mean(drawn, axis=0))
