"""Updates on the participant's own page: what is shown, what is asked, and who may answer."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from agent.answers import Live, Status
from agent.service import ParticipantPage
from agent.updates.history import Step
from agent.updates.locks import alone
from agent.updates.shown import Standing, UpdatesShown
from edge_models.bundle import shipped_bundle
from sync.updates.rejected import Reason, UpdateRejected
from tests.asking import CONSENT, Shown, asks, now, page_of, sent
from tests.test_page_command import page_process
from tests.test_round_story import wait_until
from tests.test_updater import Study, updating_study
from tests.updating import SHIPPED_VERSION, home_in, install, write_variant


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with updating_study(tmp_path) as study:
        yield study


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Study, Shown]]:
    """A page with a question, for tests that leave it unanswered."""
    with updating_study(tmp_path_factory.mktemp("study")) as study:
        asks(study)
        with page_of(study.home) as shown:
            yield study, shown


def test_a_device_without_updates_says_so_and_loads_nothing_for_them(tmp_path: Path) -> None:
    code = (
        "import sys, agent.run\n"
        "from datetime import UTC, datetime\n"
        "from agent.updates.shown import Updates\n"
        "from tests.updating import home_in\n"
        "from pathlib import Path\n"
        "shown = Updates(home_in(Path(sys.argv[1])), clock=lambda: datetime.now(UTC)).shown()\n"
        "assert 'agent.updates.bundles' not in sys.modules\n"
        "assert not {'tuf', 'securesystemslib', 'urllib3', 'zstandard'} & set(sys.modules)\n"
        "print(shown.model_dump_json())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shown = UpdatesShown.model_validate_json(done.stdout)
    assert shown.standing is Standing.SHIPPED and shown.runs.version == SHIPPED_VERSION
    assert (shown.follows, shown.before, shown.question, shown.happened) == (None, None, None, ())
    assert not shown.looks and not shown.trouble
    assert not (tmp_path / "updates").exists()


def test_what_runs_what_follows_and_what_ran_before_are_told_apart(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    with page_of(home) as shown:
        install(home.slots, 7)
        told = shown.status()
        assert told.standing is Standing.SHIPPED and told.before is None
        assert told.follows is not None and told.follows.serial == 7
        shown.updates.adopt(home.renewed())
        told = shown.status()
        assert (told.runs.serial, told.standing, told.follows) == (7, Standing.TRIAL, None)
        assert told.before is not None and told.before.serial == 0
        home.slots.commit()
    with page_of(home.renewed()) as shown:
        assert shown.status().standing is Standing.KEPT


def test_where_the_settings_name_a_folder_no_update_is_promised(tmp_path: Path) -> None:
    folder = write_variant(tmp_path / "own")
    home = home_in(tmp_path / "state", bundle=str(folder))
    install(home.slots, 7)
    with page_of(home) as shown:
        told = shown.status()
    assert told.standing is Standing.OWN and not told.looks
    assert (told.runs.serial, told.follows, told.before, told.question) == (0, None, None, None)


def test_what_keeps_an_update_away_is_said_while_it_does(tmp_path: Path) -> None:
    with page_of(home_in(tmp_path)) as shown:
        shown.trouble.append(UpdateRejected(Reason.NO_ROOM, "The disk is full."))
        assert shown.status().trouble == "The disk is full. What runs now stays as it is."
        shown.trouble.clear()
        assert shown.status().trouble == ""


def test_an_update_that_can_not_be_used_any_more_is_said(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    install(home.slots, 7)
    current = home.slots.current()
    assert current is not None
    (current.folder / "CARD.md").write_text("altered")
    with page_of(home.renewed()) as shown:
        told = shown.status()
    assert "CARD.md" in told.trouble
    assert (told.standing, told.follows) == (Standing.SHIPPED, None)


def test_a_question_is_shown_whole(waiting: tuple[Study, Shown]) -> None:
    _, shown = waiting
    told = shown.status()
    question = told.question
    assert question is not None
    assert question.consent == CONSENT and question.agreed == shipped_bundle().consent
    assert "lets a report tell more" in question.questions[0]
    assert (question.update.version, question.update.serial) == ("1.1.0", 1)
    assert told.runs.version == SHIPPED_VERSION and told.looks
    assert [line.step for line in told.happened] == [Step.ASKED, Step.STAGED, Step.OFFERED]


def test_after_a_yes_it_is_switched_to(study: Study) -> None:
    asks(study)
    with page_of(study.home) as shown:
        assert shown.post(shown.question().sha256, yes=True)[0] == 200
        told = shown.status()
        assert told.question is None and shown.answered == [True]
        assert told.follows is not None and told.follows.version == "1.1.0"
        assert [line.step for line in told.happened[:2]] == [Step.ACTIVATED, Step.AGREED]
    assert study.runs() == "1.1.0"


def test_after_a_no_all_stays_and_a_second_answer_is_none(study: Study) -> None:
    asks(study)
    with page_of(study.home) as shown:
        question = shown.question()
        assert shown.post(question.sha256, yes=False)[0] == 200
        told = shown.status()
        assert told.question is None and told.happened[0].reason is Reason.DECLINED
        code, said = shown.post(question.sha256, yes=True)
    assert code == 409 and said["cause"] == "No update waits for your answer."
    assert study.runs() == SHIPPED_VERSION


def test_an_answer_is_only_for_what_was_shown(study: Study) -> None:
    asks(study)
    with page_of(study.home) as shown:
        before = shown.question()
        asks(study, "1.2.0")  # while the person reads
        code, said = shown.post(before.sha256, yes=True)
        assert code == 409 and "not what this page has shown you" in said["cause"]
        assert study.runs() == SHIPPED_VERSION and shown.answered == []
        after = shown.question()
        assert after.update.version == "1.2.0" and after.sha256 != before.sha256
        assert shown.post(after.sha256, yes=True)[0] == 200
    assert study.runs() == "1.2.0"


def test_a_look_that_waits_for_the_network_keeps_no_person_waiting(study: Study) -> None:
    asks(study)
    with page_of(study.home) as shown, alone(study.home.settings.state_folder / "updates"):
        assert shown.post(shown.question().sha256, yes=True)[0] == 200
    assert study.runs() == "1.1.0"


def test_an_update_that_was_spoilt_meanwhile_is_not_switched_to(study: Study) -> None:
    asks(study)
    with page_of(study.home) as shown:
        question = shown.question()
        staged = study.home.slots.staged()
        assert staged is not None
        (staged.folder / "CARD.md").write_text("altered")
        assert shown.post(question.sha256, yes=True)[0] == 409
    assert study.runs() == SHIPPED_VERSION


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"Sec_Fetch_Site": None}, 403),
        ({"Sec_Fetch_Site": "none"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, 403),
        ({"Origin": None}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"X_Sottovoce": None}, 403),
        ({"X_Sottovoce": "1"}, 403),
        ({"Content_Type": None}, 415),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Host": "evil.example"}, 421),
        ({"Content_Length": "513"}, 413),
        ({"Content_Length": "9" * 5000}, 411),
        ({"Content_Length": "-1"}, 411),
        ({"Content_Length": "١٢"}, 411),
        ({"Transfer_Encoding": "chunked"}, 411),
    ],
)
def test_nobody_but_the_page_can_answer(
    waiting: tuple[Study, Shown], changes: dict[str, str | None], code: int
) -> None:
    study, shown = waiting
    named = {k: v.encode().decode("latin-1") if v else v for k, v in changes.items()}
    assert shown.post(shown.question().sha256, yes=True, **named)[0] == code
    assert study.runs() == SHIPPED_VERSION and shown.question()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"yes", b"\xff", b"[" * 500, b'{"sha256":"%b","yes":1}', b'{"yes":true}',
        b'{"sha256":"%b","yes":"true"}', b'{"sha256":"%b","yes":true,"more":1}',
        b'{"sha256":"%b","yes":false,"yes":true}', b'{"sha256":"","yes":true}',
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(waiting: tuple[Study, Shown], body: bytes) -> None:
    study, shown = waiting
    whole = body.replace(b"%b", shown.question().sha256.encode())
    code, said = sent(shown.page.port, "/api/answer", "POST", whole)
    assert code == 400 and set(json.loads(said)) == {"cause", "remedy"}
    assert study.runs() == SHIPPED_VERSION


def test_a_page_without_updates_takes_no_answer(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    page = ParticipantPage(home.open_store, home.study, home.seal, live=Live, clock=now, port=0)
    body = json.dumps({"sha256": "ab" * 32, "yes": True}).encode()
    with page:
        assert sent(page.port, "/api/answer", "POST", body)[0] == 409
        status = Status.model_validate_json(sent(page.port, "/api/status", "GET")[1])
    assert status.updates is None


def test_the_page_by_itself_answers_too_and_shows_what_then_runs(study: Study) -> None:
    asks(study)
    state = study.home.settings.state_folder
    with page_process(state, "--port", "0") as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])

        def status() -> Status:
            return Status.model_validate_json(sent(port, "/api/status", "GET")[1])

        before = status()
        assert before.updates is not None and before.updates.question is not None
        answer = {"sha256": before.updates.question.sha256, "yes": True}
        assert sent(port, "/api/answer", "POST", json.dumps(answer).encode())[0] == 200
        after = status()
    assert after.updates is not None and after.updates.runs.version == "1.1.0"
    assert (after.updates.standing, after.updates.question) == (Standing.TRIAL, None)
    assert after.privacy.epsilon_per_report > before.privacy.epsilon_per_report


@pytest.mark.slow
def test_a_running_agent_turns_to_what_was_answered_on_its_page(
    study: Study, tmp_path: Path
) -> None:
    asks(study)
    soundfile.write(tmp_path / "hush.wav", np.zeros(16_000 * 600), 16_000)
    agent = subprocess.Popen(
        [sys.executable, "-m", "edge_models.command", "run", "--page-port", "0", "--pace", "real",
         "--state", str(study.home.settings.state_folder),
         "--microphone", str(tmp_path / "hush.wav")],
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert agent.stdout is not None
        address = agent.stdout.readline().partition("http://")[2].split()[0]
        port = int(address.rpartition(":")[2])

        def updates() -> UpdatesShown:
            status = Status.model_validate_json(sent(port, "/api/status", "GET")[1])
            assert status.updates is not None
            return status.updates

        question = updates().question
        assert question is not None
        body = json.dumps({"sha256": question.sha256, "yes": True}).encode()
        # The study's broker is not there, and the look for updates takes its time to give up.
        assert sent(port, "/api/answer", "POST", body)[0] == 200
        assert wait_until(lambda: updates().runs.version == "1.1.0")
        assert updates().standing is Standing.TRIAL and updates().before is not None
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(timeout=30) == 0
    finally:
        agent.kill()
        agent.wait()
