"""The table of simulated pairs: sadness, and the pair's identity, from face and voice together.

Rules it upholds: see `face_pairs.py`; a fold's voice model is trained without the voices that are
bound to the fold's faces.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from edge_models.training.face_attacks import FACE_PANEL, attacked, sides_of
from edge_models.training.face_figures import PairFigures, privacy
from edge_models.training.face_levels import Level
from edge_models.training.face_lines import Fold
from edge_models.training.face_pairs import PAIR_LEVELS, Moments, bound, fused, moments, spoken
from edge_models.training.face_utility import SAD, over_people, two_sided
from edge_models.training.identity import SIX, Campaign, Samples
from edge_models.training.identity.panel import Member
from edge_models.training.int8_model import Int8Model, trained
from edge_models.training.metrics import Estimate, balanced_accuracy, both_sides, estimated, pooled
from edge_models.training.seen_faces import Faces
from edge_models.training.streams import Windows

PERMUTATIONS: Final = 1
STRENGTH: Final = 0.3
Floats = npt.NDArray[np.float32]
Reals = npt.NDArray[np.float64]
Words = npt.NDArray[np.str_]
VoiceTraining = Callable[[Windows, int], Int8Model]
Told = Callable[[Sequence[Any], str], Iterator[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """Log-odds of sadness of M moments, float64 (M,), by face, voice and both."""

    face: Reals
    voice: Reals
    both: Reals
    sad: npt.NDArray[np.bool_]
    pair: Words


def pair_figures(
    acted: Faces,
    voices: Windows,
    folds: Sequence[Fold],
    seed: int,
    told: Told,
    training: VoiceTraining = trained,
    panel: Sequence[Member] = FACE_PANEL,
) -> tuple[PairFigures, ...]:
    """All levels of the pairs; `training` makes a fold's voice model, `panel` attacks."""
    rng = np.random.default_rng(seed)
    clips = spoken(voices)
    binding = bound(acted, clips, rng)
    joined = moments(acted, clips, binding, rng)
    answers: dict[Level, list[_Answers]] = {level: [] for level in PAIR_LEVELS}
    campaigns: dict[Level, list[Campaign]] = {level: [] for level in PAIR_LEVELS}
    for fold in told(folds, "Pairing faces with voices"):
        held = np.isin(joined.pair, fold.held.person)
        if len(np.unique(joined.pair[held])) < 2:
            continue
        own = {binding[str(person)] for person in np.unique(joined.pair[held])}
        model = training(voices.at(~np.isin(voices.person, sorted(own))), seed)
        for level in PAIR_LEVELS:
            turn = np.random.default_rng(seed)
            rows = fused(acted, clips, joined, (fold.levels, model), level, turn)
            answers[level].append(_answered(rows, joined, held))
            both = np.concatenate(rows, axis=1)[held]
            campaigns[level].append(_attacked(both, joined.at(held), seed, panel))
    return tuple(
        _figures(level, _together(answers[level]), campaigns, rng) for level in PAIR_LEVELS
    )


def _attacked(rows: Floats, joined: Moments, seed: int, panel: Sequence[Member]) -> Campaign:
    sides = sides_of(joined.expression)
    samples = Samples(rows, joined.pair, sides, joined.pose, joined.expression)
    return attacked(samples, seed, PERMUTATIONS, panel)


def _answered(
    rows: tuple[Floats, Floats], joined: Moments, held: npt.NDArray[np.bool_]
) -> _Answers:
    sad = joined.expression == SAD
    face, voice = rows
    of_face, of_voice, of_both = (
        _sad(block[~held], sad[~held], block[held])
        for block in (face, voice, np.concatenate(rows, axis=1))
    )
    return _Answers(of_face, of_voice, of_both, sad[held], joined.pair[held])


def _sad(known: Floats, sad: npt.NDArray[np.bool_], asked: Floats) -> Reals:
    rule = make_pipeline(
        StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=500, class_weight="balanced")
    )
    return np.asarray(rule.fit(known, sad).decision_function(asked), np.float64)


def _together(parts: Sequence[_Answers]) -> _Answers:
    return _Answers(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in _Answers.__slots__)
    )


def _figures(
    level: Level,
    answers: _Answers,
    campaigns: dict[Level, list[Campaign]],
    rng: np.random.Generator,
) -> PairFigures:
    def accuracy(log_odds: Reals) -> Estimate:
        return over_people(
            lambda rows: two_sided(log_odds[rows] >= 0, answers.sad[rows]), answers.pair, rng
        )

    six = pooled(answers.both, answers.sad, answers.pair, SIX, rng)
    told = six.scores, six.truth, six.people, rng
    original = campaigns[PAIR_LEVELS[0]]
    return PairFigures(
        level,
        len(np.unique(answers.pair)),
        accuracy(answers.face),
        accuracy(answers.voice),
        accuracy(answers.both),
        estimated(balanced_accuracy, *told) if both_sides(six.truth) else None,
        tuple(privacy("pairs", campaigns[level], original, size, rng) for size in (1, SIX)),
    )
