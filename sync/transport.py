"""Sends released messages to a broker, and listens for them, at QoS 1.

Rules it upholds: `Transport` sends nothing but `Released`, exactly its bytes; it returns only when
the broker has acknowledged, and never retries by itself (the outbox does, with the same bytes);
`Subscription` acknowledges a message only after its receiver has it, so that what a store could
not keep comes again. MQTT 5, or 3.1.1 where the broker refuses 5 (there, messages don't expire).
Each connection is driven by one thread; nothing runs between two calls of `publish`.

In the life of a report: outbox → **transport** → broker → **subscription** → coordinator's intake.
"""

import threading
from collections.abc import Callable
from typing import Self

from edge_models.errors import Explained
from sync.endpoint import Endpoint, Tls
from sync.errors import BrokerError, DoorError
from sync.link import KEPT_S, Link, Opening
from sync.release import Released
from sync.retry import FIRST_PAUSE_S, say_in_log
from sync.wire import Session, Wire


class Transport:
    """The device's side: connects when there is something to send.

    One connection serves many messages; `close` it, or use it as a context manager. Any thread may
    call it, one at a time.

    Raises:
        BrokerError: host and port can't be an address.
    """

    def __init__(
        self,
        host: str,
        port: int,
        client_id: str,
        *,
        tls: Tls | None = None,
        timeout_s: float = 10.0,
        expiry_s: int = KEPT_S,
    ) -> None:
        self._endpoint = Endpoint(host, port, tls)
        self._open = Opening(self._endpoint, client_id, 0, timeout_s)
        self._expiry_s = expiry_s
        self._link: Link | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def publish(self, released: Released) -> None:
        """Send one released message and wait until the broker has it.

        After `BrokerError` it may or may not have arrived: publish the same value again, and
        whoever counts sees the same bytes twice.

        Raises:
            DoorError: this did not come from `release`; nothing was sent.
            BrokerError: the broker is absent, refuses, or went away before acknowledging.
        """
        if type(released) is not Released:
            raise DoorError(
                f"The transport takes only what sync.release has released, not "
                f"{type(released).__name__}.",
                "This is a fault in the program; nothing was sent. Please report it.",
            )
        topic, payload = released.topic, released.payload
        with self._lock:
            link = self._linked()
            try:
                mid = link.publish(topic, payload, self._expiry_s)
                link.serve_until(lambda: mid in link.answers, "did not take the report")
            except BrokerError:
                self._link = None
                raise
            reason = link.answers.pop(mid)
        if reason.is_failure:
            raise self._endpoint.refuses_message(reason.getName())

    def _linked(self) -> Link:
        """The connection, made anew when it ended while nobody looked."""
        if self._link is not None:
            try:
                self._link.serve(0.0)
            except BrokerError:  # it may fail again below, and then says so
                self._link = None
        if self._link is None:
            self._link = self._open()
        return self._link

    def close(self) -> None:
        """End the connection, if there is one."""
        with self._lock:
            if self._link is not None:
                self._link.drop()
                self._link = None


class Subscription:
    """The coordinator's side: each message that matches `topic_filter`, at least once.

    A context manager: entered, it listens on its own thread, through a session that the broker
    keeps while we are away. `on_message` gets topic and payload, never two at a
    time; when it raises `Explained` (a store that is full) the message stays unacknowledged, the
    fault goes to `on_fault`, and after a pause it is passed on again. Any other exception is a
    bug: listening ends, and nothing is acknowledged.

    Raises:
        BrokerError: host and port can't be an address; on entering: the broker can't be used.
    """

    def __init__(
        self,
        host: str,
        port: int,
        client_id: str,
        topic_filter: str,
        on_message: Callable[[str, bytes], None],
        *,
        tls: Tls | None = None,
        on_fault: Callable[[Explained], None] = say_in_log,
        timeout_s: float = 10.0,
        session_s: int = KEPT_S,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._wire = Wire(
            Session(
                Endpoint(host, port, tls),
                client_id,
                (topic_filter,),
                on_message,
                on_fault=on_fault,
                timeout_s=timeout_s,
                session_s=session_s,
                first_pause_s=first_pause_s,
                must_connect=True,
            )
        )

    @property
    def connected(self) -> bool:
        """Whether it is listening right now."""
        return self._wire.connected

    def __enter__(self) -> Self:
        self._wire.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.__exit__()
