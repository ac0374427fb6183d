"""Is it the person of that photograph? Verification from one neutral picture of people unmet.

Rules it upholds: the measure is learnt from other people's pairs; of two measures the one that
verifies better is told, to the attacker's favour.

Source: Hatch, Kajarekar, Stolcke, "Within-class covariance normalization", Interspeech 2006.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.covariance import LedoitWolf

from edge_models.errors import ContractError
from edge_models.training.faces import face_folds
from edge_models.training.identity import Told, equal_error_rate

Floats = npt.NDArray[np.float32]
Reals = npt.NDArray[np.float64]
Words = npt.NDArray[np.str_]
Measure = Callable[[Reals, Reals], Reals]

FOLDS: Final = 5
_TINY: Final = 1e-12


def verified_by_pairs(rows: Floats, person: Words, neutral: npt.NDArray[np.bool_]) -> Told:
    """Claims of people who have one neutral and one other photograph; rows float32 (N, D).

    Each fold of people is a gallery; `top1` is the share of other photographs whose nearest
    neutral one is of the same person.

    Raises:
        ContractError: fewer than ten people have such a pair.
    """
    people = np.asarray([one for one in np.unique(person) if _paired(neutral[person == one])])
    if len(people) < 2 * FOLDS:
        raise ContractError("Verification asks for ten people with a neutral and another picture.")
    first, second = (
        np.stack([rows[(person == one) & side][0] for one in people]).astype(np.float64)
        for side in (neutral, ~neutral)
    )
    folds = face_folds(people, FOLDS)
    whitened = [_whitened(first, second, folds == fold) for fold in range(FOLDS)]
    told = [
        _told(people, folds, [measure(*pair) for pair in whitened], name)
        for name, measure in (("distance", _distance), ("angle", _angle))
    ]
    return min(told, key=lambda one: equal_error_rate(*map(np.concatenate, (one.own, one.others))))


def _paired(neutral: npt.NDArray[np.bool_]) -> bool:
    return len(neutral) == 2 and int(neutral.sum()) == 1


def _whitened(first: Reals, second: Reals, asked: npt.NDArray[np.bool_]) -> tuple[Reals, Reals]:
    """Neutral and other pictures of the asked, in a space where a person's two differ alike."""
    spread = np.concatenate([first[~asked], second[~asked]]).std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    left = (first - first[~asked].mean(axis=0)) / spread
    right = (second - second[~asked].mean(axis=0)) / spread
    within = LedoitWolf(assume_centered=True).fit((left - right)[~asked]).covariance_
    values, turn = np.linalg.eigh(within)
    whiten = turn / np.sqrt(np.maximum(values, 1e-6 * values.max() + _TINY))
    return left[asked] @ whiten, right[asked] @ whiten


def _distance(known: Reals, probe: Reals) -> Reals:
    return np.asarray(-np.linalg.norm(probe[:, np.newaxis] - known[np.newaxis], axis=2))


def _angle(known: Reals, probe: Reals) -> Reals:
    lengths = [np.maximum(np.linalg.norm(one, axis=1), _TINY) for one in (probe, known)]
    return np.asarray(probe @ known.T / np.outer(*lengths))


def _told(people: Words, folds: npt.NDArray[np.intp], scores: list[Reals], name: str) -> Told:
    """`scores` (T, T) of each fold: its other pictures against its neutral ones."""
    rank = np.zeros(len(people), int)
    for fold in range(FOLDS):
        rank[folds == fold] = np.arange(np.count_nonzero(folds == fold))
    own = [scores[fold][place] for fold, place in zip(folds, rank, strict=True)]
    right = np.asarray([float(row.argmax() == place) for row, place in zip(own, rank, strict=True)])
    return Told(
        people=people,
        top1=right,
        permuted=np.zeros((0, len(people))),
        one_in_n=np.asarray([1 / len(row) for row in own]),
        own=tuple(row[place : place + 1] for row, place in zip(own, rank, strict=True)),
        others=tuple(np.delete(row, place) for row, place in zip(own, rank, strict=True)),
        chosen=(name,),
        members=(name,),
        member_top1=np.asarray([right.mean()]),
    )
