"""Days of the store, each summed up once and again only when it has changed.

Rules it upholds: it only reads; a damaged record costs itself and is counted, never the day.

Place in the life of a record: store → **here** → `answers`.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

from agent.capture.frames import GapReason, Sensor
from agent.errors import DamagedRecord
from agent.store import Store

_KEPT: Final = timedelta(days=56)


@dataclass(slots=True)
class Digest:
    """A day, read: what its windows and gaps come to."""

    windows: int = 0
    speech_s: float = 0.0
    face_s: float = 0.0
    abstained: Counter[str] = field(default_factory=Counter)
    sadness: list[float] = field(default_factory=list)
    fear: list[float] = field(default_factory=list)
    missing_s: Counter[tuple[Sensor, GapReason]] = field(default_factory=Counter)
    last: dict[tuple[Sensor, GapReason], tuple[datetime, str]] = field(default_factory=dict)
    damaged: list[DamagedRecord] = field(default_factory=list)


class Days:
    """The days that the page shows, each read again only when it has changed."""

    def __init__(self) -> None:
        self._known: dict[date, tuple[tuple[int, int], Digest]] = {}

    def read(self, store: Store, day: date) -> Digest:
        """What a day (UTC) holds.

        Raises:
            StoreError: the store can't be read.
        """
        stamp = store.stamp(day)
        known = self._known.get(day)
        if known is None or known[0] != stamp:
            known = (stamp, _digest(store, day))
            recent = {d: k for d, k in self._known.items() if day - d < _KEPT}
            self._known = recent | {day: known}
        return known[1]


def _digest(store: Store, day: date) -> Digest:
    read = Digest()
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    end = start + timedelta(days=1)
    for window in store.windows(start, end, read.damaged.append):
        read.windows += 1
        read.speech_s += window.speech_s
        read.face_s += window.face_s
        if (scores := window.assessment.scores) is not None:
            read.sadness.append(scores.sadness)
            read.fear.append(scores.fear)
        elif window.assessment.abstained is not None:
            read.abstained[window.assessment.abstained.value] += 1
    for gap in store.gaps(start, end, read.damaged.append):
        what = (gap.sensor, gap.reason)
        read.missing_s[what] += round(gap.duration_s)
        ended_at = gap.started_at + timedelta(seconds=gap.duration_s)
        if what not in read.last or read.last[what][0] <= ended_at:
            read.last[what] = (ended_at, gap.detail)
    return read
