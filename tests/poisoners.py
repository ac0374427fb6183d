"""Hostile devices, for measuring what they can do: each sends something else than its update."""

from collections.abc import Callable

import numpy as np

from edge_models.frame import Frame, Reals
from sync.federated.layout import Layout
from sync.federated.sessions import Sessions
from sync.federated.update import Training, to_integers, update_of
from tests.federation import Attack, Whole

Recruit = Callable[[Sessions], Attack]
"""Makes a hostile device out of an honest one's sessions."""


def sign_flip(sessions: Sessions) -> Attack:
    """The honest update, backwards; within the clip."""

    def send(_: int, point: Reals, vector: Whole) -> Whole:
        return np.concatenate([-vector[:-2], vector[-2:]])

    return send


def label_flip(frame: Frame, training: Training, clip: float) -> Recruit:
    """An honest update on questionnaires answered the wrong way round; within the clip."""

    def recruit(sessions: Sessions) -> Attack:
        lying = Sessions(sessions.means, ~sessions.truth)

        def send(_: int, point: Reals, vector: Whole) -> Whole:
            update = update_of(point, lying, frame, training)
            return to_integers(update, clip, Layout(frame.size))

        return send

    return recruit


def sybils(away_from: Reals) -> Recruit:
    """All of them pull with the whole clip the same way: away from a head that works."""
    way = -away_from / np.linalg.norm(away_from)

    def recruit(_: Sessions) -> Attack:
        def send(_: int, point: Reals, vector: Whole) -> Whole:
            return to_integers(way, 1.0, Layout(len(way)))

        return send

    return recruit


def boosted(recruit: Recruit, factor: int) -> Recruit:
    """The same, multiplied: a device that ignores its clip, and leaves the telling cells alone."""

    def louder(sessions: Sessions) -> Attack:
        honest = recruit(sessions)

        def send(number: int, point: Reals, vector: Whole) -> Whole:
            sent = honest(number, point, vector)
            return np.concatenate([sent[:-2] * factor, sent[-2:]])

        return send

    return louder


def hostile_among(
    people: tuple[Sessions, ...], share: float, recruit: Recruit, seed: int
) -> dict[int, Attack]:
    """A share of the people, drawn at random, made hostile."""
    count = round(share * len(people))
    chosen = np.random.default_rng(seed).permutation(len(people))[:count]
    return {int(place): recruit(people[place]) for place in chosen}
