"""The arrows of the house, and the one door out, read from the source of every module.

`edge_models <- sync <- agent` (an arrow reads "may be imported by"). Each library that touches
hardware, the network, a database or a model is named in one place, so that one place can be
replaced, watched and trusted.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("agent", "edge_models", "sync")
OFF_THE_DEVICE = (
    "edge_models.training",
    "edge_models.threats",
    "sync.coordinator",
    "sync.publishing",
)
LEAF = "edge_models.threats"
"""It attacks every room, so it may import each of them."""

ONE_PLACE = {
    # hardware
    "pyaudio": {"agent.capture.portaudio"},
    "cv2": {"agent.capture.camera"},
    # models
    "webrtcvad": {"edge_models.speech_gate"},
    "onnxruntime": {"edge_models.runner"},
    "tflite_runtime": {"edge_models.runner"},
    "mediapipe": {"edge_models.face_mesh"},
    # recordings
    "soundfile": {"edge_models.recordings"},
    "soxr": {"edge_models.recordings"},
    # network
    "paho": {"sync.link"},
    "amqtt": {"sync.broker"},
    "fastapi": {"sync.coordinator.service"},
    "starlette": {"sync.coordinator.service"},
    "uvicorn": {"sync.coordinator.service"},
    # database: one on the device, four books at the coordinator and what they share
    "sqlite3": {
        "agent.rows",
        "sync.coordinator.books",
        "sync.coordinator.members",
        "sync.coordinator.rollout_book",
        "sync.coordinator.round_book",
        "sync.coordinator.store",
        "sync.coordinator.transactions",
    },
    # pictures
    "segno": {"sync.coordinator.qr_code"},
    # cryptography: record cipher and its key, signatures, certificates, masks
    "cryptography": {
        "agent.cipher",
        "agent.keys",
        "sync.identity",
        "sync.coordinator.certificates",
        "sync.enrolment",
        "sync.publishing.keys",
        "sync.secure_sum.channel",
        "sync.secure_sum.masks",
    },
    # updates: the client on the device; on the engineer's side the room that writes metadata
    "tuf": {"sync.updates.tuf_client", "sync.publishing.metadata"},
    "securesystemslib": {"sync.publishing.keys"},
    "urllib3": {"sync.updates.mirrors"},
    "zstandard": {"sync.updates.deltas"},
    # federated learning: a strategy in an environment of its own
    "flwr": {"sync.coordinator.flower_child"},
    # accounting
    "dp_accounting": {"sync.coordinator.accounting"},
}
"""Where each library may be named. Training is a workshop of its own and not in the table."""

NETWORK = ("asyncio", "http", "httpx", "requests", "smtplib", "socket", "ssl", "urllib")
MAY_NETWORK = {
    "agent.service": {"http", "socket", "urllib"},  # the person's page, on loopback
    "agent.page": {"http", "socket", "urllib"},
    # The demo runs a whole study on one machine, and is never part of a device.
    "agent.demo.processes": {"http", "socket", "urllib"},
    "sync.broker": {"asyncio", "socket"},
    "sync.endpoint": {"socket", "ssl"},  # the names of what can go wrong, and TLS settings
    "sync.enrolment_line": {"socket", "ssl"},  # once, to the study's desk; sends an Ask or nothing
    "sync.updates.mirrors": {"http", "urllib"},  # names of faults and places; it sends GETs only
    "agent.membership": {"ssl"},  # certificates from one form into another
}
"""What `agent` and the device's half of `sync` may use of the standard library's network."""


def modules() -> dict[str, Path]:
    found = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imported_by(tree: ast.AST, package: str) -> set[str]:
    """Every dotted name that the source imports, wherever it does so.

    `from a import b` gives both `a` and `a.b`, since `b` may be a module.
    """
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                found |= {alias.name for alias in names}
            case ast.ImportFrom(module, names, level):
                base = module or ""
                if level:
                    parents = package.split(".")
                    parents = parents[: len(parents) - level + 1]
                    base = ".".join([*parents, *([module] if module else [])])
                found |= {base} | {f"{base}.{alias.name}" for alias in names}
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                found.add(name)
    return found


@cache
def imports(module: str) -> frozenset[str]:
    is_package = MODULES[module].name == "__init__.py"
    package = module if is_package else module.rpartition(".")[0]
    return frozenset(imported_by(tree_of(module), package))


def libraries(module: str) -> set[str]:
    return {name.partition(".")[0] for name in imports(module)}


def within(module: str, *rooms: str) -> bool:
    return any(module == room or module.startswith(room + ".") for room in rooms)


def reachable(*rooms: str) -> set[str]:
    """All modules of ours that are imported, at any time, by what starts in these rooms."""
    found: set[str] = set()
    pending = [module for module in MODULES if within(module, *rooms)]
    while pending:
        module = pending.pop()
        if module not in found:
            found.add(module)
            pending += [name for name in imports(module) if name in MODULES]
    return found


def calls(module: str) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree_of(module)) if isinstance(node, ast.Call))


PLANTED = """
import json, paho.mqtt.client as paho
from sync import transport
from .near import thing
from ..far import other
def later():
    import cv2
    importlib.import_module("pyaudio")
    __import__("soxr")
"""


def test_the_reader_of_imports_misses_none() -> None:
    assert imported_by(ast.parse(PLANTED), "sync.coordinator") == {
        "json", "paho.mqtt.client", "sync", "sync.transport", "sync.coordinator.near",
        "sync.coordinator.near.thing", "sync.far", "sync.far.other", "cv2", "pyaudio", "soxr",
    }  # fmt: skip


def test_the_rooms_are_there() -> None:
    assert {"agent", "edge_models", "sync", "sync.coordinator", "sync.release"} <= set(MODULES)


@pytest.mark.parametrize(
    ("room", "never"), [("edge_models", ("sync", "agent")), ("sync", ("agent",))]
)
def test_no_arrow_points_back(room: str, never: tuple[str, ...]) -> None:
    back = {
        (module, name)
        for module in MODULES
        if within(module, room) and not within(module, LEAF)
        for name in imports(module)
        if within(name, *never)
    }
    assert not back


def test_whatever_is_attacked_knows_nothing_of_the_attacks() -> None:
    assert not {
        module
        for module in MODULES
        if not within(module, LEAF)
        for name in imports(module)
        if within(name, LEAF)
    }


def test_nothing_that_the_device_imports_is_a_workshop_or_the_coordinator() -> None:
    assert not {module for module in reachable("agent") if within(module, *OFF_THE_DEVICE)}


@pytest.mark.parametrize("library", sorted(ONE_PLACE))
def test_each_library_is_named_in_its_place_only(library: str) -> None:
    named = {
        module
        for module in MODULES
        if library in libraries(module) and not within(module, "edge_models.training", LEAF)
    }
    assert named <= ONE_PLACE[library]


def test_the_device_has_one_database_module_and_sync_none_outside_the_coordinator() -> None:
    using = [module for module in MODULES if "sqlite3" in libraries(module)]
    assert [module for module in using if within(module, "agent")] == ["agent.rows"]
    assert all(within(module, "agent", "sync.coordinator") for module in using)


def test_the_device_reaches_the_network_through_its_transport_and_line_only() -> None:
    used = {
        (module, library)
        for module in reachable("agent")
        if within(module, "agent", "sync")
        for library in libraries(module) & set(NETWORK)
        if library not in MAY_NETWORK.get(module, set())
    }
    assert not used


def test_no_seedable_randomness_reaches_a_device_or_a_coordinator() -> None:
    for module in MODULES:
        if within(module, "agent", "sync"):
            assert not {n for n in imports(module) if within(n, "random", "numpy.random")}, module
            drawn = [
                ast.unparse(node)
                for node in ast.walk(tree_of(module))
                if isinstance(node, ast.Attribute)
                and node.attr == "random"
                and isinstance(node.value, ast.Name)
                and node.value.id in ("np", "numpy")
            ]
            assert not drawn, module


def test_nothing_is_unpickled() -> None:
    for module in MODULES:
        assert not libraries(module) & {"pickle", "marshal", "shelve", "dill", "joblib"}, module


# The one door out.


def test_only_release_makes_what_is_released() -> None:
    for module in MODULES:
        if module == "sync.release":
            continue
        for call in calls(module):
            assert ast.unparse(call.func).rpartition(".")[2] != "Released", module
            if within(module, "agent", "sync"):
                bare = ast.unparse(call.func)
                assert bare != "object.__new__", module


@pytest.mark.parametrize(
    ("source", "open_to_all"),
    [
        (
            "sync.release",
            {"Counts", "Released", "Seal", "release_masked", "release_protocol", "release_report"}
            | {"spend_of"},
        ),
        ("sync.transport", {"KEPT_S", "Subscription", "Transport"}),
        ("sync.line", {"Line"}),
        ("sync.wire", {"Session"}),
        ("sync.link", {"KEPT_S"}),
    ],
)
def test_nobody_takes_the_insides_of_the_door(source: str, open_to_all: set[str]) -> None:
    taken = {
        (module, name)
        for module in MODULES
        if module not in {source, *HOLD_THE_WIRE.get(source, ())}
        for name in imports(module)
        if name.startswith(source + ".") and name.rpartition(".")[2] not in open_to_all
    }
    assert not taken
    for module in MODULES:
        if within(module, "agent", "sync") and module not in BEHIND_THE_DOOR:
            names = {n.attr for n in ast.walk(tree_of(module)) if isinstance(n, ast.Attribute)}
            assert not names & {"_DOOR", "_wire", "_link", "Link", "Opening", "Wire"}, module


HOLD_THE_WIRE = {
    "sync.link": ("sync.transport", "sync.wire"),
    "sync.wire": ("sync.transport", "sync.line", "sync.coordinator.announce"),
}
"""Who may hold what publishes any bytes; each of them has a guard, or nothing sensed."""
BEHIND_THE_DOOR = {"sync.release", "sync.link", *(m for ms in HOLD_THE_WIRE.values() for m in ms)}


def sending(module: str, ending: str) -> list[tuple[str, str, ast.Call]]:
    """Class, method and call of each call in a module whose name ends so."""
    found = [
        (owner.name, method.name, call)
        for owner in tree_of(module).body
        if isinstance(owner, ast.ClassDef)
        for method in owner.body
        if isinstance(method, ast.FunctionDef)
        for call in ast.walk(method)
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(ending)
    ]
    everywhere = [c for c in calls(module) if ast.unparse(c.func).endswith(ending)]
    assert everywhere == [call for *_, call in found]
    return found


def test_each_way_out_leads_through_a_guard() -> None:
    ways = {
        (module, owner, method)
        for module in MODULES
        for ending in ("client.publish", "wire.send", "link.publish")
        for owner, method, _ in sending(module, ending)
    }
    assert ways == {
        ("sync.link", "Link", "publish"),  # paho's
        ("sync.wire", "Wire", "_post"),  # the link's, for whoever holds the wire:
        ("sync.line", "Line", "send"),
        ("sync.coordinator.announce", "Podium", "send"),
        ("sync.transport", "Transport", "publish"),  # the link's
    }


def test_the_transport_takes_only_what_was_released_and_sends_just_that() -> None:
    ((_, _, call),) = sending("sync.transport", ".publish")
    assert [ast.unparse(argument) for argument in call.args[:2]] == ["topic", "payload"]
    method = method_of("sync.transport", "Transport", "publish")
    stored = [
        (ast.unparse(node.targets[0]), ast.unparse(node.value))
        for node in ast.walk(method)
        if isinstance(node, ast.Assign)
    ]
    given = [source for target, source in stored if "topic" in target or "payload" in target]
    assert given == ["(released.topic, released.payload)"]
    guard = method.body[1]  # after the docstring, before anything else
    assert isinstance(guard, ast.If) and isinstance(guard.body[0], ast.Raise)
    assert ast.unparse(guard.test) == "type(released) is not Released"


def test_the_line_takes_only_what_was_released_and_sends_just_that() -> None:
    ((_, _, call),) = sending("sync.line", "_wire.send")
    assert ast.unparse(call.args[0]) == (
        "[(released.topic, released.payload) for released in messages]"
    )
    method = method_of("sync.line", "Line", "send")
    guard = method.body[1]  # after the docstring, before anything else
    assert isinstance(guard, ast.If) and isinstance(guard.body[0], ast.Raise)
    assert ast.unparse(guard.test) == (
        "any((type(message) is not Released for message in messages))"
    )
    assert len(method.body) == 3


def method_of(module: str, owner: str, name: str) -> ast.FunctionDef:
    return next(
        method
        for node in tree_of(module).body
        if isinstance(node, ast.ClassDef) and node.name == owner
        for method in node.body
        if isinstance(method, ast.FunctionDef) and method.name == name
    )
