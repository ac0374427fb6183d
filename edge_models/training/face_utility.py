"""How well a level tells expressions of people it never met: affect figures.

Rules it upholds: levels and classifiers come from other people only; intervals are over people;
one plain classifier for all levels; shuffled expressions stand beside.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from edge_models.training.faces import EXPRESSIONS
from edge_models.training.metrics import RESAMPLES, Estimate

Floats = npt.NDArray[np.float32]
Reals = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Words = npt.NDArray[np.str_]

STRENGTH: Final = 0.3
SAD: Final = "sad"
_TINY: Final = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """What was said of N windows: `sad` float64 (N,) log-odds, `log` float64 (N, 4) of EXPRESSIONS.

    `expression` is the truth, `person` who showed it, both words (N,).
    """

    sad: Reals
    log: Reals
    expression: Words
    person: Words

    @classmethod
    def together(cls, parts: list["Answered"]) -> "Answered":
        """The answers of several folds."""
        columns = (
            np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__
        )
        return cls(*columns)

    def arrays(self, start: str) -> dict[str, npt.NDArray[Any]]:
        """Its columns, their names begun with `start`, to be kept."""
        return {f"{start}{name}": getattr(self, name) for name in self.__slots__}

    @classmethod
    def again(cls, kept: Mapping[str, npt.NDArray[Any]], start: str) -> "Answered":
        """What `arrays` kept."""
        return cls(*(kept[f"{start}{name}"] for name in cls.__slots__))

    def sets(self) -> "Answered":
        """One answer for all windows of a person and expression: their means."""
        groups = np.char.add(np.char.add(self.person, "/"), self.expression)
        names, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
        counts = np.bincount(inverse)
        sad = np.bincount(inverse, self.sad) / counts
        log = np.stack([np.bincount(inverse, column) / counts for column in self.log.T], axis=1)
        assert len(names) == len(sad)
        return Answered(sad, log, self.expression[first], self.person[first])


@dataclass(frozen=True, slots=True, eq=False)
class Classifiers:
    """Two logistic regressions, every class weighing the same: sad or not, and which of four."""

    of_sadness: Any
    of_expressions: Any

    @classmethod
    def learnt(cls, rows: Floats, expression: Words) -> "Classifiers":
        """Learn from windows (N, D) of training people."""
        return cls(_logistic().fit(rows, expression == SAD), _logistic().fit(rows, expression))

    def answers(self, rows: Floats, expression: Words, person: Words) -> Answered:
        """Say what windows (N, D) show; `expression` is only carried along."""
        log = np.full((len(rows), len(EXPRESSIONS)), np.log(_TINY))
        said = np.log(np.maximum(self.of_expressions.predict_proba(rows), _TINY))
        for column, word in zip(said.T, self.of_expressions.classes_, strict=True):
            log[:, EXPRESSIONS.index(word)] = column
        sad = self.of_sadness.decision_function(rows)
        return Answered(np.asarray(sad, np.float64), log, expression, person)


def _logistic() -> Any:
    return make_pipeline(
        StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=500, class_weight="balanced")
    )


@dataclass(frozen=True, slots=True)
class Utility:
    """`sad`: balanced accuracy of sad against the rest; `expressions`: macro-F1 of the four."""

    sad: Estimate
    expressions: Estimate


def utility(answers: Answered, rng: np.random.Generator) -> Utility:
    """Both figures, with intervals over people."""

    def sad(rows: Places) -> float:
        return two_sided(answers.sad[rows] >= 0, answers.expression[rows] == SAD)

    def expressions(rows: Places) -> float:
        said = answers.log[rows].argmax(axis=1)
        return macro_f1(said, np.asarray([EXPRESSIONS.index(w) for w in answers.expression[rows]]))

    return Utility(
        over_people(sad, answers.person, rng), over_people(expressions, answers.person, rng)
    )


def two_sided(said: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    """Balanced accuracy of yes and no; NaN where one of them is missing."""
    if truth.all() or not truth.any():
        return float("nan")
    return float(0.5 * (said[truth].mean() + (~said[~truth]).mean()))


def macro_f1(said: Places, truth: Places) -> float:
    """Mean F1 over the classes that the truth holds."""
    each = []
    for one in np.unique(truth):
        hits = np.count_nonzero((said == one) & (truth == one))
        each.append(2 * hits / (np.count_nonzero(said == one) + np.count_nonzero(truth == one)))
    return float(np.mean(each))


def constant_macro_f1(expression: Words) -> float:
    """Macro-F1 of always saying the commonest expression."""
    places = np.asarray([EXPRESSIONS.index(word) for word in expression])
    commonest = np.bincount(places).argmax()
    return macro_f1(np.full_like(places, commonest), places)


def over_people(
    figure: Callable[[Places], float], person: Words, rng: np.random.Generator
) -> Estimate:
    """A figure of rows (their places) with its percentile bootstrap interval over people."""
    own = [np.flatnonzero(person == one) for one in np.unique(person)]
    drawn = []
    for _ in range(RESAMPLES):
        chosen = rng.integers(len(own), size=len(own))
        drawn.append(figure(np.concatenate([own[place] for place in chosen])))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Estimate(figure(np.arange(len(person))), float(low), float(high))
