"""A study at work that publishes and rolls out, for tests and benches."""

import secrets
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from sync.updates.first_root import AUTH_FILE
from sync.updates.offers import Kind
from sync.updates.rollout import ROLLOUT_FILE, Directive, State, sign_rollouts
from tests.giving import Giving
from tests.press import Press
from tests.updating import Change, write_variant

TEN_MEGABYTES = 10_000_000


def press_of(study: Giving) -> Press:
    """A repository for this study, whose first root its devices may trust."""
    press = Press.founded(study.folder, "north", study.world.clock())
    study.has(AUTH_FILE, study.world.authority.authorise_root(press.root))
    return press


def heavier(size: int) -> Change:
    """A gate with weights that nothing reads: a bundle as large as one with a larger model."""

    def change(folder: Path) -> None:
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
