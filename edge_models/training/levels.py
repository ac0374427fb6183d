"""The levels of anonymisation, as tables of numbers about people whom the model never met.

    0 descriptors    statistics of the 25 descriptors' contours, as rich as a window allows
    1 functionals    the 88 functionals, outliers held
    2 own baseline   the same, normalised by the person's own running baseline
    3 embedding      the int8 body's answer
    3 + noise s      with normal noise of s spreads of the embedding, drawn once a window

Rules it upholds: at every level stand the same windows in the same order, each passed by the
device's own baseline; the first windows of a person, which no baseline knows yet, are marked, so
that they are attacked neither here nor there; noise is in what is attacked *and* in what is
scored.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from edge_models.baseline import Population
from edge_models.training.identity import Samples
from edge_models.training.int8_model import Int8Model
from edge_models.training.streams import (
    Floats,
    Kind,
    Places,
    Windows,
    live_order,
    passed,
    random_order,
)

Reals = npt.NDArray[np.float64]

WARM_UP: Final = 6
"""Windows of a person before attackers look: a baseline has to learn somebody first."""

MOST_WINDOWS: Final = 80
"""Windows of a person that attackers see: of long recordings there may be thousands."""

NOISES: Final = (0.5, 1.0, 2.0)
DESCRIPTORS: Final = "0 descriptors"
FUNCTIONALS: Final = "1 functionals"
NORMALISED: Final = "2 own baseline"
EMBEDDING: Final = "3 embedding"
ORIGINAL: Final = FUNCTIONALS
"""What the reduction of identity is measured against."""


def noisy(spreads: float) -> str:
    """The name of level 3 with noise of so many spreads."""
    return f"{EMBEDDING} + noise {spreads:g}"


class Scorer(Protocol):
    """A trained model or a bundle, as far as levels need it."""

    @property
    def population(self) -> Population:
        """What baselines start from."""
        ...

    def embeddings(self, z: Floats) -> Floats:
        """Embeddings float32 (N, E) of z-scores float32 (N, F)."""
        ...

    def scored(self, embeddings: Floats) -> Reals:
        """Log-odds of the three tasks, float64 (N, 3), of embeddings."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TrainedScorer:
    """An int8 model as it was trained, its head not calibrated."""

    model: Int8Model

    @property
    def population(self) -> Population:
        """See `Scorer`."""
        return self.model.population

    def embeddings(self, z: Floats) -> Floats:
        """See `Scorer`."""
        return self.model.body.run(z)

    def scored(self, embeddings: Floats) -> Reals:
        """See `Scorer`."""
        return np.asarray(embeddings.astype(np.float64) @ self.model.weights.T + self.model.biases)


@dataclass(frozen=True, slots=True, eq=False)
class LevelTable:
    """M windows in the order in which they passed.

    `places` int (M,) into the windows' table; `warm` bool (M,) whether attackers see it: the
    baseline had heard `WARM_UP` windows before, and at most `MOST_WINDOWS` of the person are seen;
    `rows` a table float32 (M, D) for each level.
    """

    places: Places
    warm: npt.NDArray[np.bool_]
    rows: Mapping[str, Floats]

    def samples(self, level: str, windows: Windows, people: npt.NDArray[np.str_]) -> Samples:
        """What an attacker of some people gets of a level: their warm windows."""
        chosen = self.warm & np.isin(windows.person[self.places], people)
        places = self.places[chosen]
        return Samples(
            rows=self.rows[level][chosen],
            person=windows.person[places],
            sentence=windows.sentence[places],
            session=windows.session[places],
            affect=affect_words(windows)[places],
        )


def affect_words(windows: Windows) -> npt.NDArray[np.str_]:
    """What each window shows of affect, in one word, (N,): the emotion and the three truths."""
    told = np.concatenate([windows.emotion[:, None], windows.truth.astype(np.intp)], axis=1)
    return np.asarray([" ".join(map(str, row)) for row in told])


def tables(
    scorer: Scorer,
    windows: Windows,
    tested: npt.NDArray[np.bool_],
    spread: Floats,
    passes: int,
    rng: np.random.Generator,
    noises: Sequence[float] = NOISES,
    contours: Floats | None = None,
) -> tuple[LevelTable, ...]:
    """Levels of the tested people's single recordings, once for each of `passes` random orders.

    `spread` float32 (E,) is what noise is measured in; `contours` float32 (N, C) is level 0 of
    every window, NaN where unknown.
    """
    places, people = np.flatnonzero(tested), windows.at(tested)
    made = []
    for _ in range(passes):
        heard = passed(people, scorer.population, random_order(people, Kind.CLIP, rng))
        own = places[heard.places]
        embeddings = scorer.embeddings(heard.z)
        rows = {
            FUNCTIONALS: held(windows.summaries[own], scorer.population),
            NORMALISED: heard.z,
            EMBEDDING: embeddings,
        }
        for strength in noises:
            noise = rng.normal(0, strength, embeddings.shape).astype(np.float32)
            rows[noisy(strength)] = embeddings + noise * spread
        if contours is not None:
            rows[DESCRIPTORS] = contours[own]
        made.append(LevelTable(own, _warm(windows.person[own]), rows))
    return tuple(made)


def held(summaries: Floats, population: Population) -> Floats:
    """Functionals in spreads from the population's median, outliers held, float32 (N, F)."""
    rows = [population.scaled(summary) for summary in summaries]
    return np.asarray(rows, np.float32).reshape(-1, summaries.shape[1])


def _warm(person: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    warm = np.zeros(len(person), bool)
    for one in np.unique(person):
        warm[np.flatnonzero(person == one)[WARM_UP : WARM_UP + MOST_WINDOWS]] = True
    return warm


def spread_of(scorer: Scorer, known: Windows, rng: np.random.Generator) -> Floats:
    """The spread of each number of the embedding among training people, float32 (E,)."""
    spread = scorer.embeddings(passed(known, scorer.population, _once(known, rng)).z).std(axis=0)
    return np.asarray(np.maximum(spread, 1e-6), np.float32)


def _once(windows: Windows, rng: np.random.Generator) -> Iterator[Places]:
    yield from random_order(windows, Kind.CLIP, rng)


def training_rows(
    level: str, known: Windows, population: Population, rng: np.random.Generator, passes: int = 3
) -> tuple[Floats, Places]:
    """Rows of level 1 or 2 of training people to learn affect from, and where they come from."""
    if level == FUNCTIONALS:
        return held(known.summaries, population), np.arange(len(known))
    streams = [passed(known, population, live_order(known, rng)) for _ in range(passes)]
    return (
        np.concatenate([stream.z for stream in streams]),
        np.concatenate([stream.places for stream in streams]),
    )
