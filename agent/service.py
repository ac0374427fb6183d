"""Serves the participant's page to this machine only, from the encrypted store.

Rules it upholds: loopback only; a page of another site can't read along (host check, fetch check,
no cross-origin headers); nothing is loaded from elsewhere (content security policy); no request is
logged. Whoever has an account on this machine can open the page, and answer on it.

All is read (GET) but one thing: the person's answer about an update that waits for it, POST to
`/api/answer`. It is taken from this page alone: our own name in Host and Origin, a fetch that the
browser says is of the same origin, a JSON type and a header of ours, which no form can send, and
no script of another site without a permission that is never given. Its few bytes name the very
question that was shown (SHA-256), so what has changed meanwhile isn't answered by accident.

Place in the life of a record: its last stop, seen by the person it is about.
"""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Final, Self
from urllib.parse import urlsplit

from agent.answers import Enrolment, Live, Trouble, status
from agent.days import Days
from agent.errors import SettingError, SlotError
from agent.reporter import Study
from agent.store import Store
from agent.updates.shown import Answer, Updates
from edge_models.errors import Explained
from sync.envelope import decoded
from sync.errors import ProtocolError
from sync.release import Seal
from sync.updates.rejected import UpdateRejected

LOOPBACK: Final = "127.0.0.1"
_OUR_NAMES: Final = (LOOPBACK, "localhost")
_SLOWEST_CLIENT_S: Final = 10.0
_MOST_AT_ONCE: Final = 8
_HEADERS: Final = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
)
_FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/trend.js": ("trend.js", "text/javascript; charset=utf-8"),
    "/words.js": ("words.js", "text/javascript; charset=utf-8"),
    "/updates.js": ("updates.js", "text/javascript; charset=utf-8"),
    "/consent.js": ("consent.js", "text/javascript; charset=utf-8"),
    "/elements.js": ("elements.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_JSON: Final = "application/json"
_ANSWER_PATH: Final = "/api/answer"
_OUR_HEADER: Final = ("X-Sottovoce", "answer")
_MOST_BODY_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class _Reply:
    status: HTTPStatus
    kind: str
    body: bytes


class ParticipantPage:
    """The page, on its own thread for as long as the context lasts.

    `open_store` opens a connection for the thread that calls it; `live` is asked at each look;
    `clock` tells the time (aware); `port` 0 takes any free one; `enrolment` is shown as it is;
    without `updates` none are shown and none is answered for.

    Raises:
        SettingError: the port is taken or not allowed.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        study: Study,
        seal: Seal,
        *,
        live: Callable[[], Live],
        clock: Callable[[], datetime],
        port: int,
        enrolment: Enrolment | None = None,
        updates: Updates | None = None,
    ) -> None:
        self._open_store = open_store
        self._study = study
        self._seal = seal
        self._live = live
        self._clock = clock
        self._enrolment = enrolment
        self._updates = updates
        self._days = Days()
        self._reading = threading.Lock()
        folder = files("agent") / "web"
        self._files = {
            path: _Reply(HTTPStatus.OK, kind, (folder / name).read_bytes())
            for path, (name, kind) in _FILES.items()
        }
        try:
            self._server = _Server(self, port)
        except (OSError, OverflowError) as fault:
            raise SettingError(
                f"The page can't be served on port {port}: {fault}.",
                "Choose another page port; 0 takes any free one.",
            ) from fault
        self._thread = threading.Thread(target=self._server.serve_forever, name="page")

    @property
    def address(self) -> str:
        """Such as http://127.0.0.1:8765."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def port(self) -> int:
        """The port that it is served on."""
        return int(self._server.server_address[1])

    def adopt(self, study: Study, enrolment: Enrolment | None) -> None:
        """Show another policy and other bands from the next look on: an update has come."""
        self._study, self._enrolment = study, enrolment

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, path: str) -> _Reply:
        """What is at a path; there is nothing but a few files and the status."""
        if path in self._files:
            return self._files[path]
        if path == _ANSWER_PATH:
            return _said(HTTPStatus.METHOD_NOT_ALLOWED, "Answers are sent here.", "Use the page.")
        if path != "/api/status":
            return _said(HTTPStatus.NOT_FOUND, "There is nothing here.", "Go to the first page.")
        try:
            with self._reading, self._open_store() as store:
                updates = self._updates.shown() if self._updates else None
                shown = status(
                    store,
                    self._days,
                    self._study,
                    self._seal,
                    live=self._live(),
                    now=self._clock(),
                    enrolment=self._enrolment,
                    updates=updates,
                )
        except Explained as fault:
            return _said(HTTPStatus.SERVICE_UNAVAILABLE, fault.cause, fault.remedy)
        return _Reply(HTTPStatus.OK, _JSON, shown.model_dump_json().encode("utf-8"))

    def hear(self, body: bytes) -> _Reply:
        """The person's answer about the update that waits."""
        try:
            answer = decoded(body, Answer)
        except ProtocolError:
            return _said(HTTPStatus.BAD_REQUEST, "This was no answer.", "Use the page's buttons.")
        try:
            if self._updates is None:
                raise SlotError("No update waits for your answer.", "Nothing was changed.")
            self._updates.answer(answer)
        except (SlotError, UpdateRejected) as fault:
            return _said(HTTPStatus.CONFLICT, fault.cause, fault.remedy)
        except Explained as fault:
            return _said(HTTPStatus.SERVICE_UNAVAILABLE, fault.cause, fault.remedy)
        return _Reply(HTTPStatus.OK, _JSON, answer.model_dump_json().encode("utf-8"))


def _is_count(length: str) -> bool:
    return length.isascii() and length.isdecimal() and len(length) < 10


def _said(status: HTTPStatus, cause: str, remedy: str) -> _Reply:
    """An error, as JSON of two sentences."""
    words = Trouble(cause=cause, remedy=remedy)
    return _Reply(status, _JSON, words.model_dump_json().encode("utf-8"))


class _Server(ThreadingHTTPServer):
    """Loopback, a few threads at most, and no name look-up."""

    daemon_threads = True
    request_queue_size = 16

    def __init__(self, page: ParticipantPage, port: int) -> None:
        self.page = page
        self.slots = threading.BoundedSemaphore(_MOST_AT_ONCE)
        super().__init__((LOOPBACK, port), _Request)

    def server_bind(self) -> None:
        """Without the base class's look-up of our own name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = LOOPBACK, int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no event; a bug would show as an empty answer."""


class _Request(BaseHTTPRequestHandler):
    """One request: checked, answered, forgotten."""

    server: _Server
    timeout = _SLOWEST_CLIENT_S
    server_version = "sottovoce"
    sys_version = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with a file or the status."""
        with self.server.slots:
            self._reply(self._refusal() or self.server.page.answer(urlsplit(self.path).path))

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        self.do_GET()

    def do_POST(self) -> None:
        """Take the person's answer; its few bytes are read only where nothing speaks against it."""
        refusal = self._refusal() or self._answer_refusal()
        body = b"" if refusal else self.rfile.read(int(self.headers["Content-Length"]))
        self.close_connection = True  # whatever else follows is not read
        with self.server.slots:
            self._reply(refusal or self.server.page.hear(body))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server refuses by itself: other methods (501), and what is no HTTP."""
        self.close_connection = True  # whatever follows is not read
        if code == HTTPStatus.NOT_IMPLEMENTED:
            only = _said(HTTPStatus.METHOD_NOT_ALLOWED, "This can only be read.", "Use GET.")
            self._reply(only)
        else:
            self._reply(
                _said(HTTPStatus(code), "This was no request for a page.", "Use a browser.")
            )

    def _refusal(self) -> _Reply | None:
        """What keeps out a page of another site, also one whose name was made to point here."""
        hosts = self.headers.get_all("Host") or []
        ours = {f"{name}:{self.server.server_port}" for name in _OUR_NAMES}
        if len(hosts) != 1 or hosts[0].lower() not in ours:
            return _said(
                HTTPStatus.MISDIRECTED_REQUEST,
                "This page answers to its own address only.",
                f"Open http://{LOOPBACK}:{self.server.server_port} on this machine.",
            )
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            navigates = self.headers.get("Sec-Fetch-Mode") == "navigate"
            if not navigates or urlsplit(self.path).path.startswith("/api/"):
                return _said(
                    HTTPStatus.FORBIDDEN, "Another site may not read this page.", "Open it itself."
                )
        return None

    def _answer_refusal(self) -> _Reply | None:
        """What keeps out whatever was not sent by this page's own script."""
        if urlsplit(self.path).path != _ANSWER_PATH:
            return _said(HTTPStatus.METHOD_NOT_ALLOWED, "This can only be read.", "Use GET.")
        ours = {f"http://{name}:{self.server.server_port}" for name in _OUR_NAMES}
        if (
            self.headers.get("Sec-Fetch-Site") != "same-origin"
            or self.headers.get("Origin") not in ours
            or self.headers.get(_OUR_HEADER[0]) != _OUR_HEADER[1]
        ):
            return _said(
                HTTPStatus.FORBIDDEN, "Only this page itself may answer.", "Use its buttons."
            )
        if self.headers.get("Content-Type") != _JSON:
            return _said(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "This was no answer.", f"Send {_JSON}.")
        lengths = self.headers.get_all("Content-Length") or []
        if self.headers.get("Transfer-Encoding") or len(lengths) != 1 or not _is_count(lengths[0]):
            return _said(HTTPStatus.LENGTH_REQUIRED, "This was no answer.", "Say its length.")
        if int(lengths[0]) > _MOST_BODY_BYTES:
            return _said(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "This was no answer.", "Send one word."
            )
        return None

    def _reply(self, reply: _Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Content-Length", str(len(reply.body)))
        for name, value in _HEADERS:
            self.send_header(name, value)
        if reply.status == HTTPStatus.METHOD_NOT_ALLOWED:
            answers = urlsplit(self.path).path == _ANSWER_PATH
            self.send_header("Allow", "POST" if answers else "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: who looked, and when, is the person's own business."""
