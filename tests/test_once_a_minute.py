"""A fault that comes a thousand times is told once a minute, and others beside it."""

from edge_models.errors import Explained
from sync.coordinator.once_a_minute import OnceAMinute
from sync.errors import ProtocolError


def test_each_kind_of_fault_is_told_once_a_minute() -> None:
    told, now = list[Explained](), [0.0]
    tell = OnceAMinute(told.append, lambda: now[0])
    for moment in range(0, 600, 10):
        now[0] = float(moment)
        for cause in ("This.", "That."):
            tell(ProtocolError(cause, "Look."))
    assert [fault.cause for fault in told] == ["This.", "That."] * 10


def test_what_is_remembered_of_faults_is_bounded() -> None:
    told = list[Explained]()
    tell = OnceAMinute(told.append, lambda: 0.0)
    for number in range(10_000):
        tell(ProtocolError(f"Number {number}.", "Look."))
    assert len(told) == 10_000 and len(tell._told) == 64
