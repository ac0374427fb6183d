"""One MQTT connection, driven by whoever calls. The only user of paho.

Rules it upholds: nothing runs between two calls of `serve`; a fault ends the connection and is
told as `BrokerError`, each kind with its own sentence; what arrives waits in `arrived` until the
caller acknowledges it. MQTT 5, or 3.1.1 where the broker refuses 5 (there messages don't expire,
and a refused message looks like an accepted one). What is published must have passed a door: only
`transport` and `wire` hold a link (tests/test_arrows.py).

In the life of a report: below **transport** and **line**, above the socket.

Source: OASIS, "MQTT Version 5.0", 2019, 3.1 to 3.4, 4.3.2 (QoS 1), 4.4 (redelivery).
"""

import os
import select
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from sync.endpoint import Endpoint, sends_at_once
from sync.errors import BrokerError

KEPT_S: Final = 28 * 24 * 3600
"""How long the broker keeps a report, and queues for a coordinator that is away."""
IN_FLIGHT: Final = 20
"""Messages on their way at a time: paho loses some when its window is wider than the broker's."""

_KEEPALIVE_S: Final = 60  # as long as the longest pause of `keep_trying`
_LOOK_EVERY_S: Final = 0.25
_UNKNOWN_VERSION: Final = "Unsupported protocol version"
# What paho raises on bytes that are not MQTT.
_NOT_MQTT: Final = (MQTTException, struct.error, ValueError, LookupError, AssertionError)


class _OldBroker(BrokerError):
    """It does not know MQTT 5."""


class Wake:
    """Ends another thread's wait in `Link.serve`, now or the next one."""

    def __init__(self) -> None:
        self._number = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """For `poll`."""
        return self._number

    def set(self) -> None:
        """Any thread may."""
        os.eventfd_write(self._number, 1)

    def clear(self) -> None:
        """For the thread that waited, and only if it was set."""
        os.eventfd_read(self._number)

    def close(self) -> None:
        """When nobody waits or sets any more."""
        os.close(self._number)


class Link:
    """An open connection; `BrokerError` when none comes about.

    `session_s` 0: nothing is kept when it ends; otherwise the broker keeps subscriptions and
    messages for so long under `client_id`.
    """

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
        self._protocol = protocol
        self._greeting: ReasonCode | None = None
        self._farewell: ReasonCode | None = None
        self.answers: dict[int, ReasonCode] = {}
        self.arrived: deque[paho.MQTTMessage] = deque()
        self._client = self._made(client_id, session_s)
        terms: dict[str, Any] = {}
        if protocol == paho.MQTTv5 and session_s:
            terms["clean_start"] = False
            terms["properties"] = _properties(
                PacketTypes.CONNECT, SessionExpiryInterval=session_s, ReceiveMaximum=IN_FLIGHT
            )
        try:
            self._client.connect(endpoint.host, endpoint.port, _KEEPALIVE_S, **terms)
        except OSError as fault:
            raise endpoint.unreachable(fault) from fault
        self.serve_until(lambda: self._greeting is not None, "did not answer as a broker")

    def _made(self, client_id: str, session_s: int) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if self._protocol == paho.MQTTv5 else not session_s,
            protocol=self._protocol,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        if self._protocol != paho.MQTTv5:
            client.username_pw_set(client_id)  # amqtt queues for those with a name only
        client.connect_timeout = self._timeout_s
        client.max_inflight_messages_set(IN_FLIGHT)
        client.on_socket_open = lambda _c, _u, made: sends_at_once(made)  # type: ignore[arg-type]
        client.on_connect = lambda _c, _u, _f, reason, _p: setattr(self, "_greeting", reason)
        client.on_disconnect = lambda _c, _u, _f, reason, _p: setattr(self, "_farewell", reason)
        client.on_publish = lambda _c, _u, mid, reason, _p: self.answers.update({mid: reason})
        client.on_subscribe = lambda _c, _u, mid, said, _p: self.answers.update({mid: _worst(said)})
        client.on_message = lambda _c, _u, message: self.arrived.append(message)
        if self._endpoint.tls is not None:
            client.tls_set_context(self._endpoint.tls.context())
        return client

    def publish(self, topic: str, payload: bytes, expiry_s: int) -> int:
        """Begin to send one message at QoS 1; its number, under which `answers` tells the end."""
        terms = None
        if self._protocol == paho.MQTTv5:
            terms = _properties(PacketTypes.PUBLISH, MessageExpiryInterval=expiry_s)
        return self._client.publish(topic, payload, qos=1, properties=terms).mid

    def subscribe(self, filters: Sequence[str]) -> int:
        """Ask to listen at QoS 1; a number, under which `answers` tells the worst answer."""
        return self._client.subscribe([(name, 1) for name in filters])[1] or 0

    def acknowledge(self, message: paho.MQTTMessage) -> None:
        """Tell the broker that its receiver has it."""
        self._client.ack(message.mid, message.qos)

    def serve(self, longest_s: float, wake: Wake | None = None) -> None:
        """Read and write what is due, for at most this long; `BrokerError` when it has ended."""
        try:
            code = self._served(longest_s, wake)
        except _NOT_MQTT as fault:
            self.drop()
            raise self._endpoint.no_broker() from fault
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.drop()
            raise self._ended(code)

    def _served(self, longest_s: float, wake: Wake | None) -> MQTTErrorCode:
        """As paho's own `loop`, but with `poll`, which knows file numbers beyond 1023."""
        socket = self._client.socket()
        if socket is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        waiting = select.poll()
        waiting.register(socket, select.POLLIN | select.POLLOUT * self._client.want_write())
        if wake is not None:
            waiting.register(wake, select.POLLIN)
        decrypted = socket.pending() if hasattr(socket, "pending") else 0
        ready = dict(waiting.poll(0 if decrypted else 1000 * longest_s))
        if wake is not None and wake.fileno() in ready:
            wake.clear()
        happened = ready.get(socket.fileno(), 0)
        if decrypted or happened & ~select.POLLOUT:
            code = self._client.loop_read()
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS or self._client.socket() is None:
                return code
        if happened & select.POLLOUT:
            code = self._client.loop_write()
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS or self._client.socket() is None:
                return code
        return self._client.loop_misc()

    def _ended(self, code: MQTTErrorCode) -> BrokerError:
        if self._greeting is not None and self._greeting.is_failure:
            refusal = self._endpoint.refuses(self._greeting.getName())
            if self._protocol == paho.MQTTv5 and self._greeting.getName() == _UNKNOWN_VERSION:
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
        self._client.disconnect()


class Opening:
    """Opens links under one name: in MQTT 5, or in 3.1.1 where the broker knows no other.

    An old broker may stumble over the properties of MQTT 5 and never answer (amqtt waits for
    more); so the first session, which needs them, is preceded by a question that has none.
    """

    def __init__(
        self, endpoint: Endpoint, client_id: str, session_s: int, timeout_s: float
    ) -> None:
        self.endpoint = endpoint
        self._client_id = client_id
        self._session_s = session_s
        self._timeout_s = timeout_s
        # A study's broker takes the client id from the certificate: the question would end the very
        # session that it is about.
        self._answers_5 = not session_s or endpoint.tls is not None

    def __call__(self) -> Link:
        """A new link.

        Raises:
            BrokerError: the broker is absent or refuses.
        """
        name, session_s, timeout_s = self._client_id, self._session_s, self._timeout_s
        try:
            if not self._answers_5:
                Link(self.endpoint, f"{name}-asks", 0, timeout_s).drop()
                self._answers_5 = True
            return Link(self.endpoint, name, session_s, timeout_s)
        except _OldBroker:
            return Link(self.endpoint, name, session_s, timeout_s, paho.MQTTv311)


def _worst(said: Sequence[ReasonCode]) -> ReasonCode:
    return next((reason for reason in said if reason.is_failure), said[0])


def _properties(packet: int, **fields: int) -> Properties:
    made = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in fields.items():
        setattr(made, name, value)
    return made
