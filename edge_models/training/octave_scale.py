"""The octave scale on which harmonics are summed: a cubic spline through the spectrum.

Rules it upholds: the spline is one linear map from bins to points; it is cut into blocks that
keep only the bins near their points, since a natural spline forgets a bin by a factor of
about four per knot.

Place in the life of a frame: 60 ms spectrum → **octave scale** → sub-harmonic sum → F0.
Source: D. J. Hermes, J. Acoust. Soc. Am. 83(1), 1988, section I.B.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

POINTS: Final = 513
LOWEST_HZ: Final = 25.0
HIGHEST_HZ: Final = 8_000.0
BIN_HZ: Final = 15.625

OCTAVES: Final = math.log2(HIGHEST_HZ / LOWEST_HZ)
STEP_OCTAVES: Final = OCTAVES / (POINTS - 1)
POINTS_PER_OCTAVE: Final = POINTS / OCTAVES

_KNOTS_KEPT: Final = 10
_CUTS: Final = (0, 216, 268, 300, 330, 361, 392, 422, 438, 453, 468, 484, 499, POINTS)


@dataclass(frozen=True, slots=True)
class SplineBlock:
    """Points `first`… from bins `bin_first`…: weights (points, bins), smoothing included."""

    bin_first: int
    weights: npt.NDArray[np.float64]


def spline_blocks() -> tuple[SplineBlock, ...]:
    """The map from 513 magnitudes to 513 octave-scale values, smoothed, cut into blocks."""
    bins = np.arange(POINTS)
    knots = np.zeros(POINTS)
    knots[1:] = np.log2(bins[1:] * BIN_HZ)
    knots[0] = 2 * knots[1] - knots[2]
    points = math.log2(LOWEST_HZ) + STEP_OCTAVES * np.arange(POINTS)
    spline = CubicSpline(knots, np.eye(POINTS), bc_type="natural")(points)
    # Hermes 1988: smoothing by (1, 2, 1)/4 before the change of scale.
    smooth = np.eye(POINTS) / 2 + np.eye(POINTS, k=1) / 4 + np.eye(POINTS, k=-1) / 4
    smooth[-1] = np.eye(POINTS)[-1]
    whole = spline @ smooth
    blocks = []
    for first, last in pairwise(_CUTS):
        near = np.searchsorted(knots, points[[first, last - 1]])
        low = max(0, int(near[0]) - _KNOTS_KEPT)
        high = min(POINTS, int(near[1]) + _KNOTS_KEPT)
        blocks.append(SplineBlock(low, whole[first:last, low:high]))
    return tuple(blocks)


def auditory_weight() -> npt.NDArray[np.float64]:
    """Sensitivity along the octave scale, rising around 65 Hz; (513,). Hermes 1988, eq. (3)."""
    middle = POINTS_PER_OCTAVE * math.log2(65.0 / 50.0) - 1.0
    place = np.arange(1, POINTS + 1) - middle
    weight: npt.NDArray[np.float64] = 0.5 + np.arctan(3.0 * place / POINTS_PER_OCTAVE) / math.pi
    return weight
