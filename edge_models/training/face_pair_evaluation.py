"""The table of simulated pairs: sadness, and the pair's identity, from face and voice together.

Rules it upholds: see `face_pairs.py`; a fold's voice model is trained without the voices that are
bound to the fold's faces.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from edge_models.training.face_attacks import FaceEffort, attacked, sides_of
from edge_models.training.face_figures import PairFigures, privacy
from edge_models.training.face_levels import Level
from edge_models.training.face_lines import Fold
from edge_models.training.face_pairs import PAIR_LEVELS, Moments, bound, fused, moments, spoken
from edge_models.training.face_parts import Kept, Progress, part_of
from edge_models.training.face_utility import SAD, over_people, two_sided
from edge_models.training.identity import SIX, Campaign, Samples, Told, together
from edge_models.training.identity.kept import Arrays, kept_again, kept_of, of_each_size
from edge_models.training.identity.panel import SIZES
from edge_models.training.int8_model import Int8Model, trained
from edge_models.training.metrics import Estimate, balanced_accuracy, both_sides, estimated, pooled
from edge_models.training.seen_faces import Faces
from edge_models.training.streams import Windows

FEWEST_PAIRS: Final = 8
STRENGTH: Final = 0.3
Floats = npt.NDArray[np.float32]
Reals = npt.NDArray[np.float64]
Words = npt.NDArray[np.str_]
VoiceTraining = Callable[[Windows, int], Int8Model]


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """Log-odds of sadness of M moments, float64 (M,), by face, voice and both."""

    face: Reals
    voice: Reals
    both: Reals
    sad: npt.NDArray[np.bool_]
    pair: Words


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One fold at one level: answers, and who was named, by question size."""

    answers: _Answers
    named: Mapping[int, Told]

    def arrays(self, start: str) -> Arrays:
        kept: Arrays = {
            f"{start}{name}": getattr(self.answers, name) for name in _Answers.__slots__
        }
        for size, told in self.named.items():
            kept |= kept_of(told, f"{start}{size}/")
        return kept

    @classmethod
    def again(cls, kept: Arrays, start: str) -> Self:
        answers = _Answers(*(kept[f"{start}{name}"] for name in _Answers.__slots__))
        return cls(answers, {size: kept_again(kept, f"{start}{size}/") for size in SIZES})


def pair_figures(
    acted: Faces,
    voices: Windows,
    folds: Sequence[Fold],
    seed: int,
    told: Progress,
    effort: FaceEffort,
    kept: Kept,
    training: VoiceTraining = trained,
) -> tuple[PairFigures, ...]:
    """All levels of the pairs, or none where fewer than eight people say all four expressions.

    `training` makes a fold's voice model.
    """
    rng = np.random.default_rng(seed)
    clips = spoken(voices)
    binding = bound(acted, clips, rng)
    if len(binding) < FEWEST_PAIRS:
        return ()
    joined = moments(acted, clips, binding, rng)
    pairs = _Pairs(acted, voices, clips, binding, joined, seed, effort, training)
    parts: dict[Level, list[_Part]] = {level: [] for level in PAIR_LEVELS}
    for place, fold in enumerate(told(folds, "Pairing faces with voices")):
        held = np.isin(joined.pair, fold.held.person)
        if len(np.unique(joined.pair[held])) < 2:
            continue
        arrays = part_of(kept, f"pairs {place}", partial(pairs.fold, fold, held))
        for level in PAIR_LEVELS:
            parts[level].append(_Part.again(arrays, f"{level}/"))
    original = parts[PAIR_LEVELS[0]]
    return tuple(_figures(level, parts[level], original, rng) for level in PAIR_LEVELS)


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """What is the same for every fold of the pairs."""

    acted: Faces
    voices: Windows
    clips: Windows
    binding: Mapping[str, str]
    joined: Moments
    seed: int
    effort: FaceEffort
    training: VoiceTraining

    def fold(self, fold: Fold, held: npt.NDArray[np.bool_]) -> Arrays:
        """Train without the voices of the `held` moments' pairs; answer, and attack, each level."""
        own = {self.binding[str(person)] for person in np.unique(self.joined.pair[held])}
        others = self.voices.at(~np.isin(self.voices.person, sorted(own)))
        learnt = fold.levels, self.training(others, self.seed)
        kept: Arrays = {}
        for level in PAIR_LEVELS:
            turn = np.random.default_rng(self.seed)
            rows = fused(self.acted, self.clips, self.joined, learnt, level, turn)
            both = np.concatenate(rows, axis=1)[held]
            campaign = _attacked(both, self.joined.at(held), self.seed, self.effort)
            part = _Part(_answered(rows, self.joined, held), of_each_size([campaign]))
            kept |= part.arrays(f"{level}/")
        return kept


def _attacked(rows: Floats, joined: Moments, seed: int, effort: FaceEffort) -> Campaign:
    sides = sides_of(joined.expression)
    samples = Samples(rows, joined.pair, sides, joined.pose, joined.expression)
    return attacked(samples, seed, effort.pair_permutations, effort.panel)


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
    level: Level, parts: Sequence[_Part], originals: Sequence[_Part], rng: np.random.Generator
) -> PairFigures:
    answers = _together([part.answers for part in parts])

    def accuracy(log_odds: Reals) -> Estimate:
        return over_people(
            lambda rows: two_sided(log_odds[rows] >= 0, answers.sad[rows]), answers.pair, rng
        )

    six = pooled(answers.both, answers.sad, answers.pair, SIX, rng)
    told = six.scores, six.truth, six.people, rng
    return PairFigures(
        level,
        len(np.unique(answers.pair)),
        accuracy(answers.face),
        accuracy(answers.voice),
        accuracy(answers.both),
        estimated(balanced_accuracy, *told) if both_sides(six.truth) else None,
        tuple(
            privacy(
                "pairs",
                size,
                together([part.named[size] for part in parts]),
                together([part.named[size] for part in originals]),
                rng,
            )
            for size in SIZES
        ),
    )
