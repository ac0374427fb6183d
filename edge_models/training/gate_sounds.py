"""What the speech gate learns from: speech, noises and their truth, split before anything else.

Rules it upholds: a person, and a noise recording, belongs to one split only; the truth of a
mixture comes from the clean speech alone, before any noise, room or gain was put on it.
"""

import csv
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import RecordingError
from edge_models.recordings import read_recording
from edge_models.speech_gate import runs_of
from edge_models.windows import HOP_SAMPLES

Sound = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


class Split(StrEnum):
    """Which figures a person or a noise recording may enter."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class NoiseKind(StrEnum):
    """What is heard beside the speaker; babble is mixed from speakers, not read from a file."""

    MUSIC = "music"
    BABBLE = "babble"
    CLATTER = "clatter"
    AMBIENCE = "ambience"


SPEECH_SETS: Final = frozenset(
    {"ravdess", "emodb", "librispeech test-other", "librispeech train-clean-100"}
)
THRESHOLD_DB: Final = -30.0
"""Of -25 to -40 dB the one that agrees best with silero-vad on clean speech of all four sets."""

LONGEST_GAP_ROWS: Final = 10
SHORTEST_BURST_ROWS: Final = 3
_DEAL: Final = (Split.TRAIN, Split.TEST, Split.TRAIN, Split.VALIDATION, Split.TRAIN)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One clean clip: `sound` int16 (n,), `truth` bool (n // 160,), and who speaks."""

    person: str
    corpus: str
    sound: npt.NDArray[np.int16]
    truth: Mask


@dataclass(frozen=True, slots=True)
class Noise:
    """One recording without near speech: int16 (n,)."""

    kind: NoiseKind
    name: str
    sound: npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Sounds:
    """The clips of one split."""

    split: Split
    utterances: tuple[Utterance, ...]
    noises: tuple[Noise, ...]

    def of_kind(self, kind: NoiseKind) -> tuple[Noise, ...]:
        """The noise recordings of one kind."""
        return tuple(noise for noise in self.noises if noise.kind is kind)


def sounds_of(recordings: Path, splits: Sequence[Split]) -> dict[Split, Sounds]:
    """Read the speech and noise of some splits.

    Raises:
        RecordingError: the folder lacks speech or noise, or a file can't be decoded.
    """
    speech_rows, noise_rows = [], []
    with (recordings / "MANIFEST.csv").open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table):
            if row["dataset"] in SPEECH_SETS:
                speech_rows.append(row)
            elif row["path"].startswith("noise/") and row["path"].endswith(".flac"):
                noise_rows.append(row)
    if not speech_rows or not noise_rows:
        raise RecordingError(
            "The recordings hold no speech or no noise to train the gate on.",
            "Point SOTTOVOCE_DATA at the complete folder.",
        )
    people = dealt({(row["dataset"], row["identity"]) for row in speech_rows})
    files = dealt({(_noise_class(row["path"]), _source(row["path"])) for row in noise_rows})
    found = {}
    for split in splits:
        found[split] = Sounds(
            split,
            tuple(
                _utterance(recordings / row["path"], row["identity"], row["dataset"])
                for row in speech_rows
                if people[row["dataset"], row["identity"]] is split
            ),
            tuple(
                Noise(kind_of(row["path"]), row["path"], _pcm(recordings / row["path"]))
                for row in noise_rows
                if files[_noise_class(row["path"]), _source(row["path"])] is split
            ),
        )
    return found


def dealt(members: set[tuple[str, str]]) -> dict[tuple[str, str], Split]:
    """Deal the members of each group to the splits, three fifths to training.

    The order is a checksum of the name: the same on every machine, no pattern of the naming.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for group, member in members:
        groups[group].append(member)
    return {
        (group, member): _DEAL[place % len(_DEAL)]
        for group, each in groups.items()
        for place, member in enumerate(sorted(each, key=lambda name: zlib.crc32(name.encode())))
    }


def kind_of(path: str) -> NoiseKind:
    """What kind of noise a recording of `noise/` is, by its name."""
    name = Path(path).stem
    if name.startswith("music"):
        return NoiseKind.MUSIC
    if "coffee" in name:
        return NoiseKind.BABBLE
    calm = ("rain", "sea_waves", "helicopter")
    if name.startswith("blanket") or name.startswith(calm) or name.endswith("_noise"):
        return NoiseKind.AMBIENCE
    return NoiseKind.CLATTER


def _noise_class(path: str) -> str:
    """Recordings that are dealt among each other: an ESC-10 class, a kind otherwise."""
    if "esc10/" in path:
        return Path(path).stem.rstrip("-ABCDEFGH0123456789").rsplit("_", 1)[0]
    return str(kind_of(path))


def _source(path: str) -> str:
    """The recording a clip was cut from: ESC-10 takes several from one."""
    stem = Path(path).stem
    return stem.rsplit("-", 1)[0] if "esc10/" in path else stem


def _pcm(path: Path) -> npt.NDArray[np.int16]:
    whole = np.concatenate([block.samples for block in read_recording(path)])
    return np.clip(whole * 32768, -32768, 32767).astype(np.int16)


def _utterance(path: Path, person: str, corpus: str) -> Utterance:
    sound = _pcm(path)
    return Utterance(person, corpus, sound, clean_truth(sound.astype(np.float32) / 32768))


def clean_truth(clean: Sound) -> Mask:
    """Where clean speech is active: bool (n // 160,), from its energy alone.

    A row is active when the 20 ms around it reach `THRESHOLD_DB` below the clip's active level
    (mean power of the rows within 30 dB of the 95th percentile, in the manner of ITU-T P.56)
    and stand 6 dB above its noise floor (5th percentile); gaps up to 100 ms are closed, bursts
    under 30 ms dropped.
    """
    rows = len(clean) // HOP_SAMPLES
    if rows == 0:
        return np.zeros(0, np.bool_)
    steady = clean[: rows * HOP_SAMPLES] - np.mean(clean)
    power = np.square(steady.astype(np.float64)).reshape(rows, HOP_SAMPLES).mean(axis=1)
    padded = np.pad(power, 1, mode="edge")
    power = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
    level_db = 10 * np.log10(power + 1e-12)
    loud_db = np.percentile(level_db, 95)
    active_db = 10 * np.log10(power[level_db > loud_db - 30].mean() + 1e-12)
    floor_db = np.percentile(level_db, 5)
    # In a clip without pauses the quietest rows are speech too: the floor can't lift the bar.
    bar_db = max(active_db + THRESHOLD_DB, min(floor_db + 6, active_db - 20))
    active: Mask = level_db > bar_db
    starts, ends = runs_of(active)
    for end, start in zip(ends[:-1], starts[1:], strict=True):
        if start - end <= LONGEST_GAP_ROWS:
            active[end:start] = True
    for start, end in zip(*runs_of(active), strict=True):
        if end - start < SHORTEST_BURST_ROWS:
            active[start:end] = False
    return active
