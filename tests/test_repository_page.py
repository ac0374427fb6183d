"""The repository as plain files on the coordinator's page, and what lies beside it: not there."""

import http.client
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sync.coordinator.service import Study, application, served
from sync.coordinator.store import ReportStore, open_store
from sync.messages import CELLS
from tests.giving import BUNDLE
from tests.test_coordinator_page import FakeFeed
from tests.test_serve import POLICY, running


@dataclass
class Site:
    """A page with a repository."""

    port: int
    folder: Path

    def asked(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer; the path goes out as it is."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            line.request(method, path, headers=headers)
            reply = line.getresponse()
            return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
        finally:
            line.close()


STUDY = Study("north", POLICY, 5)


def store_in(folder: Path) -> AbstractContextManager[ReportStore]:
    return open_store(
        folder / "reports.db",
        study="north",
        policy=POLICY.reference,
        cells=CELLS,
        clock=lambda: datetime.now(UTC),
    )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "updates"
    (folder / BUNDLE).parent.mkdir(parents=True)
    with store_in(tmp_path) as store:
        app = application(STUDY, store, FakeFeed(), repository=folder)
        with served(app) as port:
            yield Site(port, folder)


def test_a_file_is_served_whole_or_from_the_middle_on(site: Site) -> None:
    content = secrets.token_bytes(300_000)
    (site.folder / BUNDLE).write_bytes(content)
    status, headers, body = site.asked(f"/repository/{BUNDLE}")
    assert (status, body) == (200, content)
    assert headers["content-type"] == "application/octet-stream"
    assert headers["x-content-type-options"] == "nosniff"
    status, headers, body = site.asked(f"/repository/{BUNDLE}", Range="bytes=200000-")
    assert (status, body) == (206, content[200_000:])
    assert headers["content-range"] == "bytes 200000-299999/300000"
    status, headers, body = site.asked(f"/repository/{BUNDLE}", "HEAD")
    assert (status, headers["content-length"], body) == (200, "300000", b"")


@pytest.mark.parametrize(
    "path",
    [
        "", "metadata", "metadata/", "metadata/timestamp.json", "../reports.db", "..%2freports.db",
        "%2e%2e/reports.db", "metadata/..%2f..%2freports.db", "/etc/passwd", "%2fetc%2fpasswd",
        "rollout.json%00", "keys/root.json", ".hidden.json", "link.json", "root.auth",
    ],
)  # fmt: skip
def test_nothing_else_is_served(site: Site, path: str) -> None:
    (site.folder / ".hidden.json").write_bytes(b"draft")
    (site.folder / "keys").mkdir()
    (site.folder / "keys" / "root.json").write_bytes(b"key")
    for link in ("link.json", "root.auth"):
        (site.folder / link).symlink_to(site.folder / "keys" / "root.json")
    assert site.asked(f"/repository/{path}")[0] == 404


def test_nothing_can_be_put_there(site: Site) -> None:
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        assert site.asked("/repository/rollout.json", method)[0] == 405
    assert not (site.folder / "rollout.json").exists()


def test_a_page_without_a_repository_serves_none(tmp_path: Path) -> None:
    with store_in(tmp_path) as store, served(application(STUDY, store, FakeFeed())) as port:
        assert Site(port, tmp_path).asked("/repository/rollout.json")[0] == 404


@pytest.mark.parametrize("named", [False, True])
def test_the_coordinator_serves_the_folder_of_its_state_or_the_one_it_is_told(
    tmp_path: Path, named: bool
) -> None:
    state = tmp_path / "state"
    folder = tmp_path / "elsewhere" if named else state / "updates"
    words = ["--repository", str(folder)] if named else []
    with running(state, *words) as coordinator:
        folder.mkdir(parents=True)  # published later
        (folder / "rollout.json").write_text('{"number": 7}')
        assert coordinator.asked("/repository/rollout.json") == {"number": 7}
