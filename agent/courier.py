"""Makes the week's report when a week is over, and carries what waits to the broker.

It has a thread and a store connection of its own, so that a broker that is slow or absent never
holds up what is being sensed. What it can't send stays in the outbox; the page says why.
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
from agent.reporter import Prepared, Sending, prepare_reports, send_outbox
from edge_models.errors import Explained

if TYPE_CHECKING:
    from sync.transport import Transport

LOOK_EVERY_S: Final = 60.0


class Courier:
    """A context manager: inside, reports are made and sent as they come due."""

    def __init__(
        self, home: Home, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._home = home
        self._clock = clock
        self._stop = threading.Event()
        self._one_at_a_time = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._held = ExitStack()
        self._transport: Transport | None = None
        self.trouble: Explained | None = None

    def __enter__(self) -> Self:
        broker = self._home.settings.broker
        if broker.host:
            from sync.transport import Transport  # paho and TLS: only with a broker

            with self._home.open_store() as store:
                name = store.pseudonym(self._home.study.name, secrets.token_bytes)
            self._transport = self._held.enter_context(
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
        self._thread.join()
        self._held.close()

    def deliver(self, *, finish_current: bool = False) -> tuple[Prepared, Sending]:
        """Make the reports that are due and send what waits, now; returns what came of it.

        Raises:
            StoreError: the store can't be read or written; nothing was lost.
        """
        with self._one_at_a_time, self._home.open_store() as store:
            prepared = prepare_reports(
                store,
                self._home.study,
                self._home.seal,
                now=self._clock(),
                randbelow=secrets.randbelow,
                random_bytes=secrets.token_bytes,
                finish_current=finish_current,
            )
            if self._transport is None:
                waiting = tuple(outgoing.period for outgoing in store.outbox())
                sending = Sending((), 0, waiting, None)
            else:
                sending = send_outbox(store, self._transport, self._home.seal, self._clock())
        self.trouble = prepared.refused or sending.why
        return prepared, sending

    def forget(self) -> None:
        """Drop records that are older than the settings keep them.

        Raises:
            StoreError: the store can't be written.
        """
        with self._one_at_a_time, self._home.open_store() as store:
            store.forget_before(self._clock() - self._home.settings.keep.retention)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.deliver()  # first: what is forgotten can't be reported any more
                self.forget()
            except StoreError as fault:
                self.trouble = fault
            self._stop.wait(LOOK_EVERY_S)
