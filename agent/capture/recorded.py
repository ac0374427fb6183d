"""Recordings instead of a microphone: the same stream of sound and gaps, from files.

Files follow one another without a pause. One that can't be read becomes a gap with its reason,
and the next one goes on; of one that breaks off, what it holds is heard first.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from agent.capture.frames import Gap, GapReason, Sensor
from agent.capture.sensing import Indicator
from edge_models.errors import RecordingError
from edge_models.raw import SAMPLE_RATE_HZ, RawAudio
from edge_models.recordings import read_recording

_FAST_BLOCK_S: Final = 1.0
_REAL_BLOCK_S: Final = 0.1


def recorded(
    paths: Sequence[Path],
    *,
    indicator: Indicator,
    pace: Literal["fast", "real"] = "fast",
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] | None = None,
) -> Iterator[RawAudio | Gap]:
    """Yield the sound of the files as one stream; at a "real" pace a second takes a second.

    `stop`, once set, ends the stream at the next block, and cuts a sleep short unless `sleep`
    is given.
    """
    stopped = stop or threading.Event()
    sleep = sleep or stopped.wait
    started_s = clock()
    block_s = _REAL_BLOCK_S if pace == "real" else _FAST_BLOCK_S
    next_sample = 0
    with indicator.sensing(Sensor.MICROPHONE):
        for path in paths:
            try:
                for block in read_recording(path, block_s):
                    block.first_sample = next_sample
                    next_sample += len(block)
                    if pace == "real":
                        # A microphone gives a block when its last sample has been heard.
                        sleep(max(0.0, started_s + next_sample / SAMPLE_RATE_HZ - clock()))
                    if stopped.is_set():
                        block.wipe()
                        return
                    yield block
            except RecordingError as fault:
                now_s = next_sample / SAMPLE_RATE_HZ
                yield Gap(Sensor.MICROPHONE, GapReason.UNREADABLE, now_s, now_s, str(fault))
