"""The coordinator's page and its JSON, on loopback.

Rules upheld here: only reading (GET) is possible; nothing is loaded from elsewhere (content
security policy); a page on another site can't read along (host check, no cross-origin headers);
no request is logged. Who may open the machine's loopback may see the sums and the signed files of
the study's repository, and no more.

In the life of a report: its last stop, as one addend of what a coordinator sees. FastAPI and
uvicorn are named here only.
"""

import csv
import io
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final, Protocol

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.middleware.trustedhost import TrustedHostMiddleware

from edge_models.errors import Explained
from sync.coordinator.answers import TABLE_COLUMNS, CohortAnswer, UnknownPeriod, cohort, table
from sync.coordinator.members import MembersError
from sync.coordinator.repository_folder import opened
from sync.coordinator.rollout_answers import RolloutsHeld, UpdatesAnswer, updates_answer
from sync.coordinator.rollout_book import RolloutBookError
from sync.coordinator.round_answers import RoundsAnswer, RoundsHeld, rounds_answer
from sync.coordinator.round_book import RoundBookError
from sync.coordinator.store import Outcome, ReportStore, ReportStoreError
from sync.errors import PublishingError, SyncError
from sync.policy import Policy

LOOPBACK: Final = "127.0.0.1"
_PATIENCE_S: Final = 10.0
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_PAGE: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


class PageError(SyncError):
    """The user's setting: the page can't be served where they want it."""


class Feed(Protocol):
    """Where reports come from, as far as the page needs to know."""

    @property
    def connected(self) -> bool:
        """Whether the broker is reached right now."""

    @property
    def name(self) -> str:
        """Which broker, for a person."""


@dataclass(frozen=True, slots=True)
class Study:
    """What the page is about: `minimum` reports give numbers."""

    name: str
    policy: Policy
    minimum: int


class Health(BaseModel):
    """`/api/health`: `reports` kept, `messages` seen in all, and whether more can come.

    And how many rounds are running, were opened, and were not.
    """

    model_config = ConfigDict(frozen=True)

    state: str
    in_words: str
    broker: str
    connected: bool
    reports: int
    messages: int
    rounds_running: int
    rounds_opened: int
    rounds_failed: int


def application(
    study: Study,
    store: ReportStore,
    feed: Feed,
    rounds: RoundsHeld | None = None,
    rollouts: RolloutsHeld | None = None,
    repository: Path | None = None,
) -> FastAPI:
    """The web application; it holds no state of its own.

    `rounds` and `rollouts` of a study that was founded. The folder `repository` is given out below
    `/repository/`, as it lies there.
    """
    app = FastAPI(title="Sotto voce coordinator", openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"])

    @app.middleware("http")
    async def guarded(
        request: Request, answer: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await answer(request)
        response.headers.update(_HEADERS)
        return response

    @app.exception_handler(ReportStoreError)
    @app.exception_handler(RoundBookError)
    @app.exception_handler(RolloutBookError)
    @app.exception_handler(PublishingError)
    @app.exception_handler(MembersError)
    def unreadable(_: Request, failure: Explained) -> JSONResponse:
        return _explained(failure, 503)

    @app.exception_handler(UnknownPeriod)
    def unknown(_: Request, failure: UnknownPeriod) -> JSONResponse:
        return _explained(failure, 404)

    @app.get("/api/cohort")
    def api_cohort(period: str | None = None) -> CohortAnswer:
        return cohort(
            store, study=study.name, policy=study.policy, minimum=study.minimum, period=period
        )

    @app.get("/api/cohort.csv")
    def api_cohort_csv() -> Response:
        text = io.StringIO()
        lines = csv.writer(text)
        lines.writerow(TABLE_COLUMNS)
        lines.writerows(table(store, policy=study.policy, minimum=study.minimum))
        name = {"Content-Disposition": 'attachment; filename="cohort.csv"'}
        return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=name)

    @app.get("/api/rounds")
    def api_rounds() -> RoundsAnswer:
        return rounds_answer(rounds)

    @app.get("/api/updates")
    def api_updates() -> UpdatesAnswer:
        return updates_answer(rollouts, int(time.time()))

    @app.get("/api/health")
    def api_health() -> Health:
        return _health(store, feed, rounds_answer(rounds))

    @app.api_route("/repository/{path:path}", methods=["GET", "HEAD"])
    def api_repository(path: str) -> Response:
        return _given_out(repository, path)

    for path, (file, media_type) in _PAGE.items():
        app.add_api_route(path, _static(file, media_type), methods=["GET", "HEAD"])
    return app


def _given_out(repository: Path | None, path: str) -> Response:
    """A file of the repository, or the part of it that was asked for (Range)."""
    try:
        if repository is None:
            raise FileNotFoundError(path)
        with opened(repository, path):
            return FileResponse(repository / path, media_type="application/octet-stream")
    except OSError:
        return Response("The repository has no such file.", 404, media_type="text/plain")


def _static(file: str, media_type: str) -> Callable[[], Response]:
    body = files("sync.coordinator").joinpath("web", file).read_bytes()

    def page() -> Response:
        return Response(body, media_type=media_type)

    return page


def _explained(failure: Explained, status: int) -> JSONResponse:
    return JSONResponse({"cause": failure.cause, "remedy": failure.remedy}, status)


def _health(store: ReportStore, feed: Feed, rounds: RoundsAnswer) -> Health:
    tallies = store.tallies()
    connected = feed.connected
    return Health(
        state="ok" if connected else "no broker",
        in_words=f"Receiving through {feed.name}."
        if connected
        else f"The broker ({feed.name}) is not reached; devices keep their reports meanwhile.",
        broker=feed.name,
        connected=connected,
        reports=sum(tally.count for tally in tallies if tally.outcome is Outcome.STORED)
        + sum(each.reports for each in store.snapshot().sums if each.noise is not None),
        messages=sum(tally.count for tally in tallies),
        rounds_running=len(rounds.running),
        rounds_opened=rounds.opened,
        rounds_failed=rounds.failed,
    )


@contextmanager
def served(app: FastAPI, port: int = 0) -> Iterator[int]:
    """Serve `app` on loopback in a thread for as long as the context lasts; yields the port.

    Raises:
        PageError: the port is taken or is none.
    """
    with _listening(port) as listener:
        server = uvicorn.Server(
            uvicorn.Config(
                app, log_level="error", access_log=False, lifespan="off", server_header=False
            )
        )
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="page", daemon=True
        )
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(_PATIENCE_S)


def _listening(port: int) -> socket.socket:
    """A listening socket: connections wait in its backlog until the server takes them."""
    try:
        return socket.create_server((LOOPBACK, port), backlog=128)
    except (OSError, OverflowError) as fault:
        why = getattr(fault, "strerror", None) or "it is not a port"
        raise PageError(
            f"Port {port} on {LOOPBACK} can't be used by the page ({why}).",
            "Name a free port, or 0 for any, with --port-page.",
        ) from fault
