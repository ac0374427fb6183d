"""Hears a recording through the device's front end, and cuts it into windows as a device would.

Rules it upholds: the same gate, descriptors and functionals as on the device; of an interview only
the participant's turns are described; sound is overwritten once described; descriptors never
leave memory; what is remembered is remembered by the content of the sound and of the code.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

from edge_models import acoustic, recordings, speech_gate, windows
from edge_models.acoustic import AcousticFrontEnd
from edge_models.bundle import Bundle
from edge_models.errors import ContractError, RecordingError
from edge_models.manifest import FRONT_END
from edge_models.raw import SAMPLE_RATE_HZ, RawAudio
from edge_models.recordings import read_recording
from edge_models.runner import OnnxGraph
from edge_models.speech_gate import SpeechGate
from edge_models.training.described_cache import Cache, Entry
from edge_models.training.streams import Floats
from edge_models.windows import HOP_SAMPLES, WINDOW_SAMPLES, windows_of

WINDOW_ROWS: Final = WINDOW_SAMPLES // HOP_SAMPLES
MINIMUM_SPEECH_ROWS: Final = 50
"""Half a second, of a recording that is one window: what a device asks of a short file."""

MINIMUM_LONG_ROWS: Final = 300
"""Three seconds, of each window of a longer recording: what a device asks while it listens."""

_ROWS_A_SECOND: Final = SAMPLE_RATE_HZ // HOP_SAMPLES
_CODE: Final = (acoustic, recordings, speech_gate, windows)
_PACKAGES: Final = ("numpy", "onnxruntime", "soxr", "webrtcvad-wheels")


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """What turns a window of sound into descriptors, a speech mask and functionals.

    `fingerprint` stands for the three graphs; without it nothing can be remembered.
    """

    gate: SpeechGate
    acoustic: AcousticFrontEnd
    fingerprint: str = ""

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> "FrontEnd":
        """The front end of a bundle."""
        return cls.of_graphs(*(bundle.raw(name) for name in FRONT_END))

    @classmethod
    def of_graphs(cls, gate: bytes, descriptors: bytes, functionals: bytes) -> "FrontEnd":
        """A front end of the bytes of its three ONNX graphs."""
        parts = (gate, descriptors, functionals)
        told = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts))
        graphs = [OnnxGraph(part) for part in parts]
        acoustic_end = AcousticFrontEnd(graphs[1], graphs[2])
        return cls(SpeechGate(graphs[0]), acoustic_end, told.hexdigest())


@dataclass(frozen=True, slots=True)
class Source:
    """A recording at a level and a speed: 0 and 1 for sound as recorded; `turns` as in `Clip`.

    At a `speed` of 1.1 it is a tenth faster, and pitch and formants are a tenth higher: another
    speaker saying the same in the same mood (Ko et al., "Audio Augmentation for Speech
    Recognition", Interspeech 2015).
    """

    path: Path
    gain_db: float = 0.0
    turns: tuple[tuple[float, float], ...] = ()
    speed: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What was heard: `descriptors` float32 (T, 25) and `speech` bool (T,), 100 rows a second."""

    descriptors: Floats
    speech: npt.NDArray[np.bool_]


class Ear:
    """Describes sources, and remembers: in a cache for ever, descriptors until `forget`."""

    def __init__(self, front_end: FrontEnd, cache: Cache | None = None) -> None:
        if cache is not None and not front_end.fingerprint:
            raise ContractError("A cache needs a front end that knows its graphs' hashes.")
        self._front_end = front_end
        self._cache = cache
        self._rows: dict[Source, Rows] = {}
        self._contents: dict[Path, str] = {}
        self._ways = _ways(front_end) if cache is not None else ""

    def described(self, source: Source) -> Entry:
        """The windows of a source: one of a short recording, one each ten seconds of a long one.

        Raises:
            RecordingError: it can't be decoded.
        """
        known = self._remembered(self._key([source]))
        if known is not None:
            return known
        rows = self._heard(source)
        pieces = list(_pieces(rows.speech))
        entry = Entry(
            summaries=self._summaries([[(rows, piece)] for piece in pieces]),
            rows=len(rows.speech),
        )
        if entry.rows > WINDOW_ROWS:
            self._rows.pop(source, None)  # it is never joined, and may be long
        return self._keep([source], entry)

    def joined(self, sources: Sequence[Source]) -> Floats:
        """One window of several short sources in order, float32 (F,)."""
        entry = self._remembered(self._key(sources))
        if entry is None or len(entry.summaries) != 1:
            parts = [(self._heard(source), slice(None)) for source in sources]
            rows = sum(len(part.speech) for part, _ in parts)
            entry = self._keep(sources, Entry(self._summaries([parts]), rows))
        summary: Floats = entry.summaries[0]
        return summary

    def forget(self) -> None:
        """Drop all descriptors."""
        self._rows.clear()

    def _heard(self, source: Source) -> Rows:
        if source not in self._rows:
            self._rows[source] = heard_rows(self._front_end, source)
        return self._rows[source]

    def _summaries(self, windows_told: Sequence[Sequence[tuple[Rows, slice]]]) -> Floats:
        summaries = [
            self._front_end.acoustic.summary(
                np.concatenate([rows.descriptors[piece] for rows, piece in parts]),
                np.concatenate([rows.speech[piece] for rows, piece in parts]),
            )
            for parts in windows_told
        ]
        width = len(acoustic.SUMMARY_NAMES)
        return np.asarray(summaries, np.float32).reshape(len(summaries), width)

    def _key(self, sources: Sequence[Source]) -> str:
        if self._cache is None:
            return ""
        told = [
            [self._content(source.path), round(source.gain_db, 6), source.turns, source.speed]
            for source in sources
        ]
        return hashlib.sha256((self._ways + json.dumps(told)).encode()).hexdigest()

    def _content(self, path: Path) -> str:
        if path not in self._contents:
            self._contents[path] = _content(path)
        return self._contents[path]

    def _remembered(self, key: str) -> Entry | None:
        return None if self._cache is None else self._cache.get(key)

    def _keep(self, sources: Sequence[Source], entry: Entry) -> Entry:
        if self._cache is not None:
            self._cache.put(self._key(sources), entry)
        return entry


def _ways(front_end: FrontEnd) -> str:
    """All that decides a description besides the sound: graphs, code, packages."""
    files = [Path(str(module.__file__)) for module in _CODE] + [Path(__file__)]
    code = hashlib.sha256(b"".join(hashlib.sha256(one.read_bytes()).digest() for one in files))
    packages = [f"{name} {version(name)}" for name in _PACKAGES]
    return json.dumps([front_end.fingerprint, code.hexdigest(), packages])


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as fault:
        raise RecordingError(f"'{path}' can't be read.", "Check its name.") from fault


def heard_rows(front_end: FrontEnd, source: Source) -> Rows:
    """All rows of a recording; of one with turns, only the rows inside them."""
    descriptors, speech = [], []
    gain = np.float32(10 ** (source.gain_db / 20))
    sound = _at_speed(_at_level(read_recording(source.path), gain), source.speed)
    for window in windows_of(sound):
        speech.append(front_end.gate.speech(window))
        descriptors.append(front_end.acoustic.descriptors(window))
        window.wipe()
    rows = Rows(np.concatenate(descriptors), np.concatenate(speech))
    if not source.turns:
        return rows
    own = np.zeros(len(rows.speech), np.bool_)
    for start_s, end_s in source.turns:
        start, end = (round(s / source.speed * _ROWS_A_SECOND) for s in (start_s, end_s))
        own[start:end] = True
    return Rows(rows.descriptors[own], rows.speech[own])


def _at_level(blocks: Iterator[RawAudio], gain: np.float32) -> Iterator[RawAudio]:
    for block in blocks:
        if gain == 1:
            yield block
            continue
        yield RawAudio(np.clip(block.samples * gain, -1, 1), block.first_sample)
        block.wipe()


def _at_speed(blocks: Iterator[RawAudio], speed: float) -> Iterator[RawAudio]:
    if speed == 1:
        yield from blocks
        return
    stretched = soxr.ResampleStream(SAMPLE_RATE_HZ * speed, SAMPLE_RATE_HZ, 1, dtype="float32")
    first = 0
    for block in blocks:
        samples = stretched.resample_chunk(block.samples)
        block.wipe()
        yield RawAudio(samples, first)
        first += len(samples)
    yield RawAudio(stretched.resample_chunk(np.zeros(0, np.float32), last=True), first)


def _pieces(speech: npt.NDArray[np.bool_]) -> Iterator[slice]:
    """Where the windows are: a short recording is one, a longer one is cut each ten seconds."""
    least = MINIMUM_SPEECH_ROWS if len(speech) <= WINDOW_ROWS else MINIMUM_LONG_ROWS
    for start in range(0, len(speech), WINDOW_ROWS):
        piece = slice(start, start + WINDOW_ROWS)
        if np.count_nonzero(speech[piece]) >= least:
            yield piece
