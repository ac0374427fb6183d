"""A device with an update that waits for its person's yes, and its page as the agent serves it."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from agent.answers import Live, Status, enrolment_of
from agent.home import Home
from agent.service import ParticipantPage
from agent.updates.shown import Asked, Updates, UpdatesShown
from edge_models.bundle import shipped_bundle
from edge_models.errors import Explained
from tests.test_updater import Study
from tests.updating import policy, text, write_variant

CONSENT = (
    shipped_bundle()
    .consent.replace("Version 1.", "Version 2.")
    .replace(
        "- **Pictures**, only if", "- **Steps**, counted once an hour.\n- **Pictures**, only if"
    )
)


@dataclass
class Shown:
    """A device's page, what the agent has to say on it, and whether it was told of an answer."""

    home: Home
    page: ParticipantPage
    updates: Updates
    trouble: list[Explained] = field(default_factory=list)
    answered: list[bool] = field(default_factory=list)

    def status(self) -> UpdatesShown:
        code, body = sent(self.page.port, "/api/status", "GET")
        assert code == 200, body
        updates = Status.model_validate_json(body).updates
        assert updates is not None
        return updates

    def question(self) -> Asked:
        question = self.status().question
        assert question is not None
        return question

    def post(self, sha256: str, *, yes: bool, **headers: str | None) -> tuple[int, dict[str, str]]:
        body = json.dumps({"sha256": sha256, "yes": yes}).encode()
        code, said = sent(self.page.port, "/api/answer", "POST", body, **headers)
        return code, json.loads(said)


def sent(
    port: int, path: str, method: str, body: bytes | None = None, **changes: str | None
) -> tuple[int, bytes]:
    """A request as the page's own script sends it; a header that is None is left out."""
    headers: dict[str, str | None] = {}
    if method == "POST":
        headers = {
            "Content-Type": "application/json",
            "Sec-Fetch-Site": "same-origin",
            "Origin": f"http://127.0.0.1:{port}",
            "X-Sottovoce": "answer",
        }
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        said = {name: value for name, value in headers.items() if value is not None}
        connection.request(method, path, body, said)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@contextmanager
def page_of(home: Home) -> Iterator[Shown]:
    """The page as the agent serves it."""
    trouble: list[Explained] = []
    answered: list[bool] = []
    updates = Updates(
        home,
        clock=now,
        trouble=lambda: trouble[-1] if trouble else None,
        answered=lambda: answered.append(True),
    )
    page = ParticipantPage(
        home.open_store, home.study, home.seal, live=lambda: Live(agent_runs=True), clock=now,
        port=0, enrolment=enrolment_of(home.membership, home.study), updates=updates,
    )  # fmt: skip
    with page:
        yield Shown(home, page, updates, trouble, answered)


def now() -> datetime:
    return datetime.now(UTC)


def asks(study: Study, version: str = "1.1.0") -> None:
    """The study rolls out a looser policy and another consent text; the device has it."""
    changes = (policy(rho_per_report="3/16", version=2), text("consent.md", CONSENT))
    folder = study.world.folder / "loose"
    loose = write_variant(folder, *changes)
    signature = study.world.authority.sign_policy((loose / "policy.json").read_bytes())
    study.publish(*changes, version=version, signature=signature, consent_version=2)
    study.updater().look()
