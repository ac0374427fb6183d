"""A study updates its devices, from the engineer's press to a bundle that has proven itself."""

import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.updates.history import Step
from agent.updates.updater import Updater
from edge_models.bundle import shipped_folder
from sync.coordinator.rollout_book import ROLLOUT_BOOK_FILE, Deed, Wish, open_rollout_book
from sync.coordinator.rollout_desk import RolloutDesk, Start
from sync.coordinator.rollouts import Rules, Stand
from sync.coordinator.serve import publisher_of
from sync.coordinator.updating import Updating
from sync.envelope import encoded
from sync.publishing.publication import verified_log
from sync.updates.offers import Kind
from sync.updates.rollout import State
from tests.giving import Giving, giving
from tests.rolling_out import TEN_MEGABYTES, heavier, press_of, roll_out
from tests.test_round_story import wait_until
from tests.test_swap import Run, speech
from tests.two_ends import needed
from tests.updating import write_variant


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Giving]:
    needed("mosquitto")
    with giving(tmp_path) as study:
        yield study


def test_ten_megabytes_reach_a_device_over_its_one_connection_and_run(study: Giving) -> None:
    press = press_of(study)
    home, said = study.home(0), []
    with ExitStack() as stack:
        broker = stack.enter_context(study.world.broker())
        stack.enter_context(study.post(broker))
        courier = stack.enter_context(study.courier(home))
        assert courier.files is not None
        updater = Updater(home, courier.files, say=said.append, clock=study.world.clock)
        courier.on_look = updater.look_soon
        stack.enter_context(updater)
        time.sleep(1.0)  # it has looked, and found that nothing is offered for it
        roll_out(study, press, heavier(TEN_MEGABYTES), number=1, version="1.0.1")
        assert wait_until(lambda: home.slots.current() is not None), updater.trouble
        current = home.slots.current()
        assert current is not None and current.label.serial == 1 and not current.committed
        assert sum(file.stat().st_size for file in current.folder.iterdir()) > TEN_MEGABYTES
        assert wait_until(lambda: [each.phase.value for each in said] == ["fetched", "trying"])
    assert not study.faults and courier.trouble is None
    steps = [line.step for line in updater.bundles.history.lines()]
    assert steps == [Step.OFFERED, Step.STAGED, Step.ACTIVATED]
    assert home.renewed().bundle.manifest.version == "1.0.1"
    assert shipped_folder().exists()


def test_a_rollout_goes_from_the_command_to_a_bundle_that_is_kept_and_counted(
    study: Giving, recordings: Path
) -> None:
    press, state = press_of(study), study.world.folder / "state"
    added = press.bundle(write_variant(study.world.folder / "new"), study.world.clock())
    home = study.home(0)
    with ExitStack() as stack:
        book = stack.enter_context(open_rollout_book(state / ROLLOUT_BOOK_FILE))
        publisher = publisher_of(study.world.founded, study.folder)
        desk = RolloutDesk(publisher, book, press.online, random_bytes=secrets.token_bytes)
        updating = Updating(study.folder, press.online, desk, study.faults.append)
        broker = stack.enter_context(study.world.broker())
        stack.enter_context(study.post(broker, updating))
        courier = stack.enter_context(study.courier(home))
        assert courier.files is not None
        updater = Updater(
            home, courier.files, say=lambda progress: courier.say(progress.to_parcel()),
            clock=study.world.clock,
        )  # fmt: skip
        courier.on_look = updater.look_soon
        stack.enter_context(updater)
        start = Start(serial=added.offer.serial, rings=(1000,), rules=Rules())
        book.wish(Wish(Deed.START, Kind.BUNDLE, "affect-1", encoded(start)))
        assert wait_until(lambda: home.slots.current() is not None), (updater.trouble, study.faults)
        screened = Run(home.renewed(), speech(recordings, 6))
        assert set(screened.serials) == {1} and home.slots.previous() is None
        assert not home.slots.on_probation
        updater.adopt(screened.ended_with)

        def committed() -> int:
            (rollout,) = book.newest()
            return desk.count(rollout, int(time.time()))[Stand.COMMITTED]

        assert wait_until(lambda: committed() == 1), study.faults
        (rollout,) = book.newest()
        assert rollout.directive.state is State.STARTED
        book.wish(Wish(Deed.ABORT, Kind.BUNDLE, "affect-1"))
        assert wait_until(lambda: home.slots.current() is None), updater.trouble
    assert [act.act for act in verified_log(press.repository)][:3] == ["root", "bundles", "rollout"]
    assert not study.faults
