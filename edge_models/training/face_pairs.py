"""Voice and face together: **simulated** pairs, each one person's face bound to another's voice.

Rules it upholds: no open corpus at hand has both with affect labels, so a pair is never called a
person; a face is bound to one voice for good; a moment joins a photograph and a clip of the same
emotion; a fold's models have met neither its faces nor its voices; enrolment and test show other
emotions, in other texts where the table tells them.

The fusion is late: the face's numbers and the voice's numbers side by side, one linear rule.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.training.corpora import EMOTIONS
from edge_models.training.face_attacks import sides_of
from edge_models.training.face_levels import FaceLevels, Level
from edge_models.training.faces import EXPRESSIONS
from edge_models.training.int8_model import Int8Model
from edge_models.training.seen_faces import Faces
from edge_models.training.streams import Kind, Windows, passed, random_order

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]
Words = npt.NDArray[np.str_]

CLIPS_EACH: Final = 2
"""Clips of the same emotion that each photograph is joined with."""

PAIR_LEVELS: Final = (Level.SHAPES, Level.BASELINE, Level.EMBEDDING)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """M moments: `face` and `voice` (M,) are rows of their tables; the rest are words (M,)."""

    face: Places
    voice: Places
    pair: Words
    expression: Words
    pose: Words

    def at(self, rows: npt.NDArray[np.bool_]) -> "Moments":
        """Some of the moments."""
        return Moments(*(getattr(self, name)[rows] for name in self.__slots__))


def spoken(voices: Windows) -> Windows:
    """Clips as recorded, whose emotion is among EXPRESSIONS."""
    emotions = [EMOTIONS.index(word) for word in EXPRESSIONS]
    kept = (voices.kind == Kind.CLIP) & (voices.take == 0) & np.isin(voices.emotion, emotions)
    return voices.at(kept)


def bound(faces: Faces, clips: Windows, rng: np.random.Generator) -> dict[str, str]:
    """Whose face has whose voice: people who show, and say, all four expressions.

    As many pairs as the smaller of the two has people.
    """
    seen = [p for p in np.unique(faces.person) if _all_of(faces.expression[faces.person == p])]
    heard = [p for p in np.unique(clips.person) if _all_of(_words(clips)[clips.person == p])]
    return dict(zip(map(str, seen), map(str, rng.permutation(heard)), strict=False))


def moments(
    faces: Faces, clips: Windows, binding: dict[str, str], rng: np.random.Generator
) -> Moments:
    """Each photograph of a pair's face with clips of its voice, of the same emotion.

    Where the table tells which text was spoken, a voice's texts are halved between the halves of
    the expressions, so that enrolment and test share none.
    """
    sides, words, texts = sides_of(faces.expression), _words(clips), _text_sides(clips)
    rows: list[tuple[int, int]] = []
    for face in range(len(faces)):
        voice = binding.get(str(faces.person[face]))
        same = (clips.person == voice) & (words == faces.expression[face])
        halved = same & ((texts == "") | (texts == sides[face]))
        own = np.flatnonzero(halved if halved.any() else same)
        for clip in rng.permutation(own)[:CLIPS_EACH]:
            rows.append((face, int(clip)))
    of_face, of_voice = np.asarray(rows, np.intp).T
    return Moments(
        of_face, of_voice, faces.person[of_face], faces.expression[of_face], faces.pose[of_face]
    )


def voice_rows(model: Int8Model, clips: Windows, level: Level, rng: np.random.Generator) -> Floats:
    """Clips at the same level of the voice, float32 (N, D): functionals, z-scores, embedding."""
    if level is Level.SHAPES:
        return clips.summaries
    streams = passed(clips, model.population, random_order(clips, Kind.CLIP, rng))
    told = streams.z if level is Level.BASELINE else model.embeddings(streams)
    rows = np.zeros((len(clips), told.shape[1]), np.float32)
    rows[streams.places] = told
    return rows


def fused(
    faces: Faces,
    clips: Windows,
    joined: Moments,
    learnt: tuple[FaceLevels, Int8Model],
    level: Level,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """The moments' numbers of the face and of the voice at a level, (M, D) and (M, E)."""
    of_faces, of_voices = learnt
    seen = of_faces.seen(faces, level, rng)
    return seen[joined.face], voice_rows(of_voices, clips, level, rng)[joined.voice]


def _all_of(words: Words) -> bool:
    return set(words.tolist()) >= set(EXPRESSIONS)


def _words(clips: Windows) -> Words:
    return np.asarray(EMOTIONS)[clips.emotion]


def _text_sides(clips: Windows) -> Words:
    """Which half of the expressions each clip's text goes with, by turns within a set; or ""."""
    texts = clips.sentence
    names = sorted(set(sides_of(np.asarray(EXPRESSIONS)).tolist()))
    sides = np.full(len(clips), "", dtype=object)
    for dataset in np.unique(clips.dataset):
        own = clips.dataset == dataset
        for turn, text in enumerate(np.unique(texts[own & (texts != "")])):
            sides[own & (texts == text)] = names[turn % 2]
    return np.asarray(sides, str)
