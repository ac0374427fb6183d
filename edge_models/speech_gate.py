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

VOTE_MODES: Final = (1, 3)
"""webrtcvad's aggressiveness whose decisions the graph sees: a generous and a strict one."""

VOTE_FRAME_SAMPLES: Final = 320
"""webrtcvad takes 10, 20 or 30 ms; 20 ms costs two thirds of 10 ms and decides as well."""

THRESHOLD: Final = 0.5
LONGEST_GAP_ROWS: Final = 8
SHORTEST_SPEECH_ROWS: Final = 6

Mask = npt.NDArray[np.bool_]
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


def votes(samples: Row) -> Row:
    """webrtcvad's decisions on a stretch of sound: float32 (n // 160, 2) of 0 and 1.

    `samples` is float32 (n,) at 16 kHz; column k is mode `VOTE_MODES[k]`, started afresh on
    the stretch. A last half frame repeats the decision before it.

    Source: the WebRTC project's GMM voice activity detector, through `webrtcvad`.
    """
    pcm = pcm16(samples)
    rows = len(samples) // HOP_SAMPLES
    per_frame = VOTE_FRAME_SAMPLES // HOP_SAMPLES
    frames = rows // per_frame
    size_bytes = 2 * VOTE_FRAME_SAMPLES
    decided = np.zeros((rows, len(VOTE_MODES)), np.float32)
    for column, mode in enumerate(VOTE_MODES):
        heard = webrtcvad.Vad(mode).is_speech
        each = [
            heard(pcm[start : start + size_bytes], SAMPLE_RATE_HZ)
            for start in range(0, frames * size_bytes, size_bytes)
        ]
        spread = np.repeat(np.asarray(each, np.float32), per_frame)
        decided[: len(spread), column] = spread
        if frames:
            decided[len(spread) :, column] = spread[-1]
    return decided


def bare_webrtcvad(samples: Row, mode: int, frame_ms: int) -> Mask:
    """webrtcvad alone, for comparison: bool (n // 160,), each frame's decision on its rows."""
    rows_per_frame = frame_ms // 10
    pcm = pcm16(samples)
    size_bytes = 2 * rows_per_frame * HOP_SAMPLES
    heard = webrtcvad.Vad(mode).is_speech
    each = [
        heard(pcm[start : start + size_bytes], SAMPLE_RATE_HZ)
        for start in range(0, len(pcm) - size_bytes + 1, size_bytes)
    ]
    rows = np.zeros(len(samples) // HOP_SAMPLES, np.bool_)
    spread = np.repeat(np.asarray(each, np.bool_), rows_per_frame)
    rows[: len(spread)] = spread
    return rows


def pcm16(samples: Row) -> bytearray:
    """The samples as 16-bit PCM, as webrtcvad wants them; clipped, never wrapped around."""
    return bytearray(np.clip(samples * 32768.0, -32768, 32767).astype("<i2"))


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
