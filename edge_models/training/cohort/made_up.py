"""Voices where there are no recordings: a labelled Gaussian mixture of public constants."""

from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.bundle import Bundle
from edge_models.frame import CALMER
from edge_models.training.cohort.voices import AFFECTS, Voices

_WINDOW: Final = 0.6  # in spreads of the frame: how far windows lie apart
_VOICE: Final = 0.05  # and voices: the baseline has taken the rest
_AFFECT: Final = 2.5


def made_up_voices(
    bundle: Bundle, seed: int, speakers: int = 18, each: int = 60, *, together: bool = False
) -> Voices:
    """A labelled Gaussian mixture in the bundle's frame; voices are offsets, affects directions.

    In spreads of the frame: noise of `_WINDOW`, voices apart by `_VOICE`, sad windows `_AFFECT`
    along the head's sadness row, fearful ones as far along its fear row. `together` adds, for each
    two speakers and affect, one window halfway between both.
    """
    rng = np.random.default_rng(seed)
    frame, head = bundle.frame, bundle.head
    rows = np.asarray(head.weights)[:2]
    ways = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    affect = np.tile(np.asarray(AFFECTS), speakers * each // 3)
    owner = np.repeat(np.arange(speakers), each)
    windows = rng.normal(0, _WINDOW, (speakers * each, head.embedding_size))
    windows += rng.normal(0, _VOICE, (speakers, head.embedding_size))[owner]
    for word, way in zip(("sad", "fearful"), ways, strict=True):
        windows[affect == word] += _AFFECT * way
    windows = frame.centre + CALMER * frame.scale * windows
    names = np.asarray([f"made-up-{number:02d}" for number in owner])
    alone = Voices(windows.astype(np.float32), names, affect, made_up=True)
    return _halfway(alone, rng) if together else alone


def _halfway(voices: Voices, rng: np.random.Generator) -> Voices:
    told = [
        (rng.choice(_rows(voices, one, affect)), rng.choice(np.flatnonzero(voices.speaker == two)))
        for one in voices.speakers
        for two in voices.speakers
        for affect in AFFECTS
        if one != two
    ]
    first, second = np.asarray(told, np.intp).reshape(-1, 2).T
    between = (voices.embeddings[first] + voices.embeddings[second]) / 2
    return Voices(
        np.concatenate([voices.embeddings, between]),
        np.concatenate([voices.speaker, voices.speaker[first]]),
        np.concatenate([voices.affect, voices.affect[first]]),
        made_up=True,
        second=np.concatenate([voices.beside, voices.speaker[second]]),
    )


def _rows(voices: Voices, speaker: str, affect: str) -> npt.NDArray[np.intp]:
    return np.flatnonzero((voices.speaker == speaker) & (voices.affect == affect))
