"""What the coordinator's page says of updates, and what it keeps to itself."""

import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sync.coordinator.rollout_answers import LEAST_SHOWN, RolloutsHeld, updates_answer
from sync.coordinator.rollout_book import Deed, RolloutBook, Wish, open_rollout_book
from sync.coordinator.rollout_desk import RolloutDesk, start_of
from sync.coordinator.rollouts import Rules
from sync.coordinator.serve import publisher_of
from sync.coordinator.service import Study, application, served
from sync.coordinator.simulated_rollout import Acts
from sync.coordinator.store import open_store
from sync.messages import CELLS
from sync.policy import parse_policy
from sync.updates.offers import Kind
from sync.updates.progress import Phase
from sync.updates.rejected import Reason
from tests.releasing_to_a_study import Published, published_study
from tests.rolling import progress

POLICY = parse_policy(
    b'{"name":"weekly","version":1,"rho_per_report":"1/8","rho_budget":"3/2","delta":1e-6,'
    b'"period_days":7}'
)
PEOPLE = 120


class Feed:
    """A broker that is reached."""

    connected = True
    name = "mosquitto at 127.0.0.1:8883"


@dataclass(frozen=True)
class Fleet:
    """A study with a rollout in its second ring."""

    study: Published
    book: RolloutBook
    desk: RolloutDesk
    held: RolloutsHeld
    names: tuple[str, ...]
    began: int

    def say(self, names: tuple[str, ...], phase: Phase, reason: Reason | None = None) -> None:
        for name in names:
            runs = 2 if phase in (Phase.TRYING, Phase.COMMITTED) else 1
            said = progress(phase, reason, serial=2, runs=runs, moment=self.began + 60)
            self.desk.hear(name, said.to_parcel().content, self.began + 60)

    def ring(self, number: int) -> tuple[str, ...]:
        (rollout,) = self.book.newest()
        return tuple(n for n in self.names if rollout.directive.ring_of(n) == number)


@contextmanager
def fleet_in(folder: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        study = stack.enter_context(published_study(folder))
        for serial in (1, 2, 3):
            study.publish(serial)
        names = study.enrol(PEOPLE)
        book = stack.enter_context(open_rollout_book(folder / "rollouts.db"))
        publisher = publisher_of(study.world.founded, study.repository.folder)
        desk = RolloutDesk(publisher, book, Acts(), random_bytes=secrets.token_bytes)
        began = int(study.world.clock().timestamp())
        for name in names:
            said = progress(serial=1, runs=1, moment=began)
            desk.hear(name, said.to_parcel().content, began)
        content = start_of(2, (300, 700, 1000), Rules(soak_s=3600))
        book.wish(Wish(Deed.START, Kind.BUNDLE, "affect-1", content))
        desk.advance(began)
        fleet = Fleet(study, book, desk, RolloutsHeld(book, publisher), names, began)
        fleet.say(fleet.ring(1), Phase.COMMITTED)
        desk.advance(began + 3600)
        yield fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with fleet_in(tmp_path) as fleet:
        yield fleet


def test_rings_say_how_many_stand_where(fleet: Fleet) -> None:
    second = fleet.ring(2)
    fleet.say(second[:9], Phase.WAITING)
    fleet.say(second[9:12], Phase.TRYING)
    fleet.say(second[12:13], Phase.REJECTED, Reason.GOLDEN)
    (shown,) = updates_answer(fleet.held, fleet.began + 3700).rollouts
    assert (shown.state, shown.serial, shown.says) == ("started", 2, "1.2.0")
    first, now, third = shown.rings
    assert first.committed == first.devices == len(fleet.ring(1)) and first.rest == 0
    assert (now.waiting, now.under_way, now.failed, now.rest) == (9, 3, 1, len(second) - 13)
    assert (third.open, third.rest) == (False, third.devices)
    assert sum(ring.devices for ring in shown.rings) == PEOPLE


def test_few_who_wait_and_everybody_who_said_no_are_told_of_with_those_who_are_away(
    fleet: Fleet,
) -> None:
    second = fleet.ring(2)
    fleet.say(second[: LEAST_SHOWN - 1], Phase.WAITING)
    fleet.say(second[LEAST_SHOWN : 4 * LEAST_SHOWN], Phase.DECLINED, Reason.DECLINED)
    (shown,) = updates_answer(fleet.held, fleet.began + 3700).rollouts
    assert shown.rings[1].waiting is None
    assert shown.rings[1].rest == shown.rings[1].devices


def test_versions_that_few_run_are_counted_together(fleet: Fleet) -> None:
    answer = updates_answer(fleet.held, fleet.began + 3700)
    ran = {each.serial: each.devices for each in answer.versions}
    assert ran == {2: len(fleet.ring(1)), 1: PEOPLE - len(fleet.ring(1))}
    late = fleet.began + 4000
    for number, name in enumerate(fleet.ring(3)[:6]):
        said = progress(Phase.REJECTED, Reason.GOLDEN, serial=2, runs=20 + number // 3, moment=late)
        fleet.desk.hear(name, said.to_parcel().content, late)
        ran = {each.serial: each.devices for each in updates_answer(fleet.held, late).versions}
        assert ran[None] == (None if number + 1 < LEAST_SHOWN else number + 1)
        assert 20 not in ran


def test_no_name_of_anybody_is_on_it(fleet: Fleet) -> None:
    said = updates_answer(fleet.held, fleet.began + 3700).model_dump_json()
    assert not any(name in said for name in fleet.names)


def test_what_is_offered_and_not_rolled_out_is_said(fleet: Fleet) -> None:
    (offer,) = updates_answer(fleet.held, fleet.began).offered
    assert (offer.serial, offer.says, offer.rolled_out) == (3, "1.3.0", False)


def test_a_study_that_was_not_founded_has_no_updates() -> None:
    answer = updates_answer(None, 0)
    assert not answer.holds and answer.rollouts == answer.offered == answer.versions == ()


@contextmanager
def page_of(fleet: Fleet) -> Iterator[str]:
    folder = fleet.study.world.folder
    with open_store(
        folder / "reports.db", study="north", policy=POLICY.reference, cells=CELLS,
        clock=lambda: datetime.now(UTC),
    ) as store:  # fmt: skip
        app = application(Study("north", POLICY, 5), store, Feed(), None, fleet.held)
        with served(app) as port:
            yield f"http://127.0.0.1:{port}/"


def test_a_repository_that_is_damaged_is_a_503_with_cause_and_remedy(fleet: Fleet) -> None:
    (fleet.study.repository.folder / "metadata" / "timestamp.json").write_bytes(b"{}")
    with page_of(fleet) as address, pytest.raises(urllib.error.HTTPError) as failure:
        urllib.request.urlopen(address + "api/updates", timeout=10)
    with failure.value as reply:
        assert reply.code == 503 and set(json.load(reply)) == {"cause", "remedy"}


Look = Callable[[str, str], Any]


@pytest.fixture(params=[1200, 390], ids=["desktop", "phone"])
def look(browser: Any, request: pytest.FixtureRequest) -> Iterator[Look]:
    """Opens a page and waits for some words; complains of errors, strangers and overflow."""
    context = browser.new_context(viewport={"width": request.param, "height": 900})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda fault: complaints.append(str(fault)))

    def opened(address: str, words: str) -> Any:
        page.goto(address)
        page.get_by_text(words).first.wait_for()
        return page

    yield opened
    fits = page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    context.close()
    assert fits, "the page is wider than the screen"
    assert complaints == []


def test_the_page_shows_a_rollout_and_then_why_it_halted_without_a_reload(
    fleet: Fleet, look: Look
) -> None:
    second = fleet.ring(2)
    fleet.say(second[:9], Phase.WAITING)
    fleet.say(second[9:15], Phase.TRYING)
    with page_of(fleet) as address:
        page = look(address, "wait for a yes")
        section = page.locator("#updates-section")
        text = section.inner_text()
        for words in (
            "On offer, and not rolled out: bundle affect-1 3 (1.3.0)",
            "Bundle affect-1 2 (1.2.0)", "goes on", "Ring 1: up to 30 %", "keep it",
            "9 wait for a yes", "6 under way", "Opens next.",
            "1 hour has passed. More than 2 % failing", "Versions in the field",
        ):  # fmt: skip
            assert words in text, words
        fleet.say(second[15:27], Phase.ROLLED_BACK, Reason.UNHEALTHY)
        fleet.desk.advance(fleet.began + 3700)
        page.get_by_text("Halted by itself in ring 2").wait_for(timeout=15_000)
        assert "12 failed" in section.inner_text()
        assert section.locator(".badge").inner_text() == "halted by itself"
