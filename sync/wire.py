"""One lasting connection, both ways: what `line` sends through, and what it hears.

Rules it upholds: one connection and one thread serve sending and hearing; a message that arrives
is acknowledged only after its receiver has it; a message that is sent has arrived when the broker
acknowledged it, and until then goes out again, as it is, on each new connection (so it may arrive
twice, never half); never more than 20 are on their way; after a fault it connects again, after
longer and longer pauses. It does not know what may be sent: only `line`, `transport` and
`coordinator.announce` hold a wire, and each has its own rule (tests/test_arrows.py).

Source: OASIS, "MQTT Version 5.0", 2019, 4.4 (a client sends unacknowledged messages again).
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from edge_models.errors import ContractError, Explained
from sync.endpoint import Endpoint
from sync.errors import BrokerError
from sync.link import IN_FLIGHT, KEPT_S, Link, Opening, Wake
from sync.retry import FIRST_PAUSE_S, keep_trying, say_in_log

_IDLE_S: Final = 15.0  # between looks at the keep-alive, which is 60


@dataclass(frozen=True, slots=True)
class Session:
    """Whom to connect to, under which lasting name, what to hear, and what to do with it.

    `on_message` gets topic and payload, on the connection's thread and never two at a time. When
    it returns the message is acknowledged: keep it first. When it raises `Explained` (a store that
    is full) the message stays unacknowledged, the fault goes to `on_fault`, and after a pause it is
    passed on again; meanwhile nothing is sent. Any other exception is a bug and ends the thread.

    `timeout_s`: how long the broker may take for a step. `session_s`: how long it keeps what we
    miss. `expiry_s`: how long it keeps what we send. `must_connect`: entering fails if the broker
    can't be used, instead of trying again.
    """

    endpoint: Endpoint
    client_id: str
    filters: tuple[str, ...]
    on_message: Callable[[str, bytes], None]
    on_fault: Callable[[Explained], None] = say_in_log
    timeout_s: float = 10.0
    session_s: int = KEPT_S
    expiry_s: int = KEPT_S
    first_pause_s: float = FIRST_PAUSE_S
    must_connect: bool = False


@dataclass(slots=True, eq=False)
class _Outgoing:
    """A message until the broker answers; `withdrawn` when nobody waits for it any more."""

    topic: str
    payload: bytes
    expiry_s: int
    answered: bool = False
    refusal: str = ""
    withdrawn: bool = False


class Wire:
    """A context manager: inside, it is connected or tries to be."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._open = Opening(
            session.endpoint, session.client_id, session.session_s, session.timeout_s
        )
        self._stop = threading.Event()
        self._changed = threading.Condition()  # guards what follows
        self._waiting: deque[_Outgoing] = deque()
        self._answers = 0
        self._connected = False
        self._was_connected = False
        self._fault: Explained | None = None
        self._wake: Wake | None = None
        self._thread: threading.Thread | None = None
        self._link: Link | None = None  # this and the next: the thread's own
        self._in_flight: dict[int, _Outgoing] = {}

    @property
    def connected(self) -> bool:
        """Whether it sends and hears right now."""
        return self._connected

    @property
    def is_at_work(self) -> bool:
        """Whether its thread runs: inside the context it does, unless a bug has ended it."""
        return self._thread is not None and self._thread.is_alive()

    def __enter__(self) -> Self:
        self._stop.clear()
        self._fault, self._was_connected, self._wake = None, False, Wake()
        self._thread = threading.Thread(target=self._run, name=f"line {self._session.client_id}")
        self._thread.start()
        if self._session.must_connect:
            try:
                self._await_connection()
            except BaseException:  # also Ctrl-C while waiting: no thread is left behind
                self.__exit__()
                raise
        return self

    def _await_connection(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._was_connected or self._fault or not self._wake)
        if not self._was_connected:
            raise self._fault or self._closed()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with self._changed:
            if self._wake is not None:
                self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def send(self, messages: Sequence[tuple[str, bytes]], expiry_s: int | None = None) -> None:
        """Send topics and payloads, in order, and wait until the broker has each of them.

        It keeps them `expiry_s` for those who are away; None: as long as the session says.

        After `BrokerError` they may or may not have arrived: send the same again.

        Raises:
            BrokerError: no answer to anything for `timeout_s`, or a refusal; or this is closed.
            ContractError: called by `on_message`, which the answer would wait for.
        """
        if threading.current_thread() is self._thread:
            raise ContractError("A receiver can't send: keep what came, and answer elsewhere.")
        kept_s = self._session.expiry_s if expiry_s is None else expiry_s
        batch = [_Outgoing(topic, payload, kept_s) for topic, payload in messages]
        with self._changed:
            self._waiting.extend(batch)
            if self._wake is not None:
                self._wake.set()
            try:
                self._await(batch)
            finally:
                for message in batch:
                    message.withdrawn = True

    def _await(self, batch: list[_Outgoing]) -> None:
        """Wait for each answer, as long as answers come to whatever is sent."""
        session = self._session
        for message in batch:
            while not message.answered:
                if self._wake is None:
                    raise self._closed()
                before = self._answers
                if not self._changed.wait_for(
                    lambda seen=before: self._answers != seen or self._wake is None,  # type: ignore[misc]
                    session.timeout_s,
                ):
                    raise session.endpoint.silent("did not take a message") from self._fault
            if message.refusal:
                raise session.endpoint.refuses_message(message.refusal)

    def _closed(self) -> BrokerError:
        return BrokerError(
            f"The line to {self._session.endpoint} is closed.",
            "Nothing is lost: what was to be sent is kept, and sent when the line opens again.",
        )

    # The thread.

    def _run(self) -> None:
        try:
            keep_trying(
                self._serve,
                self._stop,
                on_fault=self._tell,
                first_pause_s=self._session.first_pause_s,
            )
        finally:
            self._hang_up()
            with self._changed:
                if self._wake is not None:
                    self._wake.close()
                self._wake = None
                self._waiting.clear()
                self._changed.notify_all()

    def _tell(self, fault: Explained) -> None:
        with self._changed:
            self._fault = fault
            self._changed.notify_all()
        if self._was_connected or not self._session.must_connect:
            self._session.on_fault(fault)

    def _serve(self) -> None:
        try:
            link = self._link or self._joined()
            while not self._stop.is_set():
                self._pass_on(link)
                self._post(link)
                link.serve(_IDLE_S, self._wake)
        except BrokerError:
            self._hang_up()
            raise

    def _joined(self) -> Link:
        """A new connection that hears what it should."""
        self._link = link = self._open()
        if self._session.filters:
            mid = link.subscribe(self._session.filters)

            def answered() -> bool:
                self._pass_on(link)  # amqtt answers only when what had queued is acknowledged
                return mid in link.answers

            try:
                link.serve_until(answered, "did not answer the subscription")
                reason = link.answers.pop(mid)
                if reason.is_failure:
                    raise self._session.endpoint.refuses_filter(reason.getName())
            except Explained:
                self._hang_up()
                raise
        with self._changed:
            self._connected = self._was_connected = True
            self._fault = None
            self._changed.notify_all()
        return link

    def _pass_on(self, link: Link) -> None:
        """Pass on what arrived, acknowledging each message once its receiver has it."""
        while link.arrived:
            message = link.arrived[0]
            self._session.on_message(message.topic, bytes(message.payload))
            link.acknowledge(message)
            link.arrived.popleft()

    def _post(self, link: Link) -> None:
        """Take in the broker's answers, and send as much as may be on its way."""
        with self._changed:
            for mid, reason in link.answers.items():
                message = self._in_flight.pop(mid, None)
                if message is not None:
                    self._answers += 1
                    message.answered = True
                    message.refusal = reason.getName() if reason.is_failure else ""
            link.answers.clear()
            while self._waiting and len(self._in_flight) < IN_FLIGHT:
                message = self._waiting.popleft()
                if not message.withdrawn:
                    mid = link.publish(message.topic, message.payload, message.expiry_s)
                    self._in_flight[mid] = message
            self._changed.notify_all()

    def _hang_up(self) -> None:
        """End the connection; what it did not deliver waits for the next one, in order."""
        if self._link is not None:
            self._link.drop()
            self._link = None
        with self._changed:
            self._connected = False
            self._waiting.extendleft(reversed(self._in_flight.values()))
            self._in_flight.clear()
