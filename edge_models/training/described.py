"""Recordings of affect speech, described by the bundle's own front end, as windows to learn from.

Rules it upholds: training hears through the same gate, descriptors and functionals as the
device; a joined window holds one person and one emotion only; sound is overwritten once
described, nothing of it is written anywhere.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.acoustic import AcousticFrontEnd
from edge_models.errors import RecordingError
from edge_models.raw import RawAudio
from edge_models.recordings import read_recording
from edge_models.speech_gate import SpeechGate
from edge_models.training.corpora import EMOTIONS, Clip, folds_of, labels_of
from edge_models.training.streams import Floats, Kind, Windows
from edge_models.windows import HOP_SAMPLES, WINDOW_SAMPLES, windows_of

FOLDS: Final = 5
TAKES: Final = 2
"""Each person is heard as recorded, and once more at a level of their own: microphones differ."""

SOFTEST_DB: Final = -15.0
LOUDEST_DB: Final = 6.0
MINIMUM_SPEECH_ROWS: Final = 50
_WINDOW_ROWS: Final = WINDOW_SAMPLES // HOP_SAMPLES


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """What turns a window of sound into descriptors, a speech mask and functionals."""

    gate: SpeechGate
    acoustic: AcousticFrontEnd


@dataclass(frozen=True, slots=True, eq=False)
class _Heard:
    """One clip in one take: `descriptors` float32 (T, 25), `speech` bool (T,)."""

    clip: int
    take: int
    descriptors: Floats
    speech: npt.NDArray[np.bool_]


def described(
    folder: Path,
    clips: Sequence[Clip],
    front_end: FrontEnd,
    seed: int,
    told: Callable[[Sequence[Clip]], Iterator[Clip]] = iter,
) -> Windows:
    """Every clip as one window, and joined windows of about ten seconds.

    Clips with less than half a second of speech are left out, as the device would. `told` wraps
    the clips to show progress.

    Raises:
        RecordingError: a clip can't be decoded, or none holds speech.
    """
    rng = np.random.default_rng(seed)
    people = sorted({clip.person for clip in clips})
    levels_db = dict(zip(people, rng.uniform(SOFTEST_DB, LOUDEST_DB, len(people)), strict=True))
    heard = []
    for place, clip in enumerate(told(clips)):
        for take in range(TAKES):
            gain = 10 ** (levels_db[clip.person] / 20) if take else 1.0
            one = _hear(front_end, folder / clip.path, np.float32(gain), place, take)
            if np.count_nonzero(one.speech) >= MINIMUM_SPEECH_ROWS:
                heard.append(one)
    if not heard:
        raise RecordingError("None of the recordings holds speech.", "Look at their manifest.")
    groups = [[one] for one in heard] + list(_joined(heard, clips, rng))
    return _table(groups, clips, front_end)


def _hear(front_end: FrontEnd, path: Path, gain: np.float32, clip: int, take: int) -> _Heard:
    """A recording of any length, as if it were one window."""
    descriptors, speech = [], []
    for window in windows_of(_at_level(read_recording(path), gain)):
        speech.append(front_end.gate.speech(window))
        descriptors.append(front_end.acoustic.descriptors(window))
        window.wipe()
    return _Heard(clip, take, np.concatenate(descriptors), np.concatenate(speech))


def _at_level(blocks: Iterator[RawAudio], gain: np.float32) -> Iterator[RawAudio]:
    for block in blocks:
        if gain == 1:
            yield block
            continue
        yield RawAudio(np.clip(block.samples * gain, -1, 1), block.first_sample)
        block.wipe()


def _joined(
    heard: Sequence[_Heard], clips: Sequence[Clip], rng: np.random.Generator
) -> Iterator[list[_Heard]]:
    """Clips of one person, emotion and take, shuffled twice and cut at about ten seconds."""
    groups: dict[tuple[str, str, int], list[_Heard]] = {}
    for one in heard:
        clip = clips[one.clip]
        groups.setdefault((clip.person, clip.emotion, one.take), []).append(one)
    for group in groups.values():
        for _ in range(2):
            part: list[_Heard] = []
            for place in rng.permutation(len(group)):
                part.append(group[place])
                if sum(len(one.speech) for one in part) >= 0.9 * _WINDOW_ROWS:
                    yield part
                    part = []


def _table(
    groups: Sequence[Sequence[_Heard]], clips: Sequence[Clip], front_end: FrontEnd
) -> Windows:
    summaries = [
        front_end.acoustic.summary(
            np.concatenate([one.descriptors for one in group]),
            np.concatenate([one.speech for one in group]),
        )
        for group in groups
    ]
    first = np.asarray([group[0].clip for group in groups])
    labels, folds = labels_of(clips), folds_of(clips, FOLDS)
    told = [clips[place] for place in first]
    return Windows(
        summaries=np.asarray(summaries, np.float32),
        truth=labels.truth[first],
        known=labels.known[first],
        emotion=np.asarray([_place_of(clip.emotion) for clip in told]),
        person=np.asarray([clip.person for clip in told]),
        dataset=np.asarray([clip.dataset for clip in told]),
        sex=np.asarray([str(clip.sex) for clip in told]),
        kind=np.asarray([str(Kind.CLIP if len(group) == 1 else Kind.JOINED) for group in groups]),
        take=np.asarray([group[0].take for group in groups]),
        fold=folds[first],
    )


def _place_of(emotion: str) -> int:
    return EMOTIONS.index(emotion) if emotion in EMOTIONS else -1
