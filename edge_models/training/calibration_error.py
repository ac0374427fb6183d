"""How far scores are from what they promise: binned errors, their bias taken off, and Brier's.

Rules it upholds: both classes weigh the same, as in every balanced metric, so a score is judged
as a probability under equal priors; a debiased figure takes people, not clips, as independent.

`metrics.calibration_error` (ten equal bins) is the figure that is quoted; these stand beside it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.training.calibration import Affine, affine
from edge_models.training.metrics import BINS

Reals = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]

_SMALLEST: Final = 1e-9


def class_weights(truth: Truth) -> Reals:
    """Weights (N,) that sum to 1, half of it for each class.

    A class without anybody weighs nothing.
    """
    each = np.asarray([(~truth).sum(), truth.sum()], float)
    share = (each > 0) / max(np.count_nonzero(each), 1) / np.maximum(each, 1)
    return np.asarray(share[truth.astype(int)])


def equal_width(scores: Reals, bins: int = BINS) -> Places:
    """The bin of each score, among bins of one width over 0..1."""
    return np.minimum((scores * bins).astype(np.intp), bins - 1)


def equal_mass(scores: Reals, weights: Reals, bins: int = BINS) -> Places:
    """The bin of each score, among bins of one weight; equal scores share a bin.

    Source: Nguyen and O'Connor, EMNLP 2015 (adaptive bins).
    """
    values, inverse = np.unique(scores, return_inverse=True)
    mass = np.bincount(inverse, weights, len(values))
    middle = (np.cumsum(mass) - 0.5 * mass) / mass.sum()
    return equal_width(middle, bins)[inverse]


def adaptive_calibration_error(scores: Reals, truth: Truth) -> float:
    """Expected calibration error in ten bins of equal weight, both classes weighing the same."""
    weights = class_weights(truth)
    bins = equal_mass(scores, weights)
    return float(np.abs(np.bincount(bins, weights * (scores - truth), BINS)).sum())


def debiased_calibration_error(
    scores: Reals, truth: Truth, people: npt.NDArray[np.str_], bins: int = BINS
) -> float:
    """Root mean square calibration error with the share of chance taken off, over people.

    A bin's squared gap is larger than the true one by the gap's variance; that is estimated with
    people as the independent units and taken off, and what is below 0 then counts as 0.

    Source: Kumar, Liang, Ma, NeurIPS 2019, section 4 (after Bröcker 2012), bins of equal weight;
    the variance is the cluster-robust one of Liang and Zeger, Biometrika 73(1), 1986.
    """
    weights = class_weights(truth)
    place = equal_mass(scores, weights, bins)
    _, person = np.unique(people, return_inverse=True)
    total = 0.0
    for one in np.unique(place):
        rows = place == one
        mass, residual = weights[rows], scores[rows] - truth[rows]
        gap = float(mass @ residual / mass.sum())
        own = np.bincount(person[rows], mass * (residual - gap)) / mass.sum()
        members = len(np.unique(person[rows]))
        chance = float((own**2).sum()) * members / (members - 1) if members > 1 else gap**2
        total += float(mass.sum()) * (gap**2 - chance)
    return float(np.sqrt(max(total, 0.0)))


@dataclass(frozen=True, slots=True)
class Brier:
    """Score = reliability - resolution + uncertainty + within, each 0..1; less is better.

    `within` is what the bins blur, so that the sum is exact.
    """

    score: float
    reliability: float
    resolution: float
    uncertainty: float
    within: float


def brier(scores: Reals, truth: Truth, bins: int = BINS) -> Brier:
    """Brier's score under equal priors, and its parts in bins of equal width.

    Source: Murphy, Journal of Applied Meteorology 12, 1973; the two terms within bins from
    Stephenson, Coelho, Jolliffe, Weather and Forecasting 23(4), 2008.
    """
    weights = class_weights(truth)
    bin_of = equal_width(scores, bins)
    mass = np.bincount(bin_of, weights, bins)
    held = np.maximum(mass, _SMALLEST)
    said = np.bincount(bin_of, weights * scores, bins) / held
    seen = np.bincount(bin_of, weights * truth, bins) / held
    base = float(weights @ truth)
    beside, apart = scores - said[bin_of], truth - seen[bin_of]
    return Brier(
        score=float(weights @ (scores - truth) ** 2),
        reliability=float(mass @ (said - seen) ** 2),
        resolution=float(mass @ (seen - base) ** 2),
        uncertainty=base * (1 - base),
        within=float(weights @ (beside**2 - 2 * beside * apart)),
    )


def brier_score(scores: Reals, truth: Truth) -> float:
    """Brier's score under equal priors: 0 is perfect, 0.25 is always saying 0.5."""
    return float(class_weights(truth) @ (scores - truth) ** 2)


def calibration_line(log_odds: Reals, truth: Truth) -> Affine:
    """Slope and shift that would still have to be applied; 1 and 0 where nothing is left to do.

    A slope under 1: the scores say more than they know.

    Source: Cox, Biometrika 45, 1958.
    """
    return affine(log_odds, truth, class_weights(truth) * len(truth))
