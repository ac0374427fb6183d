"""Sends released messages to a broker, and listens for them, at QoS 1. The only paho user.

Rules it upholds: `Transport` sends nothing but `Released`, exactly its bytes; it returns only when
the broker has acknowledged, and never retries by itself (the outbox does, with the same bytes);
`Subscription` acknowledges a message only after its receiver has it, so that what a store could
not keep comes again. MQTT 5, or 3.1.1 where the broker refuses 5 (there, messages don't expire).
Each connection is driven by one thread; nothing runs between two calls of `publish`.

In the life of a report: outbox → **transport** → broker → **subscription** → coordinator's intake.

Source: OASIS, "MQTT Version 5.0", 2019, 3.1 to 3.4, 4.3.2 (QoS 1), 4.4 (redelivery).
"""

import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Self

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_models.errors import Explained
from sync.endpoint import Endpoint, Tls
from sync.errors import BrokerError, DoorError
from sync.release import Released
from sync.retry import FIRST_PAUSE_S, keep_trying, say_in_log

KEPT_S: Final = 28 * 24 * 3600
"""How long the broker keeps a report, and queues for a coordinator that is away."""

_KEEPALIVE_S: Final = 60  # as long as the longest pause of `keep_trying`
_IN_FLIGHT: Final = 20  # paho loses messages when its window is wider than the broker's
_LOOK_EVERY_S: Final = 0.25
_UNKNOWN_VERSION: Final = "Unsupported protocol version"
# What paho raises on bytes that are not MQTT.
_NOT_MQTT: Final = (MQTTException, struct.error, ValueError, LookupError, AssertionError)


class _OldBroker(BrokerError):
    """It does not know MQTT 5."""


class _Link:
    """One connection, driven by whoever calls; a fault ends it."""

    def __init__(
        self,
        endpoint: Endpoint,
        client_id: str,
        session_s: int,
        timeout_s: float,
        protocol: MQTTProtocolVersion = paho.MQTTv5,
    ) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self.protocol = protocol
        self._greeting: ReasonCode | None = None
        self._farewell: ReasonCode | None = None
        self.answers: dict[int, ReasonCode] = {}
        self.arrived: deque[paho.MQTTMessage] = deque()
        self.client = self._client(client_id, session_s)
        terms: dict[str, Any] = {}
        if protocol == paho.MQTTv5 and session_s:
            terms["clean_start"] = False
            terms["properties"] = _properties(
                PacketTypes.CONNECT, SessionExpiryInterval=session_s, ReceiveMaximum=_IN_FLIGHT
            )
        try:
            self.client.connect(endpoint.host, endpoint.port, _KEEPALIVE_S, **terms)
        except OSError as fault:
            raise endpoint.unreachable(fault) from fault
        self.serve_until(lambda: self._greeting is not None, "did not answer as a broker")

    def _client(self, client_id: str, session_s: int) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if self.protocol == paho.MQTTv5 else not session_s,
            protocol=self.protocol,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        if self.protocol != paho.MQTTv5:
            client.username_pw_set(client_id)  # amqtt queues for those with a name only
        client.connect_timeout = self._timeout_s
        client.max_inflight_messages_set(_IN_FLIGHT)
        client.on_connect = lambda _c, _u, _f, reason, _p: setattr(self, "_greeting", reason)
        client.on_disconnect = lambda _c, _u, _f, reason, _p: setattr(self, "_farewell", reason)
        client.on_publish = lambda _c, _u, mid, reason, _p: self.answers.update({mid: reason})
        client.on_subscribe = lambda _c, _u, mid, said, _p: self.answers.update({mid: said[0]})
        client.on_message = lambda _c, _u, message: self.arrived.append(message)
        if self._endpoint.tls is not None:
            client.tls_set_context(self._endpoint.tls.context())
        return client

    def serve(self, longest_s: float) -> None:
        """Read and write what is due, for at most this long; `BrokerError` when it has ended."""
        try:
            code = self.client.loop(longest_s)
        except _NOT_MQTT as fault:
            self.drop()
            raise self._endpoint.no_broker() from fault
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.drop()
            raise self._ended(code)

    def _ended(self, code: MQTTErrorCode) -> BrokerError:
        if self._greeting is not None and self._greeting.is_failure:
            refusal = self._endpoint.refuses(self._greeting.getName())
            if self.protocol == paho.MQTTv5 and self._greeting.getName() == _UNKNOWN_VERSION:
                return _OldBroker(refusal.cause, refusal.remedy)
            return refusal
        if code == MQTTErrorCode.MQTT_ERR_PROTOCOL:
            return self._endpoint.no_broker()
        why = self._farewell.getName() if self._farewell else paho.error_string(code)
        return self._endpoint.went_away(why.rstrip("."))

    def serve_until(self, done: Callable[[], bool], otherwise: str) -> None:
        """Serve until `done`, else `BrokerError`; `otherwise` says what did not happen in time."""
        until = time.monotonic() + self._timeout_s
        while not done():
            left_s = until - time.monotonic()
            if left_s <= 0:
                self.drop()
                raise self._endpoint.silent(otherwise)
            self.serve(min(left_s, _LOOK_EVERY_S))

    def drop(self) -> None:
        """Say goodbye where that is still possible, and close."""
        self.client.disconnect()


def _linked(endpoint: Endpoint, client_id: str, session_s: int, timeout_s: float) -> _Link:
    """A connection in MQTT 5, or in 3.1.1 where the broker knows no other.

    An old broker may stumble over the properties of MQTT 5 and never answer (amqtt waits for
    more); so a session, which needs them, is preceded by a question that has none. Not with TLS:
    a study's broker takes the client id from the certificate, and the question would end the
    session that it is about.
    """
    asks = bool(session_s) and endpoint.tls is None
    try:
        link = _Link(endpoint, client_id + "-asks" * asks, session_s * (not asks), timeout_s)
    except _OldBroker:
        return _Link(endpoint, client_id, session_s, timeout_s, paho.MQTTv311)
    if not asks:
        return link
    link.drop()
    return _Link(endpoint, client_id, session_s, timeout_s)


def _properties(packet: int, **fields: int) -> Properties:
    made = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in fields.items():
        setattr(made, name, value)
    return made


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
        self._open = partial(_linked, self._endpoint, client_id, 0, timeout_s)
        self._expiry_s = expiry_s
        self._link: _Link | None = None
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
            terms = None
            if link.protocol == paho.MQTTv5:
                terms = _properties(PacketTypes.PUBLISH, MessageExpiryInterval=self._expiry_s)
            try:
                message = link.client.publish(topic, payload, qos=1, properties=terms)
                link.serve_until(lambda: message.mid in link.answers, "did not take the report")
            except BrokerError:
                self._link = None
                raise
            reason = link.answers.pop(message.mid)
        if reason.is_failure:
            raise self._endpoint.refuses_message(reason.getName())

    def _linked(self) -> _Link:
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
        self._endpoint = Endpoint(host, port, tls)
        self._open = partial(_linked, self._endpoint, client_id, session_s, timeout_s)
        self._filter = topic_filter
        self._on_message = on_message
        self._on_fault = on_fault
        self._first_pause_s = first_pause_s
        self._stop = threading.Event()
        self._connected = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def connected(self) -> bool:
        """Whether it is listening right now."""
        return self._connected.is_set()

    def __enter__(self) -> Self:
        link = self._subscribed()
        self._stop.clear()
        self._thread = threading.Thread(target=self._listen, args=(link,), name="subscription")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _subscribed(self) -> _Link:
        link = self._open()
        _, mid = link.client.subscribe(self._filter, qos=1)

        def answered() -> bool:
            self._take_from(link)  # amqtt answers only when what had queued is acknowledged
            return mid in link.answers

        try:
            link.serve_until(answered, "did not answer the subscription")
            reason = link.answers.pop(mid or 0)
            if reason.is_failure:
                raise self._endpoint.refuses_filter(reason.getName())
        except Explained:
            link.drop()
            raise
        self._connected.set()
        return link

    def _listen(self, first: _Link) -> None:
        links = [first]  # the open one, while there is one

        def listen() -> None:
            if not links:
                links.append(self._subscribed())
            try:
                while not self._stop.is_set():
                    self._take_from(links[0])
                    links[0].serve(_LOOK_EVERY_S)
            except BrokerError:
                self._connected.clear()
                links.pop().drop()
                raise

        try:
            keep_trying(
                listen, self._stop, on_fault=self._on_fault, first_pause_s=self._first_pause_s
            )
        finally:
            self._connected.clear()
            for link in links:
                link.drop()

    def _take_from(self, link: _Link) -> None:
        """Pass on what arrived, acknowledging each message once its receiver has it."""
        while link.arrived:
            message = link.arrived[0]
            self._on_message(message.topic, bytes(message.payload))
            link.client.ack(message.mid, message.qos)
            link.arrived.popleft()
