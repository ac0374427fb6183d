"""Simulated streams: a person's windows in some order, measured by what came before them.

Rules it upholds: training sees what the device will see, through the device's own `Baseline` and
`Alignment`; a window is never measured by itself or by a later one; the population comes from
training people only (the caller's duty, by the rows it passes).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.alignment import Alignment, Moments
from edge_models.baseline import Baseline, Population
from edge_models.classifier import Classifier

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]


FIRST_OTHER_SPEED: Final = 2
"""Takes from this one on are of sound played slower or faster: another voice, same affect."""


_LEAST_RUN: Final = 8


class Kind(StrEnum):
    """What a window was made of."""

    CLIP = "clip"  # one recording, or ten seconds of a long one
    JOINED = "joined"  # several of one person and emotion, as long as a live window


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """N described windows of many people, with what is known of them.

    `summaries` float32 (N, F); `truth` and `known` bool (N, 3), a column for each task;
    `emotion` (N,) a place in `corpora.EMOTIONS` or -1; `person`, `dataset`, `sex` and `kind` are
    (N,) arrays of words; `take` (N,) is 0 for sound as recorded, 1 at another level, from
    `FIRST_OTHER_SPEED` on at another speed; `fold`
    (N,) is the person's fold. Words, "" where unknown or where joined clips differ: `session` (N,)
    a day or repetition, `sentence` (N,) the text that was read, `language` (N,), `age_band` (N,).
    """

    summaries: Floats
    truth: npt.NDArray[np.bool_]
    known: npt.NDArray[np.bool_]
    emotion: Places
    person: npt.NDArray[np.str_]
    dataset: npt.NDArray[np.str_]
    sex: npt.NDArray[np.str_]
    kind: npt.NDArray[np.str_]
    take: Places
    fold: Places
    session: npt.NDArray[np.str_]
    sentence: npt.NDArray[np.str_]
    language: npt.NDArray[np.str_]
    age_band: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.summaries)

    def at(self, rows: npt.NDArray[np.bool_] | Places) -> "Windows":
        """Some of the windows."""
        columns = (getattr(self, name) for name in self.__slots__)
        return Windows(*(column[rows] for column in columns))


def population_of(windows: Windows) -> Population:
    """The population of some people's windows, those of another speed left out."""
    true = windows.take < FIRST_OTHER_SPEED
    return Population.of(windows.summaries[true], windows.person[true])


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """Windows in the order in which they passed: `places` (M,) into the table, `z` (M, F).

    `run` (M,) counts baselines: windows of one number were measured by one, in this order.
    """

    places: Places
    z: Floats
    run: Places


def live_order(windows: Windows, rng: np.random.Generator) -> Iterator[Places]:
    """One stream for each person, kind and take: mixed, or in runs of one emotion.

    Moods last: half of the streams come in runs, so the baseline has learnt the mood it is in.
    """
    for person in np.unique(windows.person):
        for kind in Kind:
            for take in np.unique(windows.take):
                own = rng.permutation(own_windows(windows, person, kind, take))
                if rng.random() < 0.5:
                    emotions = rng.permutation(np.unique(windows.emotion[own]))
                    runs = [own[windows.emotion[own] == emotion] for emotion in emotions]
                    own = np.concatenate([own[:0], *runs])
                yield own


def file_order(windows: Windows, kind: Kind) -> Iterator[Places]:
    """Each person's windows of one kind, as recorded, in the manifest's order."""
    for person in np.unique(windows.person):
        yield own_windows(windows, person, kind, 0)


def random_order(windows: Windows, kind: Kind, rng: np.random.Generator) -> Iterator[Places]:
    """Each person's windows of one kind, as recorded, in random order."""
    for own in file_order(windows, kind):
        yield rng.permutation(own)


def own_windows(windows: Windows, person: str, kind: Kind, take: int) -> Places:
    """Where one person's windows of a kind and take are in the table."""
    own = (windows.person == person) & (windows.kind == kind) & (windows.take == take)
    return np.flatnonzero(own)


def passed(
    windows: Windows,
    population: Population,
    streams: Iterator[Places] | Sequence[Places],
    *,
    forgetting: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Passed:
    """Let streams pass by, each through a fresh baseline.

    With probability `forgetting` a baseline starts anew before a window: a person just enrolled,
    or a recording of nobody known. `forgetting` 1 is "no baseline at all".
    """
    places: list[int] = []
    rows: list[Floats] = []
    runs: list[int] = []
    run = -1
    for stream in streams:
        baseline, run = Baseline.empty(population), run + 1
        for place in stream:
            if forgetting and (rng is None or rng.random() < forgetting):
                baseline, run = Baseline.empty(population), run + 1
            summary = windows.summaries[place]
            places.append(int(place))
            rows.append(baseline.normalised(summary))
            runs.append(run)
            baseline = baseline.including(summary)
    z = np.asarray(rows, np.float32).reshape(len(rows), len(population))
    return Passed(np.asarray(places, np.intp), z, np.asarray(runs, np.intp))


def aligned(embeddings: Floats, run: Places, moments: Moments | None) -> Floats:
    """Embeddings of windows that passed, float32 (M, E), each by its own run's moments so far.

    Without moments they stay as they are.
    """
    if moments is None or not len(embeddings):
        return embeddings
    moved = np.empty_like(embeddings)
    own = Alignment.empty(moments)
    for place, embedding in enumerate(embeddings):
        if place and run[place] != run[place - 1]:
            own = Alignment.empty(moments)
        moved[place] = own.aligned(embedding)
        own = own.including(embedding)
    return moved


def embedded(body: Classifier, moments: Moments | None, stream: Passed) -> Floats:
    """Aligned embeddings, float32 (M, E), by a bundle's body and moments."""
    raw = np.asarray([body.embedding(z) for z in stream.z], np.float32)
    return aligned(raw.reshape(len(raw), body.embedding_size), stream.run, moments)


def moments_of(embeddings: Floats, run: Places) -> Moments:
    """Everybody's moments of raw embeddings, float32 (M, E): the averages of each run's own.

    Runs of fewer than `_LEAST_RUN` windows are left out while others are there.
    """
    wide = embeddings.astype(np.float64)
    runs = [wide[run == one] for one in np.unique(run)]
    long = [rows for rows in runs if len(rows) >= _LEAST_RUN] or [wide]
    covariance = np.mean([np.atleast_2d(np.cov(rows.T, ddof=0)) for rows in long], axis=0)
    ridge = 1e-6 * max(float(np.trace(covariance)), 1e-6)
    mean = np.mean([rows.mean(axis=0) for rows in long], axis=0)
    return Moments(mean, covariance + ridge * np.eye(len(mean)))
