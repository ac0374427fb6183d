"""The microphone, supervised: blocks of sound, and named gaps where there are none.

Rules it upholds: the callback only copies into a bounded queue, and what doesn't fit is dropped
and counted; a microphone that is absent, busy, unplugged, stalled or dead silent is noticed, named,
and reopened with back-off; the light is on exactly while it is open. Which library delivers the
sound is `agent/portaudio.py`'s business.

Place in the life of a frame: the very first step; next come the windows.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from agent.frames import Gap, GapReason, Sensor
from agent.sensing import Indicator
from edge_models.raw import SAMPLE_RATE_HZ, RawAudio
from edge_models.recordings import Resampler

BLOCK_S: Final = 0.02
OnBlock = Callable[[npt.NDArray[np.int16]], None]


class OpenStream(Protocol):
    """A microphone that is open and calls back with each block."""

    @property
    def rate_hz(self) -> int:
        """The rate that it was opened at."""
        ...

    def alive(self) -> bool:
        """False once the device has gone away."""
        ...


class Backend(Protocol):
    """What opens microphones: PortAudio on a device, a fake in tests."""

    def opened(self, device: str, on_block: OnBlock) -> AbstractContextManager[OpenStream]:
        """Open a device; blocks of mono int16 of 20 ms reach `on_block` in another thread.

        Raises:
            Lost: with the reason, when it can't be opened.
        """
        ...


class Lost(Exception):
    """The microphone gives nothing, for this reason; `since_s` is when that began, if known."""

    def __init__(self, reason: GapReason, detail: str, since_s: float | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.since_s = since_s


@dataclass(frozen=True, slots=True)
class Patience:
    """How long we wait, in seconds, before we call it a fault or try again."""

    first_block_s: float = 3.0
    stalled_s: float = 2.0
    silent_s: float = 10.0
    queue_s: float = 5.0
    retry_first_s: float = 1.0
    retry_most_s: float = 60.0


@dataclass(frozen=True, slots=True)
class _Queued:
    position: int  # samples that the device had given before this block, dropped ones included
    samples: npt.NDArray[np.int16]


class Microphone:
    """A supervised microphone; iterate `blocks()` in one thread, `stop()` from any."""

    def __init__(
        self,
        device: str,
        *,
        backend: Backend,
        indicator: Indicator,
        clock: Callable[[], float] = time.monotonic,
        patience: Patience | None = None,
    ) -> None:
        self._device = device
        self._backend = backend
        self._indicator = indicator
        self._clock = clock
        self._patience = patience or Patience()
        self._stop = threading.Event()
        self._next_sample = 0
        self._zeros_s = 0.0

    def stop(self) -> None:
        """End the stream after the block at hand."""
        self._stop.set()

    def blocks(self) -> Iterator[RawAudio | Gap]:
        """Sound and gaps, until stopped; sample 0 is the moment of the first call."""
        started = self._clock()
        retry_s = self._patience.retry_first_s
        while not self._stop.is_set():
            lost_s = self._clock() - started
            try:
                for item in self._listen(started):
                    if not self._zeros_s:
                        retry_s = self._patience.retry_first_s
                    yield item
            except Lost as lost:
                since_s = lost_s if lost.since_s is None else lost.since_s
                self._stop.wait(retry_s)
                retry_s = min(2 * retry_s, self._patience.retry_most_s)
                now_s = self._clock() - started
                yield Gap(Sensor.MICROPHONE, lost.reason, min(since_s, now_s), now_s, lost.detail)

    def _listen(self, started: float) -> Iterator[RawAudio | Gap]:
        """Hold the device open and yield what it gives, until it is lost or we are stopped."""
        waiting: queue.Queue[_Queued] = queue.Queue(round(self._patience.queue_s / BLOCK_S))
        given = 0

        def copy_in(samples: npt.NDArray[np.int16]) -> None:
            nonlocal given
            with suppress(queue.Full):  # counted: the next block that fits shows the hole
                waiting.put_nowait(_Queued(given, samples.copy()))
            given += len(samples)

        with (
            self._indicator.sensing(Sensor.MICROPHONE),
            self._backend.opened(self._device, copy_in) as stream,
        ):
            yield from self._drain(stream, waiting, started)

    def _drain(
        self, stream: OpenStream, waiting: "queue.Queue[_Queued]", started: float
    ) -> Iterator[RawAudio | Gap]:
        resampler = Resampler(stream.rate_hz)
        limit_s = self._patience.first_block_s
        expected, aligned = 0, False
        self._zeros_s = 0.0
        while not self._stop.is_set():
            try:
                block = waiting.get(timeout=limit_s)
            except queue.Empty:
                raise self._gone(stream) from None
            limit_s = self._patience.stalled_s
            now_s = self._clock() - started
            if not aligned:
                # The block began one block before it arrived: there the sample clock goes on.
                begun_s = now_s - BLOCK_S
                self._next_sample = max(self._next_sample, round(begun_s * SAMPLE_RATE_HZ))
                aligned = True
            if block.position > expected:
                yield self._overrun((block.position - expected) / stream.rate_hz)
            expected = block.position + len(block.samples)
            block_s = len(block.samples) / stream.rate_hz
            self._zeros_s = 0.0 if block.samples.any() else self._zeros_s + block_s
            if self._zeros_s >= self._patience.silent_s:
                raise Lost(
                    GapReason.SILENT,
                    "The microphone gives digital silence: it is muted or broken. "
                    "Unmute it, or choose another.",
                    now_s - self._zeros_s,
                )
            samples = resampler.push(block.samples.astype(np.float32) / 32768)
            block.samples.fill(0)
            if len(samples):
                audio = RawAudio(samples, self._next_sample)
                self._next_sample += len(samples)
                yield audio

    def _overrun(self, dropped_s: float) -> Gap:
        start_s = self._next_sample / SAMPLE_RATE_HZ
        self._next_sample += round(dropped_s * SAMPLE_RATE_HZ)
        return Gap(
            Sensor.MICROPHONE,
            GapReason.OVERRUN,
            start_s,
            self._next_sample / SAMPLE_RATE_HZ,
            f"This machine was too slow: {dropped_s:.2f} s of sound were dropped.",
        )

    def _gone(self, stream: OpenStream) -> Lost:
        if stream.alive():
            return Lost(
                GapReason.STALLED, "The microphone is open but gives nothing: reopening it."
            )
        return Lost(GapReason.UNPLUGGED, "The microphone went away. Plug it in again.")
