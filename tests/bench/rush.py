"""A thousand devices report to one coordinator, and how fast one line hears frames."""

import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sync.broker import embedded_broker
from sync.coordinator.announce import Podium
from sync.endpoint import Endpoint
from sync.inbox import Inbox
from sync.line import Line
from sync.parcels import Kind, Parcel
from sync.release import release_protocol
from sync.topics import UpTopic, all_up, parse_up_topic
from sync.wire import Session
from tests.bench.figure import Figure
from tests.rushing import rush

_DEVICES = 1000
_WITHIN_S = 60.0
_PARCELS = 3000
_BIG_BYTES = 4 * 1024 * 1024 - 1


def measure() -> list[Figure]:
    """The rush of reports, small parcels and a big one through a line."""
    with tempfile.TemporaryDirectory() as folder:
        came = rush(_DEVICES, Path(folder))
    whole = came.lost == 0 and came.exact
    small_s = _heard_s([Parcel(Kind.STATUS, n.to_bytes(200, "big")) for n in range(_PARCELS)])
    big_s = _heard_s([Parcel(Kind.STATUS, bytes(_BIG_BYTES))])
    return [
        Figure(
            f"{_DEVICES:,} devices report to one coordinator",
            f"{came.taken_s:.1f} s; {came.lost} lost; "
            + ("none doubled" if came.exact else "sum NOT exact"),
            f"<= {_WITHIN_S:.0f} s, none lost or doubled",
            whole and came.taken_s <= _WITHIN_S,
            f"a connection each, 50 at a time, {came.repeated} sent twice; one Mosquitto, "
            "`sottovoce coordinator` and its store, all on this machine",
        ),
        Figure(
            "coordinator: small parcels a second heard by one line",
            f"{_PARCELS / small_s:.0f}", "", None,
            f"{_PARCELS} of 200 bytes that waited at Mosquitto, each acknowledged and put together",
        ),
        Figure(
            "a parcel of 4 MiB through Mosquitto", f"{big_s:.2f} s", "", None,
            "from the device's line to the coordinator's, 128 frames at QoS 1, hashed whole",
        ),
    ]  # fmt: skip


def _heard_s(parcels: list[Parcel]) -> float:
    """Seconds until one line has heard parcels that waited for it; a lone one does not wait."""
    whole = threading.Semaphore(0)
    inbox = Inbox()

    def take(topic: str, payload: bytes) -> None:
        sender = parse_up_topic(topic).pseudonym
        heard = inbox.receive(sender, payload, 0.0)
        if heard.parcel is not None:
            inbox.finish(sender, heard.digest, 0.0)
            whole.release()

    with tempfile.TemporaryDirectory() as folder, embedded_broker(Path(folder)) as broker:
        at, person = Endpoint(broker.host, broker.port), "ab" * 16
        listening = Session(at, "bench", (all_up("bench"),), take, must_connect=True)
        frames = [
            f for parcel in parcels for f in release_protocol(parcel, UpTopic("bench", person))
        ]
        with Line(Session(at, person, (), take)) as line:
            with Podium(listening):
                if len(parcels) == 1:
                    return _timed(lambda: line.send(*frames), whole, 1)
            line.send(*frames)
            with Podium(replace(listening, must_connect=False)):
                return _timed(lambda: None, whole, len(parcels))


def _timed(begin: Callable[[], None], whole: threading.Semaphore, count: int) -> float:
    start = time.perf_counter()
    begin()
    for _ in range(count):
        if not whole.acquire(timeout=60):
            raise RuntimeError("parcels were lost between two lines")
    return time.perf_counter() - start
