"""Recordings instead of a microphone: the same stream of sound and gaps, from files.

Files follow one another without a pause. One that can't be read becomes a gap with its reason,
and the next one goes on.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from agent.frames import Gap, GapReason, Sensor
from agent.sensing import Indicator
from edge_models.errors import RecordingError
from edge_models.raw import SAMPLE_RATE_HZ, RawAudio
from edge_models.recordings import read_recording

_FAST_BLOCK_S: Final = 1.0
_REAL_BLOCK_S: Final = 0.1


def recorded(
    paths: Sequence[Path],
    *,
    indicator: Indicator,
    real_pace: bool = False,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[RawAudio | Gap]:
    """Yield the sound of the files as one stream; `real_pace` makes a second take a second."""
    stopped = stop or threading.Event()
    started = clock()
    next_sample = 0
    with indicator.sensing(Sensor.MICROPHONE):
        for path in paths:
            try:
                for block in read_recording(path, _REAL_BLOCK_S if real_pace else _FAST_BLOCK_S):
                    block.first_sample = next_sample
                    next_sample += len(block)
                    if real_pace:
                        due_s = next_sample / SAMPLE_RATE_HZ
                        stopped.wait(max(0.0, started + due_s - clock()))
                    if stopped.is_set():
                        return
                    yield block
            except RecordingError as fault:
                now_s = next_sample / SAMPLE_RATE_HZ
                yield Gap(Sensor.MICROPHONE, GapReason.UNREADABLE, now_s, now_s, str(fault))
