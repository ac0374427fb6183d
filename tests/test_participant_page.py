"""The participant's page over HTTP: who may read it, and that it tells everything that left."""

import http.client
import json
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.answers import Live, Status
from agent.errors import SettingError
from agent.service import ParticipantPage
from sync.messages import parse_report
from tests.participant import (
    SEAL,
    STATES,
    STUDY,
    Broker,
    broker_absent,
    budget_used_up,
    device_in,
    fresh_install,
    full_week,
    microphone_gap,
    old_copy,
    page_of,
    report,
)
from tests.stored import LAST_MONDAY, NOW, Device, fill_week, scored


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ParticipantPage]:
    device, live = device_in(tmp_path_factory.mktemp("device"), "full_week")
    with page_of(device, live) as page:
        yield page


def ask(
    page: ParticipantPage, path: str = "/", method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def status_of(device: Device, live: Live) -> Status:
    with page_of(device, live) as page:
        code, _, body = ask(page, "/api/status")
    assert code == 200
    return Status.model_validate_json(body)


@pytest.mark.parametrize(
    "path",
    ["/", "/page.css", "/page.js", "/words.js", "/trend.js", "/updates.js", "/consent.js",
     "/elements.js", "/icon.svg", "/api/status"],
)  # fmt: skip
def test_everything_comes_from_here_and_may_load_nothing_from_elsewhere(
    page: ParticipantPage, path: str
) -> None:
    code, headers, body = ask(page, path)
    assert code == 200 and body
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert b"https://" not in body
    assert b"http://" not in body.replace(b"http://www.w3.org/2000/svg", b"")  # a name, not fetched


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1", "", "localhost:1"]
)
def test_a_name_that_was_made_to_point_here_is_refused(page: ParticipantPage, host: str) -> None:
    code, _, body = ask(page, "/api/status", Host=host)
    assert code == 421
    assert b"payload" not in body


def test_localhost_is_our_name_too(page: ParticipantPage) -> None:
    assert ask(page, Host=f"localhost:{page.port}")[0] == 200


def test_two_hosts_are_refused(page: ParticipantPage) -> None:
    host = f"Host: 127.0.0.1:{page.port}\r\n"
    with socket.create_connection(("127.0.0.1", page.port), timeout=10) as raw:
        raw.sendall(f"GET /api/status HTTP/1.1\r\n{host}{host}\r\n".encode())
        assert b" 421 " in raw.recv(100)


def test_a_script_of_another_site_is_refused(page: ParticipantPage) -> None:
    for site in ("cross-site", "same-site"):
        for mode in ("no-cors", "cors", "navigate"):
            headers = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": mode}
            assert ask(page, "/api/status", **headers)[0] == 403
    assert ask(page, "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200
    assert ask(page, "/api/status", Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="cors")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "NAKED"])
@pytest.mark.parametrize("path", ["/", "/api/status", "/api/answer/", "/api"])
def test_all_but_one_path_can_only_be_read(page: ParticipantPage, method: str, path: str) -> None:
    code, headers, _ = ask(page, path, method)
    assert code == 405
    assert headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "NAKED"]
)
def test_an_answer_can_only_be_posted(page: ParticipantPage, method: str) -> None:
    code, headers, _ = ask(page, "/api/answer", method)
    assert code == 405
    assert headers["Allow"] == "POST"


def test_head_gives_no_body(page: ParticipantPage) -> None:
    code, headers, body = ask(page, "/", "HEAD")
    assert (code, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize(
    "path",
    ["/../keys.py", "/%2e%2e/keys.py", "/..%2fkeys.py", "//etc/passwd", "/key", "/store.db",
     "/page.js/", "/web/page.js", "/api/", "/api/status/", "/\\..\\key"],
)  # fmt: skip
def test_there_is_no_way_to_another_file(page: ParticipantPage, path: str) -> None:
    code, _, body = ask(page, path)
    assert code == 404
    assert set(json.loads(body)) == {"cause", "remedy"}


@pytest.mark.parametrize(
    "rubbish", [b"\x16\x03\x01\x02\x00\x01\n\n", b"GET\r\n\r\n", b"x" * 70_000]
)
def test_what_is_no_http_does_not_stop_the_page(page: ParticipantPage, rubbish: bytes) -> None:
    with socket.create_connection(("127.0.0.1", page.port), timeout=10) as raw:
        raw.sendall(rubbish + b"\r\n\r\n")
        raw.shutdown(socket.SHUT_WR)
        try:
            while raw.recv(4096):
                continue
        except ConnectionResetError:  # it may hang up before it has read everything
            pass
    assert ask(page)[0] == 200


def test_it_listens_on_loopback_only(page: ParticipantPage) -> None:
    assert page._server.socket.getsockname()[0] == "127.0.0.1"


def test_a_taken_port_is_named_with_a_remedy(page: ParticipantPage, tmp_path: Path) -> None:
    def again(port: int) -> ParticipantPage:
        return ParticipantPage(
            Device(tmp_path).store, STUDY, SEAL, live=Live, clock=lambda: NOW, port=port
        )

    for port in (page.port, 70_000):
        with pytest.raises(SettingError, match="another page port"):
            again(port)


def test_each_byte_that_left_is_shown_with_its_meaning(tmp_path: Path) -> None:
    device, broker = Device(tmp_path), Broker()
    with device.store() as store:
        fill_week(store, LAST_MONDAY)
        report(store, 0, broker)
    (sent,) = broker.kept
    (message,) = status_of(device, Live()).messages
    assert message.payload.encode() == sent.payload
    assert (message.topic, message.size_bytes) == (sent.topic, len(sent.payload))
    shown = [count for question in message.questions for count in question.counts]
    assert tuple(shown) == parse_report(sent.payload).counts
    assert message.sent_at == NOW and message.period == "2026-W47"
    assert (str(message.first_day), str(message.last_day)) == ("2026-11-16", "2026-11-22")


def test_waiting_reports_are_shown_with_why_and_as_not_sent(tmp_path: Path) -> None:
    device = Device(tmp_path)
    shown = status_of(device, broker_absent(device))
    assert [message.sent_at for message in shown.messages] == [None, None]
    assert "can't be reached" in shown.waiting_because
    assert shown.privacy.reports_made == 2 and shown.privacy.reports_left == 10


def test_a_used_up_budget_is_shown_and_never_exceeded(tmp_path: Path) -> None:
    device = Device(tmp_path)
    shown = status_of(device, budget_used_up(device)).privacy
    assert (shown.reports_made, shown.reports_left, shown.refused) == (12, 0, "")
    assert shown.epsilon_spent == shown.epsilon_budget == STUDY.policy.epsilon_budget


def test_an_old_copy_of_the_store_is_said_and_shown(tmp_path: Path) -> None:
    device = Device(tmp_path)
    shown = status_of(device, old_copy(device)).privacy
    assert (shown.reports_made, shown.rounds_made) == (1, 2)
    assert "paid for 4" in shown.refused and "screening goes on" in shown.refused


def test_gaps_are_shown_with_their_reason_the_latest_first(tmp_path: Path) -> None:
    device = Device(tmp_path)
    shown = status_of(device, microphone_gap(device)).missing
    assert [(row.sensor, row.reason) for row in shown] == [
        ("microphone", "unplugged"),
        ("camera", "silent"),
        ("microphone", "busy"),
    ]
    assert shown[0].minutes == 120 and shown[0].detail


def test_a_fresh_install_shows_zeros_and_no_score(tmp_path: Path) -> None:
    device = Device(tmp_path)
    shown = status_of(device, fresh_install(device))
    assert shown.messages == () and shown.missing == ()
    assert shown.today.windows == 0 and not any(day.scored for day in shown.trend)
    assert shown.privacy.epsilon_spent == 0


def test_the_trend_is_the_median_of_each_day(tmp_path: Path) -> None:
    device = Device(tmp_path)
    with device.store() as store:
        for place, sadness in enumerate((0.1, 0.9, 0.2)):
            store.add_window(scored(NOW - timedelta(days=1, minutes=place), sadness, 0.3))
    shown = status_of(device, Live()).trend
    assert len(shown) == 28 and shown[-1].day == NOW.date()
    assert (shown[-2].sadness, shown[-2].fear, shown[-2].scored) == (0.2, 0.3, 3)
    assert shown[-1].sadness is None


def test_a_page_that_is_open_sees_what_is_added_while_it_is_open(tmp_path: Path) -> None:
    device = Device(tmp_path)
    with page_of(device, full_week(device)) as page, device.store() as store:
        before: dict[str, Any] = json.loads(ask(page, "/api/status")[2])
        store.add_window(scored(NOW - timedelta(seconds=5)))
        after: dict[str, Any] = json.loads(ask(page, "/api/status")[2])
    assert after["today"]["windows"] == before["today"]["windows"] + 1


def test_a_damaged_record_is_counted_and_the_rest_is_shown(tmp_path: Path) -> None:
    device = Device(tmp_path)
    live = full_week(device)
    whole = status_of(device, live)
    for table in ("windows", "outbox"):
        with sqlite3.connect(device.path) as rows:
            rows.execute(
                f"UPDATE {table} SET sealed = zeroblob(50) "
                f"WHERE number = (SELECT max(number) FROM {table})"
            )
        rows.close()
    shown = status_of(device, live)
    assert shown.unreadable == 2
    assert shown.today.windows == whole.today.windows - 1
    assert shown.messages == whole.messages[1:]


def test_a_store_that_can_not_be_read_is_said_in_two_sentences(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.store().close()
    with page_of(device, Live()) as page:
        device.path.write_bytes(b"no store" * 1000)
        code, _, body = ask(page, "/api/status")
    assert code == 503
    assert all(json.loads(body).values())


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Debian's chromium")
@pytest.mark.parametrize("state", list(STATES))
def test_a_browser_shows_the_state_in_plain_words(tmp_path: Path, state: str) -> None:
    from playwright.sync_api import sync_playwright

    device, live = device_in(tmp_path, state)
    expected = {
        "fresh_install": ("Nothing has been recorded yet", "Nothing has left this device."),
        "full_week": ("2 messages", "sounded sad", "1 had somebody else in view"),
        "budget_used_up": ("The budget is used up", "12 messages"),
        "old_copy": (
            "an older copy of the store was put back",
            "1 report and 2 rounds",
            "More may have left",
        ),
        "broker_absent": ("2 reports wait on this device", "waiting, not confirmed yet"),
        "microphone_gap": ("The microphone was unplugged just now", "in use by another program"),
    }[state]
    always = ("This is a screening aid. It can't tell whether you are ill.", "emergency number")
    with page_of(device, live) as page, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        try:
            tab = browser.new_page(viewport={"width": 390, "height": 844})
            said: list[str] = []
            asked: list[str] = []
            tab.on("console", lambda message: said.append(message.text))
            tab.on("pageerror", lambda fault: said.append(str(fault)))
            tab.on("request", lambda request: asked.append(request.url))
            tab.goto(page.address)
            tab.wait_for_selector("#today dd")
            text = tab.inner_text("body")
            for words in (*expected, *always):
                assert words in text
            assert said == []  # no error, and no blocked resource
            assert all(url.startswith(page.address) for url in asked)
            assert tab.evaluate("document.documentElement.scrollWidth") <= 390
            for message in tab.locator("details.message").all()[:1]:
                message.locator("summary").click()
                payload = json.loads(message.locator("pre").inner_text())
                assert payload["study"] == "spring"
        finally:
            browser.close()
