"""A founded study at work: its members, its desk, and a broker of its own with its certificates.

Rules upheld here: the broker's lists are brought in step with the members at every start, and
whenever somebody is revoked or renews; a running broker is told at once; reports of those who
are no members are refused, whatever the broker let through.

In the life of a report: between the broker and `intake`.
"""

import ipaddress
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from edge_models.errors import Explained
from sync.broker import Broker
from sync.coordinator.authority import Authority, open_study
from sync.coordinator.broker_files import ACL_FILE, CRL_FILE, BrokerSettings, mosquitto_conf
from sync.coordinator.desk import Desk, opened_desk, renew_revocations
from sync.coordinator.members import Members, current_members, open_members
from sync.errors import BrokerError, StudyError
from sync.retry import say_in_log
from sync.topics import report_topic
from sync.transport import Subscription

_LOOPBACK: Final = "127.0.0.1"


class Founded:
    """The study of a state folder, open; made by `opened_study`."""

    def __init__(
        self, authority: Authority, members: Members, clock: Callable[[], datetime]
    ) -> None:
        self.authority = authority
        self.members = members
        self._clock = clock
        self._told = self._lists()
        self._gone = members.gone().pseudonyms
        self._to_end: frozenset[str] = frozenset()

    @property
    def listens_at(self) -> str:
        """Loopback for a study on one machine; empty, for every address, for any other."""
        host = self.authority.about.host
        try:
            alone = ipaddress.ip_address(host).is_loopback
        except ValueError:
            alone = host == "localhost"
        return _LOOPBACK if alone else ""

    def broker_settings(self, folder: Path, port: int) -> str:
        """What a broker of our own is told."""
        return mosquitto_conf(
            BrokerSettings(
                listener=f"{port} {self.listens_at}".rstrip(),
                folder=str(self.authority.broker_folder.resolve()),
                state=str(folder),
                log="stderr",
            )
        )

    def is_member(self, pseudonym: str) -> bool:
        """Whether reports under this pseudonym count, now.

        Raises:
            MembersError: the members can't be read.
        """
        return self.members.member(pseudonym, int(self._clock().timestamp())) is not None

    def everybody(self) -> tuple[str, ...]:
        """The pseudonyms of all members, now.

        Raises:
            MembersError: the members can't be read.
        """
        return current_members(self.members, int(self._clock().timestamp()))

    def count(self) -> int:
        """How many members there are, now.

        Raises:
            MembersError: the members can't be read.
        """
        return len(self.everybody())

    def tell(self, broker: Broker) -> None:
        """Bring the broker up to date; call it again and again, every half second or so.

        When the lists changed, it reads them again: from then on, who was revoked can't connect,
        and an open session of theirs neither says nor hears anything. At the next call, that
        session is ended.

        Raises:
            MembersError: the members can't be read.
            StudyError: the study's folder can't be used.
        """
        for pseudonym in self._to_end:
            self._end_session(broker, pseudonym)
        self._to_end = frozenset()
        lists = self._lists()
        if lists != self._told:
            self._told = lists
            broker.reload()
            gone = self.members.gone().pseudonyms
            self._to_end, self._gone = gone - self._gone, gone

    def _end_session(self, broker: Broker, pseudonym: str) -> None:
        """Connect under that name: a broker has one session a name, and ends the older one."""
        topic = report_topic(self.authority.about.study, pseudonym)
        with (
            suppress(BrokerError),  # it is let in under this name, and may not even listen
            self.authority.in_the_name_of(pseudonym, self._clock()) as tls,
            Subscription(
                broker.host, broker.port, pseudonym, topic, lambda *_: None, tls=tls, session_s=0
            ),
        ):
            pass

    def _lists(self) -> tuple[int, ...]:
        folder = self.authority.broker_folder
        try:
            return tuple((folder / name).stat().st_mtime_ns for name in (CRL_FILE, ACL_FILE))
        except OSError as fault:
            raise StudyError(
                f"The broker's lists in '{folder}' can't be looked at ({fault.strerror}).",
                "Start the coordinator again: it makes them anew.",
            ) from fault


@contextmanager
def opened_study(
    state: Path,
    *,
    clock: Callable[[], datetime],
    on_fault: Callable[[Explained], None] = say_in_log,
) -> Iterator[Founded]:
    """Open a founded study and its desk, for as long as the context lasts.

    Raises:
        StudyError: there is none, or it is damaged.
        MembersError: its members can't be read or written.
        DeskError: the desk's port is taken.
    """
    authority = open_study(state)
    with ExitStack() as stack:
        members = stack.enter_context(open_members(authority.members_file))
        renew_revocations(authority, members, clock())
        founded = Founded(authority, members, clock)
        desk = Desk(
            authority,
            members,
            clock=clock,
            random_bytes=secrets.token_bytes,
            on_change=lambda: renew_revocations(authority, members, clock()),
        )
        stack.enter_context(
            opened_desk(
                desk, authority, founded.listens_at, authority.about.desk_port, on_fault=on_fault
            )
        )
        yield founded
