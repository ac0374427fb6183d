"""A study updates its devices, from the engineer's press to a bundle that has proven itself."""

import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from agent.updates.history import Step
from agent.updates.updater import Updater
from edge_models.bundle import shipped_folder
from sync.updates.offers import Kind
from sync.updates.rollout import ROLLOUT_FILE, Directive, State, sign_rollouts
from tests.giving import Giving, giving
from tests.press import Press
from tests.test_round_story import wait_until
from tests.two_ends import needed
from tests.updating import Change, write_variant

TEN_MEGABYTES = 10_000_000


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Giving]:
    needed("mosquitto")
    with giving(tmp_path) as study:
        yield study


def heavier(size: int) -> Change:
    """A gate with weights that nothing reads: a bundle as large as one with a larger model."""

    def change(folder: Path) -> None:
        import onnx
        from onnx import numpy_helper

        model = onnx.load(folder / "gate.onnx")
        weights = np.frombuffer(secrets.token_bytes(size), np.uint8)
        model.graph.initializer.append(numpy_helper.from_array(weights, "spare"))
        onnx.save(model, folder / "gate.onnx")

    return change


def roll_out(study: Giving, press: Press, *changes: Change, number: int, version: str) -> Directive:
    """Publish a variant and start its rollout, as the coordinator's machine would."""
    now = study.world.clock()
    added = press.bundle(
        write_variant(study.world.folder / version, *changes, version=version), now
    )
    listed = added.contents[0].listed
    directive = Directive(
        version=1, study="north", number=number, kind=Kind.BUNDLE, name="affect-1",
        serial=added.offer.serial, path=listed.path, sha256=listed.sha256, rings=(1000,), open=1,
        key="0c" * 32, state=State.STARTED, withdrawn=(), signed_at=int(now.timestamp()),
    )  # fmt: skip
    study.has(ROLLOUT_FILE, sign_rollouts((directive,), study.world.authority.coordinator))
    return directive


def test_ten_megabytes_reach_a_device_over_its_one_connection_and_run(study: Giving) -> None:
    press = Press.founded(study.folder, "north", study.world.clock())
    study.has("root.auth", study.world.authority.authorise_root(press.root))
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
