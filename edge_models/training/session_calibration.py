"""Sessions of several windows of one person, and their calibration.

Rules it upholds: windows of a person share what is the person's, so the evidence of n windows
grows less than n-fold; that is learnt from people who are not tested, by logits of models that
never met them; each person, side and number of windows weighs the same.

With a person's own effect of variance t² and a window's of s², the mean of n windows has
variance t² + s²/n, so calibrated log-odds of a window become, for n of them,

    log-odds = gain · n / (1 + (n - 1) · correlation) · (mean - centre),

correlation = t² / (t² + s²), the intra-class correlation: the design effect.

Source: Kish, Survey Sampling, 1965, section 5.4 (the design effect); linear discriminant of two
normal classes of equal variance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from edge_models.errors import TooFewPeople
from edge_models.head import sigmoid
from edge_models.session import SessionRow, Sessions
from edge_models.training.calibration import Affine, log_loss
from edge_models.training.calibration_error import class_weights
from edge_models.training.conformal import ERROR_RATE, limits
from edge_models.training.intervals import rows_of_people

Reals = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]
Words = npt.NDArray[np.str_]

SIZES: Final = (1, 2, 3, 4, 6)
DRAWS: Final = 20
PRIOR_SPREAD: Final = 1.5
_LEAST_CORRELATION: Final = 1e-3
_USUAL_CORRELATION: Final = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """S sessions of one task: `mean` log-odds of `windows` windows of a person with one truth.

    `mean` float64 (S,), `truth` bool (S,), `people` (S,) words.
    """

    windows: int
    mean: Reals
    truth: Truth
    people: Words

    def __len__(self) -> int:
        return len(self.mean)


def drawn_sessions(
    logits: Reals,
    truth: Truth,
    people: Words,
    windows: int,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Drawn:
    """`draws` sessions for each person and truth that has as many windows; all arrays (N,)."""
    means, sides, owners = [], [], []
    for own in rows_of_people(people):
        for side in (True, False):
            rows = own[truth[own] == side]
            if len(rows) < windows:
                continue
            chosen = rng.permuted(np.tile(rows, (draws, 1)), axis=1)[:, :windows]
            means.append(logits[chosen].mean(axis=1))
            sides.append(np.full(draws, side))
            owners.append(np.full(draws, people[own[0]]))
    if not means:
        return Drawn(windows, np.empty(0), np.empty(0, bool), np.empty(0, people.dtype))
    return Drawn(windows, np.concatenate(means), np.concatenate(sides), np.concatenate(owners))


@dataclass(frozen=True, slots=True)
class Pooling:
    """What makes calibrated log-odds of a session out of its windows' mean; three numbers."""

    gain: float
    correlation: float
    centre: float

    def line(self, windows: int) -> Affine:
        """Slope and shift for a session of so many windows."""
        slope = self.gain * windows / (1 + (windows - 1) * self.correlation)
        return Affine(slope, -slope * self.centre)


def session_calibration(sessions: Sequence[Drawn]) -> Pooling:
    """Fit the pooling to sessions of several lengths, by weighted log-loss.

    Log gain and the correlation's log-odds have a normal prior of spread 1.5 around 0 and 0.2,
    weighed against one observation a person: it decides only what few people leave open (twenty
    people whom nothing confuses would ask for an infinite gain).

    Raises:
        TooFewPeople: no length has sessions of both sides.
    """
    usable = [one for one in sessions if one.truth.any() and not one.truth.all()]
    if not usable:
        raise TooFewPeople(
            "No one has enough windows for a session of each side.",
            "Give more windows a person, or calibrate shorter sessions.",
        )
    parts = [(one.windows, one.mean, one.truth, class_weights(one.truth)) for one in usable]
    people = len(np.unique(np.concatenate([one.people for one in usable])))

    def loss(fit: Reals) -> float:
        pooling = _pooling(fit)
        each = [
            log_loss(pooling.line(windows).of(mean), truth, weights)
            for windows, mean, truth, weights in parts
        ]
        away = ((fit - _START)[:2] / PRIOR_SPREAD) ** 2
        return float(np.mean(each) + away.sum() / (2 * people))

    return _pooling(np.asarray(minimize(loss, _START, method="BFGS").x))


_START: Final = np.asarray([0.0, np.log(_USUAL_CORRELATION / (1 - _USUAL_CORRELATION)), 0.0])


def _pooling(fit: Reals) -> Pooling:
    correlation = max(float(sigmoid(fit[1:2])[0]), _LEAST_CORRELATION)
    return Pooling(float(np.exp(fit[0])), correlation, float(fit[2]))


def session_rows(
    logits: Reals,
    truth: Truth,
    people: Words,
    rng: np.random.Generator,
    error_rate: float = ERROR_RATE,
    sizes: Sequence[int] = SIZES,
) -> tuple[SessionRow, ...]:
    """What a device needs for one task, from calibrated logits of windows (N,) out of fold.

    A size that too few people have enough windows for is left out. The pooling is fitted on the
    same people as the limits, which breaks no promise: a rising map leaves the order as it is.

    Raises:
        TooFewPeople: no size is left.
        ContractError: the rate is not between 0 and 0.5.
    """
    drawn = [drawn_sessions(logits, truth, people, size, rng) for size in sizes]
    pooling = session_calibration(drawn)
    rows: list[SessionRow] = []
    refused: TooFewPeople | None = None
    for one in drawn:
        line = pooling.line(one.windows)
        try:
            found = limits(line.of(one.mean), one.truth, one.people, error_rate)
        except TooFewPeople as few:
            refused = few
            continue
        rows.append(
            SessionRow(
                windows=one.windows,
                slope=line.slope,
                shift=line.shift,
                no_below=found.no_below,
                yes_above=found.yes_above,
            )
        )
    if refused is not None and not rows:
        raise refused
    return tuple(rows)


def sessions_of(
    logits: Reals,
    truth: Truth,
    known: Truth,
    people: Words,
    rng: np.random.Generator,
    error_rate: float = ERROR_RATE,
) -> Sessions:
    """`sessions.json` from calibrated logits, truth and what is known of it, all (N, 3).

    Logits that are NaN are left out; a task of too few people gets no rows, and so no answers.

    Raises:
        ContractError: the rate is not between 0 and 0.5.
    """

    def task(place: int) -> tuple[SessionRow, ...]:
        rows = known[:, place] & np.isfinite(logits[:, place])
        try:
            return session_rows(
                logits[rows, place], truth[rows, place], people[rows], rng, error_rate
            )
        except TooFewPeople:
            return ()

    return Sessions(format=1, error_rate=error_rate, tasks=(task(0), task(1), task(2)))
