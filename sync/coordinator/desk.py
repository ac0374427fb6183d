"""The enrolment desk: makes a member of whoever brings a good invite, and says no to all others.

Rules upheld here: what arrives is believed only as far as the invite's secret proves it; nothing
is answered that is not on disk; a stranger costs one bounded connection for a few seconds, and
gets at most a signed no; whatever goes wrong with one of them, the desk goes on.

In the life of a device: the other end of `sync.enrolment_line`. It is the only port of the study
that is open to those without a certificate, and nothing else can be reached through it.
"""

import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from edge_models.errors import Explained
from sync.coordinator.authority import Authority
from sync.coordinator.members import Admission, Gone, Member, Members
from sync.enrolment import (
    Ask,
    Grant,
    RandomBytes,
    Reason,
    Request,
    granted,
    open_ask,
    parse_ask,
    refused,
)
from sync.enrolment_line import received, send
from sync.errors import DeskError, ProtocolError
from sync.retry import say_in_log

_PATIENCE_S: Final = 10.0
_AT_ONCE: Final = 32
_VERSION: Final = 1


class Desk:
    """Judges asks; pass `secrets.token_bytes`, and a clock that tells UTC.

    `on_change` is called after a member's old certificate was replaced, so that the broker's
    revocation list can be renewed.
    """

    def __init__(
        self,
        authority: Authority,
        members: Members,
        *,
        clock: Callable[[], datetime],
        random_bytes: RandomBytes,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._authority = authority
        self._members = members
        self._clock = clock
        self._random_bytes = random_bytes
        self._on_change = on_change

    def answer(self, payload: bytes) -> bytes:
        """What is answered to these bytes, whatever they are.

        Raises:
            MembersError: nothing may be answered now; the same ask may come again.
        """
        judged = self._judged(payload)
        if isinstance(judged, Reason):
            return refused(
                judged,
                payload,
                coordinator=self._authority.coordinator,
                study=self._authority.about.study,
            )
        return judged

    def _judged(self, payload: bytes) -> bytes | Reason:
        now = self._clock()
        renewed: list[Member] = []

        def judge(secret: bytes, member_of: Callable[[str], Member | None]) -> Admission | Reason:
            request = open_ask(ask, study=self._authority.about.study, secret=secret)
            before = member_of(request.pseudonym)
            if before is not None:
                same = bytes.fromhex(request.signing_key) == before.signing_key
                if not same and not request.renews(ask.invite_name, before.signing_key):
                    return Reason.TAKEN
                if before.revoked is not None:
                    return Reason.REVOKED
                renewed.append(before)
            return self._admission(request, ask, secret, now)

        try:
            ask = parse_ask(payload)
            verdict = self._members.admit(ask, int(now.timestamp()), judge)
        except ProtocolError:
            return Reason.UNREADABLE
        if renewed:
            self._on_change()
        return verdict

    def _admission(self, request: Request, ask: Ask, secret: bytes, now: datetime) -> Admission:
        authority = self._authority
        certificate = authority.ca.for_device(request, ask.invite_name, now)
        signing_key = bytes.fromhex(request.signing_key)
        credential = authority.certify_signing_key(
            request.pseudonym, signing_key, certificate.expires
        )
        grant = Grant(
            version=_VERSION,
            study=request.study,
            pseudonym=request.pseudonym,
            certificate=certificate.der.hex(),
            ca_certificate=authority.ca.der.hex(),
            credential=credential.to_bytes().hex(),
            coordinator=authority.coordinator.credential.to_bytes().hex(),
            policy_signature=authority.policy_signature.hex(),
            noise=authority.about.noise,
        )
        member = Member(
            request.pseudonym,
            signing_key,
            certificate.serial,
            int(now.timestamp()),
            certificate.expires,
        )
        return Admission(
            member,
            granted(
                grant, ask, study=request.study, secret=secret, random_bytes=self._random_bytes
            ),
        )


def renew_revocations(authority: Authority, members: Members, now: datetime) -> None:
    """Bring the broker's files in step with the members; after a crash, this puts things right.

    Raises:
        MembersError: the members can't be read.
        StudyError: the files can't be written.
    """
    written: Gone | None = None
    while written != (gone := members.gone()):  # another process may revoke while we write
        authority.write_revocations(gone.serials, gone.pseudonyms, now)
        written = gone


@contextmanager
def opened_desk(
    desk: Desk,
    authority: Authority,
    host: str,
    port: int,
    *,
    on_fault: Callable[[Explained], None] = say_in_log,
    patience_s: float = _PATIENCE_S,
) -> Iterator[int]:
    """Serve asks on this address while the context lasts; yields the port (0: any free one).

    `host` empty: on every address of this machine, of both families where it has them.

    Raises:
        DeskError: the address can't be used.
        StudyError: the desk's certificate can't be read.
    """
    context = authority.door_context()
    address = host or ("::" if socket.has_dualstack_ipv6() else "0.0.0.0")
    places = threading.BoundedSemaphore(_AT_ONCE)

    class Server(socketserver.ThreadingTCPServer):
        """One thread a visitor, so that a slow one holds up nobody."""

        allow_reuse_address = True
        daemon_threads = True
        block_on_close = False
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def server_bind(self) -> None:
            """Where the address is "::", for IPv4 as well."""
            if address == "::":
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            super().server_bind()

    class Visit(socketserver.BaseRequestHandler):
        """One ask and its answer."""

        def handle(self) -> None:
            """TLS, then a length and an ask; then a length and an answer."""
            if not places.acquire(blocking=False):
                return
            try:
                _serve(self.request, context, desk, patience_s)
            except Explained as fault:
                on_fault(fault)
            except OSError:
                pass  # broken TLS and closed connections are the visitor's own affair
            finally:
                places.release()

    try:
        server = Server((address, port), Visit)
    except (OSError, OverflowError) as fault:
        raise DeskError(
            f"The enrolment desk can't listen on port {port} "
            f"({getattr(fault, 'strerror', None) or 'it is not a port'}).",
            "End the other program there, or found the study with another --port-desk.",
        ) from fault
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="desk", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _serve(plain: socket.socket, context: ssl.SSLContext, desk: Desk, patience_s: float) -> None:
    until = time.monotonic() + patience_s
    plain.settimeout(patience_s)
    with context.wrap_socket(plain, server_side=True) as line:
        send(line, desk.answer(received(line, until)))
