"""The running agent and releases of itself: asked for once, followed, kept, taken back, told."""

from pathlib import Path

import pytest

from agent.updates.history import History, Step
from agent.updates.installer import work
from agent.updates.releases import Releases
from sync.updates.offers import Kind, release_path
from sync.updates.orders import Installed
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.rollout import Directive, State
from tests.rolling import directive
from tests.test_release_story import Device, Study, published
from tests.update_repository import NOW
from tests.updating import Ticking


class Agent:
    """A device and its running agent; another start is another `Releases`."""

    def __init__(self, folder: Path) -> None:
        self.device = Device(folder, Study(folder / "study"))
        self.history = History(folder / "history.jsonl")
        self.seconds, self.ended = Ticking(), 0
        self.starts()

    def starts(self) -> None:
        self.releases = Releases(
            self.device.desk, self.history, lambda: NOW, self.end, monotonic=self.seconds
        )

    def end(self) -> None:
        self.ended += 1

    def take(self, serial: int) -> Directive:
        about = release(serial)
        self.device.trust.refresh()
        self.releases.take(self.device.trust, about)
        return about

    def steps(self) -> list[Step]:
        return [line.step for line in self.history.lines()]


def release(serial: int, **changes: object) -> Directive:
    return directive(
        kind=Kind.RELEASE, name="sottovoce", serial=serial, path=release_path(serial), **changes
    )


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path)


def test_it_is_asked_for_once_installed_by_another_and_started(agent: Agent) -> None:
    published(agent.device, 2, "0.1.1")
    assert agent.releases.installed("sottovoce") == Installed(0, None, frozenset())
    agent.take(2)
    agent.take(2)  # the next look, before the installer has come to it
    assert agent.steps() == [Step.OFFERED, Step.STAGED] and agent.releases.waits
    agent.releases.follow()
    assert not agent.ended
    work(agent.device.installer)
    agent.releases.follow()
    agent.releases.follow()
    assert agent.ended == 1 and agent.releases.start_again
    assert agent.steps()[2:] == [Step.ACTIVATED] and not agent.releases.waits
    assert agent.releases.installed("sottovoce") == Installed(2, 0, frozenset())


def test_what_the_installer_refuses_is_in_the_history_with_its_reason(agent: Agent) -> None:
    published(agent.device, 2, "0.1.1", first="import nothing_of_the_kind")
    agent.take(2)
    work(agent.device.installer)
    agent.releases.follow()
    agent.releases.follow()
    assert agent.steps() == [Step.OFFERED, Step.STAGED, Step.REJECTED]
    assert agent.history.lines()[-1].reason is Reason.GOLDEN
    assert not agent.ended
    assert agent.releases.installed("sottovoce").refused == {2}


def test_what_the_launcher_gave_up_is_told(agent: Agent) -> None:
    published(agent.device, 2, "0.1.1", runs="sys.exit(9)")
    agent.take(2)
    work(agent.device.installer)
    agent.releases.follow()
    assert agent.device.launch() == 0
    agent.starts()
    agent.releases.follow()
    agent.releases.follow()
    assert agent.steps()[-2:] == [Step.ACTIVATED, Step.ROLLED_BACK]
    assert agent.history.lines()[-1].reason is Reason.UNHEALTHY


def test_a_release_that_the_study_takes_back_gives_way_to_the_one_before(agent: Agent) -> None:
    published(agent.device, 2, "0.1.1")
    agent.take(2)
    work(agent.device.installer)
    agent.releases.follow()
    agent.device.desk.keep(2)
    work(agent.device.installer)
    agent.starts()
    assert agent.device.runs == "0.1.1" and not agent.device.slots.on_probation
    gone = release(2, number=4, state=State.ABORTED, withdrawn=(2,))
    agent.releases.go_back(gone)
    agent.releases.go_back(gone)
    work(agent.device.installer)
    agent.releases.follow()
    assert agent.device.runs == "0.1.0" and agent.ended == 2
    assert agent.history.lines()[-1].reason is Reason.WITHDRAWN
    assert agent.releases.installed("sottovoce").refused == {2}


def test_the_first_release_is_never_gone_back_from(agent: Agent) -> None:
    agent.releases.go_back(release(1, state=State.ABORTED, withdrawn=(1,)))
    work(agent.device.installer)
    assert agent.device.runs == "0.1.0"
    agent.releases.follow()
    assert not agent.ended


def test_a_way_back_that_was_refused_is_asked_for_again(agent: Agent) -> None:
    gone = release(2, number=4, state=State.ABORTED, withdrawn=(2,))
    agent.releases.go_back(gone)
    work(agent.device.installer)
    answer = agent.device.desk.answer()
    assert answer is not None and not answer.taken
    agent.releases.go_back(gone)
    assert not agent.releases.waits, "not at each look"
    agent.starts()
    agent.releases.go_back(gone)
    assert agent.releases.waits


def test_an_installer_that_the_power_cut_short_is_woken_again(agent: Agent) -> None:
    """It is woken by a change of the note, and by nothing else."""
    published(agent.device, 2, "0.1.1")
    note = agent.device.state / "updates" / "release" / "wanted.json"
    agent.take(2)
    first = note.stat()
    agent.releases.follow()
    assert note.stat().st_mtime_ns == first.st_mtime_ns, "it may be at it"
    agent.starts()  # the power is back
    agent.releases.follow()
    second = note.stat()
    assert second.st_mtime_ns != first.st_mtime_ns
    agent.releases.follow()
    assert note.stat().st_mtime_ns == second.st_mtime_ns
    work(agent.device.installer)
    agent.releases.follow()
    assert agent.device.runs == "0.1.1" and agent.ended == 1


def test_what_nobody_signed_is_not_asked_for(agent: Agent) -> None:
    published(agent.device, 2, "0.1.1")
    with pytest.raises(UpdateRejected):
        agent.take(3)
    assert agent.steps() == [] and agent.device.desk.wanted() is None
