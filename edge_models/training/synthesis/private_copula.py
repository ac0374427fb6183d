"""The Gaussian copula from three noised sums over people: means, spreads, one correlation.

Rules it upholds: each person adds one clipped vector to each sum, however much they spoke; the
noise is set from the clip; what is made of the sums afterwards sees no person again.

Unit of privacy: the person. Neighbouring: a person added or left out. Sensitivity: the L2 clip
of each sum. Mechanism: three Gaussians; see `accountant`.

Marginals are normal here: with a hundred people, histograms of 88 columns drown in their noise
where means and spreads do not. Labels differ by emotion and tasks in their means only, for the
same reason; and every figure is shrunk by what the noise alone would make of it.

Source: Dwork, Roth, "The Algorithmic Foundations of Differential Privacy", 2014, appendix A;
James, Stein, "Estimation with quadratic loss", 1961 (the shrinkage, its positive part).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_models.training.streams import Places
from edge_models.training.synthesis.accountant import Budget, multiplier
from edge_models.training.synthesis.table import Labels, Reals, Table, Vocabulary, checked

SUMS: Final = 3
_LEAST_VARIANCE: Final = 0.01
_LEAST_EIGENVALUE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class PrivateCopula:
    """The copula at a budget. Clips are what a person reaches whose columns spread by one."""

    budget: Budget

    def fit(self, table: Table, rng: np.random.Generator) -> "NormalDraws":
        """Learn from noised sums; RecordingError where there are too few people."""
        vocabulary = Vocabulary.of(checked(table).labels)
        sounds = _sounds_of(vocabulary)
        own = sounds[vocabulary.places(table.labels)]
        rows = [np.flatnonzero(table.person == person) for person in np.unique(table.person)]
        noise = multiplier(self.budget, SUMS)
        means = _means(table.values, own, rows, noise, rng)
        left = table.values - means[own]
        spread = _spread(left, rows, noise, rng)
        root = _root(left / spread, rows, noise, rng)
        return NormalDraws(vocabulary, means[sounds], spread, root)


@dataclass(frozen=True, slots=True, eq=False)
class NormalDraws:
    """For K labels: `means` float64 (K, D); `spread` (D,) and `root` (D, D) for all of them."""

    vocabulary: Vocabulary
    means: Reals
    spread: Reals
    root: Reals

    def draw(self, labels: Labels, rng: np.random.Generator) -> Table:
        """One row for each label, in order."""
        asked = self.vocabulary.places(labels)
        normals = rng.normal(size=(len(labels), len(self.spread))) @ self.root.T
        return Table.synthetic(self.means[asked] + self.spread * normals, labels)


def clipped(vector: Reals, clip: float) -> Reals:
    """The vector, shortened to an L2 norm of `clip` where it is longer."""
    return np.asarray(vector * min(1.0, clip / max(float(np.linalg.norm(vector)), 1e-12)))


def noised(people: Sequence[Reals], clip: float, noise: float, rng: np.random.Generator) -> Reals:
    """The sum of one vector a person, each held to an L2 norm of `clip`, with Gaussian noise."""
    total = np.sum([clipped(one, clip) for one in people], axis=0)
    return np.asarray(total + noise * clip * rng.normal(size=total.shape))


def shrunk(row: Reals, error: float) -> Reals:
    """A noisy vector, nearer to zero by what an error of this size in each number would add."""
    power = float((row**2).sum())
    return np.asarray(row * max(0.0, 1 - row.size * error**2 / max(power, 1e-12)))


def _sounds_of(vocabulary: Vocabulary) -> Places:
    """Labels that share their means: of one emotion and the same tasks, (K,)."""
    truth = vocabulary.labels.truth & vocabulary.labels.known
    rows = np.column_stack([vocabulary.labels.emotion, truth])
    return np.asarray(np.unique(rows, axis=0, return_inverse=True)[1], np.intp).reshape(-1)


def _means(
    values: Reals, own: Places, rows: Sequence[Places], noise: float, rng: np.random.Generator
) -> Reals:
    """Means of S sounds, float64 (S, D): everybody's mean, and offsets within people."""
    sounds, size = int(own.max()) + 1, values.shape[1]
    told = []
    for at in rows:
        mean = values[at].mean(axis=0)
        offsets = np.zeros((sounds, size))
        for sound in np.unique(own[at]):
            offsets[sound] = values[at][own[at] == sound].mean(axis=0) - mean
        told.append(np.concatenate([mean[None], offsets / np.sqrt(sounds)]))
    clip = float(np.sqrt(2 * size))
    total = noised(told, clip, noise, rng)
    behind = np.asarray([sum(sound in own[at] for at in rows) for sound in range(sounds)])
    mean = shrunk(total[0] / len(rows), noise * clip / len(rows))
    scale = np.sqrt(sounds) / behind
    apart = [shrunk(total[1 + s] * scale[s], noise * clip * scale[s]) for s in range(sounds)]
    return np.asarray(mean + np.stack(apart))


def _spread(left: Reals, rows: Sequence[Places], noise: float, rng: np.random.Generator) -> Reals:
    size = left.shape[1]
    clip = float(np.sqrt(3 * size))
    told = [np.mean(left[at] ** 2, axis=0) for at in rows]
    variance = noised(told, clip, noise, rng) / len(rows)
    common = max(float(variance.mean()), _LEAST_VARIANCE)
    variance = common + shrunk(variance - common, noise * clip / len(rows))
    return np.asarray(np.sqrt(np.maximum(variance, _LEAST_VARIANCE)))


def _root(scaled: Reals, rows: Sequence[Places], noise: float, rng: np.random.Generator) -> Reals:
    size = scaled.shape[1]
    pairs = np.triu_indices(size, 1)
    clip = float(np.sqrt(max(len(pairs[0]), 1)))
    told = [(scaled[at].T @ scaled[at] / len(at))[pairs] for at in rows]
    error = noise * clip / len(rows)
    correlation = np.eye(size)
    correlation[pairs] = shrunk(noised(told, clip, noise, rng) / len(rows), error)
    correlation += np.triu(correlation, 1).T
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values, _LEAST_EIGENVALUE))
    return np.asarray(root / np.sqrt((root**2).sum(axis=1, keepdims=True)))
