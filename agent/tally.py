"""A person's week in six answers, counted from what the device remembers.

Rules it upholds: pure; each question of the report gets exactly one answer; a band needs evidence
(`FEWEST_SCORED` scored windows) or it says "not enough"; only whole bins leave this module, no
score and no time.

Place in the life of a report: store → **tally** → `release`.
"""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Final

from agent.capture.frames import GapReason
from agent.records import GapRecord, WindowRecord
from edge_models.errors import ContractError
from edge_models.manifest import Thresholds
from sync.messages import HISTOGRAMS
from sync.release import Counts

FEWEST_SCORED: Final = 6
"""Scored windows (a minute of speech at least) below which a week has no band."""

LEAST_GAP_S: Final = 60.0
"""A reason that took less of a week than this is none: a lost block of 100 ms says nothing."""

_MINUTES_FROM: Final = (1.0, 10.0, 60.0)
_DAYS_FROM: Final = (1, 3, 5)
_NOT_ENOUGH: Final = 0
_BINS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {histogram.name: histogram.bins for histogram in HISTOGRAMS}
)


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted in a stretch of time; it stays on the device.

    `speech_s`, `face_s` in seconds; `days` with a described window; `sadness` and `fear` are
    medians (0..1) over the `scored` windows, None when there is none; `gap_reason` is the one with
    the longest total, None when none took `LEAST_GAP_S`.
    """

    windows: int
    scored: int
    speech_s: float
    face_s: float
    days: int
    sadness: float | None
    fear: float | None
    gap_reason: GapReason | None

    def choices(self, thresholds: Thresholds) -> Mapping[str, int]:
        """The index of the answer (bin) to each question (histogram's name)."""
        gap_reasons = _BINS["gap_reason"]
        reason = self.gap_reason.value if self.gap_reason else gap_reasons[0]
        return {
            "speech_minutes": _step(self.speech_s / 60, _MINUTES_FROM),
            "face_minutes": _step(self.face_s / 60, _MINUTES_FROM),
            "depression_band": self._band(self.sadness, thresholds),
            "anxiety_band": self._band(self.fear, thresholds),
            "coverage": _step(self.days, _DAYS_FROM),
            "gap_reason": gap_reasons.index(reason),
        }

    def _band(self, median: float | None, thresholds: Thresholds) -> int:
        if median is None or self.scored < FEWEST_SCORED:
            return _NOT_ENOUGH
        return 1 + _step(median, (thresholds.middle_from, thresholds.high_from))


def tally_of(
    windows: Iterable[WindowRecord], gaps: Iterable[GapRecord], start: datetime, end: datetime
) -> Tally:
    """Count what lies in [start, end); windows outside are left out, gaps are cut to it.

    A sensor that its owner turned off is no gap.

    Raises:
        ContractError: the end is not after the start.
    """
    if end <= start:
        raise ContractError("A tally's end is after its start.")
    seen = scored = 0
    speech_s: list[float] = []  # summed exactly: the order of records must not matter
    face_s: list[float] = []
    days: set[date] = set()
    sadness: list[float] = []
    fear: list[float] = []
    for window in windows:
        if not start <= window.started_at < end:
            continue
        seen += 1
        speech_s.append(window.speech_s)
        face_s.append(window.face_s)
        if window.summary is not None:
            days.add(window.started_at.astimezone(UTC).date())
        if (scores := window.assessment.scores) is not None:
            scored += 1
            sadness.append(scores.sadness)
            fear.append(scores.fear)
    return Tally(
        windows=seen,
        scored=scored,
        speech_s=math.fsum(speech_s),
        face_s=math.fsum(face_s),
        days=len(days),
        sadness=statistics.median(sadness) if sadness else None,
        fear=statistics.median(fear) if fear else None,
        gap_reason=_longest(gaps, start, end),
    )


def counts_of(
    windows: Iterable[WindowRecord],
    gaps: Iterable[GapRecord],
    thresholds: Thresholds,
    start: datetime,
    end: datetime,
) -> Counts:
    """The one-hot answers of [start, end), ready for `release_report`; raises as `tally_of`."""
    return Counts.of(tally_of(windows, gaps, start, end).choices(thresholds))


def _longest(gaps: Iterable[GapRecord], start: datetime, end: datetime) -> GapReason | None:
    """Which reason took the longest in all; the report's order of reasons breaks a tie."""
    order = _BINS["gap_reason"]
    totals: Counter[GapReason] = Counter()
    for gap in gaps:
        first = max(start, gap.started_at)
        last = min(end, gap.started_at + timedelta(seconds=gap.duration_s))
        if first < last and gap.reason.value in order:
            totals[gap.reason] += (last - first) // timedelta(microseconds=1)
    longest = max(totals, key=lambda why: (totals[why], -order.index(why.value)), default=None)
    return longest if longest is not None and totals[longest] >= 1e6 * LEAST_GAP_S else None


def _step(value: float, edges: tuple[float, ...]) -> int:
    """How many of the edges a value has reached."""
    return sum(value >= edge for edge in edges)
