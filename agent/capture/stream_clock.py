"""Keeps a stream's sample count to the clock, for days.

A device counts samples by its own crystal, and some of them are lost in drivers that tell nobody.
Both show as blocks that arrive later and later, or earlier and earlier, than their place in the
stream. One arrival says little (a busy machine is late); the *least* lag within some seconds is
steady.
"""

from typing import Final

STRAY_S: Final = 0.2
"""The stream is set right once it strays this far; a window lasts 10 s."""

_JUDGED_EVERY_S: Final = 5.0


class StreamClock:
    """Judges block by block how far the stream has strayed since the device was opened."""

    def __init__(self, stray_s: float = STRAY_S, judged_every_s: float = _JUDGED_EVERY_S) -> None:
        self._stray_s = stray_s
        self._judged_every_s = judged_every_s
        self._usual_s: float | None = None
        self._least_s = float("inf")
        self._noted_s = 0.0

    def strayed_s(self, end_s: float, arrived_s: float, block_s: float) -> float:
        """Note a block that ends at `end_s` of the stream and arrived at `arrived_s`.

        Returns by how many seconds the stream is to be moved on (sound is missing: > 0) or held
        back (it runs ahead: < 0) after this block; 0.0 while it keeps to the clock.
        """
        self._least_s = min(self._least_s, arrived_s - end_s)
        self._noted_s += block_s
        if self._noted_s < self._judged_every_s:
            return 0.0
        least_s, self._least_s, self._noted_s = self._least_s, float("inf"), 0.0
        if self._usual_s is None:
            self._usual_s = least_s  # what a driver's own buffers hold back
        strayed_s = least_s - self._usual_s
        return strayed_s if abs(strayed_s) > self._stray_s else 0.0
