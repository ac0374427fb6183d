"""What a camera saw and when it saw nothing, kept until the window that asks for it has asked.

Rules it upholds: observations and named gaps only, never a picture; bounded, whoever asks or
does not; safe to write from the camera's threads and read from the stream's.

Place in the life of a frame: camera → face mesh → **here** → facial summary of the window.
"""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Final

from agent.capture.frames import Gap, GapReason, Sensor
from edge_models.facial import FaceObservation

_MOST_OBSERVATIONS: Final = 20_000  # half an hour at 10 a second, about 7 MB
_MOST_GAPS: Final = 1_000
_SHORTEST_GAP_S: Final = 0.1  # one picture: sound and pictures never end at the same instant


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """What was seen between two moments: observations in order, and gaps within those moments.

    `dropped` counts the pictures that were too many for this machine, since the start.
    """

    observations: tuple[FaceObservation, ...]
    gaps: tuple[Gap, ...]
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class _Trouble:
    reason: GapReason
    since_s: float
    detail: str


class SightLog:
    """A running log of one camera; at most one trouble is open at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._observations: deque[FaceObservation] = deque(maxlen=_MOST_OBSERVATIONS)
        self._gaps: deque[Gap] = deque(maxlen=_MOST_GAPS)
        self._trouble: _Trouble | None = None

    def saw(self, observation: FaceObservation) -> None:
        """The camera works: note what it showed, and end the open trouble, if any."""
        with self._lock:
            self._end_trouble(observation.time_s)
            self._observations.append(observation)

    def saw_nothing(self, reason: GapReason, since_s: float, detail: str) -> None:
        """Nothing usable since `since_s`; the same trouble as before just goes on."""
        with self._lock:
            if self._trouble is not None:
                if self._trouble.reason is reason:
                    return
                self._end_trouble(since_s)
            self._trouble = _Trouble(reason, since_s, detail)

    def between(self, start_s: float, end_s: float, dropped: int = 0) -> Looked:
        """What was noted from `start_s` to `end_s`; what lies before `start_s` is forgotten."""
        with self._lock:
            while self._observations and self._observations[0].time_s < start_s:
                self._observations.popleft()
            while self._gaps and self._gaps[0].end_s <= start_s:
                self._gaps.popleft()
            observations = tuple(seen for seen in self._observations if seen.time_s < end_s)
            gaps = [gap for gap in self._gaps if gap.start_s < end_s]
            if self._trouble is not None and self._trouble.since_s < end_s:
                gaps.append(_gap(self._trouble, end_s))
        clipped = (
            Gap(
                gap.sensor,
                gap.reason,
                max(gap.start_s, start_s),
                max(start_s, min(gap.end_s, end_s)),
                gap.detail,
            )
            for gap in gaps
        )
        return Looked(
            observations,
            tuple(gap for gap in clipped if gap.duration_s >= _SHORTEST_GAP_S),
            dropped,
        )

    def _end_trouble(self, at_s: float) -> None:
        if self._trouble is not None:
            self._gaps.append(_gap(self._trouble, at_s))
            self._trouble = None


def _gap(trouble: _Trouble, end_s: float) -> Gap:
    return Gap(
        Sensor.CAMERA,
        trouble.reason,
        trouble.since_s,
        max(end_s, trouble.since_s),
        trouble.detail,
    )
