"""The only code that re-frames sound: from blocks of any length to windows on a fixed grid.

Rules it upholds: no sample is lost or heard twice; window k covers samples
[k·W, (k+1)·W) of the stream whatever the blocks were, so every later answer is independent of
how the stream was cut; each window carries some context on both sides, so that descriptors
near an edge see what they would see in one long piece.

Place in the life of a frame: microphone → **windows** → speech gate → acoustic graph.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError
from edge_models.raw import SAMPLE_RATE_HZ, RawAudio

HOP_SAMPLES: Final = 160
"""One descriptor row every 10 ms."""

WINDOW_SAMPLES: Final = 10 * SAMPLE_RATE_HZ
CONTEXT_SAMPLES: Final = 3_200
"""0.2 s on both sides: more than any graph of the front end looks back or ahead."""


@dataclass(frozen=True, slots=True)
class AudioWindow:
    """Ten seconds of sound (the stream's last window may be shorter) with its context.

    `sound.samples` is float32 of shape (context + n + context,), where n is a multiple of one
    hop; unknown context (before the start, after the end, inside a gap) is zeros. `missing` is
    how many of the n samples were never heard.
    """

    first_sample: int
    sound: RawAudio
    missing: int = 0
    context_samples: int = CONTEXT_SAMPLES

    @property
    def inner_samples(self) -> int:
        """How many samples the window covers, without its context."""
        return len(self.sound) - 2 * self.context_samples

    @property
    def frames(self) -> int:
        """How many descriptor rows the window has."""
        return self.inner_samples // HOP_SAMPLES

    @property
    def start_s(self) -> float:
        """Start of the window in the stream, in seconds."""
        return self.first_sample / SAMPLE_RATE_HZ

    @property
    def end_s(self) -> float:
        """End of the window in the stream, in seconds."""
        return (self.first_sample + self.inner_samples) / SAMPLE_RATE_HZ

    def wipe(self) -> None:
        """Overwrite the sound with zeros: the window has been described."""
        self.sound.wipe()


class WindowCutter:
    """Cuts a stream of blocks into windows; `push` blocks in order, then `finish` once.

    A block may start later than the last one ended: the hole is a gap and reads as silence.
    """

    def __init__(
        self, window_samples: int = WINDOW_SAMPLES, context_samples: int = CONTEXT_SAMPLES
    ) -> None:
        if window_samples <= 0 or window_samples % HOP_SAMPLES or context_samples < 0:
            raise ContractError("A window is a positive multiple of one hop.")
        self._window = window_samples
        self._context = context_samples
        # Starts at stream sample `_next_window - context`; zeros from `_filled` on.
        self._buffer = np.zeros(window_samples + 2 * context_samples, np.float32)
        self._filled = context_samples
        self._gaps: list[tuple[int, int]] = []
        self._next_window = 0
        self._end = 0
        self._finished = False

    @property
    def heard_until_sample(self) -> int:
        """Where the next block is expected to start."""
        return self._end

    def push(self, block: RawAudio) -> Iterator[AudioWindow]:
        """Take one block; yield each window that is now complete with its right context.

        Raises:
            ContractError: the block starts before the last one ended, or the stream has ended.
        """
        if block.first_sample < self._end:
            raise ContractError("Blocks of one stream come in order and never overlap.")
        if block.first_sample > self._end:
            yield from self.skip_to(block.first_sample)
        self._must_go_on()
        yield from self._append(block.samples)

    def skip_to(self, sample: int) -> Iterator[AudioWindow]:
        """Note that nothing was heard up to `sample`: the hole reads as silence.

        Raises:
            ContractError: the stream has ended.
        """
        self._must_go_on()
        if self._end < sample:
            self._gaps.append((self._end, sample))
        while self._end < sample:
            step = min(sample - self._end, self._window)
            yield from self._append(np.zeros(step, np.float32))

    def finish(self) -> Iterator[AudioWindow]:
        """End of the stream: yield what is left, the right context being silence.

        Raises:
            ContractError: the stream has ended before.
        """
        self._must_go_on()
        self._finished = True
        while self._next_window < self._end:
            # The last hop may be partly silence: no sample is lost.
            left = -(-(self._end - self._next_window) // HOP_SAMPLES) * HOP_SAMPLES
            yield self._cut(min(self._window, left))
        self.wipe()

    def wipe(self) -> None:
        """Overwrite what is still held."""
        self._buffer.fill(0)

    def _must_go_on(self) -> None:
        if self._finished:
            raise ContractError("A stream of windows ends once, and nothing follows.")

    def _append(self, samples: npt.NDArray[np.float32]) -> Iterator[AudioWindow]:
        taken = 0
        while taken < len(samples):
            step = min(len(samples) - taken, len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + step] = samples[taken : taken + step]
            self._filled += step
            self._end += step
            taken += step
            if self._filled == len(self._buffer):
                yield self._cut(self._window)

    def _cut(self, size: int) -> AudioWindow:
        first, last = self._next_window, self._next_window + size
        piece = self._buffer[: size + 2 * self._context].copy()
        missing = sum(max(0, min(last, b) - max(first, a)) for a, b in self._gaps)
        self._gaps = [gap for gap in self._gaps if gap[1] > last]
        rest = self._buffer[size:].copy()
        self._buffer[: len(rest)] = rest
        self._buffer[len(rest) :] = 0
        rest.fill(0)
        self._filled = max(0, self._filled - size)
        self._next_window = last
        sound = RawAudio(piece, first - self._context)
        return AudioWindow(first, sound, missing, self._context)


def windows_of(
    blocks: Iterable[RawAudio], window_samples: int = WINDOW_SAMPLES
) -> Iterator[AudioWindow]:
    """All windows of a finite stream of blocks; blocks are wiped once copied."""
    cutter = WindowCutter(window_samples)
    for block in blocks:
        yield from cutter.push(block)
        block.wipe()
    yield from cutter.finish()
