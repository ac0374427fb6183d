"""What an updater does with what a study publishes: takes, asks, refuses, goes back, tells."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent.adopted import adopted_head
from agent.config import UpdateSettings
from agent.courier import Courier
from agent.errors import SlotError
from agent.home import Home
from agent.run import _updater
from agent.updates.history import Step
from agent.updates.live import LiveEar
from agent.updates.locks import alone, held_by_the_agent
from agent.updates.own import pin
from agent.updates.trusting import NoUpdates
from agent.updates.updater import Updater
from edge_models.bundle import shipped_bundle
from sync.errors import BrokerError
from sync.federated.lesson import HeadForAll, sign_head
from sync.updates.mirrors import FolderMirror
from sync.updates.offers import Kind
from sync.updates.progress import Phase, Progress
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.rollout import ROLLOUT_FILE, Directive, State, sign_rollouts
from tests.founding import KEY, World, founded_study
from tests.press import Press
from tests.updating import SHIPPED_VERSION, Change, home_in, policy, text, write_variant


@dataclass
class Study:
    """A study with a repository, and one member's updater."""

    world: World
    press: Press
    home: Home
    said: list[Progress] = field(default_factory=list)
    deaf: bool = False
    number: int = 0

    def updater(self) -> Updater:
        return Updater(
            self.home, FolderMirror(self.press.repository.folder), say=self.say,
            clock=self.world.clock,
        )  # fmt: skip

    def say(self, progress: Progress) -> None:
        if self.deaf:
            raise BrokerError("Nobody is there.")
        self.said.append(progress)

    def publish(self, *changes: Change, version: str = "1.0.1", signature: bytes = b"",
                **manifest: object) -> Directive:  # fmt: skip
        """Publish a variant of the shipped bundle, and roll it out to everybody."""
        folder = self.world.folder / "new-bundle"
        shutil.rmtree(folder, ignore_errors=True)
        write_variant(folder, *changes, version=version, **manifest)
        self.world.clock.pass_(timedelta(seconds=1))
        added = self.press.bundle(folder, self.world.clock(), signature or None)
        new = added.contents[0].listed
        return self.direct(serial=added.offer.serial, path=new.path, sha256=new.sha256)

    def direct(self, **changes: object) -> Directive:
        self.number += 1
        fields: dict[str, object] = {
            "version": 1, "study": "north", "number": self.number, "kind": Kind.BUNDLE,
            "name": "affect-1", "rings": (1000,), "open": 1, "key": "0c" * 32,
            "state": State.STARTED, "withdrawn": (),
            "signed_at": int(self.world.clock().timestamp()),
        }  # fmt: skip
        directive = Directive.model_validate(fields | changes)
        content = sign_rollouts((directive,), self.world.authority.coordinator)
        (self.press.repository.folder / ROLLOUT_FILE).write_bytes(content)
        return directive

    def tell(self, updater: Updater) -> list[Phase]:
        self.said.clear()
        updater._teller.tell()
        return [progress.phase for progress in self.said]

    def steps(self) -> list[Step]:
        return [line.step for line in self.updater().bundles.history.lines()]

    def runs(self) -> str:
        return self.home.renewed().bundle.manifest.version


@contextmanager
def updating_study(folder: Path) -> Iterator[Study]:
    """A study that publishes, and one device in it."""
    with founded_study(folder) as world:
        world.enrol("mine")
        key = world.folder / "mine" / "key"
        key.write_bytes(KEY)
        key.chmod(0o600)
        press = Press.founded(folder / "repository", "north", world.clock())
        auth = world.authority.authorise_root(press.root)
        (press.repository.folder / "root.auth").write_bytes(auth)
        yield Study(world, press, home_in(world.folder / "mine"))


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with updating_study(tmp_path) as study:
        yield study


def test_a_bundle_that_is_rolled_out_runs_after_one_look(study: Study) -> None:
    study.publish(text("CARD.md", "# Better"))
    updater = study.updater()
    updater.look()
    assert study.runs() == "1.0.1" and study.home.renewed().serial == 1
    assert study.steps() == [Step.OFFERED, Step.STAGED, Step.ACTIVATED]
    assert study.tell(updater) == [Phase.FETCHED, Phase.TRYING]
    assert {progress.rollout for progress in study.said} == {1}
    assert study.tell(updater) == []
    assert not any((study.home.settings.state_folder / "updates" / "parts").iterdir())


def test_a_study_without_a_repository_is_no_trouble(study: Study) -> None:
    shutil.rmtree(study.press.repository.folder)
    study.press.repository.folder.mkdir()
    with pytest.raises(NoUpdates):
        study.updater().look()


def test_nothing_is_taken_without_a_rollout_or_outside_of_its_ring(study: Study) -> None:
    study.publish()
    (study.press.repository.folder / ROLLOUT_FILE).unlink()
    study.updater().look()
    assert study.runs() == SHIPPED_VERSION
    directive = study.publish(version="1.0.2")
    assert study.home.membership is not None
    keys = (f"{number:02x}" * 32 for number in range(256))
    ring = directive.model_copy(update={"rings": (1, 1000)})
    pseudonym = study.home.membership.pseudonym
    outside = next(
        key for key in keys if not ring.model_copy(update={"key": key}).includes(pseudonym)
    )
    study.direct(
        serial=directive.serial, path=directive.path, sha256=directive.sha256, rings=(1, 1000),
        key=outside,
    )  # fmt: skip
    study.updater().look()
    assert study.runs() == SHIPPED_VERSION and study.steps() == []


def test_a_rollout_that_says_other_than_what_was_signed_is_refused(study: Study) -> None:
    directive = study.publish()
    study.direct(serial=directive.serial, path=directive.path, sha256="ab" * 32)
    with pytest.raises(UpdateRejected) as refused:
        study.updater().look()
    assert refused.value.reason is Reason.MIXED
    assert study.runs() == SHIPPED_VERSION


def test_an_older_rollout_does_not_come_back(study: Study) -> None:
    study.publish()
    file = study.press.repository.folder / ROLLOUT_FILE
    first = file.read_bytes()
    study.publish(version="1.0.2")
    study.updater().look()
    file.write_bytes(first)
    with pytest.raises(UpdateRejected) as refused:
        study.updater().look()
    assert refused.value.reason is Reason.OLDER
    assert study.runs() == "1.0.2"


def test_a_looser_policy_waits_for_the_persons_yes(study: Study) -> None:
    loose = write_variant(study.world.folder / "loose", policy(rho_per_report="3/16", version=2))
    signature = study.world.authority.sign_policy((loose / "policy.json").read_bytes())
    study.publish(policy(rho_per_report="3/16", version=2), signature=signature)
    updater = study.updater()
    updater.look()
    updater.look()  # it is asked once
    assert study.runs() == SHIPPED_VERSION
    assert study.steps() == [Step.OFFERED, Step.STAGED, Step.ASKED]
    question = updater.bundles.question(study.home)
    assert question is not None and "lets a report tell more" in question.questions[0]
    assert study.tell(updater) == [Phase.FETCHED, Phase.WAITING]
    updater.bundles.answer(study.home, yes=True)
    assert study.runs() == "1.0.1" and updater.bundles.question(study.home) is None
    with pytest.raises(SlotError):
        updater.bundles.answer(study.home, yes=True)


def test_after_a_no_it_is_not_asked_again(study: Study) -> None:
    study.publish(text("consent.md", "# Something else\n"), consent_version=2)
    updater = study.updater()
    updater.look()
    updater.bundles.answer(study.home, yes=False)
    updater.look()
    assert study.runs() == SHIPPED_VERSION and updater.bundles.question(study.home) is None
    assert study.tell(updater) == [Phase.FETCHED, Phase.WAITING, Phase.DECLINED]
    study.publish(version="1.0.2")
    updater.look()
    assert study.runs() == "1.0.2"


def test_a_policy_that_the_study_has_not_signed_is_refused(study: Study) -> None:
    study.publish(policy(rho_per_report="1/16", version=2))
    with pytest.raises(UpdateRejected) as refused:
        study.updater().look()
    assert refused.value.reason is Reason.CONTRACT and study.runs() == SHIPPED_VERSION
    study.updater().look()  # not a second time
    assert study.steps().count(Step.OFFERED) == 1


def test_what_answers_otherwise_here_is_refused_and_said(study: Study) -> None:
    study.publish()
    updater = study.updater()

    def fails(folder: Path) -> None:
        raise UpdateRejected(Reason.GOLDEN, "It answers otherwise here.")

    object.__setattr__(updater.bundles, "trial", fails)
    with pytest.raises(UpdateRejected):
        updater.look()
    assert study.tell(updater) == [Phase.FETCHED, Phase.REJECTED]
    assert study.said[-1].reason is Reason.GOLDEN
    updater.look()
    assert study.runs() == SHIPPED_VERSION


def test_an_update_that_the_study_takes_back_is_gone_back_from(study: Study) -> None:
    directive = study.publish()
    updater = study.updater()
    updater.look()
    study.home.slots.commit()
    study.direct(
        serial=directive.serial, path=directive.path, sha256=directive.sha256,
        state=State.ABORTED, withdrawn=(directive.serial,),
    )  # fmt: skip
    study.world.clock.pass_(timedelta(minutes=1))
    updater.look()
    assert study.runs() == SHIPPED_VERSION
    assert study.tell(updater)[-1] is Phase.ROLLED_BACK
    assert study.said[-1].reason is Reason.WITHDRAWN
    updater.look()
    assert study.runs() == SHIPPED_VERSION


def test_the_next_version_comes_as_a_patch(study: Study) -> None:
    study.publish()
    study.updater().look()
    study.home.slots.commit()
    study.home = study.home.renewed()
    study.publish(text("CARD.md", "# Better still"), version="1.0.2")
    updater, read = study.updater(), []
    source = updater._source

    class Noting:
        def read(self, path: str, most_bytes: int, start: int = 0) -> Iterator[bytes]:
            for piece in source.read(path, most_bytes, start):
                read.append((path, len(piece)))
                yield piece

    updater._source = Noting()
    updater.look()
    assert study.runs() == "1.0.2"
    fetched = sum(size for path, size in read if path.startswith("targets/"))
    whole = sum(entry.bytes for entry in shipped_bundle().manifest.files)
    assert 0 < fetched < 0.05 * whole


def test_a_patch_that_is_wrong_costs_itself_and_the_whole_file_is_fetched(study: Study) -> None:
    study.publish()
    study.updater().look()
    study.home.slots.commit()
    study.home = study.home.renewed()
    study.publish(text("CARD.md", "# Better still"), version="1.0.2")
    for patch in (study.press.repository.folder / "targets" / "bundles" / "affect-1").glob("*.zst"):
        patch.write_bytes(bytes(patch.stat().st_size))
    study.updater().look()
    assert study.runs() == "1.0.2"


def test_where_no_patch_can_be_made_the_whole_file_is_fetched(study: Study) -> None:
    """Something lies where the running bundle is packed: what a disk can do is no end of it."""
    study.publish()
    study.updater().look()
    study.home.slots.commit()
    study.home = study.home.renewed()
    study.publish(text("CARD.md", "# Better still"), version="1.0.2")
    parts = study.home.settings.state_folder / "updates" / "parts"
    (parts / ".running.bundle").mkdir()
    study.updater().look()
    assert study.runs() == "1.0.2"


def test_a_running_bundle_that_can_not_be_read_keeps_no_update_out(study: Study) -> None:
    study.publish()
    study.updater().look()
    study.home.slots.commit()
    study.home = study.home.renewed()
    assert study.home.slot is not None
    (study.home.slot.folder / "left-over").mkdir()
    study.publish(text("CARD.md", "# Better still"), version="1.0.2")
    study.updater().look()
    assert study.runs() == "1.0.2"


def test_what_is_refused_again_and_again_is_noted_and_told_once(study: Study) -> None:
    study.publish()
    shutil.rmtree(study.press.repository.folder / "targets")
    updater = study.updater()
    for _ in range(5):
        study.world.clock.pass_(timedelta(minutes=1))
        with pytest.raises(UpdateRejected):
            updater.look()
    assert study.steps() == [Step.OFFERED, Step.REJECTED]
    assert study.tell(updater) == [Phase.REJECTED]


def test_who_goes_back_from_one_bundle_never_leaves_another(study: Study) -> None:
    """The agent that screens has gone back by itself between a look at the slots and the deed."""
    study.publish()
    study.updater().look()
    study.home.slots.commit()
    study.home = study.home.renewed()
    study.publish(text("CARD.md", "# Better still"), version="1.0.2")
    updater = study.updater()
    updater.look()
    bad = study.home.slots.current()
    assert bad is not None and study.runs() == "1.0.2"
    study.home.slots.roll_back(Reason.UNHEALTHY)
    with pytest.raises(SlotError):
        updater.bundles.go_back(UpdateRejected(Reason.SUPERSEDED, "Newer."), of=bad.label)
    assert study.runs() == "1.0.1"


def test_a_look_that_takes_long_holds_no_end_of_the_agent_up(study: Study) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    class Slow:
        def read(self, path: str, most_bytes: int, start: int = 0) -> Iterator[bytes]:
            begun.set()
            goes_on.wait()
            raise UpdateRejected(Reason.UNREACHABLE, "Nobody is there.")
            yield b""

    updater = Updater(
        study.home, Slow(), say=study.say, clock=study.world.clock, patience_s=0.05
    )  # fmt: skip
    with updater:
        begun.wait()
    assert updater._thread.is_alive(), "it was still at it"
    goes_on.set()
    updater._thread.join()


def test_an_agent_that_does_not_look_by_itself_keeps_its_line(study: Study) -> None:
    quiet = study.home.settings.model_copy(update={"updates": UpdateSettings(automatic=False)})
    home = replace(study.home, settings=quiet)
    with ExitStack() as stack:
        store = stack.enter_context(home.open_store())
        courier = stack.enter_context(Courier(home))
        ear = LiveEar(home, store, clock=study.world.clock)
        assert _updater(ear, courier, stack, threading.Event()) is None
        with pytest.raises(SlotError, match="Another agent"), held_by_the_agent(home):
            pass


def test_no_fault_of_ours_ends_the_looking(study: Study) -> None:
    study.publish()
    repository, met = FolderMirror(study.press.repository.folder), []

    class Faulty:
        def read(self, path: str, most_bytes: int, start: int = 0) -> Iterator[bytes]:
            if len(met) < 3:
                met.append(path)
                raise ZeroDivisionError(path)
            yield from repository.read(path, most_bytes, start)

    updater = Updater(
        study.home, Faulty(), say=study.say, clock=study.world.clock, look_every_s=0.01
    )
    with updater:
        while study.runs() == SHIPPED_VERSION:
            assert updater._thread.is_alive()
            time.sleep(0.05)
    assert len(met) == 3


def test_the_studys_head_comes_by_its_own_role(study: Study) -> None:
    head = HeadForAll(
        version=1,
        study="north",
        bundle=shipped_bundle().space,
        number=3,
        head=shipped_bundle().head,
    )
    study.world.clock.pass_(timedelta(seconds=1))
    study.press.online.publish_head(
        sign_head(head, study.world.authority.coordinator), study.world.clock()
    )
    study.updater().look()
    with study.home.open_store() as store:
        adopted = adopted_head(store, study="north", bundle=study.home.bundle)
    assert adopted is not None and adopted.number == 3


def test_what_could_not_be_said_is_said_after_a_restart(study: Study) -> None:
    study.publish()
    updater = study.updater()
    updater.look()
    study.deaf = True
    with suppress(BrokerError):
        study.tell(updater)
    study.deaf = False
    assert study.tell(study.updater()) == [Phase.FETCHED, Phase.TRYING]


def test_who_is_on_probation_in_a_quiet_room_says_so_each_day(study: Study) -> None:
    """Else the study would count it among the failures after two days."""
    study.publish()
    updater = study.updater()
    updater.look()
    assert study.tell(updater) == [Phase.FETCHED, Phase.TRYING]
    before = study.said[-1].moment
    study.world.clock.pass_(timedelta(hours=25))
    assert study.tell(updater) == [Phase.TRYING]
    assert study.said[-1].moment > before and study.tell(updater) == []
    study.home.slots.commit()
    study.world.clock.pass_(timedelta(hours=25))
    assert study.tell(updater) == []


def test_after_a_history_was_lost_the_study_hears_on(study: Study) -> None:
    study.publish()
    updater = study.updater()
    updater.look()
    assert len(study.tell(updater)) == 2
    (study.home.settings.state_folder / "updates" / "history.jsonl").unlink()
    updater.bundles.go_back(UpdateRejected(Reason.UNHEALTHY, "It failed."))
    assert study.tell(updater) == [Phase.ROLLED_BACK]
    assert study.tell(updater) == []


def test_moments_never_fall_whatever_the_clock_does(study: Study) -> None:
    study.publish()
    updater = study.updater()
    updater.look()
    study.tell(updater)
    before = study.said[-1].moment
    study.world.clock.pass_(timedelta(days=-9000))
    updater.bundles.go_back(UpdateRejected(Reason.UNHEALTHY, "It failed."))
    assert study.tell(updater) == [Phase.ROLLED_BACK]
    assert study.said[-1].moment == before


def test_the_study_hears_at_once_that_a_bundle_has_proven_itself(study: Study) -> None:
    study.publish()
    updater = study.updater()
    updater.look()
    updater._due.clear()
    updater.hear(described=True)
    assert not updater._due.is_set()
    study.home.slots.commit()
    updater.hear(described=True)
    assert updater._due.is_set()


def test_two_processes_never_look_at_once(study: Study) -> None:
    with alone(study.home.settings.state_folder / "updates"), pytest.raises(SlotError):
        study.updater().look()


def test_a_root_that_was_pinned_by_hand_is_not_what_a_member_trusts(
    study: Study, tmp_path: Path
) -> None:
    other = Press.founded(tmp_path / "other", "south", study.world.clock())
    root = other.repository.folder / "metadata" / "1.root.json"
    pin(replace(study.home, membership=None), root)  # before it joined
    study.publish()
    study.updater().look()
    assert study.runs() == "1.0.1"


def test_a_repository_of_another_study_is_refused(study: Study, tmp_path: Path) -> None:
    other = Press.founded(tmp_path / "other", "south", study.world.clock())
    folder = study.press.repository.folder
    shutil.copytree(other.repository.folder / "metadata", folder / "metadata", dirs_exist_ok=True)
    with pytest.raises(UpdateRejected) as refused:
        study.updater().look()
    assert refused.value.reason is Reason.UNSIGNED


@pytest.mark.parametrize("year", [1970, 2100])
def test_a_clock_that_is_wrong_leaves_what_runs_alone(study: Study, year: int) -> None:
    study.publish()
    study.updater().look()
    now = study.world.clock.now
    study.publish(version="1.0.2")
    study.home.slots.commit()
    study.world.clock.now = now.replace(year=year)
    if year == 1970:
        study.updater().look()  # the floor holds: what was signed since counts
        assert study.runs() == "1.0.2"
    else:
        with pytest.raises(UpdateRejected) as refused:
            study.updater().look()
        assert refused.value.reason in (Reason.CLOCK, Reason.EXPIRED)
        assert study.runs() == "1.0.1"
