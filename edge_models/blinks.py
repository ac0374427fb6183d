"""Finds blinks in the course of eye closure, by hysteresis above the person's open level.

Rules it upholds: a blink starts where the closure rises well above the level of the open eye
and ends where it has nearly fallen back, so that noise at one threshold makes no blinks; times
of crossing are interpolated, so that the frame rate moves a duration by little.

Limits: what is shorter than the time between two frames may fall between them. A spontaneous
blink is closed beyond half its depth for 0.1 to 0.2 s: 25 frames a second see it, 10 see most,
5 see about half. The rate that a low frame rate reports is therefore a lower bound.

Place in the life of a frame: face mesh → observations → **blinks** → facial summary.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

_RISE: Final = 0.25  # above the open level: closing
_FALL: Final = 0.12  # above the open level: open again
_OPEN_PERCENTILE: Final = 30.0
LONGEST_BLINK_S: Final = 0.7
"""Longer closures are closed eyes, not blinks.

Source: Schiffman, Sensation and Perception (2001): a blink lasts 0.1 to 0.4 s; the longer bound
admits the slow blinks of drowsy people."""


@dataclass(frozen=True, slots=True, eq=False)
class Blinks:
    """`count` blinks of `mean_duration_s` each (0 without any); `closed` bool (n,) per frame."""

    count: int
    mean_duration_s: float
    closed: npt.NDArray[np.bool_]


def blinks_in(times_s: Doubles, closure: Doubles, *, longest_hole_s: float) -> Blinks:
    """Blinks in `closure`, float64 (n,) in 0..1, seen at `times_s`; none across a hole.

    A closure that is cut by an end or a hole of the track counts as closed, not as a blink.
    """
    closed = np.zeros(len(closure), bool)
    durations: list[float] = []
    if not len(closure):
        return Blinks(0, 0.0, closed)
    open_level = float(np.percentile(closure, _OPEN_PERCENTILE))
    rise, fall = open_level + _RISE, open_level + _FALL
    started_s: float | None = None
    shut = False
    for at in range(len(closure)):
        hole = at == 0 or times_s[at] - times_s[at - 1] > longest_hole_s
        if hole:
            shut, started_s = bool(closure[at] >= rise), None
        elif not shut and closure[at] >= rise:
            shut, started_s = True, _crossing_s(times_s, closure, at, rise)
        elif shut and closure[at] <= fall:
            shut = False
            if started_s is not None:
                duration_s = _last_crossing_s(times_s, closure, at, rise) - started_s
                if duration_s <= LONGEST_BLINK_S:
                    durations.append(duration_s)
        closed[at] = shut and closure[at] >= rise
    mean_s = float(np.mean(durations)) if durations else 0.0
    return Blinks(len(durations), mean_s, closed)


def _crossing_s(times_s: Doubles, closure: Doubles, at: int, level: float) -> float:
    """When the line from frame `at - 1` to frame `at` meets `level`."""
    before, after = closure[at - 1], closure[at]
    part = (level - before) / (after - before)
    return float(times_s[at - 1] + part * (times_s[at] - times_s[at - 1]))


def _last_crossing_s(times_s: Doubles, closure: Doubles, at: int, level: float) -> float:
    """When the closure last fell through `level`, at or before frame `at`."""
    while closure[at - 1] < level:
        at -= 1
    return _crossing_s(times_s, closure, at, level)
