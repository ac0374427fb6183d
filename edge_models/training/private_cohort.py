"""A simulated cohort as private training takes it: whole people, labelled in one of two ways.

Rules it upholds: each simulated person is a person of their own, whoever else has the same voice,
and all their windows go with them. Many share a real speaker's voice: so "person" is a simulated
person, and no epsilon on such a cohort says how well a *speaker* is hidden.

Windows are labelled by the emotion that was acted, which no study could know, or by the
questionnaire that the simulated person gave around them, as in a study.
"""

from enum import StrEnum
from typing import Final

import numpy as np

from edge_models.training.cohort import Answered, Voices, simulated_cohort
from edge_models.training.private_ground import Heard
from edge_models.training.private_people import ANSWER_SHARES, People, Truths
from edge_models.training.streams import Floats

PHQ8_FROM: Final = 10
GAD7_FROM: Final = 10
"""Cuts of the questionnaires, as on devices: Kroenke et al. 2009, Spitzer et al. 2006."""


class Labels(StrEnum):
    """What windows are labelled by: the acted emotion of each, or their person's answers."""

    ACTED = "acted"
    ANSWERS = "answers"


def cohort_of(
    heard: Heard,
    features: Floats,
    people: int,
    rng: np.random.Generator,
    labels: Labels = Labels.ACTED,
    *,
    shuffled: bool = False,
) -> People:
    """A simulated cohort that speaks with these voices, as private training takes it.

    Each simulated person is a person of their own, whoever else has the same voice. `shuffled`
    permutes acted labels among a speaker's windows, or answers among all that were given.
    """
    places = np.arange(len(features), dtype=np.float32)[:, None]  # exact below 2^24
    voices = Voices(embeddings=places, speaker=heard.speaker, affect=heard.affect, made_up=False)
    drawn = simulated_cohort(voices, people, int(rng.integers(2**31)))
    told = [(f"simulated-{n:05d}", given) for n, one in enumerate(drawn) for given in one.answered]
    rows = np.concatenate([given.windows[:, 0] for _, given in told]).astype(np.intp)
    count = [len(given.windows) for _, given in told]
    names = np.repeat([name for name, _ in told], count)
    if labels is Labels.ACTED:
        truth = _shuffled(heard, rng) if shuffled else heard.truth
        return People.of(features, truth, heard.known, names, rows=rows)
    answers = np.asarray([_truth_of(given) for _, given in told])
    if shuffled:
        answers = rng.permutation(answers)
    truth = np.repeat(answers, count, axis=0)
    return People.of(features[rows], truth, np.ones_like(truth), names, shares=ANSWER_SHARES)


def _truth_of(given: Answered) -> tuple[bool, bool, bool]:
    low, worried = given.phq8 >= PHQ8_FROM, given.gad7 >= GAD7_FROM
    return low, worried, low or worried


def _shuffled(heard: Heard, rng: np.random.Generator) -> Truths:
    """Labels permuted among each speaker's windows."""
    truth = heard.truth.copy()
    for speaker in np.unique(heard.speaker):
        own = np.flatnonzero(heard.speaker == speaker)
        truth[own] = truth[rng.permutation(own)]
    return truth
