"""A device's line and a coordinator's podium, and receivers that keep what comes, for tests."""

import importlib.util
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from sync.broker import Kind, mosquitto_path
from sync.coordinator.announce import Announcement, Podium, announcements
from sync.endpoint import Endpoint
from sync.inbox import Bounds, Inbox
from sync.line import Line
from sync.parcels import Kind as Of
from sync.parcels import Parcel
from sync.topics import AllTopic, DownTopic, UpTopic, all_up, parse_up_topic
from sync.wire import Session
from tests.fake_broker import Peer

LONG_S = 30.0  # a bound, never waited for
PERSON = "ab" * 16
UP, DOWN, ALL = UpTopic("home", PERSON), DownTopic("home", PERSON), AllTopic("home")
MEGABYTE = 1024 * 1024


def needed(kind: Kind) -> Kind:
    if kind == "mosquitto" and mosquitto_path() is None:
        pytest.skip("needs Mosquitto (Debian: apt-get install mosquitto)")
    if kind == "amqtt" and importlib.util.find_spec("amqtt") is None:
        pytest.skip("needs amqtt (pip install 'sottovoce[coordinator]')")
    return kind


def of_round(length: int = 10) -> Parcel:
    """The second step of a round, with a body of random bytes."""
    return Parcel(Of.ROUND, bytes(32) + b"\3" + secrets.token_bytes(length))


def unheard(topic: str, payload: bytes) -> None:
    raise AssertionError("nothing was sent")


def greets(peer: Peer) -> None:
    peer.greeted()
    peer.stays()


class Heard:
    """Keeps what arrives; `wait` until there are so many."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()

    def __call__(self, topic: str, payload: bytes) -> None:
        with self._changed:
            self.messages.append((topic, payload))
            self._changed.notify_all()

    def wait(self, count: int) -> list[tuple[str, bytes]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.messages) >= count, LONG_S)
        return self.messages


def device(at: Any, on_message: Callable[[str, bytes], None], **changes: Any) -> Line:
    terms = {"first_pause_s": 0.02, "on_fault": lambda fault: None} | changes
    filters = (str(DOWN), str(ALL))
    return Line(Session(Endpoint(at.host, at.port), PERSON, filters, on_message, **terms))


def coordinator(at: Any, on_message: Callable[[str, bytes], None], **changes: Any) -> Podium:
    terms = {"first_pause_s": 0.02, "on_fault": lambda fault: None} | changes
    filters = (all_up("home"),)
    return Podium(Session(Endpoint(at.host, at.port), "study", filters, on_message, **terms))


class Collecting:
    """A coordinator's receiver: keeps frames as a store would, and what became whole."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.inbox = Inbox(bounds or Bounds())
        self.rows: dict[tuple[bytes, bytes], tuple[str, float]] = {}  # (digest, frame) → …
        self.parcels: list[tuple[str, Parcel]] = []
        self.frames = 0
        self._changed = threading.Condition()

    def __call__(self, topic: str, payload: bytes) -> None:
        sender, now = parse_up_topic(topic).pseudonym, time.time()
        with self._changed:
            heard = self.inbox.receive(sender, payload, now)
            self.frames += 1
            if heard.keep:
                self.rows.setdefault((heard.digest, payload), (sender, now))
            if heard.parcel is not None:
                self.parcels.append((sender, heard.parcel))
                self.rows = {key: row for key, row in self.rows.items() if key[0] != heard.digest}
                self.inbox.finish(sender, heard.digest, now)
            self._changed.notify_all()

    def wait_frames(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.frames >= count, LONG_S)

    def wait_parcels(self, count: int, patience_s: float = LONG_S) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: len(self.parcels) >= count, patience_s)

    def missing(self) -> list[Announcement]:
        with self._changed:
            asked = list(self.inbox.quiet(time.time(), 0))
        return [
            announcement
            for sender, resend in asked
            for announcement in announcements(resend.to_parcel(), DownTopic("home", sender))
        ]

    def restarted(self) -> "Collecting":
        woken = Collecting()
        for (_, frame), (sender, at) in self.rows.items():
            woken.inbox.receive(sender, frame, at)
        woken.rows = dict(self.rows)
        return woken
