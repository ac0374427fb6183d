"""Calibration under equal priors: logits become log-odds that can be believed.

Rules it upholds: fitted on logits of people whom the network never saw; both classes weigh the
same in each set, so 0.5 says that the evidence points neither way; which way of calibrating is
used is chosen over people, by folds inside those who are not tested.

`platt` fits the three tasks of a head at once; the rest is for one task.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression

from edge_models.errors import TooFewPeople

_STEPS: Final = 50
_RIDGE: Final = 1e-3
_LEAST_SLOPE: Final = 0.05
_SMALLEST_STEP: Final = 1e-9
_LONGEST_LOG_SLOPE: Final = 4.0

Reals = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]
_UNCHANGED: Final = np.asarray([1.0, 0.0])


@dataclass(frozen=True, slots=True)
class Platt:
    """For each task: calibrated = slope · logit + shift."""

    slopes: tuple[float, float, float]
    shifts: tuple[float, float, float]

    def of(self, logits: Reals) -> Reals:
        """Calibrated log-odds, float64 (N, 3)."""
        return np.asarray(logits * np.asarray(self.slopes) + np.asarray(self.shifts))


def platt(logits: Reals, truth: Truth, weights: npt.NDArray[np.float32]) -> Platt:
    """Fit each task by weighted logistic regression on one number; all arrays (N, 3).

    A weight of 0 leaves a window out; a task without any weight stays as it is.

    Source: Platt 1999, with soft targets (equation 9ff) for few examples; Newton's method.
    """
    fits = [
        affine(logits[:, task], truth[:, task], weights[:, task].astype(np.float64))
        for task in range(3)
    ]
    return Platt(
        (fits[0].slope, fits[1].slope, fits[2].slope),
        (fits[0].shift, fits[1].shift, fits[2].shift),
    )


class Calibrator(Protocol):
    """A rising map from logits to calibrated log-odds."""

    def of(self, logits: Reals) -> Reals:
        """Calibrated log-odds, float64 of the logits' shape."""
        ...


@dataclass(frozen=True, slots=True)
class Affine:
    """Calibrated = slope · logit + shift: Platt's; temperature's where the shift is 0."""

    slope: float
    shift: float

    def of(self, logits: Reals) -> Reals:
        """Calibrated log-odds, float64 of the logits' shape."""
        return np.asarray(self.slope * logits + self.shift)


@dataclass(frozen=True, slots=True)
class Steps:
    """Isotonic: probabilities between knots `at`, level outside; both rise."""

    at: tuple[float, ...]
    probability: tuple[float, ...]

    def of(self, logits: Reals) -> Reals:
        """Calibrated log-odds, float64 of the logits' shape."""
        likely = np.interp(logits, self.at, self.probability)
        return np.asarray(np.log(likely) - np.log1p(-likely))


Fit = Callable[[Reals, Truth, Reals], Calibrator]


def unchanged(logits: Reals, truth: Truth, weights: Reals) -> Affine:
    """Logits are believed as they are."""
    return Affine(1.0, 0.0)


def temperature(logits: Reals, truth: Truth, weights: Reals) -> Affine:
    """One slope for all logits, none of its own for where 0.5 lies; all arrays (N,).

    Source: Guo, Pleiss, Sun, Weinberger, ICML 2017, section 4.2 (T is 1 / slope).
    """

    def loss(log_slope: float) -> float:
        return log_loss(np.exp(log_slope) * logits, truth, weights)

    bounds = (-_LONGEST_LOG_SLOPE, _LONGEST_LOG_SLOPE)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-7})
    return Affine(float(np.exp(found.x)), 0.0)


def isotonic(logits: Reals, truth: Truth, weights: Reals) -> Steps:
    """The best rising map of any form, within what so many examples can say; all arrays (N,).

    Source: Zadrozny and Elkan, KDD 2002; ends as Platt's soft targets, so none is 0 or 1.
    """
    high, low = (truth.sum() + 1) / (truth.sum() + 2), 1 / ((~truth).sum() + 2)
    fit = IsotonicRegression(y_min=low, y_max=high, out_of_bounds="clip")
    fit.fit(logits, truth.astype(float), sample_weight=weights)
    return Steps(tuple(map(float, fit.X_thresholds_)), tuple(map(float, fit.y_thresholds_)))


def affine(logits: Reals, truth: Truth, weights: Reals) -> Affine:
    """Platt's slope and shift of one task; all arrays (N,). Unknown logits (NaN) are left out."""
    used = (weights > 0) & np.isfinite(logits)
    if not used.any():
        return Affine(1.0, 0.0)
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
    return Affine(max(float(fit[0]), _LEAST_SLOPE), float(fit[1]))


FITS: Final[Mapping[str, Fit]] = MappingProxyType(
    {"none": unchanged, "temperature": temperature, "platt": affine, "isotonic": isotonic}
)
"""Ways to calibrate one task, the plainest first."""


def log_loss(log_odds: Reals, truth: Truth, weights: Reals) -> float:
    """Weighted mean of -log of what was said of the truth, in nats; all arrays (N,)."""
    each = np.logaddexp(0, np.where(truth, -log_odds, log_odds))
    return float(weights @ each / weights.sum())


def person_folds(
    people: npt.NDArray[np.str_], folds: int, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """A fold for each row, (N,): people are dealt out, each with all rows.

    Raises:
        TooFewPeople: fewer than two people, or two folds.
    """
    names, inverse = np.unique(people, return_inverse=True)
    if min(folds, len(names)) < 2:
        raise TooFewPeople(
            f"{len(names)} person and {folds} folds: nobody is left to test on.",
            "Give the scores of more people.",
        )
    return np.asarray(rng.permutation(len(names))[inverse] % min(folds, len(names)))


@dataclass(frozen=True, slots=True)
class Choice:
    """The way of calibrating with the least log-loss on people left out, refitted on all.

    `losses`: each way that was tried, and its log-loss in nats.
    """

    name: str
    calibrator: Calibrator
    losses: tuple[tuple[str, float], ...]


def chosen(
    logits: Reals,
    truth: Truth,
    weights: Reals,
    people: npt.NDArray[np.str_],
    rng: np.random.Generator,
    fits: Mapping[str, Fit] = FITS,
    folds: int = 5,
) -> Choice:
    """Choose how to calibrate by cross-validation over people; the plainest wins a tie.

    Give it nobody who is tested later: a choice is part of the training.

    Raises:
        TooFewPeople: fewer than two people.
    """
    fold = person_folds(people, folds, rng)
    losses = []
    for name, fit in fits.items():
        held_out = np.empty(len(logits))
        for one in np.unique(fold):
            rest, held = fold != one, fold == one
            held_out[held] = fit(logits[rest], truth[rest], weights[rest]).of(logits[held])
        losses.append((name, log_loss(held_out, truth, weights)))
    best = min(losses, key=lambda tried: tried[1])[0]
    return Choice(best, fits[best](logits, truth, weights), tuple(losses))
