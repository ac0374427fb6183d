"""How like real people's windows synthetic ones are: columns, correlations, clouds, and a judge.

Rules it upholds: real rows are of people whom the synthesiser never met; each has one synthetic
row of its label beside it, so that labels are as frequent on both sides; every figure stands
beside the same of other real people; intervals are over people.

Source: Gretton et al., "A Kernel Two-Sample Test", JMLR 13, 2012, equation 5 (MMD, biased); Snoke
et al., "General and specific utility measures for synthetic data", JRSS A 181, 2018 (propensity).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.spatial.distance import cdist, pdist
from sklearn.ensemble import ExtraTreesClassifier

from edge_models.training.metrics import Estimate, auroc
from edge_models.training.streams import Places
from edge_models.training.synthesis.table import Reals, Words

COMPONENTS: Final = 8
TREES: Final = 60

Measure = Callable[[Places], float]


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Means over columns: `wasserstein` in spreads of the frame, `ks` 0 to 1, and the worst `ks`.

    `correlation` is the mean difference between the two correlation matrices; `mmd` between the
    clouds in their first components; `propensity` the AUC of a classifier that tells real from
    synthetic (0.5: it can't).
    """

    wasserstein: Estimate
    ks: Estimate
    worst_ks: float
    correlation: Estimate
    mmd: Estimate
    propensity: Estimate


def fidelity(real: Reals, synthetic: Reals, people: Words, rng: np.random.Generator) -> Fidelity:
    """Compare N real rows with the N synthetic rows beside them; `people` (N,) own both."""
    cloud = _Cloud.of(real, synthetic)
    judged = _judged(real, synthetic, people, rng)

    def over_people(measure: Measure) -> Estimate:
        return jackknife(measure, people)

    return Fidelity(
        wasserstein=over_people(lambda at: _wasserstein(real[at], synthetic[at])),
        ks=over_people(lambda at: float(_ks(real[at], synthetic[at]).mean())),
        worst_ks=float(_ks(real, synthetic).max()),
        correlation=over_people(lambda at: _correlations(real[at], synthetic[at])),
        mmd=over_people(cloud.mmd),
        propensity=over_people(lambda at: _auc(judged[0][at], judged[1][at])),
    )


def jackknife(measure: Measure, people: Words) -> Estimate:
    """A figure and its 95 % interval, leaving out one person at a time; never below zero.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11. (A bootstrap
    would hold people twice, which looks to a distance like a difference.)
    """
    everyone = np.arange(len(people))
    value = float(measure(everyone))
    left = [float(measure(everyone[people != person])) for person in np.unique(people)]
    error = np.sqrt((len(left) - 1) * np.var(left))
    return Estimate(value, max(value - 1.96 * error, 0.0), value + 1.96 * error)


def _wasserstein(real: Reals, synthetic: Reals) -> float:
    """Mean over columns; of equally many rows it is the mean gap between sorted values."""
    return float(np.abs(np.sort(real, axis=0) - np.sort(synthetic, axis=0)).mean())


def _ks(real: Reals, synthetic: Reals) -> Reals:
    """The largest gap between the two distribution functions of each column, (D,)."""
    gaps = []
    for a, b in zip(np.sort(real, axis=0).T, np.sort(synthetic, axis=0).T, strict=True):
        steps = np.concatenate([a, b])
        shares = [np.searchsorted(side, steps, side="right") / len(side) for side in (a, b)]
        gaps.append(np.abs(shares[0] - shares[1]).max())
    return np.asarray(gaps)


def _correlations(real: Reals, synthetic: Reals) -> float:
    pairs = np.triu_indices(real.shape[1], 1)
    if not len(pairs[0]):
        return 0.0
    gap = _correlation(real)[pairs] - _correlation(synthetic)[pairs]
    return float(np.abs(gap).mean())


def _correlation(values: Reals) -> Reals:
    centred = values - values.mean(axis=0)
    lengths = np.maximum(np.sqrt((centred**2).sum(axis=0)), 1e-12)
    return np.asarray((centred / lengths).T @ (centred / lengths))


@dataclass(frozen=True, slots=True, eq=False)
class _Cloud:
    """Kernels among N real, N synthetic and between them, (N, N) each."""

    real: Reals
    synthetic: Reals
    between: Reals

    @classmethod
    def of(cls, real: Reals, synthetic: Reals) -> "_Cloud":
        mean = real.mean(axis=0)
        axes = np.linalg.svd(real - mean, full_matrices=False)[2][:COMPONENTS].T
        a, b = (real - mean) @ axes, (synthetic - mean) @ axes
        width = 2 * float(np.median(pdist(a)) ** 2) or 1.0
        return cls(
            *(
                np.exp(-cdist(x, y, "sqeuclidean") / width).astype(np.float32)
                for x, y in ((a, a), (b, b), (a, b))
            )
        )

    def mmd(self, at: Places) -> float:
        """The distance of the two means in the kernel's space."""
        pick = np.ix_(at, at)
        squared = self.real[pick].mean() + self.synthetic[pick].mean()
        return float(np.sqrt(max(squared - 2 * self.between[pick].mean(), 0.0)))


def _judged(real: Reals, synthetic: Reals, people: Words, rng: np.random.Generator) -> Reals:
    """How real each row looks to a judge who learnt from other people's rows, float64 (2, N)."""
    named = rng.permutation(np.unique(people))
    told = np.empty((2, len(real)))
    for half in (named[::2], named[1::2]):
        tested = np.isin(people, half)
        learnt = np.concatenate([real[~tested], synthetic[~tested]])
        truth = np.repeat([True, False], np.count_nonzero(~tested))
        judge = ExtraTreesClassifier(TREES, min_samples_leaf=5, random_state=0).fit(learnt, truth)
        for side, rows in enumerate((real, synthetic)):
            told[side, tested] = judge.predict_proba(rows[tested])[:, 1]
    return told


def _auc(real: Reals, synthetic: Reals) -> float:
    truth = np.repeat([True, False], [len(real), len(synthetic)])
    return auroc(np.concatenate([real, synthetic]), truth)
