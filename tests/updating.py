"""Bundles that differ from the shipped one in one thing, and slots to put them in."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from onnx import TensorProto, helper

from agent.config import Settings
from agent.home import Home, open_home
from agent.updates.slots import Label, Slots
from edge_models.bundle import shipped_bundle, shipped_folder
from edge_models.card_statement import statement_of
from edge_models.manifest import MANIFEST_NAME
from edge_models.training.assemble import entries_of, restate_card
from sync.updates.offers import Kind

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
Change = Callable[[Path], object]

SHIPPED_VERSION = shipped_bundle().manifest.version
"""Of the bundle that a device starts with."""


def write_variant(
    folder: Path, *changes: Change, version: str = "1.0.1", **manifest: object
) -> Path:
    """The shipped bundle, some of its files and of its manifest's fields changed; whole again."""
    shutil.copytree(shipped_folder(), folder, dirs_exist_ok=True)
    for change in changes:
        change(folder)
    table = json.loads((folder / MANIFEST_NAME).read_bytes()) | {"version": version} | manifest
    if statement_of((folder / "CARD.md").read_bytes()) is not None:
        restate_card(folder, table["name"], version, table["licence"])
    table["files"] = [entry.model_dump() for entry in entries_of(folder)]
    (folder / MANIFEST_NAME).write_text(json.dumps(table))
    return folder


def policy(**fields: object) -> Change:
    """A change of the privacy policy."""

    def change(folder: Path) -> None:
        path = folder / "policy.json"
        path.write_text(json.dumps(json.loads(path.read_bytes()) | fields))

    return change


def text(name: str, content: str) -> Change:
    """A change of one file."""
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")


def other_population(folder: Path) -> None:
    """It measures functionals by other spreads, so a baseline of before says nothing.

    A stranger's z-scores are what they were, and so are the golden vectors.
    """
    path = folder / "population.json"
    table = json.loads(path.read_bytes())
    table["spread"] = [1.001 * one for one in table["spread"]]
    for measured_in_spreads in ("mean", "deviation"):
        table[measured_in_spreads] = [one / 1.001 for one in table[measured_in_spreads]]
    path.write_text(json.dumps(table))


def fails_at_the_first_speech(folder: Path) -> None:
    """Its functionals are three, whatever it is given: nothing notices before there is speech."""
    number, table_of = TensorProto.FLOAT, helper.make_tensor_value_info
    given = helper.make_tensor("given", number, [3], [1.0, 2.0, 3.0])
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["summary"], value=given)],
        "functionals",
        [table_of("descriptors", number, ["n", 25]), table_of("speech", number, ["n"])],
        [table_of("summary", number, ["m"])],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    (folder / "functionals.onnx").write_bytes(model.SerializeToString())


def other_body(folder: Path) -> None:
    """A body in another file, with the same answers."""
    with (folder / "body.tflite").open("ab") as file:
        file.write(bytes(4))


def other_moments(folder: Path) -> None:
    """Everybody's embeddings lie elsewhere, so what a person's did before says nothing."""
    path = folder / "moments.json"
    table = json.loads(path.read_bytes())
    table["mean"] = [one + 0.25 for one in table["mean"]]
    path.write_text(json.dumps(table))


def label(serial: int, says: str = "1.0.1", signature: bytes = b"") -> Label:
    """The label of an update."""
    return Label(
        kind=Kind.BUNDLE,
        name="affect-1",
        serial=serial,
        says=says,
        sha256=hashlib.sha256(b"%d" % serial).hexdigest(),
        policy_signature=signature.hex(),
    )


def stage(slots: Slots, serial: int, *changes: Change, **manifest: object) -> None:
    """Put a variant in the idle slot."""
    with slots.stage(label(serial)) as folder:
        write_variant(folder, *changes, **manifest)  # type: ignore[arg-type]


def install(slots: Slots, serial: int, *changes: Change, **manifest: object) -> None:
    """Stage a variant and switch to it."""
    stage(slots, serial, *changes, **manifest)
    slots.activate()


def home_in(folder: Path, **settings: object) -> Home:
    """The home of a device whose state lies in a folder."""
    return open_home(Settings.model_validate({"state": str(folder), **settings}), {})


class Ticking:
    """Monotonic seconds that pass only when told to, or by `step_s` at each look."""

    def __init__(self, step_s: float = 0.0) -> None:
        self.now_s, self.step_s = 100.0, step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def each(records: Iterable[object], then: dict[int, Callable[[], object]]) -> Iterator[object]:
    """Pass records on; after the one of a number (from 1), do something."""
    for number, record in enumerate(records, start=1):
        yield record
        if number in then:
            then[number]()
