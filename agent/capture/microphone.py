"""The microphone, supervised: blocks of sound, and named gaps where there are none.

Rules it upholds: the callback only copies into a bounded queue, and what doesn't fit is dropped
and counted; a microphone that is absent, busy, unplugged, stalled or dead silent is noticed, named,
and reopened with back-off; the light is on exactly while it is open; the stream keeps to the clock,
so a loss leaves a hole as long as it lasted, and sound and gaps never overlap.

    opening ──→ listening ──→ unplugged, stalled ──→ pause (1, 2, 4 … 60 s) ──→ opening
       └──→ absent, busy ──→ pause ──→ opening
                    └──→ silent ──→ opening at once, silent for 1, 2, 4 … 60 s ──→ opening

Place in the life of a frame: the very first step; next come the windows.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import numpy as np

from agent.capture.frames import Gap, GapReason, Sensor
from agent.capture.intake import Block, Intake, Stopped, Wait
from agent.capture.pace import Backoff
from agent.capture.sensing import Indicator
from agent.capture.sound_device import BLOCK_S, Backend, MicrophoneFault, OpenStream
from agent.capture.stream_clock import StreamClock
from edge_models.raw import SAMPLE_RATE_HZ, RawAudio
from edge_models.recordings import Resampler

_TOLD_FROM_S: Final = 0.5  # a shorter correction is the crystal's, not the person's business


@dataclass(frozen=True, slots=True)
class Patience:
    """How long we wait, in seconds, before we call it a fault or try again."""

    first_block_s: float = 3.0
    stalled_s: float = 2.0
    silent_s: float = 10.0
    queue_s: float = 5.0
    retry_first_s: float = 1.0
    retry_most_s: float = 60.0


class Microphone:
    """A supervised microphone; iterate `blocks()` in one thread, `stop()` from any.

    As a context manager it stops and lets the device go when it is left.
    """

    def __init__(
        self,
        device: str,
        *,
        backend: Backend,
        indicator: Indicator,
        clock: Callable[[], float] = time.monotonic,
        wait: Wait = threading.Condition.wait,
        patience: Patience | None = None,
        begins_s: float | None = None,
    ) -> None:
        """Open nothing yet; `begins_s` is sample 0 by the clock, else the first call of `blocks`.

        A camera beside it needs the same beginning.
        """
        self._device = device
        self._backend = backend
        self._indicator = indicator
        self._patience = patience or Patience()
        self._backoff = Backoff(self._patience.retry_first_s, self._patience.retry_most_s)
        self._clock = clock
        self._begins_s = begins_s
        self._intake = Intake(round(self._patience.queue_s / BLOCK_S), self._now_s, wait)
        self._told_until = 0  # samples of the stream that sound or a gap accounts for
        self._trouble: MicrophoneFault | None = None
        self._stream: Generator[RawAudio | Gap, None, None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if self._stream is not None:
            self._stream.close()

    def stop(self) -> None:
        """End the stream, even if it waits for a device."""
        self._intake.stop()

    def blocks(self) -> Iterator[RawAudio | Gap]:
        """Sound and gaps in order, until stopped.

        A gap begins where the last sound or gap ended. Right after a loss it is told piece by
        piece, one for each try.
        """
        if self._begins_s is None:
            self._begins_s = self._clock()
        self._stream = self._supervised()
        return self._stream

    def _supervised(self) -> Generator[RawAudio | Gap, None, None]:
        while not self._intake.stopped:
            try:
                yield from self._listen()
            except Stopped:
                return
            except MicrophoneFault as fault:
                self._trouble = fault
                if fault.reason is not GapReason.SILENT:
                    self._intake.pause(self._backoff.pause_s())
                yield from self._gap_until(_sample(self._now_s()), fault)

    def _listen(self) -> Iterator[RawAudio | Gap]:
        """Hold the device open and yield what it gives, until it is lost or we are stopped."""
        self._intake.restart()
        try:
            with (
                self._indicator.sensing(Sensor.MICROPHONE),
                self._backend.opened(self._device, self._intake.put) as stream,
            ):
                yield from self._drain(stream)
        finally:
            self._intake.restart()

    def _drain(self, stream: OpenStream) -> Iterator[RawAudio | Gap]:
        block = self._next(stream, self._patience.first_block_s)
        if self._trouble is not None and self._trouble.reason is GapReason.SILENT:
            block = self._first_sound(stream, block)
        # The block began one block before it arrived: there the sample count goes on.
        begun_s = block.arrived_s - len(block.samples) / stream.rate_hz
        place = max(self._told_until, _sample(begun_s))
        if self._trouble is not None:
            yield from self._gap_until(place, self._trouble)
            self._trouble = None
        self._backoff.reset()
        yield from self._follow(stream, block, place)

    def _first_sound(self, stream: OpenStream, block: Block) -> Block:
        """Of a microphone that was silent: listen for longer each time, then open it anew."""
        zeros, bearable = 0, self._backoff.pause_s() * stream.rate_hz
        while not block.samples.any():
            zeros += len(block.samples)
            if zeros >= bearable:
                raise _silent()
            block = self._next(stream, self._patience.stalled_s)
        return block

    def _follow(self, stream: OpenStream, block: Block, place: int) -> Iterator[RawAudio | Gap]:
        """Yield what comes, from `block` on, which begins at sample `place` of the stream."""
        rate_hz, resampler, timekeeper = stream.rate_hz, Resampler(stream.rate_hz), StreamClock()
        expected, zeros, ahead = block.position, 0, 0
        while True:
            if block.position > expected:
                place += _sample((block.position - expected) / rate_hz)
                yield from self._gap_until(place, _overrun())
            expected = block.position + len(block.samples)
            zeros = 0 if block.samples.any() else zeros + len(block.samples)
            samples = resampler.push(block.samples.astype(np.float32) / 32768)
            block.samples.fill(0)
            if ahead > 0:  # the device's crystal is fast: this block has no place on the clock
                ahead -= len(samples)
                samples.fill(0)
            else:
                first, place = place, place + len(samples)
                strayed_s = timekeeper.strayed_s(
                    place / SAMPLE_RATE_HZ, block.arrived_s, len(block.samples) / rate_hz
                )
                if first < place:
                    self._told_until = place
                    yield RawAudio(samples, first)
                ahead = max(0, _sample(-strayed_s))
                place += max(0, _sample(strayed_s))
                if strayed_s >= _TOLD_FROM_S:
                    yield from self._gap_until(place, _overrun())
            if zeros >= self._patience.silent_s * rate_hz:
                raise _silent()
            block = self._next(stream, self._patience.stalled_s)

    def _next(self, stream: OpenStream, within_s: float) -> Block:
        try:
            return self._intake.take(within_s)
        except TimeoutError:
            if stream.alive():
                raise MicrophoneFault(
                    GapReason.STALLED,
                    "The microphone is open but gives nothing.",
                    "It is reopened by itself; if that does not help, plug it in again.",
                ) from None
            raise MicrophoneFault(
                GapReason.UNPLUGGED, "The microphone went away.", "Plug it in again."
            ) from None

    def _gap_until(self, place: int, fault: MicrophoneFault) -> Iterator[Gap]:
        if place > self._told_until:
            start_s, end_s = self._told_until / SAMPLE_RATE_HZ, place / SAMPLE_RATE_HZ
            self._told_until = place
            yield Gap(Sensor.MICROPHONE, fault.reason, start_s, end_s, str(fault))

    def _now_s(self) -> float:
        return self._clock() - (self._begins_s or 0.0)


def _sample(stream_s: float) -> int:
    return round(stream_s * SAMPLE_RATE_HZ)


def _silent() -> MicrophoneFault:
    return MicrophoneFault(
        GapReason.SILENT,
        "The microphone gives digital silence: it is muted or broken.",
        "Unmute it, or choose another.",
    )


def _overrun() -> MicrophoneFault:
    return MicrophoneFault(
        GapReason.OVERRUN,
        "This machine was too slow, and sound was dropped.",
        "Let it do less beside this.",
    )
