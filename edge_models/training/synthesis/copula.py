"""A class-conditional Gaussian copula: smooth marginals and a shrunk correlation for each label.

Rules it upholds: a marginal is smoothed, never a list of people's values. It has no ε: see
`private_copula` for one that has.

    uⱼ ~ correlated normals, R = shrink(label's correlation → that of all labels)
    xⱼ = quantiles of the label's column at Φ(uⱼ), between kernel-smoothed knots

Source: Patki, Wedge, Veeramachaneni, "The Synthetic Data Vault", DSAA 2016; the correlation is of
normal scores (Liu, Lafferty, Wasserman, "The nonparanormal", JMLR 10, 2009); shrinkage as a
posterior mean worth D pseudo-windows.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.stats import norm, rankdata

from edge_models.training.synthesis.table import Labels, Reals, Table, Vocabulary, checked

KNOTS: Final = 41
SAMPLES_OF_KERNEL: Final = 20
RIDGE: Final = 0.05
"""The share of the identity in every correlation: it keeps it positive, and blurs it a little."""

_LEVELS: Final = (np.arange(KNOTS) + 0.5) / KNOTS


@dataclass(frozen=True, slots=True)
class Copula:
    """The copula without privacy noise."""

    def fit(self, table: Table, rng: np.random.Generator) -> "CopulaDraws":
        """Learn marginals and correlations; RecordingError where there are too few people."""
        vocabulary = Vocabulary.of(checked(table).labels)
        own = vocabulary.places(table.labels)
        groups = [np.flatnonzero(own == place) for place in range(len(vocabulary))]
        scores = np.empty_like(table.values)
        for rows in groups:
            scores[rows] = _normal_scores(table.values[rows])
        everyone = _correlation(scores)
        roots = [_root(scores[rows], everyone) for rows in groups]
        knots = [
            np.quantile(_smoothed(table.values[rows], rng), _LEVELS, axis=0) for rows in groups
        ]
        return CopulaDraws(vocabulary, np.stack(knots), np.stack(roots))


@dataclass(frozen=True, slots=True, eq=False)
class CopulaDraws:
    """For K labels: `knots` float64 (K, KNOTS, D) of marginals, `roots` (K, D, D)."""

    vocabulary: Vocabulary
    knots: Reals
    roots: Reals

    def draw(self, labels: Labels, rng: np.random.Generator) -> Table:
        """One row for each label, in order."""
        asked = self.vocabulary.places(labels)
        normals = rng.normal(size=(len(labels), self.knots.shape[2]))
        values = np.empty_like(normals)
        for place in np.unique(asked):
            rows = np.flatnonzero(asked == place)
            levels = norm.cdf(normals[rows] @ self.roots[place].T)
            for column in range(values.shape[1]):
                knots = self.knots[place, :, column]
                values[rows, column] = np.interp(levels[:, column], _LEVELS, knots)
        return Table.synthetic(values, labels)


def _normal_scores(values: Reals) -> Reals:
    return np.asarray(norm.ppf((rankdata(values, axis=0) - 0.5) / len(values)))


def _smoothed(values: Reals, rng: np.random.Generator) -> Reals:
    """A sample of the columns' Gaussian kernel estimates that keeps mean and spread.

    Source: Silverman, Density Estimation, 1986, equations 3.31 and 6.12 (shrunk bootstrap).
    """
    width = 0.9 * len(values) ** -0.2
    repeated = np.tile(values, (SAMPLES_OF_KERNEL, 1))
    mean, spread = values.mean(axis=0), values.std(axis=0)
    noise = width * spread * rng.normal(size=repeated.shape)
    return np.asarray(mean + (repeated - mean + noise) / np.sqrt(1 + width**2))


def _root(scores: Reals, everyone: Reals) -> Reals:
    size = len(everyone)
    share = len(scores) / (len(scores) + size)
    mix = share * _correlation(scores) + (1 - share) * everyone
    return np.asarray(np.linalg.cholesky((1 - RIDGE) * mix + RIDGE * np.eye(size)))


def _correlation(scores: Reals) -> Reals:
    """Correlation of normal scores, float64 (D, D); columns that stand still go with none."""
    centred = scores - scores.mean(axis=0)
    lengths = np.sqrt((centred**2).sum(axis=0))
    scaled = centred / np.where(lengths > 0, lengths, 1)
    return np.asarray(scaled.T @ scaled + np.diag(lengths == 0).astype(np.float64))
