"""The canary: before a head is given to people, their devices say whether it serves them better.

Rules it upholds: a vote is about the person's own sessions and never leaves but in a noised sum;
it is bounded in whole numbers; who has no labels votes zeros and looks like everybody else; a
lost positive weighs as much as a lost negative, so a head that calls everybody well can't win
by the many.

The vote is [up, down]: by how much the loss of the person's sessions falls or rises with the
candidate, in units of 1/`UNITS` of `MOST_GAIN`; one of the two is zero. A count of "better" and
"worse" would be easier to read, and would elect the head that pleases the nine in ten who are
well.

Unit of privacy: the person's vote. Neighbouring: replaced by any other vote. Sensitivity: L2;
votes have no negative number, so two of them are at most sqrt(2) `UNITS` apart.

In the life of a federated round: candidate → **vote** → noise share → secure sum → the gate.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.frame import Frame, Reals
from sync.federated.layout import UNITS
from sync.federated.sessions import Sessions
from sync.federated.update import Training, loss_of
from sync.shared_noise import within_clip

LENGTH: Final = 2
SQUARED_CLIP: Final = UNITS**2
MOST_GAIN: Final = 0.25
"""Nats, mean over sessions and tasks, the rarer class weighing 1: a larger gain counts as this."""


def vote(
    candidate: Reals, current: Reals, sessions: Sessions, frame: Frame, training: Training
) -> npt.NDArray[np.int64]:
    """What a device says of a candidate against the current head, int64 (2,): [up, down].

    Both are points of the frame, float64 (D,).

    Raises:
        ContractError: sizes don't fit.
    """
    told = np.zeros(LENGTH, np.int64)
    if len(sessions):
        gain = loss_of(current, sessions, frame, training)
        gain -= loss_of(candidate, sessions, frame, training)
        units = round(max(-1.0, min(1.0, gain / MOST_GAIN)) * UNITS)
        told[0 if units > 0 else 1] = abs(units)
    within_clip(told.tolist(), SQUARED_CLIP)
    return told
