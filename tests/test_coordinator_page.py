"""The coordinator's page and JSON: what they show, what they hide, and whom they let in."""

import csv
import hashlib
import io
import json
import re
import socket
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from sync.budget import Ledger, Spend
from sync.coordinator.answers import TABLE_COLUMNS
from sync.coordinator.estimate import noise_of
from sync.coordinator.ledger import judge
from sync.coordinator.service import PageError, Study, application, served
from sync.coordinator.store import Outcome, ReportStore, open_store
from sync.ledger_head import LedgerHead, head_of
from sync.messages import CELLS, HISTOGRAMS, Report
from sync.policy import Purpose, parse_policy

POLICY = parse_policy(
    b'{"name":"weekly","version":1,"rho_per_report":"1/8","rho_budget":"3/2","delta":1e-6,'
    b'"period_days":7}'
)
MINIMUM = 5
WEB = Path(__file__).resolve().parent.parent / "sync" / "coordinator" / "web"


@dataclass
class FakeFeed:
    """A broker that is reached, or is not."""

    connected: bool = True
    name: str = "mosquitto at 127.0.0.1:1883"


@dataclass(frozen=True)
class Site:
    """A served page, its store and its feed."""

    address: str
    store: ReportStore
    feed: FakeFeed
    file: Path

    def answer(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        request = urllib.request.Request(self.address + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return reply.status, dict(reply.headers), reply.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, dict(refusal.headers), refusal.read()

    def json(self, path: str) -> Any:
        status, _, body = self.answer(path)
        assert status == 200, body
        return json.loads(body)

    def receives(self, people: int, period: str, first: int = 1) -> None:
        """`people` reports; the first cell holds `first`, all others 0."""
        for number in range(people):
            report = Report(
                version=1,
                study="north",
                pseudonym=f"{number:032x}",
                period=period,
                policy=POLICY.reference,
                bundle="affect-1",
                counts=(first, *[0] * (CELLS - 1)),
            )
            self.store.add(report, hashlib.sha256(report.to_bytes()).digest(), 12)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    file = tmp_path / "reports.db"
    with open_store(
        file,
        study="north",
        policy=POLICY.reference,
        cells=CELLS,
        clock=lambda: datetime(2026, 11, 24, 9, 30, tzinfo=UTC),
    ) as store:
        feed = FakeFeed()
        with served(application(Study("north", POLICY, MINIMUM), store, feed)) as port:
            yield Site(f"http://127.0.0.1:{port}", store, feed, file)


def test_an_empty_study_has_no_numbers(site: Site) -> None:
    cohort = site.json("/api/cohort")
    assert (cohort["reports"], cohort["enough"], cohort["histograms"]) == (0, False, {})
    assert cohort["periods"] == []
    assert cohort["budget"]["epsilon_spent"] == 0


def test_too_few_reports_have_no_numbers_anywhere(site: Site) -> None:
    site.receives(MINIMUM - 1, "2026-W48", first=77)
    cohort = site.json("/api/cohort?period=2026-W48")
    assert cohort["histograms"] == {}
    assert cohort["noise"] is None
    assert "4 reports so far" in cohort["in_words"]
    assert cohort["periods"] == [
        {"period": "2026-W48", "reports": 4, "enough": False, "summed": False}
    ]
    for path in ("/api/cohort", "/api/cohort?period=all", "/api/cohort.csv", "/api/health"):
        body = site.answer(path)[2].decode()
        assert "308" not in body, path  # 4 reports of 77


def test_enough_reports_give_the_unbiased_sum_and_its_noise(site: Site) -> None:
    site.receives(24, "2026-W48", first=2)
    cohort = site.json("/api/cohort")
    half = noise_of(POLICY.sigma2, 24).half_width_people
    first = cohort["histograms"][HISTOGRAMS[0].name][0]
    assert first["answer"] == HISTOGRAMS[0].bins[0]
    assert (first["people"], first["low"], first["high"]) == (48, 48 - half, 48 + half)
    assert first["share"] == 2.0
    assert first["projected"] == 24
    assert cohort["noise"]["half_width_people"] == half
    assert "±67 people" in cohort["in_words"]
    assert set(cohort["histograms"]) == {histogram.name for histogram in HISTOGRAMS}


def test_the_newest_period_with_enough_reports_is_shown_first(site: Site) -> None:
    site.receives(6, "2026-W46")
    site.receives(7, "2026-W47")
    site.receives(2, "2026-W48")
    assert site.json("/api/cohort")["period"] == "2026-W47"
    assert site.json("/api/cohort?period=2026-W48")["enough"] is False


def test_all_together_adds_the_shown_periods_only(site: Site) -> None:
    site.receives(6, "2026-W46", first=3)
    site.receives(7, "2026-W47", first=3)
    site.receives(2, "2026-W48", first=80)
    pooled = site.json("/api/cohort?period=all")
    assert pooled["reports"] == 13
    assert pooled["histograms"][HISTOGRAMS[0].name][0]["people"] == 39
    assert "With 13 reports" in pooled["in_words"]


def test_the_budget_is_that_of_the_person_who_spent_most(site: Site) -> None:
    site.receives(6, "2026-W46")
    site.receives(3, "2026-W47")
    budget = site.json("/api/cohort")["budget"]
    assert (budget["people"], budget["most_reports"]) == (6, 2)
    assert (budget["rho_spent"], budget["rho_budget"]) == (0.25, 1.5)
    assert budget["epsilon_spent_tight"] < budget["epsilon_spent"] < budget["epsilon_budget"]


def said_by(number: int, *rounds: int) -> LedgerHead:
    spends = [Spend(f"{each:064x}", Fraction(1, 80), "any@1", Purpose.HEAD) for each in rounds]
    return head_of(Ledger.of(spends), bytes(32), study="north", pseudonym=f"{number:032x}")


def test_how_the_devices_ledgers_stand_is_said_without_names(site: Site) -> None:
    for number in range(4):
        judge(site.store, POLICY, said_by(number, 1, 2))
    judge(site.store, POLICY, said_by(2, 1))
    judge(site.store, POLICY, said_by(3, 2, 1))
    cohort = site.json("/api/cohort")
    budget = cohort["budget"]
    stands = [budget[f"ledgers_{how}"] for how in ("agree", "behind", "forked")]
    assert stands == [2, 1, 1]
    assert f"{3:032x}" not in json.dumps(cohort)


def test_what_was_refused_is_said_with_its_reason(site: Site) -> None:
    site.receives(6, "2026-W46")
    site.receives(6, "2026-W46")
    site.store.refuse(Outcome.OTHER_POLICY)
    cohort = site.json("/api/cohort")
    assert (cohort["stored"], cohort["duplicates"]) == (6, 6)
    assert cohort["refused"] == [
        {"reason": "another privacy policy", "count": 1, "last_at": "2026-11-24T09:30:00Z"}
    ]
    assert site.json("/api/health")["messages"] == 13


def test_an_unknown_period_is_a_404_with_cause_and_remedy(site: Site) -> None:
    for wanted in ("2026-W01", "%00", "a" * 3000):
        status, _, body = site.answer(f"/api/cohort?period={wanted}")
        assert status == 404
        assert set(json.loads(body)) == {"cause", "remedy"}


def test_the_csv_has_every_shown_period_and_all_together(site: Site) -> None:
    site.receives(6, "2026-W46", first=3)
    site.receives(7, "2026-W47", first=4)
    site.receives(1, "2026-W48", first=55)
    status, headers, body = site.answer("/api/cohort.csv")
    rows = list(csv.DictReader(io.StringIO(body.decode("utf-8"))))
    assert status == 200
    assert headers["content-disposition"] == 'attachment; filename="cohort.csv"'
    assert tuple(rows[0]) == TABLE_COLUMNS
    assert [period for period in dict.fromkeys(row["period"] for row in rows)] == [
        "2026-W46",
        "2026-W47",
        "all",
    ]
    assert len(rows) == 3 * CELLS
    firsts = [row["people"] for row in rows if row["histogram"] == HISTOGRAMS[0].name][::4]
    assert firsts == ["18", "28", "46"]


def test_a_study_that_was_not_founded_holds_no_rounds(site: Site) -> None:
    assert site.json("/api/rounds") == {
        "holds": False, "running": [], "ended": [], "opened": 0, "failed": 0,
    }  # fmt: skip
    assert site.json("/api/health")["rounds_running"] == 0


def test_health_says_when_the_broker_is_gone(site: Site) -> None:
    assert site.json("/api/health")["state"] == "ok"
    site.feed.connected = False
    health = site.json("/api/health")
    assert (health["state"], health["connected"]) == ("no broker", False)
    assert "devices keep their reports" in health["in_words"]


def test_a_store_that_fails_is_a_503_with_cause_and_remedy(site: Site) -> None:
    other = sqlite3.connect(site.file)
    other.execute("DROP TABLE tallies")
    other.commit()
    other.close()
    for path in ("/api/cohort", "/api/health"):
        status, _, body = site.answer(path)
        assert status == 503
        assert "can't be used" in json.loads(body)["cause"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", ""])
def test_another_host_name_is_refused(site: Site, host: str) -> None:
    assert site.answer("/api/cohort", Host=host)[0] == 400


@pytest.mark.parametrize(
    "path", ["/", "/page.js", "/page.css", "/icon.svg", "/api/cohort", "/api/rounds", "/none"]
)
def test_every_answer_forbids_what_the_page_does_not_need(site: Site, path: str) -> None:
    _, headers, _ = site.answer(path, Origin="http://evil.example")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert not any(name.startswith("access-control") for name in headers)
    assert "server" not in headers


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/../store.py", "/%2e%2e/store.py"])
def test_nothing_else_is_served(site: Site, path: str) -> None:
    assert site.answer(path)[0] == 404


def test_nothing_can_be_changed_through_the_page(site: Site) -> None:
    request = urllib.request.Request(site.address + "/api/cohort", data=b"{}", method="POST")
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=10)
    assert refusal.value.code == 405
    refusal.value.close()


def test_a_taken_port_is_named_with_a_remedy(site: Site) -> None:
    app = application(Study("north", POLICY, MINIMUM), site.store, site.feed)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PageError, match=rf"Port {port}.*--port-page"), served(app, port):
            pass
    with pytest.raises(PageError, match="not a port"), served(app, 70_000):
        pass


def test_the_page_loads_nothing_from_elsewhere_and_writes_no_markup() -> None:
    for file in WEB.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//[a-z]+\.[a-z]", text), file.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
        assert not re.search(r"\son[a-z]+=|\sstyle=", text), file.name


@dataclass(frozen=True)
class Seen:
    """A page in the browser, and what it complained of or asked others for."""

    page: Any
    complaints: list[str]


@pytest.fixture(params=[1280, 360], ids=["desktop", "phone"])
def seen(browser: Any, request: pytest.FixtureRequest) -> Iterator[Seen]:
    context = browser.new_context(viewport={"width": request.param, "height": 800})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda fault: complaints.append(str(fault)))
    page.on(
        "request",
        lambda asked: None if "//127.0.0.1:" in asked.url else complaints.append(asked.url),
    )
    yield Seen(page, complaints)
    fits = page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    context.close()
    assert fits, "the page is wider than the screen"
    assert complaints == []


def test_the_browser_shows_a_study_without_reports(site: Site, seen: Seen) -> None:
    seen.page.goto(site.address)
    seen.page.get_by_text("No report has arrived yet").wait_for()
    assert seen.page.get_by_role("heading", name="north").is_visible()
    assert seen.page.get_by_text("Receiving through mosquitto").is_visible()
    assert not seen.page.locator("#legend").is_visible()


def test_the_browser_shows_too_few_reports_and_then_enough_without_a_reload(
    site: Site, seen: Seen
) -> None:
    site.receives(3, "2026-W48")
    seen.page.goto(site.address)
    seen.page.get_by_text("3 reports so far").wait_for()
    assert seen.page.locator(".bars").count() == 0
    site.receives(24, "2026-W48")
    seen.page.get_by_text("nothing here can be told from noise").wait_for(timeout=15_000)
    assert seen.page.locator(".bars").count() == len(HISTOGRAMS)
    table = seen.page.get_by_role("table", name=HISTOGRAMS[0].question)
    row = table.get_by_role("row").filter(has_text=HISTOGRAMS[0].bins[0]).first
    assert "24 (100 %)" in row.inner_text()
    assert "−43 to 91" in row.inner_text()
    assert seen.page.locator("#facts").get_by_text("ε 2.75").is_visible()


def test_the_browser_says_that_a_devices_ledger_is_behind(site: Site, seen: Seen) -> None:
    site.receives(24, "2026-W48")
    for number in range(24):
        judge(site.store, POLICY, said_by(number, *range(10)))
    judge(site.store, POLICY, said_by(7, 1))
    judge(site.store, POLICY, said_by(8, *range(120)))
    seen.page.goto(site.address)
    seen.page.get_by_text("1 device has a privacy ledger that lacks").wait_for()
    assert seen.page.get_by_text("1 person has spent the whole budget").is_visible()
    assert seen.page.get_by_text("23 agree, 1 is behind").is_visible()


def test_the_browser_moves_between_many_periods(site: Site, seen: Seen) -> None:
    for week in range(37, 49):
        site.receives(6, f"2026-W{week}", first=week)
    seen.page.goto(site.address)
    all_together = seen.page.get_by_role("button", name="All together")
    all_together.click()
    seen.page.get_by_text("With 72 reports").wait_for()
    assert all_together.get_attribute("aria-pressed") == "true"
    seen.page.reload()
    seen.page.get_by_text("With 72 reports").wait_for()
    seen.page.get_by_role("button", name="2026-W40").click()
    seen.page.get_by_text("With 6 people").wait_for()
    assert seen.page.get_by_text("240 (4,000 %)").is_visible()


def test_the_browser_says_when_the_broker_is_gone(site: Site, seen: Seen) -> None:
    site.feed.connected = False
    seen.page.goto(site.address)
    seen.page.get_by_text("is not reached").wait_for()
