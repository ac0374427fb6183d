"""Platt calibration under equal priors: logits become log-odds that can be believed.

Rules it upholds: fitted on logits of people whom the network never saw; both classes weigh the
same in each set, so 0.5 says that the evidence points neither way.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

_STEPS: Final = 50
_RIDGE: Final = 1e-3
_LEAST_SLOPE: Final = 0.05
_SMALLEST_STEP: Final = 1e-9

Reals = npt.NDArray[np.float64]
_UNCHANGED: Final = np.asarray([1.0, 0.0])


@dataclass(frozen=True, slots=True)
class Platt:
    """For each task: calibrated = slope · logit + shift."""

    slopes: tuple[float, float, float]
    shifts: tuple[float, float, float]

    def of(self, logits: Reals) -> Reals:
        """Calibrated log-odds, float64 (N, 3)."""
        return np.asarray(logits * np.asarray(self.slopes) + np.asarray(self.shifts))


def platt(logits: Reals, truth: npt.NDArray[np.bool_], weights: npt.NDArray[np.float32]) -> Platt:
    """Fit each task by weighted logistic regression on one number; all arrays (N, 3).

    A weight of 0 leaves a window out; a task without any weight stays as it is.

    Source: Platt 1999, with soft targets (equation 9ff) for few examples; Newton's method.
    """
    fits = [
        _fit(logits[:, task], truth[:, task], weights[:, task].astype(np.float64))
        for task in range(3)
    ]
    return Platt((fits[0][0], fits[1][0], fits[2][0]), (fits[0][1], fits[1][1], fits[2][1]))


def _fit(logits: Reals, truth: npt.NDArray[np.bool_], weights: Reals) -> tuple[float, float]:
    used = (weights > 0) & np.isfinite(logits)
    if not used.any():
        return 1.0, 0.0
    x, y, w = logits[used], truth[used], weights[used]
    targets = np.where(y, (y.sum() + 1) / (y.sum() + 2), 1 / ((~y).sum() + 2))
    design = np.stack([x, np.ones_like(x)], axis=1)

    def loss(fit: Reals) -> float:
        logits_now = design @ fit
        each = np.logaddexp(0, logits_now) - targets * logits_now
        return float(w @ each + 0.5 * _RIDGE * ((fit - _UNCHANGED) ** 2).sum())

    fit = _UNCHANGED
    for _ in range(_STEPS):
        likely = 0.5 * (1 + np.tanh(0.5 * (design @ fit)))
        slope = design.T @ (w * (likely - targets)) + _RIDGE * (fit - _UNCHANGED)
        curve = (design * (w * likely * (1 - likely))[:, None]).T @ design + _RIDGE * np.eye(2)
        step = np.linalg.solve(curve, slope)
        while loss(fit - step) > loss(fit) and np.abs(step).max() > _SMALLEST_STEP:
            step = step / 2  # Newton overshoots where the scores saturate
        fit = fit - step
        if np.abs(step).max() <= _SMALLEST_STEP:
            break
    return max(float(fit[0]), _LEAST_SLOPE), float(fit[1])
