"""Federated rounds on a simulated cohort, in one process, for tests and bench.

Everything that decides is the product's own code: sessions, updates, integers, the shared noise's
parameters, decoding, optimisers, gate. Only masks and messages are left out, which don't change a
sum. The noise of a sum is drawn at once from the law that its shares add up to (`shares=True`
draws each share by itself).
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from edge_models.frame import Frame, Reals
from edge_models.head import sigmoid
from edge_models.training.cohort import Participant
from edge_models.training.metrics import auroc, balanced_accuracy
from sync.coordinator.clipping import Clip
from sync.coordinator.gate import Rule, Verdict, decide
from sync.coordinator.optimisers import Averaged, Optimiser, Tailed, fed_avg, tail_mean
from sync.federated import canary
from sync.federated.layout import Layout
from sync.federated.sessions import Sessions, labels
from sync.federated.update import Training, from_sum, to_integers, update_of
from sync.noise import discrete_gaussian
from sync.shared_noise import (
    NEIGHBOURS,
    Residues,
    SharedNoise,
    noise_for,
    noise_share,
    squared_sensitivity,
)

ROUNDS = 20
RHO_ROUND = Fraction(1, 100)
RHO_CANARY = Fraction(1, 20)
"""20 rounds and one canary cost 1/4: epsilon 3.97 at 1e-6 by the device's closed form."""
MINIMUM = 20
CLIP = 1.0
TRAINING = Training()

Whole = npt.NDArray[np.int64]
Attack = Callable[[int, Reals, Whole], Whole]
"""What a hostile device sends instead of its honest vector: (round, point, honest vector)."""


def usual() -> Optimiser[Tailed[Averaged], Reals]:
    """The optimiser of the headline figure."""
    return tail_mean(fed_avg(rate=0.25, momentum=0.9), rounds=8)


def sessions_of(participant: Participant, embedding_size: int) -> Sessions:
    """What the device of a virtual participant would train on."""
    stretches = [(told.windows, labels(told.phq8, told.gad7)) for told in participant.answered]
    return Sessions.of(stretches, embedding_size)


@dataclass(frozen=True)
class People:
    """A cohort's sessions, person by person."""

    sessions: tuple[Sessions, ...]

    @classmethod
    def of(cls, cohort: Sequence[Participant], frame: Frame) -> "People":
        """The sessions of virtual participants."""
        return cls(tuple(sessions_of(one, frame.embedding_size) for one in cohort))

    def first(self, frame: Frame) -> tuple[Reals, npt.NDArray[np.bool_]]:
        """One session of each person who has one: features (n, E + 1) and truth (n, 3)."""
        told = [one for one in self.sessions if len(one)]
        means = np.stack([one.means[0] for one in told])
        return frame.features(means), np.stack([one.truth[0] for one in told])


@dataclass(frozen=True)
class Quality:
    """Balanced accuracy and AUROC on people, for each task: float64 (3,)."""

    balanced: Reals
    auroc: Reals


def quality(point: Reals, people: People, frame: Frame) -> Quality:
    """How well a head tells people apart, one session each."""
    features, truth = people.first(frame)
    scores = sigmoid(features @ point.reshape(3, -1).T)
    return Quality(
        np.asarray([balanced_accuracy(scores[:, t], truth[:, t]) for t in range(3)]),
        np.asarray([auroc(scores[:, t], truth[:, t]) for t in range(3)]),
    )


def central(people: People, frame: Frame, ridge: float, training: Training = TRAINING) -> Reals:
    """The same loss minimised with everybody's sessions in one place, no clip, no noise."""
    features = np.concatenate([frame.features(one.means) for one in people.sessions if len(one)])
    truth = np.concatenate([one.truth for one in people.sessions if len(one)])
    share = np.concatenate([np.full(len(one), 1 / len(one)) for one in people.sessions if len(one)])
    weights = training.weights(truth) * share[:, None] / len(people.sessions)
    penalty = np.full(features.shape[1], ridge)
    penalty[-1] = 1e-9
    rows = []
    for task in range(3):
        row = np.zeros(features.shape[1])
        for _ in range(40):
            likely = sigmoid(features @ row)
            slope = features.T @ (weights[:, task] * (likely - truth[:, task])) + penalty * row
            bend = weights[:, task] * likely * (1 - likely)
            curve = (features * bend[:, None]).T @ features + np.diag(penalty)
            step = np.linalg.solve(curve, slope)
            row = row - step * min(1.0, 2.0 / np.linalg.norm(step))
        rows.append(row)
    return np.concatenate(rows)


def random_below(seed: int) -> Callable[[int], int]:
    """A repeatable source for the exact sampler; devices use `secrets.randbelow`."""
    return random.Random(seed).randrange


def noise_of(squared: int, length: int, rho: Fraction, cohort: int) -> SharedNoise:
    """The shared noise of a round of `cohort` people."""
    return noise_for(
        squared_sensitivity=squared, rho=rho, scale=1, length=length, minimum=MINIMUM, cohort=cohort
    )


def summed(
    vectors: Sequence[Whole],
    noise: SharedNoise | None,
    draw: Callable[[int], int],
    *,
    shares: bool = False,
) -> Residues:
    """The opened sum of these vectors, uint32 (N,), with every member's noise in it."""
    total = np.sum(vectors, axis=0)
    if noise is not None and shares:
        for _ in vectors:
            total = total + np.asarray(noise_share(noise, draw), np.int64)
    elif noise is not None:
        sigma2 = noise.sum_sigma2(len(vectors))
        drawn = [discrete_gaussian(sigma2, draw) for _ in range(noise.length)]
        total = total + np.asarray(drawn, np.int64)
    return total.astype(np.uint32)


@dataclass(frozen=True)
class Trained:
    """A head after all rounds; the clip at the end; each round's opened sum."""

    point: Reals
    clip: Clip
    sums: tuple[Residues, ...]


def federated(
    start: Reals,
    people: People,
    frame: Frame,
    *,
    seed: int,
    optimiser: Optimiser[Tailed[Averaged], Reals] | None = None,
    rounds: int = ROUNDS,
    rho: Fraction | None = RHO_ROUND,
    clip: float = CLIP,
    adaptive: float | None = None,
    dropout: float = 0.0,
    hostile: dict[int, Attack] | None = None,
    shares: bool = False,
    training: Training = TRAINING,
) -> Trained:
    """Run the rounds; `rho=None` without noise; `hostile` says who sends what instead."""
    optimiser = optimiser or usual()
    layout = Layout(frame.size)
    apart = squared_sensitivity(layout.squared_clip, NEIGHBOURS["head"])
    draw = random_below(seed)
    chance = np.random.default_rng(seed)
    noise = rho and noise_of(apart, layout.length, rho, len(people.sessions))
    now = Clip(clip, quantile=adaptive or 0.5)
    state = optimiser.init(start)
    sums = []
    for number in range(rounds):
        here = state.inner.point
        stay = chance.random(len(people.sessions)) >= dropout
        vectors = []
        for place in np.flatnonzero(stay).tolist():
            update = update_of(here, people.sessions[place], frame, training)
            vector = to_integers(update, now.value, layout)
            if hostile and place in hostile:
                vector = hostile[place](number, here, vector)
            vectors.append(vector)
        total = summed(vectors, noise or None, draw, shares=shares)
        sums.append(total)
        mean = from_sum(total, layout, now.value, members=len(vectors))
        state = optimiser.apply(state, mean.update)
        if adaptive is not None:
            now = now.after(mean.within)
    return Trained(state.point, now, tuple(sums))


def judged(
    candidate: Reals,
    current: Reals,
    people: People,
    frame: Frame,
    *,
    seed: int,
    rule: Rule,
    rho: Fraction = RHO_CANARY,
    lying: frozenset[int] = frozenset(),
) -> Verdict:
    """The canary's verdict; `lying` devices vote the most they may for the candidate."""
    apart = squared_sensitivity(canary.SQUARED_CLIP, NEIGHBOURS["canary"])
    noise = noise_of(apart, canary.LENGTH, rho, len(people.sessions))
    votes = [
        np.asarray([canary.UNITS, 0], np.int64)
        if place in lying
        else canary.vote(candidate, current, one, frame, TRAINING)
        for place, one in enumerate(people.sessions)
    ]
    total = summed(votes, noise, random_below(seed))
    members = len(votes)
    return decide(total, members=members, sigma2=float(noise.sum_sigma2(members)), rule=rule)
