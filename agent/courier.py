"""Makes the week's report when a week is over, and carries what waits to the broker.

It has a thread and a store connection of its own, so that a broker that is slow or absent never
holds up what is being sensed. What it can't send stays in the outbox; the page says why.

A device that is enrolled keeps one line open to its study, takes part in its rounds (`rounds`) and
reads its repository of updates over the same line; one that is not makes reports that are noised
for themselves, and connects only to send them.
"""

import secrets
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from agent.errors import StoreError
from agent.home import Home
from agent.reporter import Carrier, Prepared, Sending, prepare_reports, send_outbox
from agent.store import Store
from edge_models.errors import Explained
from sync.errors import BrokerError
from sync.parcels import Kind, Parcel
from sync.release import Released, release_protocol
from sync.topics import AllTopic, DownTopic, FileTopic, UpTopic

if TYPE_CHECKING:
    from agent.membership import Membership
    from agent.rounds import Hearing
    from sync.line import Line
    from sync.updates.asks import Look
    from sync.updates.by_line import LineSource
    from sync.updates.source import Source

LOOK_EVERY_S: Final = 60.0


class _ByLine:
    """A line as what the outbox is sent through."""

    def __init__(self, line: "Line") -> None:
        self._line = line

    def publish(self, released: Released) -> None:
        """Return when the broker has it; BrokerError otherwise."""
        self._line.send(released)


class Courier:
    """A context manager: inside, reports are made and sent as they come due.

    `on_look`, if set, is told when the study says that there may be something new in its
    repository; on the line's thread, so it must not wait.
    """

    def __init__(
        self,
        home: Home,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        finish_current: bool = False,
    ) -> None:
        self._home = home
        self._finish_current = finish_current
        self._clock = clock
        self._stop = threading.Event()
        self._one_at_a_time = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._held = ExitStack()
        self._carrier: Carrier | None = None
        self._told: bytes | None = None
        self._due = threading.Event()
        self._hearing: Hearing | None = None
        self._trouble: Explained | None = None
        self._files: LineSource | None = None
        self.on_look: Callable[[Look], None] = lambda _: None

    @property
    def files(self) -> "Source | None":
        """The study's repository over the line, inside the context; None: this device has none."""
        return self._files

    @property
    def trouble(self) -> Explained | None:
        """What keeps something from being sent, or went wrong in a round; None: nothing."""
        heard = self._hearing.trouble if self._hearing is not None else None
        return self._trouble or heard

    def __enter__(self) -> Self:
        broker = self._home.settings.broker
        if self._home.membership is not None:
            self._open_line(self._home.membership)
        elif broker.host:
            from sync.transport import Transport  # paho and TLS: only with a broker

            with self._home.open_store() as store:
                name = store.pseudonym(self._home.study.name, secrets.token_bytes)
            self._carrier = self._held.enter_context(
                Transport(broker.host, broker.port, name, tls=self._home.tls)
            )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._due.set()
        if self._files is not None:
            self._files.close()
        self._thread.join()
        self._held.close()

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be sent."""
        with self._home.open_store() as store:
            return not store.outbox()

    def _open_line(self, member: "Membership") -> None:
        from agent.rounds import Hearing  # what rounds need, paho and TLS: only for a member
        from sync.endpoint import Endpoint
        from sync.line import Line
        from sync.updates.by_line import ASK_KEPT_S, LineSource
        from sync.wire import Session

        up = UpTopic(member.study, member.pseudonym)
        down, files = (str(way(member.study, member.pseudonym)) for way in (DownTopic, FileTopic))
        hearing = self._hearing = Hearing(
            self._home,
            clock=self._clock,
            on_kept=self._due.set,
            on_look=lambda look: self.on_look(look),
            finish_current=self._finish_current,
        )
        source = self._files = LineSource(
            up,
            lambda asks: line.send(*asks, expiry_s=ASK_KEPT_S),
            random_bytes=secrets.token_bytes,
        )
        line = Line(
            Session(
                Endpoint(member.host, member.port, member.tls),
                member.pseudonym,
                (str(AllTopic(member.study)), down, files),
                lambda topic, payload: (
                    source.receive(topic, payload)
                    if topic == files
                    else hearing.receive(topic, payload)
                ),
                on_fault=self._note,
            )
        )
        self._carrier = _ByLine(self._held.enter_context(line))

    def adopt(self, home: Home) -> None:
        """From the next look on, report and answer by this home's policy and bundle."""
        if self._hearing is not None:
            self._hearing.adopt(home)
        self._home = home

    def _note(self, fault: Explained) -> None:
        self._trouble = fault

    def deliver(self, *, finish_current: bool = False) -> tuple[Prepared, Sending]:
        """Make the reports that are due and send what waits, now; returns what came of it.

        Raises:
            StoreError: the store can't be read or written; nothing was lost.
        """
        with self._one_at_a_time, (home := self._home).open_store() as store:
            prepared = Prepared((), None, 0)
            if not home.sums:
                prepared = prepare_reports(
                    store,
                    home.study,
                    home.seal,
                    now=self._clock(),
                    randbelow=secrets.randbelow,
                    random_bytes=secrets.token_bytes,
                    finish_current=finish_current,
                )
            if self._carrier is None:
                waiting = tuple(outgoing.period for outgoing in store.outbox())
                sending = Sending((), 0, waiting, None)
            else:
                sending = send_outbox(store, self._carrier, home.seal, self._clock())
                self._tell_standing(store, sending)
        self._trouble = prepared.refused or sending.why
        return prepared, sending

    def say(self, parcel: Parcel) -> None:
        """Send the study a parcel that holds nothing sensed, such as how an update went.

        Raises:
            BrokerError: it was not taken, or this device has no line: say it again later.
            DoorError: such a parcel may hold something sensed.
        """
        member = self._home.membership
        if member is None or self._carrier is None:
            raise BrokerError("This device has no line to a study.", "Enrol it, or do without.")
        for released in release_protocol(parcel, UpTopic(member.study, member.pseudonym)):
            self._carrier.publish(released)

    def _tell_standing(self, store: Store, sending: Sending) -> None:
        """Tell the study where this device's ledger stands, whenever that has changed."""
        member = self._home.membership
        if member is None or self._carrier is None or sending.why is not None:
            return
        head = store.book.head(member.study, member.pseudonym).to_bytes()
        if head == self._told:
            return
        moment = int(self._clock().timestamp()).to_bytes(8, "big")  # or it were no news
        try:
            self.say(Parcel(Kind.STATUS, moment + head))
        except BrokerError as fault:
            self._trouble = fault
            return
        self._told = head

    def forget(self) -> None:
        """Drop records that are older than the settings keep them.

        Raises:
            StoreError: the store can't be written.
        """
        with self._one_at_a_time, self._home.open_store() as store:
            store.forget_before(self._clock() - self._home.settings.keep.retention)
        if self._hearing is not None:
            self._hearing.forget()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.deliver()  # first: what is forgotten can't be reported any more
                self.forget()
            except StoreError as fault:
                self._trouble = fault
            self._due.wait(LOOK_EVERY_S)
            self._due.clear()
