"""A study updates its devices, from the engineer's press to a bundle that has proven itself."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.updates.history import Step
from agent.updates.updater import Updater
from edge_models.bundle import shipped_folder
from tests.giving import Giving, giving
from tests.rolling_out import TEN_MEGABYTES, heavier, press_of, roll_out
from tests.test_round_story import wait_until
from tests.two_ends import needed


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
