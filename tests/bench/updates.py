"""A bundle of 10 MB over the one line: seconds, what a cut costs, and what rounds notice of it."""

import hashlib
import json
import os
import secrets
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from agent.courier import Courier
from agent.updates.updater import Updater
from edge_models.bundle import shipped_folder
from sync.broker import embedded_broker
from sync.coordinator.announce import Podium, announcements
from sync.coordinator.file_desk import FileDesk
from sync.coordinator.simulated_rollout import SERIAL
from sync.endpoint import Endpoint
from sync.inbox import Inbox
from sync.line import Line
from sync.topics import DownTopic, FileTopic, UpTopic, all_up
from sync.updates import archive, deltas
from sync.updates.asks import MOST_PIECE_BYTES, Look
from sync.updates.by_line import LineSource
from sync.updates.rollout import State
from sync.updates.source import Source
from sync.wire import Session
from tests.bench.figure import Figure
from tests.giving import BUNDLE, Giving, at_work
from tests.rolling_out import heavier, press_of, roll_out
from tests.test_deltas import ten_megabytes
from tests.test_rollout_fleet import simulated
from tests.updating import write_variant

_SIZE = 10_000_000
_WITHIN_S = 5.0
_TIMES = 5
_CROWD = 20
_SETTLED_S = 2.0  # a coordinator says nothing in its first second
_PERSON = "ab" * 16
_LAYER_BYTES = 3_000
_STUDIES = 40


def measure() -> list[Figure]:
    """One device, a crowd, a broker that is killed, and the broker without Mosquitto."""
    alone_s = statistics.median(_announced_s() for _ in range(_TIMES))
    active_s = statistics.median(_activated_s() for _ in range(3))
    crowd_s, idle_ms, busy_ms, worst_ms = _crowd()
    again, resumed_s = _killed()
    amqtt_s = _by_amqtt_s()
    return [
        Figure(
            "a bundle of 10 MB, from its announcement to its activation",
            f"{active_s:.1f} s", f"<= {_WITHIN_S:.0f} s", active_s <= _WITHIN_S,
            "as below, and TUF, unpacking, golden vectors in a child in both runtimes, contracts, "
            "the switch; median of 3",
        ),
        Figure(
            "of that, until the last byte is verified",
            f"{alone_s:.2f} s", "", None,
            f"Mosquitto with TLS as members have it, coordinator and device on one machine; the "
            f"coordinator notices within 0.2 s and says LOOK; SHA-256; median of {_TIMES}",
        ),
        Figure(
            f"the same to {_CROWD} devices at once, until the last has it",
            f"{crowd_s:.1f} s", "", None,
            f"{_CROWD * _SIZE / crowd_s / 1e6:.0f} MB a second through one coordinator",
        ),
        Figure(
            "a message of a round, meanwhile",
            f"{busy_ms:.0f} ms until the broker has it (worst {worst_ms:.0f})", "", None,
            f"{idle_ms:.1f} ms when nothing is given; median of messages one after another",
        ),
        Figure(
            "a broker killed in the middle of 10 MB",
            f"{again / 1000:.0f} kB came twice", "<= 1 MiB", again <= 1024 * 1024,
            f"SIGKILL at the half, a new broker at once; whole after {resumed_s:.1f} s, "
            "most of it waiting before it asks again",
        ),
        Figure(
            "10 MB over the line by amqtt", f"{amqtt_s:.2f} s", "", None,
            "the broker of trials, where Mosquitto is not installed; without TLS",
        ),
        *_patches(),
        *_rollouts(),
    ]  # fmt: skip


def _patches() -> list[Figure]:
    """What a changed layer costs, of the shipped bundle and of one with 24 layers in 10 MB."""
    figures = []
    with tempfile.TemporaryDirectory() as place:
        folder = write_variant(Path(place) / "new")
        shipped = archive.pack(shipped_folder())
        body = (folder / "body.onnx").read_bytes()
        drawn = np.random.default_rng(4).bytes(_LAYER_BYTES)
        (folder / "body.onnx").write_bytes(body[:1000] + drawn + body[1000 + _LAYER_BYTES :])
        pairs = {"the shipped bundle": (shipped, archive.pack(folder)), "10 MB": ten_megabytes()}
        for what, (old, new) in pairs.items():
            share = len(deltas.make(old, new)) / len(new)
            figures.append(
                Figure(
                    f"one layer drawn anew, of {what}: patch", f"{share:.1%} of the full size",
                    "<= 5 %", share <= 0.05, "zstd, the old archive as its dictionary",
                )
            )  # fmt: skip
    return figures


def _own(place: str, study: int) -> Path:
    """A folder of its own for each study: another's rollouts are refused."""
    folder = Path(place) / str(study)
    folder.mkdir()
    return folder


def _rollouts() -> list[Figure]:
    """500 simulated devices with the real decisions of device and coordinator."""
    with tempfile.TemporaryDirectory() as place:
        bad = [simulated(_own(place, seed), seed, 0.1) for seed in range(_STUDIES)]
        good = [simulated(_own(place, 1000 + seed), seed, 0.005) for seed in range(_STUDIES)]
    halted = sum(each.last.halted and each.last.directive.open == 1 for each in bad)
    left = sum(d.installed.runs == SERIAL for each in bad for d in each.devices if d.fails)
    arrived = sum(each.last.directive.state is State.FINISHED for each in good)
    return [
        Figure(
            "500 devices, 10 % fail on the new version", f"{halted} of {_STUDIES} studies halt in "
            f"the first ring; {left} failing devices still run it", "the first ring, and back",
            halted >= 0.9 * _STUDIES and not left,
            "sottovoce rollout simulate; rings as the command proposes, 2 % tolerated",
        ),
        Figure(
            "the same, 0.5 % fail", f"{arrived} of {_STUDIES} studies reach everybody", "", None,
            "a good version is not held up",
        ),
    ]  # fmt: skip


def _activated_s() -> float:
    """From the moment that the rollout lies in the repository to the switch of the slot."""
    with tempfile.TemporaryDirectory() as place, at_work(Path(place), 0) as (study, *_):
        press, home = press_of(study), study.home(0)
        with study.courier(home) as courier:
            updater = Updater(home, _files(courier), say=lambda _: None, clock=study.world.clock)
            courier.on_look = updater.look_soon
            with updater:
                time.sleep(_SETTLED_S)
                roll_out(study, press, heavier(_SIZE), number=1, version="1.0.1")
                begun_s = time.monotonic()
                while home.slots.current() is None:
                    time.sleep(0.01)
                return time.monotonic() - begun_s


def _files(courier: Courier) -> Source:
    if courier.files is None:
        raise RuntimeError("a member has no line")
    return courier.files


def _verified(source: Source, digest: bytes) -> None:
    hashed = hashlib.sha256()
    for data in source.read(BUNDLE, _SIZE):
        hashed.update(data)
    if hashed.digest() != digest:
        raise RuntimeError("other bytes came than were given")


@contextmanager
def _study(devices: int) -> Iterator[tuple[Giving, list[Courier], bytes, int]]:
    """A study at work with 10 MB in its repository, their SHA-256, and the broker's process."""
    with (
        tempfile.TemporaryDirectory() as folder,
        at_work(Path(folder), devices) as (study, broker, couriers),
    ):
        content = study.has(BUNDLE, secrets.token_bytes(_SIZE))
        yield study, couriers, hashlib.sha256(content).digest(), broker.process.pid


def _announced_s() -> float:
    with _study(1) as (study, (courier,), digest, _):
        told = threading.Event()
        courier.on_look = lambda _: told.set()
        time.sleep(_SETTLED_S)
        begun = time.perf_counter()
        study.has("metadata/timestamp.json", json.dumps({"signed": {"version": 1}}).encode())
        if not told.wait(30):
            raise RuntimeError("nobody was told")
        _verified(_files(courier), digest)
        return time.perf_counter() - begun


def _crowd() -> tuple[float, float, float, float]:
    """Seconds for all; milliseconds of a message before, meanwhile, and at worst."""
    with _study(_CROWD) as (study, couriers, digest, _):
        podium, pseudonym = study.posts[0]._podium, "cd" * 16
        said = announcements(Look(0, 0, 1).to_parcel(), DownTopic("north", pseudonym))

        def message_ms() -> float:
            begun = time.perf_counter()
            podium.send(*said)
            return 1000 * (time.perf_counter() - begun)

        idle_ms = statistics.median(message_ms() for _ in range(100))
        reads = [
            threading.Thread(target=_verified, args=(_files(courier), digest))
            for courier in couriers
        ]
        begun = time.perf_counter()
        for read in reads:
            read.start()
        busy = list[float]()
        while any(read.is_alive() for read in reads):
            busy.append(message_ms())
            time.sleep(0.02)
        return time.perf_counter() - begun, idle_ms, statistics.median(busy), max(busy)


def _killed() -> tuple[int, float]:
    """Bytes of pieces beyond the file's own, and seconds until it is whole."""
    with _study(1) as (study, (courier,), _, broker), ExitStack() as stack:
        source = _files(courier)
        came = taken = 0
        receive = source.receive  # type: ignore[attr-defined]

        def counted(topic: str, payload: bytes) -> None:
            nonlocal came
            came += len(payload) - 36
            receive(topic, payload)

        source.receive = counted  # type: ignore[attr-defined]
        begun = time.perf_counter()
        for data in source.read(BUNDLE, _SIZE):
            taken += len(data)
            if 0 <= taken - _SIZE // 2 < MOST_PIECE_BYTES:
                os.kill(broker, signal.SIGKILL)
                time.sleep(0.2)
                stack.enter_context(study.world.broker())
        return came - taken, time.perf_counter() - begun


def _by_amqtt_s() -> float:
    """A line and a file desk by themselves."""
    inbox = Inbox()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        file = Path(folder) / "updates" / BUNDLE
        file.parent.mkdir(parents=True)
        content = secrets.token_bytes(_SIZE)
        file.write_bytes(content)
        broker = stack.enter_context(embedded_broker(Path(folder) / "broker", kind="amqtt"))
        at = Endpoint(broker.host, broker.port)

        def hears(_: str, payload: bytes) -> None:
            heard = inbox.receive(_PERSON, payload, 0.0)
            if heard.parcel is not None:
                desk.hear(_PERSON, heard.parcel.content)
                inbox.let_go(_PERSON, heard.digest)

        podium = Podium(Session(at, "coordinator", (all_up("north"),), hears, must_connect=True))
        desk = FileDesk("north", Path(folder) / "updates", podium.send, on_fault=_fails)
        source = LineSource(
            UpTopic("north", _PERSON),
            lambda asks: line.send(*asks),
            random_bytes=secrets.token_bytes,
        )
        topic = str(FileTopic("north", _PERSON))
        line = Line(Session(at, _PERSON, (topic,), source.receive, must_connect=True))
        for part in (desk, podium, line):
            stack.enter_context(part)  # type: ignore[arg-type]
        begun = time.perf_counter()
        _verified(source, hashlib.sha256(content).digest())
        return time.perf_counter() - begun


def _fails(fault: Exception) -> None:
    raise RuntimeError("the file desk has a fault") from fault
