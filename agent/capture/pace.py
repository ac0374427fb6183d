"""How often a camera is looked at, and tried again: as often as wished, as seldom as needed.

Rules it upholds: looking takes at most a given share of one core; a machine that was busy for
a while is asked for more again as soon as it answers faster.
"""

from typing import Final

from edge_models.errors import ContractError

_NEWEST: Final = 0.2  # weight of the newest cost in the running mean


class Pace:
    """Time between looks, between `1 / frames_per_s` and `1 / slowest_per_s` seconds.

    `share` is the part of one core, 0..1, that looking may take before it slows down.
    """

    def __init__(
        self, frames_per_s: float, *, slowest_per_s: float = 2.0, share: float = 0.25
    ) -> None:
        if not 0.0 < frames_per_s < float("inf") or not 0.0 < share <= 1.0 or slowest_per_s <= 0.0:
            raise ContractError("A pace has positive rates and a share of one core.")
        self._shortest_s = 1.0 / frames_per_s
        self._longest_s = max(self._shortest_s, 1.0 / slowest_per_s)
        self._share = share
        self._cost_s = 0.0

    @property
    def interval_s(self) -> float:
        """Seconds from one look to the next, as things stand."""
        return min(self._longest_s, max(self._shortest_s, self._cost_s / self._share))

    def took(self, cost_s: float) -> None:
        """Note what the last look cost, in seconds."""
        self._cost_s += _NEWEST * (cost_s - self._cost_s)


class Sampler:
    """Picks pictures out of a faster stream, so that on average one is due per interval."""

    def __init__(self) -> None:
        self._due_s: float | None = None

    def is_due(self, time_s: float, interval_s: float) -> bool:
        """Whether the picture of `time_s` is looked at; times don't go back."""
        if self._due_s is not None and time_s < self._due_s - 1e-6:
            return False
        # A late picture does not make the next ones hurry.
        planned_s = time_s if self._due_s is None else max(self._due_s, time_s - interval_s)
        self._due_s = planned_s + interval_s
        return True


class Backoff:
    """Pauses between tries, doubling from `first_s` to `longest_s` seconds."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def pause_s(self) -> float:
        """How long to pause now; the next pause is twice as long."""
        pause_s, self._next_s = self._next_s, min(2.0 * self._next_s, self._longest_s)
        return pause_s

    def reset(self) -> None:
        """It worked: begin again with the shortest pause."""
        self._next_s = self._first_s
