"""One device's part of a federated round: a step of the head on its own sessions, as whole numbers.

Rules it upholds: the step is plain full-batch gradient descent from the announced head, so the same
sessions give the same update; features are measured in the bundle's frame, never in the person's
own; a person counts as one, however many sessions they have; the bound on the vector holds
exactly, in integers, after rounding.

A class weighs by how common it is *among people at large* (`Training.shares`, public), the rarer
one fully: so the clip cuts both alike, and a score of 0.5 goes on saying that the evidence
points neither way. Weights above one would do the same before the clip and not after it.

Rounding is to the nearest: half a unit is a two-thousandth of the clip and thousands of times below
the noise of a number. (Stochastic rounding pays where a number has few bits; here it would only
cost a larger bound.)

In the life of a federated round: sessions → **update** → noise share → mask → sum.

Source: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
2017 (FedSGD, FedAvg); McMahan, Ramage, Talwar, Zhang, "Learning Differentially Private Recurrent
Language Models", 2018 (clip by person).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.assessment import TASKS
from edge_models.errors import ContractError
from edge_models.frame import Frame, Reals
from edge_models.head import sigmoid
from sync.federated.layout import TELL, UNITS, Layout
from sync.federated.sessions import Sessions
from sync.shared_noise import Residues, unscaled, within_clip

Whole = npt.NDArray[np.int64]

POPULATION_SHARES: Final = (0.108, 0.091, 0.150)
"""Positives among adults at large. PHQ-9 >= 10: 10.8 % (Johansson et al., PeerJ 1:e98, 2013). The
other two follow from the same survey's GAD-7 >= 8 (14.7 %) and its overlap (half of those with
either have both); see `edge_models/training/cohort/answers.py`."""

_LEAST_TOLD: Final = 0.25  # of the members; below it the count of those with labels is only noise
_STEPS: Final = range(1, 33)


@dataclass(frozen=True, slots=True)
class Training:
    """How every device of a round trains; public, and announced with the head.

    `steps` of gradient descent at `rate`; `shares` are the public shares of positives.
    """

    steps: int = 1
    rate: float = 1.0
    shares: tuple[float, float, float] = POPULATION_SHARES

    def __post_init__(self) -> None:
        if self.steps not in _STEPS or not 0.0 < self.rate <= 10.0:
            raise ContractError("Training takes 1 to 32 steps at a rate of at most 10.")
        if not all(0.001 <= share <= 0.999 for share in self.shares):
            raise ContractError("A share of positives lies between 0.001 and 0.999.")

    def weights(self, truth: npt.NDArray[np.bool_]) -> Reals:
        """What each label weighs, float64 (n, 3): the rarer class 1, the other its odds."""
        shares = np.asarray(self.shares)
        positive = np.minimum(1.0, (1.0 - shares) / shares)
        negative = np.minimum(1.0, shares / (1.0 - shares))
        return np.where(truth, positive, negative)


def update_of(point: Reals, sessions: Sessions, frame: Frame, training: Training) -> Reals:
    """How the person's own sessions would move the head: float64 (D,), zeros without any.

    `point` float64 (D,) is the announced head in the frame; the loss is the weighted logistic
    loss of a session's mean log-odds, averaged over the person's sessions.

    Raises:
        ContractError: sizes don't fit, or the point isn't finite.
    """
    if point.shape != (frame.size,) or not np.isfinite(point).all():
        raise ContractError("A head in the frame is 3 (E + 1) finite numbers.")
    if not len(sessions):
        return np.zeros(frame.size)
    features = frame.features(sessions.means)
    weights = training.weights(sessions.truth)
    start = point.reshape(len(TASKS), -1)
    here = start
    for _ in range(training.steps):
        errors = weights * (sessions.truth - sigmoid(features @ here.T))
        here = here + training.rate * (errors.T @ features) / len(features)
    return np.asarray((here - start).reshape(-1))


def loss_of(point: Reals, sessions: Sessions, frame: Frame, training: Training) -> float:
    """The loss that `update_of` descends, mean over sessions and tasks.

    Raises:
        ContractError: there is no session, or sizes don't fit.
    """
    if not len(sessions):
        raise ContractError("Without a session there is no loss.")
    logits = frame.features(sessions.means) @ point.reshape(len(TASKS), -1).T
    losses = np.logaddexp(0.0, np.where(sessions.truth, -logits, logits))
    return float((training.weights(sessions.truth) * losses).mean())


def clip_to(update: Reals, clip: float) -> tuple[Reals, bool]:
    """The update shortened to norm `clip` (L2) at most, and whether it was within it already.

    Raises:
        ContractError: the clip is not positive and finite, or the update not finite.
    """
    if not 0.0 < clip < np.inf or not np.isfinite(update).all():
        raise ContractError("A clip is positive, and what is clipped is finite.")
    norm = float(np.linalg.norm(update))
    return (update, True) if norm <= clip else (update * (clip / norm), False)


def to_integers(update: Reals, clip: float, layout: Layout) -> Whole:
    """A person's whole vector, int64 (D + 2,), its squared norm at most `layout.squared_clip`.

    The update is clipped first. Zeros (nothing to say) stay zeros, with both telling cells.

    Sensitivity: `layout.squared_clip`, squared L2, checked in integers before it is returned.

    Raises:
        ContractError: the update has another size; or see `clip_to`.
    """
    if update.shape != (layout.numbers,):
        raise ContractError("An update has the layout's numbers.")
    vector = np.zeros(layout.length, np.int64)
    if not update.any():
        return vector
    clipped, within = clip_to(update, clip)
    vector[: layout.numbers] = np.rint(clipped * (layout.room / clip)).astype(np.int64)
    vector[layout.numbers] = TELL if within else -TELL
    vector[layout.numbers + 1] = TELL
    within_clip(vector[: layout.numbers].tolist(), UNITS**2)
    within_clip(vector.tolist(), layout.squared_clip)
    return vector


@dataclass(frozen=True, slots=True, eq=False)
class Mean:
    """What an opened sum says: `update` float64 (D,), the noisy mean over all `members`.

    `contributors` is a noisy count of those who had labels; `within` a noisy share, 0 to 1, of
    contributors whose update was within the clip.
    """

    update: Reals
    members: int
    contributors: float
    within: float


def from_sum(total: Residues, layout: Layout, clip: float, *, members: int, scale: int = 1) -> Mean:
    """Decode an opened sum, uint32 (D + 2,), over `members`; `scale` and `clip` as announced.

    The mean is over all members, whose number is public, not over those who had labels: a noisy
    divisor would say no more.

    Raises:
        ContractError: the sum has another length, or nobody is in it.
    """
    if total.shape != (layout.length,) or members < 1:
        raise ContractError("A sum has the layout's length and at least one member.")
    units = unscaled(total, scale)
    update = units[: layout.numbers] * (clip / (layout.room * members))
    side, here = units[layout.numbers :] / TELL
    told = min(max(here, _LEAST_TOLD * members), float(members))
    within = min(max(0.5 * (1.0 + side / told), 0.0), 1.0)
    return Mean(update, members, float(here), float(within))
