"""Windows in which two people speak at once: two recordings summed, then described as one.

Rules it upholds: what is described is the sum of two real recordings, through the same gate and
graphs as any window; sound is overwritten once described, nothing of it is written anywhere.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.raw import RawAudio
from edge_models.recordings import read_recording
from edge_models.training.corpora import EMOTIONS, Clip
from edge_models.training.hearing import MINIMUM_SPEECH_ROWS, FrontEnd
from edge_models.training.streams import Floats, Kind, Windows
from edge_models.windows import windows_of

SOFTER_DB: Final = (0.0, 12.0)
"""How much softer the other one is heard, drawn evenly."""

MOST_BESIDE: Final = 17
"""With how many others each speaker is heard: the next ones in order of name."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One clip, another person's clip, and how much softer that one is heard, in decibels."""

    clip: Clip
    other: Clip
    softer_db: float


def pairs_of(clips: Sequence[Clip], seed: int) -> list[Pair]:
    """Each speaker, sad, fearful and otherwise, beside a clip of each of some others."""
    rng = np.random.default_rng(seed)
    people = sorted({clip.person for clip in clips})
    by_person = {one: [clip for clip in clips if clip.person == one] for one in people}
    pairs = []
    for place, person in enumerate(people):
        beside = [people[(place + n) % len(people)] for n in range(1, len(people))][:MOST_BESIDE]
        for group in _by_affect(by_person[person]):
            for other in beside:
                second = by_person[other]
                clip, companion = group[rng.integers(len(group))], second[rng.integers(len(second))]
                pairs.append(Pair(clip, companion, float(rng.uniform(*SOFTER_DB))))
    return pairs


def _by_affect(clips: Sequence[Clip]) -> list[list[Clip]]:
    groups: dict[str, list[Clip]] = {"sad": [], "fearful": [], "other": []}
    for clip in clips:
        groups[clip.emotion if clip.emotion in groups else "other"].append(clip)
    return [group for group in groups.values() if group]


def spoken_together(
    folder: Path, pairs: Iterable[Pair], windows: Windows, front_end: FrontEnd
) -> tuple[Windows, npt.NDArray[np.str_]]:
    """Describe pairs: windows of the first one's person and affect, and (n,) who else is heard.

    What is known of the person is taken from `windows`. Pairs in which the gate hears less than
    half a second of speech are left out.

    Raises:
        RecordingError: a clip can't be decoded.
    """
    summaries, places, others = [], [], []
    for pair in pairs:
        summary = _described(_sum(folder, pair), front_end)
        if summary is not None:
            summaries.append(summary)
            places.append(_alike(windows, pair.clip))
            others.append(pair.other.person)
    alike = windows.at(np.asarray(places, np.intp))
    shape = (len(summaries), windows.summaries.shape[1])
    mixed = replace(alike, summaries=np.asarray(summaries, np.float32).reshape(shape))
    return mixed, np.asarray(others, dtype=windows.person.dtype)


def _alike(windows: Windows, clip: Clip) -> int:
    """A window, as recorded, of the clip's person and emotion."""
    emotion = EMOTIONS.index(clip.emotion) if clip.emotion in EMOTIONS else -1
    same = (windows.person == clip.person) & (windows.kind == Kind.CLIP) & (windows.take == 0)
    return int(np.argmax(same & (windows.emotion == emotion)))


def _sum(folder: Path, pair: Pair) -> RawAudio:
    """Both recordings from their start, equally loud but for `softer_db`, as long as the first."""
    first, second = (_samples(folder / clip.path) for clip in (pair.clip, pair.other))
    level = np.sqrt(np.mean(first**2) / max(float(np.mean(second**2)), 1e-12))
    second *= np.float32(level * 10 ** (-pair.softer_db / 20))
    length = min(len(first), len(second))
    first[:length] += second[:length]
    second.fill(0)
    return RawAudio(np.clip(first, -1, 1, out=first), 0)


def _samples(path: Path) -> Floats:
    blocks = list(read_recording(path))
    samples = np.concatenate([block.samples for block in blocks])
    for block in blocks:
        block.wipe()
    return samples


def _described(sound: RawAudio, front_end: FrontEnd) -> Floats | None:
    descriptors, speech = [], []
    for window in windows_of([sound]):
        speech.append(front_end.gate.speech(window))
        descriptors.append(front_end.acoustic.descriptors(window))
        window.wipe()
    sound.wipe()
    heard = np.concatenate(speech)
    if np.count_nonzero(heard) < MINIMUM_SPEECH_ROWS:
        return None
    return front_end.acoustic.summary(np.concatenate(descriptors), heard)
