"""What both pages say of rounds, after real ones: a week that was summed, and two that were not."""

import hashlib
import json
import secrets
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.answers import Live, Status, enrolment_of, status
from agent.codec import Gone
from agent.config import Settings
from agent.courier import Courier
from agent.days import Days
from agent.home import Home, open_home
from agent.parts import Round, Stands, gone_of, size_of, stands
from agent.reporter import send_outbox
from agent.rounds import Hearing
from agent.service import ParticipantPage
from agent.shelf import Kind as Kept
from agent.store import Store
from edge_models.bundle import shipped_bundle
from sync.coordinator.answers import cohort
from sync.coordinator.drafts import draft_of
from sync.coordinator.estimate import noise_of
from sync.coordinator.post import Post
from sync.coordinator.round_answers import MOST_ENDED, RoundsHeld, rounds_answer
from sync.coordinator.round_book import RoundBook, State, Wish, open_round_book
from sync.coordinator.serve import post_study
from sync.coordinator.service import Study, application, served
from sync.coordinator.store import PeriodSum, ReportStore, open_store
from sync.endpoint import Endpoint
from sync.errors import RoundRefused
from sync.messages import CELLS
from sync.parcels import Kind, Parcel, Resend, frames_of
from sync.participation import parse_part
from sync.periods import period_before, period_of, period_start
from sync.policy import Purpose, parse_policy, policy_digest
from sync.release import Seal, release_protocol
from sync.secure_sum.states import Ended
from sync.secure_sum.terms import Terms, sign_terms
from sync.topics import UpTopic
from tests.founding import KEY, World, founded_study
from tests.participant import Broker
from tests.stored import fill_week, scored
from tests.test_round_story import wait_until

PEOPLE = 20
PAYLOAD = shipped_bundle().policy
POLICY = parse_policy(PAYLOAD)
DIGEST = policy_digest(PAYLOAD)


@dataclass(frozen=True)
class Week:
    """A study after its rounds: what it keeps, and the first of its devices."""

    world: World
    period: str
    home: Home
    book: RoundBook
    store: ReportStore
    post: Post

    @property
    def held(self) -> RoundsHeld:
        return RoundsHeld(self.book, self.post.rounds.progress)

    def status(self, store: Store) -> Status:
        home = self.home
        return status(
            store, Days(), home.study, home.seal, live=Live(), now=self.world.clock(),
            enrolment=enrolment_of(home.membership, home.study),
        )  # fmt: skip

    @contextmanager
    def coordinators_page(self) -> Iterator[str]:
        app = application(Study("north", POLICY, 5), self.store, Feed(), self.held)
        with served(app) as port:
            yield f"http://127.0.0.1:{port}/"

    def participants_page(self, live: Live) -> ParticipantPage:
        home = self.home
        return ParticipantPage(
            home.open_store, home.study, home.seal, live=lambda: live, clock=self.world.clock,
            port=0, enrolment=enrolment_of(home.membership, home.study),
        )  # fmt: skip


class Feed:
    """A broker that is reached."""

    connected = True
    name = "mosquitto at 127.0.0.1:8883"


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Week]:
    with a_week(tmp_path_factory.mktemp("study")) as week:
        yield week


@contextmanager
def a_week(folder: Path) -> Iterator[Week]:
    """A week that was summed; one that nobody had records of; one that would sum five people."""
    with ExitStack() as stack:
        world = stack.enter_context(founded_study(folder))
        period = period_before(period_before(period_of(world.clock())))
        homes = [device(world, number, period) for number in range(PEOPLE)]
        book = stack.enter_context(open_round_book(folder / "rounds.db"))
        store = stack.enter_context(
            open_store(
                folder / "reports.db", study="north", policy=POLICY.reference, cells=CELLS,
                clock=world.clock,
            )
        )  # fmt: skip
        with world.broker() as broker, ExitStack() as lines:
            post = Post(
                post_study(world.founded, POLICY, DIGEST),
                Endpoint(broker.host, broker.port, world.authority.tls),
                book,
                store,
                random_bytes=secrets.token_bytes,
            )
            lines.enter_context(post)
            couriers = [lines.enter_context(Courier(home, clock=world.clock)) for home in homes]
            book.wish(Wish("report", period, 0.5))
            assert wait_until(lambda: ended(book) == 1)
            assert wait_until(lambda: all(courier.is_idle for courier in couriers))
            book.wish(Wish("report", "2026-W01", 2 / 60))
            assert wait_until(lambda: ended(book) == 2)
        small = terms_of(world, minimum=5, subject=period_before(period))
        hears(homes[0], world, small)
        yield Week(world, period, homes[0], book, store, post)


def ended(book: RoundBook) -> int:
    return sum(entry.state is not State.RUNNING for entry in book.entries())


def device(world: World, number: int, period: str) -> Home:
    """An enrolled device with some days of that week in its store."""
    name = f"device-{number}"
    world.enrol(name)
    key = world.folder / name / "key"
    key.write_bytes(KEY)
    key.chmod(0o600)
    monday = period_start(period)
    with world.store(name) as store:
        if number == 0:
            fill_week(store, monday)
        else:
            store.add_window(scored(monday + timedelta(hours=9)))
    return open_home(Settings(state=str(world.folder / name)), {})


def terms_of(world: World, minimum: int, subject: str, round_id: str = "5a" * 32) -> Terms:
    draft = draft_of(
        Purpose.REPORT, subject, study="north", policy=POLICY, policy_digest=DIGEST,
        now=int(world.clock().timestamp()), step_s=600,
    )  # fmt: skip
    return draft(round_id, "11" * 32).model_copy(update={"minimum": minimum})


def hears(home: Home, world: World, terms: Terms) -> Hearing:
    """The device is told of a round, in the coordinator's name."""
    hearing = Hearing(home, clock=world.clock, on_kept=lambda: None)
    announcement = sign_terms(terms, world.authority.coordinator).to_bytes()
    for frame in frames_of(Parcel(Kind.SIGNED_TERMS, announcement)):
        hearing.receive("all", frame)
    return hearing


def one(rounds: tuple[Round, ...], stands: Stands) -> Round:
    (found,) = [each for each in rounds if each.stands is stands]
    return found


# The participant's side.


def test_each_round_says_what_it_was_about_and_where_it_stands(week: Week) -> None:
    with week.home.open_store() as store:
        shown = week.status(store)
    added = one(shown.rounds, Stands.ADDED)
    monday = period_start(week.period).date()
    assert (added.purpose, added.subject) == ("report", week.period)
    assert (added.first_day, added.last_day) == (monday, monday + timedelta(days=6))
    assert added.is_over and not added.reason
    assert [each.step for each in added.messages] == [
        "advert", "shares", "masked", "confirm", "opening",
    ]  # fmt: skip
    assert all(each.sent_at and len(each.sha256) == 64 for each in added.messages)
    assert added.sent_bytes == sum(each.size_bytes for each in added.messages) > 2000
    assert shown.unreadable == 0 and shown.messages == ()


def test_a_round_that_would_sum_five_people_is_shown_as_refused_with_the_reason(
    week: Week,
) -> None:
    with week.home.open_store() as store:
        refused = one(week.status(store).rounds, Stands.REFUSED)
    assert "would open a sum over 5 people" in refused.reason
    assert refused.messages == () and refused.sent_bytes == 0 and refused.is_over


def test_membership_is_shown_with_its_end(week: Week) -> None:
    with week.home.open_store() as store:
        member = week.status(store).enrolment
    assert member is not None and week.home.membership is not None
    assert (member.study, member.noise, member.least_people) == ("north", "sum", 20)
    assert member.pseudonym == week.home.membership.pseudonym
    assert member.since is not None
    assert member.until - week.world.clock() > timedelta(days=300)


def test_what_has_left_for_a_round_is_kept_as_a_summary_only(week: Week) -> None:
    with week.home.open_store() as store:
        sent = store.sent()
        assert len(sent) == 5 and store.outbox() == []
        for outgoing in sent:
            assert outgoing.sealed == b"" and outgoing.period == ""
            assert outgoing.gone is not None
            assert (outgoing.gone.purpose, outgoing.gone.subject) == ("report", week.period)
        sizes = [size_of(outgoing, week.home.seal) for outgoing in sent]
        assert sum(sizes) == one(week.status(store).rounds, Stands.ADDED).sent_bytes
        kept = sum(len(sealed) for _, _, sealed in store._rows.rows("outbox"))
    assert kept < 5 * 300


def test_a_round_that_was_joined_and_left_shows_both(tmp_path: Path) -> None:
    with founded_study(tmp_path) as world:
        period = period_before(period_before(period_of(world.clock())))
        home = device(world, 0, period)
        terms = terms_of(world, minimum=20, subject=period)
        hears(home, world, terms)
        week = Week(world, period, home, None, None, None)  # type: ignore[arg-type]
        with home.open_store() as store:
            (offered,) = week.status(store).rounds
            assert offered.stands is Stands.OFFERED and not offered.is_over
            (waiting,) = offered.messages
            assert (waiting.step, waiting.sent_at, offered.sent_bytes) == ("advert", None, 0)
            assert send_outbox(store, Broker(), home.seal, world.clock()).sent == ()
            world.clock.pass_(timedelta(hours=2))
            (late,) = week.status(store).rounds
            assert late.stands is Stands.OFFERED and late.is_over and late.sent_bytes > 0
            refusal = RoundRefused("The coordinator changed the seed.", "Please tell the study.")
            (kept,) = [kept for _, kept in store.shelf.all(Kept.PART)]
            left = replace(parse_part(kept), member=Ended(terms.round, refusal, (bytes(32),)))
            store.keep_part(terms.round, left.to_bytes(), world.clock())
            (shown,) = week.status(store).rounds
            assert (shown.stands, shown.reason) == (Stands.LEFT, str(refusal))
            store.keep_part(terms.round, None, world.clock())
            (forgotten,) = week.status(store).rounds
            assert (forgotten.stands, forgotten.subject) == (Stands.FORGOTTEN, period)


def test_a_message_that_an_older_version_kept_whole_is_shown_the_same_way(tmp_path: Path) -> None:
    with founded_study(tmp_path) as world:
        period = period_before(period_before(period_of(world.clock())))
        home = device(world, 0, period)
        hears(home, world, terms_of(world, minimum=20, subject=period))
        week = Week(world, period, home, None, None, None)  # type: ignore[arg-type]
        with home.open_store() as store:
            (waiting,) = store.outbox()
            store.mark_sent(waiting.number, world.clock())
            (kept,) = store.sent()
            assert kept.sealed and kept.gone is None
            (shown,) = week.status(store).rounds[0].messages
            payload = home.seal.reopen(kept.sealed).payload
            assert size_of(kept, home.seal) == len(payload)
            assert (shown.step, shown.size_bytes) == ("advert", len(payload))
            assert shown.sha256 == hashlib.sha256(payload).hexdigest()


def test_a_later_piece_and_an_unreadable_one_are_still_counted(week: Week) -> None:
    sealed = Seal(bytes(32))
    topic = UpTopic("north", "0" * 32)
    bitmap = Resend(bytes(32), 1, 1, (0,)).to_parcel()
    (released,) = release_protocol(bitmap, topic)
    gone = gone_of(sealed.reopen(sealed.close(released)), b"no part")
    assert gone == Gone(
        "", "", "", 1, 1, len(released.payload), hashlib.sha256(released.payload).digest()
    )


def test_trouble_of_rounds_is_told_for_a_day(tmp_path: Path) -> None:
    with founded_study(tmp_path) as world:
        period = period_before(period_before(period_of(world.clock())))
        home = device(world, 0, period)
        hearing = hears(home, world, terms_of(world, minimum=20, subject=period))
        assert hearing.trouble is None
        hearing.receive("all", b"no frame")
        assert hearing.trouble is not None
        world.clock.pass_(timedelta(days=1, seconds=1))
        assert hearing.trouble is None


def test_a_damaged_part_is_counted_and_the_rest_is_shown(tmp_path: Path) -> None:
    with founded_study(tmp_path) as world:
        period = period_before(period_before(period_of(world.clock())))
        home = device(world, 0, period)
        hears(home, world, terms_of(world, minimum=5, subject=period))
        week = Week(world, period, home, None, None, None)  # type: ignore[arg-type]
        with home.open_store() as store:
            store.shelf.put(Kept.PART, "77" * 32, b"no part")
            shown = week.status(store)
            assert shown.unreadable == 1 and len(shown.rounds) == 1


def test_every_state_of_a_member_has_a_word(week: Week) -> None:
    refusal = RoundRefused("A cause.", "A remedy.")
    assert stands(Ended("ab" * 32, None, ())) is Stands.ADDED
    assert stands(Ended("ab" * 32, refusal, ())) is Stands.REFUSED
    assert stands(Ended("ab" * 32, refusal, (bytes(32),))) is Stands.LEFT


# The coordinator's side.


def test_ended_rounds_say_how_they_ended(week: Week) -> None:
    answer = rounds_answer(week.held)
    assert (answer.holds, answer.opened, answer.failed, answer.running) == (True, 1, 1, ())
    failed, opened = answer.ended
    assert (opened.opened, opened.subject, opened.joined, opened.summed) == (
        True, week.period, PEOPLE, PEOPLE,
    )  # fmt: skip
    assert (failed.opened, failed.subject) == (False, "2026-W01") and failed.why


def test_no_more_than_the_last_ten_ended_rounds_are_shown(tmp_path: Path, week: Week) -> None:
    terms = week.book.entries()[0].terms
    with open_round_book(tmp_path / "rounds.db") as book:
        for number in range(MOST_ENDED + 3):
            book.begin(f"{number:064x}", terms, bytes(32), number)
            book.end(
                f"{number:064x}", State.FAILED, 100 + number, joined=0, members=0, total=b"",
                why="Nobody joined.",
            )  # fmt: skip
        answer = rounds_answer(RoundsHeld(book, tuple))
    assert (len(answer.ended), answer.failed) == (MOST_ENDED, MOST_ENDED + 3)
    assert answer.ended[0].ended_at == datetime.fromtimestamp(100 + MOST_ENDED + 2, UTC)


def test_a_book_that_can_not_be_read_is_a_503_with_cause_and_remedy(
    tmp_path: Path, week: Week
) -> None:
    with open_round_book(tmp_path / "rounds.db") as book:
        app = application(Study("north", POLICY, 5), week.store, Feed(), RoundsHeld(book, tuple))
        with sqlite3.connect(tmp_path / "rounds.db") as other:
            other.execute("DROP TABLE rounds")
        other.close()
        with served(app) as port, pytest.raises(urllib.error.HTTPError) as failure:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/rounds", timeout=10)
    with failure.value as reply:
        assert reply.code == 503 and "rounds" in json.load(reply)["cause"]


def test_without_a_founded_study_there_are_no_rounds() -> None:
    answer = rounds_answer(None)
    assert not answer.holds and answer.ended == answer.running == ()


def test_a_summed_period_says_where_its_noise_is_and_how_large(week: Week) -> None:
    answer = cohort(week.store, study="north", policy=POLICY, minimum=5)
    assert (answer.noise_in, answer.periods[0].summed) == ("sum", True)
    assert "on others' devices" in answer.budget.mechanism
    assert answer.noise is not None
    (kept,) = week.store.snapshot().sums
    assert kept.noise is not None
    assert answer.noise.sd_people == pytest.approx(float(kept.noise) ** 0.5, abs=0.01)


def test_the_noise_of_a_large_sum_is_not_taken_for_less_than_it_is(tmp_path: Path) -> None:
    people = 2000
    with open_store(
        tmp_path / "reports.db", study="north", policy=POLICY.reference, cells=CELLS,
        clock=lambda: datetime(2026, 11, 24, tzinfo=UTC),
    ) as store:  # fmt: skip
        noise = POLICY.sigma2 * 15 / 7
        store.keep_sum("ab" * 32, PeriodSum("2026-W47", people, (0,) * CELLS, noise))
        answer = cohort(store, study="north", policy=POLICY, minimum=5)
    assert answer.noise is not None
    assert answer.noise.sd_people == pytest.approx(float(noise) ** 0.5, abs=0.01)
    assert noise_of(noise / people, people).sd_people < 0.5 * answer.noise.sd_people


Look = Callable[[str, str], Any]


@pytest.fixture(params=[1200, 390], ids=["desktop", "phone"])
def look(browser: Any, request: pytest.FixtureRequest) -> Iterator[Look]:
    """Opens a page and waits for some words; complains of errors, strangers and overflow."""
    context = browser.new_context(viewport={"width": request.param, "height": 900})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda fault: complaints.append(str(fault)))
    page.on(
        "request",
        lambda asked: None if "//127.0.0.1:" in asked.url else complaints.append(asked.url),
    )

    def opened(address: str, words: str) -> Any:
        page.goto(address)
        page.get_by_text(words).first.wait_for()
        for details in page.locator("details.message").all():
            details.locator("summary").click()
        return page

    yield opened
    fits = page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    context.close()
    assert fits, "the page is wider than the screen"
    assert complaints == []


def test_the_participant_sees_rounds_in_plain_words(week: Week, look: Look) -> None:
    trouble = Live(True, waiting_because="A frame was altered on its way. It is asked for again.")
    with week.participants_page(trouble) as page:
        text = look(page.address, "is one addend of a sum").inner_text("body")
    for words in (
        "takes part in the study north",
        "only sums over at least 20 people",
        "5 messages",
        "Masked numbers (random to anybody who has them alone; noise inside)",
        "refused the round",
        "would open a sum over 5 people",
        "nothing sent",
        "the noise is added inside the sum",
        "A frame was altered on its way.",
        "Nothing else about you has left.",
    ):
        assert words in text, words
    assert "chance noise of typically" not in text


def test_the_coordinator_sees_rounds_and_the_summed_week(week: Week, look: Look) -> None:
    with week.coordinators_page() as address:
        page = look(address, "Opened over 20 people")
        page.get_by_text("opened as one sum").wait_for()
        text = page.inner_text("body")
    for words in (f"Report of {week.period}", "everybody who had joined", "Not opened:"):
        assert words in text, words
    assert "No report has arrived" not in text


def test_a_running_round_is_shown_with_its_step_and_then_its_end(week: Week, look: Look) -> None:
    now = int(week.world.clock().timestamp())
    draft = draft_of(
        Purpose.REPORT, "2026-W02", study="north", policy=POLICY, policy_digest=DIGEST, now=now,
        step_s=600,
    )  # fmt: skip
    terms = week.post.rounds.start(draft, now)
    try:
        with week.coordinators_page() as address:
            with urllib.request.urlopen(address + "api/health", timeout=10) as reply:
                assert json.load(reply)["rounds_running"] == 1
            page = look(address, "0 devices have joined")
            assert page.locator("[aria-current=step]").inner_text() == "offering keys"
            assert page.get_by_role("heading", name="Report of 2026-W02").is_visible()
            before = page.locator("#ended li").count()
            list(week.post.rounds.due(terms.deadlines[-1]))
            page.locator("#ended li").nth(before).wait_for(timeout=15_000)
            assert page.locator("[aria-current=step]").count() == 0
    finally:
        for step in range(5):
            list(week.post.rounds.due(terms.deadlines[-1] + step))
