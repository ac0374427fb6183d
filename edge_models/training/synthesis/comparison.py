"""Compare synthesisers on people, fold by fold, and choose one by a rule set beforehand.

Rules it upholds: each fold's synthesiser, frame and body learn from the other folds' people only;
all methods draw the same labels; what was drawn is kept, so an interrupted run resumes.

The rule, written before any attack had been run and any comparison made (how well single windows
of two folds were told had been seen in trials):

    1. a table may be published if no attack tells the people behind it from held-out people:
       every attack's 95 % interval over people reaches what it is against strangers
    2. and if it teaches: what was learnt from it tells *distress* in real people over six
       windows, the interval above 0.5
    3. of those the best at 2 wins; among those within 0.01 of it one with an ε before one
       without, then the simpler: resampling, copula, GAN

If none is left, nothing is published.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

import numpy as np

from edge_models.training.metrics import Estimate
from edge_models.training.streams import Windows
from edge_models.training.synthesis import tstr
from edge_models.training.synthesis.attacks import exposed
from edge_models.training.synthesis.contenders import FAMILIES, Contender
from edge_models.training.synthesis.fidelity import Fidelity, fidelity
from edge_models.training.synthesis.leakage import Leakage, leakage
from edge_models.training.synthesis.levels import Level, Parted, parted
from edge_models.training.synthesis.table import Reals, Table, Vocabulary
from edge_models.training.synthesis.tstr import Utility, utilities
from edge_models.training.whole import written_whole

ROWS_EACH: Final = 50
DECIDING: Final = "distress"
ALIKE: Final = 0.01

Item = TypeVar("Item")


class Told(Protocol):
    """Hands on what is worked through, and shows how far it is."""

    def __call__(self, items: Sequence[Item], text: str) -> Iterator[Item]:
        """The items, one by one."""


def silently(items: Sequence[Item], text: str) -> Iterator[Item]:
    """The items, shown to nobody."""
    del text
    return iter(items)


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was measured of one contender; `epsilon` None where it has none."""

    name: str
    family: str
    epsilon: float | None
    planted: bool
    utility: tuple[Utility, ...]
    fidelity: Fidelity
    leakage: Leakage

    @property
    def deciding(self) -> Estimate | None:
        """Balanced accuracy on distress over six windows, or a window where nobody has six."""
        for one in self.utility:
            if one.task == DECIDING:
                return one.six or one.balanced_accuracy
        return None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Contenders beside training on real rows and on their shuffled labels."""

    figures: tuple[Figures, ...]
    real: tuple[Utility, ...]
    shuffled: tuple[Utility, ...]
    people: int
    windows: int
    labels: int
    public_frame: bool


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """What one synthesiser drew: `evenly` of each label, and `beside` each held-out row."""

    evenly: Table
    beside: Table


def compared(
    windows: Windows,
    background: Windows | None,
    level: Level,
    methods: Sequence[Contender],
    seed: int,
    kept: Path,
    told: Told = silently,
) -> Comparison:
    """Fit, draw and measure every contender in every fold; draws are kept in the folder `kept`.

    Raises:
        RecordingError: the windows can't be learnt from.
    """
    parts = {
        fold: parted(windows, windows.fold == fold, background, level, seed)
        for fold in told(np.unique(windows.fold).tolist(), "Parting people into folds")
    }
    draws: dict[tuple[int, str], Drawn] = {}
    for fold, one in told(
        [(fold, one) for fold in parts for one in methods], "Fitting synthesisers, fold by fold"
    ):
        draws[fold, one.name] = drawn(parts[fold], one, fold, seed, kept)
    folds = list(parts.values())
    figures = tuple(
        _figures(one, folds, [draws[fold, one.name] for fold in parts], seed)
        for one in told(methods, "Attacking what they drew")
    )
    rng = np.random.default_rng(seed)
    real = [part.train for part in folds]
    wrong = [tstr.shuffled(part.train, rng) for part in folds]
    tested = _together([part.test for part in folds])
    return Comparison(
        figures=figures,
        real=_utility(real, folds, rng),
        shuffled=_utility(wrong, folds, rng),
        people=len(np.unique(tested.person)),
        windows=len(tested),
        labels=max(len(Vocabulary.of(part.train.labels)) for part in folds),
        public_frame=all(part.frame.public for part in folds),
    )


def drawn(part: Parted, one: Contender, fold: int, seed: int, kept: Path) -> Drawn:
    """Fit and draw, or read what an interrupted run had drawn."""
    evenly = Vocabulary.of(part.train.labels).evenly(ROWS_EACH)
    path = kept / f"{one.name.replace(' ', '_')}-{fold}.npz"
    if not path.exists():
        rng = np.random.default_rng([seed, fold])
        synthesiser = one.method.fit(part.train, rng)
        values = [synthesiser.draw(labels, rng).values for labels in (evenly, part.test.labels)]
        kept.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as beside, beside.open("wb") as file:
            np.savez(file, evenly=values[0], beside=values[1])
    with np.load(path, allow_pickle=False) as stored:
        return Drawn(
            Table.synthetic(stored["evenly"], evenly),
            Table.synthetic(stored["beside"], part.test.labels),
        )


def winner(figures: Sequence[Figures], *, with_epsilon: bool = False) -> Figures | None:
    """Who wins by the rule; `with_epsilon` admits only those that have one."""
    fit = [
        (one, one.deciding.value)
        for one in figures
        if not one.planted
        and one.leakage.indistinguishable
        and one.deciding is not None
        and one.deciding.low > 0.5
        and (one.epsilon is not None or not with_epsilon)
    ]
    if not fit:
        return None
    best = max(value for _, value in fit)
    alike = [one for one, value in fit if value >= best - ALIKE]
    return min(alike, key=lambda one: (one.epsilon is None, FAMILIES.index(one.family)))


def _figures(one: Contender, folds: Sequence[Parted], draws: Sequence[Drawn], seed: int) -> Figures:
    rng = np.random.default_rng(seed)
    tested = _together([part.test for part in folds])
    beside = _together([draw.beside for draw in draws])
    attacked = [
        exposed(draw.evenly, part.train, part.test, rng)
        for part, draw in zip(folds, draws, strict=True)
    ]
    return Figures(
        name=one.name,
        family=one.family,
        epsilon=one.budget.epsilon if one.budget else None,
        planted=one.planted,
        utility=_utility([draw.evenly for draw in draws], folds, rng),
        fidelity=fidelity(tested.values, beside.values, tested.person, rng),
        leakage=leakage(attacked, rng),
    )


def _utility(
    learnt: Sequence[Table], folds: Sequence[Parted], rng: np.random.Generator
) -> tuple[Utility, ...]:
    told: list[Reals] = [
        tstr.logits(table, part.test) for table, part in zip(learnt, folds, strict=True)
    ]
    tested = _together([part.test for part in folds])
    return utilities(np.concatenate(told), tested.labels, tested.person, rng)


def _together(tables: Sequence[Table]) -> Table:
    labels = [table.labels for table in tables]
    joined = type(labels[0])(
        *(np.concatenate([getattr(one, name) for one in labels]) for name in labels[0].__slots__)
    )
    return Table(
        np.concatenate([table.values for table in tables]),
        joined,
        np.concatenate([table.person for table in tables]),
        np.concatenate([table.group for table in tables]),
    )
