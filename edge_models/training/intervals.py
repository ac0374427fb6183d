"""Intervals over people for any statistic of rows: draw people with all their rows, not rows.

Rules it upholds: the person is the unit; where people come from named strata (sets, groups),
each stratum keeps its number of people in each draw, so that none vanishes by chance.

Source: Davison and Hinkley, Bootstrap Methods and Their Application, 1997, sections 2.4 and 3.8.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.training.metrics import RESAMPLES, Estimate

Reals = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Words = npt.NDArray[np.str_]
Statistic = Callable[[Places], Reals]

_TAILS: Final = (2.5, 97.5)


def rows_of_people(people: Words) -> list[Places]:
    """The rows of each person, in the order of their sorted names."""
    _, inverse = np.unique(people, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    return np.split(order, np.cumsum(np.bincount(inverse))[:-1])


def draws_of_people(
    people: Words, rng: np.random.Generator, resamples: int, strata: Words | None = None
) -> Sequence[Places]:
    """Rows of as many people as there are, drawn with replacement, `resamples` times.

    `strata` (N,) are words that do not change within a person.
    """
    rows = rows_of_people(people)
    firsts = np.asarray([own[0] for own in rows])
    stratum = np.zeros(len(rows), int) if strata is None else strata[firsts]
    members = [np.flatnonzero(stratum == name) for name in np.unique(stratum)]
    return [
        np.concatenate([rows[person] for own in members for person in rng.choice(own, len(own))])
        for _ in range(resamples)
    ]


def over_people(
    statistic: Statistic,
    people: Words,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    strata: Words | None = None,
) -> tuple[Estimate, ...]:
    """Figures (K,) of rows, each with its 95 % percentile interval over people.

    A draw in which a figure can't be told (NaN: one class only) is left out for that figure; a
    figure that can't be told at all, or in no draw, has NaN for its interval.
    """
    whole = statistic(np.arange(len(people)))
    drawn = np.asarray(
        [statistic(chosen) for chosen in draws_of_people(people, rng, resamples, strata)]
    ).reshape(resamples, len(whole))
    return tuple(
        _estimate(float(value), column) for value, column in zip(whole, drawn.T, strict=True)
    )


def _estimate(value: float, drawn: Reals) -> Estimate:
    told = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not len(told):
        return Estimate(value, float("nan"), float("nan"))
    # Order statistics, not means of two: an infinite ratio is a figure as well.
    low, high = np.percentile(told, _TAILS, method="nearest")
    return Estimate(value, float(low), float(high))
