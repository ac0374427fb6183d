"""Updates on the participant's own page, as a person with a browser meets them; and a stranger."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent.errors import SlotError
from agent.updates.shown import Updates
from tests.asking import CONSENT, Shown, asks, page_of
from tests.test_updater import Study, updating_study
from tests.updating import SHIPPED_VERSION, home_in

CHROMIUM = shutil.which("chromium")
LOOKS = """button => JSON.stringify(
    ["color", "backgroundColor", "border", "fontWeight", "fontSize", "width", "height"]
        .map((name) => getComputedStyle(button)[name]))"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with updating_study(tmp_path) as study:
        yield study


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A page with a question that nobody answers."""
    with updating_study(tmp_path_factory.mktemp("study")) as study:
        asks(study)
        with page_of(study.home) as shown:
            yield shown


@contextmanager
def tab_of(address: str, width: int = 390) -> Iterator[Any]:
    """A browser's tab; whatever it says on its console is a fault."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        try:
            tab = browser.new_page(viewport={"width": width, "height": 844})
            tab.goto(address)
            yield tab
        finally:
            browser.close()


@contextmanager
def refusing(updates: Updates) -> Iterator[None]:
    """Another process fills the slot right now."""
    answers = updates.answer

    def refused(_: object) -> None:
        raise SlotError("Another process is at it.", "Wait a moment, and try again.")

    updates.answer = refused  # type: ignore[method-assign]
    yield
    updates.answer = answers  # type: ignore[method-assign]


def test_in_a_browser_the_text_is_read_whole_and_answered_by_keyboard(study: Study) -> None:
    asks(study)
    with page_of(study.home) as shown, tab_of(shown.page.address) as tab:
        faults: list[str] = []
        tab.on("console", lambda message: faults.append(message.text))
        tab.on("pageerror", lambda fault: faults.append(str(fault)))
        tab.reload()
        tab.get_by_role("link", name="Read it and answer").click()
        asked = tab.locator("#question")
        for words in ("lets a report tell more", "Steps", "Erase", "Both answers are fine"):
            assert words in asked.inner_text()
        plain = "".join(CONSENT.split()).replace("#", "").replace("**", "").replace("-", "")
        read = "".join(asked.locator(".reading").first.inner_text().split())
        assert read.replace("-", "").replace("•", "").replace("Neworchanged:", "") == plain
        marked = asked.locator(".new").all_inner_texts()
        assert [("Steps" in one, "Version 2" in one) for one in marked] == [
            (False, True),
            (True, False),
        ]
        take, leave = (asked.get_by_role("button", name=name) for name in ("Take it", "Leave it"))
        assert take.evaluate(LOOKS) == leave.evaluate(LOOKS)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        take.focus()
        with refusing(shown.updates):
            tab.keyboard.press("Enter")
            tab.wait_for_selector("#answered .loud")
        assert "try again" in tab.locator("#answered").inner_text()
        assert take.evaluate("button => button === document.activeElement")
        assert [fault for fault in faults if "409" not in fault] == []
        tab.keyboard.press("Tab")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#answered:has-text('You said no')")
        assert tab.evaluate("document.activeElement.id") == "answered"
        tab.wait_for_selector("#happened dd:has-text('You said no.')")
        assert asked.is_hidden() and tab.locator("#waits").is_hidden()
    assert study.runs() == SHIPPED_VERSION


def test_in_a_browser_a_device_without_updates_is_calm(tmp_path: Path) -> None:
    with page_of(home_in(tmp_path)) as shown, tab_of(shown.page.address) as tab:
        tab.wait_for_selector("#updates-words:has-text('No update has come yet')")
        for hidden in ("#waits", "#question", "#updates-trouble", "#versions", "#happened"):
            assert tab.locator(hidden).is_hidden()


class Elsewhere(BaseHTTPRequestHandler):
    """A site of somebody else's, on this very machine."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


POST = "fetch(to, {method: 'POST', body, "
ATTACKS = {
    "plain": POST + "mode: 'no-cors'})",
    "typed": POST + "mode: 'no-cors', headers: {'Content-Type': 'text/plain'}})",
    "asking": POST + "headers: {'Content-Type': 'application/json', 'X-Sottovoce': 'answer'}})",
    "beacon": "navigator.sendBeacon(to, new Blob([body], {type: 'text/plain'}))",
    "form": """(() => {
        const form = document.createElement('form');
        Object.assign(form, {method: 'POST', action: to, enctype: 'text/plain'});
        const word = document.createElement('input');
        Object.assign(word, {name: body.slice(0, -1), value: '}'});
        form.append(word);
        document.body.append(form);
        form.submit();
    })()""",
}


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_a_script_or_form_of_another_site_can_not_answer(
    waiting: Shown, attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []
    monkeypatch.setattr(waiting.page, "hear", heard.append)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with tab_of(f"http://127.0.0.1:{server.server_address[1]}") as tab:
            to = f"{waiting.page.address}/api/answer"
            body = json.dumps({"sha256": waiting.question().sha256, "yes": True})
            # A script doesn't even see the refusal; a form leads the person to it.
            ends = "response" if attack == "form" else "requestfailed"
            with tab.expect_event(ends, lambda what: what.url == to):
                tab.evaluate(
                    f"async ([to, body]) => {{ try {{ await {ATTACKS[attack]} }} catch {{ }} }}",
                    [to, body],
                )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert heard == []
