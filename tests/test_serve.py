"""`sottovoce coordinator` as a process, and the chain from a release to the stored sum."""

import importlib.util
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge_models.errors import Explained
from sync.broker import Kind, embedded_broker, mosquitto_path
from sync.budget import Ledger
from sync.coordinator.intake import Intake
from sync.coordinator.store import Outcome, ReportStore, ReportStoreError, open_store
from sync.messages import CELLS, HISTOGRAMS
from sync.policy import parse_policy
from sync.release import Counts, Released, release_report
from sync.topics import all_reports
from sync.transport import Subscription, Transport

POLICY_FILE = b"""{"name": "weekly", "version": 3, "rho_per_report": "1/8", "rho_budget": "3/2",
 "delta": 1e-6, "period_days": 7}"""
POLICY = parse_policy(POLICY_FILE)


def released(person: int, period: str = "2026-W48", study: str = "north") -> Released:
    """A real report through the real door: everybody in the first bin of every histogram."""
    return release_report(
        Counts.of({histogram.name: 0 for histogram in HISTOGRAMS}),
        study=study,
        pseudonym=f"{person:032x}",
        period=period,
        bundle="affect-1",
        policy=POLICY,
        ledger=Ledger.of(()),
        randbelow=secrets.randbelow,
    )[0]


def until(condition: Callable[[], bool], patience_s: float = 20.0) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


@dataclass(frozen=True)
class Running:
    """A coordinator process that has said `ready`."""

    process: "subprocess.Popen[str]"
    ready: dict[str, str]

    @property
    def broker(self) -> tuple[str, int]:
        host, port = self.ready["mqtt"].split(":")
        return host, int(port)

    def asked(self, path: str) -> Any:
        with urllib.request.urlopen(self.ready["page"] + path, timeout=10) as reply:
            return json.load(reply)

    def has(self, key: str, count: int) -> bool:
        return until(lambda: self.asked("/api/health")[key] == count)


def words(state: Path, *more: str) -> list[str]:
    policy = state.parent / "policy.json"
    policy.write_bytes(POLICY_FILE)
    return [
        sys.executable, "-m", "edge_models.command", "coordinator",
        "--study", "north", "--state", str(state), "--policy", str(policy), *more,
    ]  # fmt: skip


@contextmanager
def running(state: Path, *more: str) -> Iterator[Running]:
    process = subprocess.Popen(
        words(state, *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready "), process.communicate(timeout=20)
        yield Running(process, dict(word.split("=", 1) for word in line.split()[1:]))
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def refused(state: Path, *more: str) -> tuple[int, str]:
    done = subprocess.run(words(state, *more), capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def send(broker: tuple[str, int], reports: Sequence[Released]) -> None:
    with Transport(*broker, "device") as transport:
        for report in reports:
            transport.publish(report)


def test_reports_reach_the_page_and_a_restart_knows_them(tmp_path: Path) -> None:
    state = tmp_path / "state"
    reports = [released(person) for person in range(8)]
    with running(state) as first:
        assert first.ready["broker"] in ("mosquitto", "amqtt")
        send(first.broker, reports[:7])
        assert first.has("reports", 7)
        cohort = first.asked("/api/cohort")
        assert (cohort["study"], cohort["policy"]) == ("north", "weekly@3")
        assert (cohort["reports"], cohort["enough"]) == (7, True)
        for histogram in HISTOGRAMS:
            bar = cohort["histograms"][histogram.name][0]
            # 7 people, noise sd 18.3: outside 7 sd once in 1e11 runs
            assert abs(bar["people"] - 7) < 7 * 18.4
        first.process.send_signal(signal.SIGTERM)
        assert first.process.wait(timeout=20) == 0
    with running(state) as second:
        send(second.broker, [*reports, reports[0]])
        assert second.has("messages", 7 + 9)
        cohort = second.asked("/api/cohort")
        assert (cohort["stored"], cohort["duplicates"]) == (8, 8)
        second.process.send_signal(signal.SIGINT)
        assert second.process.wait(timeout=20) == 0


def test_a_second_draw_and_strangers_are_refused_and_counted(tmp_path: Path) -> None:
    with running(tmp_path / "state", "--minimum", "1") as coordinator:
        send(coordinator.broker, [released(1), released(1), released(2, study="south")])
        assert coordinator.has("messages", 2)  # another study's topic is not even delivered
        (refusal,) = coordinator.asked("/api/cohort")["refused"]
        assert refusal["reason"] == Outcome.CONFLICT.value


def test_a_broker_that_runs_already_is_used(tmp_path: Path) -> None:
    with embedded_broker(tmp_path / "broker") as broker:
        address = f"{broker.host}:{broker.port}"
        with running(tmp_path / "state", "--broker", address) as coordinator:
            assert coordinator.ready["mqtt"] == address
            assert coordinator.ready["broker"] == "external"
            send((broker.host, broker.port), [released(1)])
            assert coordinator.has("reports", 1)
            coordinator.process.send_signal(signal.SIGTERM)
            assert coordinator.process.wait(timeout=20) == 0
        assert broker.running


def test_reports_wait_for_a_coordinator_that_is_away(tmp_path: Path) -> None:
    if mosquitto_path() is None:
        pytest.skip("needs Mosquitto (Debian: apt-get install mosquitto)")
    with embedded_broker(tmp_path / "broker") as broker:
        address = ("--broker", f"{broker.host}:{broker.port}")
        with running(tmp_path / "state", *address) as first:
            first.process.kill()
            first.process.wait()
        send((broker.host, broker.port), [released(1), released(2)])
        with running(tmp_path / "state", *address) as second:
            assert second.has("reports", 2)


def test_an_embedded_broker_that_dies_ends_the_coordinator_with_a_sentence(tmp_path: Path) -> None:
    with running(tmp_path / "state") as coordinator:
        children = Path(f"/proc/{coordinator.process.pid}/task").glob("*/children")
        (child,) = [int(word) for file in children for word in file.read_text().split()]
        os.kill(child, signal.SIGKILL)
        _, errors = coordinator.process.communicate(timeout=30)
        assert coordinator.process.returncode == 1
        assert "ended by itself. Start the coordinator again" in errors
        assert "Traceback" not in errors


def test_a_taken_port_is_explained(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        for option in ("--port-mqtt", "--port-page"):
            code, said = refused(tmp_path / "state", option, port)
            assert code == 1
            assert f"Port {port}" in said
            assert option in said


def test_a_broker_that_is_not_there_is_explained(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        code, said = refused(tmp_path / "state", "--broker", f"127.0.0.1:{closed.getsockname()[1]}")
    assert code == 1
    assert "connection was refused" in said


@pytest.mark.parametrize(
    ("option", "value"),
    [("--study", "No such name"), ("--minimum", "0"), ("--broker", "nowhere"), ("--minimum", "x")],
)
def test_a_wrong_word_on_the_command_line_is_explained(
    tmp_path: Path, option: str, value: str
) -> None:
    code, said = refused(tmp_path / "state", option, value)
    assert code == 2
    assert option in said


def test_a_state_of_another_study_is_refused(tmp_path: Path) -> None:
    with running(tmp_path / "state") as coordinator:
        coordinator.process.send_signal(signal.SIGTERM)
        coordinator.process.wait(timeout=20)
    code, said = refused(tmp_path / "state", "--study", "south")
    assert code == 1
    assert "belongs to study 'north'" in said


def test_a_policy_that_cannot_be_kept_or_read_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_bytes(POLICY_FILE.replace(b'"3/2"', b'"1/9"'))
    assert (
        "does not pay for a single report" in refused(tmp_path / "state", "--policy", str(wrong))[1]
    )
    assert "can't be read" in refused(tmp_path / "state", "--policy", str(tmp_path))[1]


@pytest.fixture(params=["mosquitto", "amqtt"])
def kind(request: pytest.FixtureRequest) -> Kind:
    wanted: Kind = request.param
    if wanted == "mosquitto" and mosquitto_path() is None:
        pytest.skip("needs Mosquitto (Debian: apt-get install mosquitto)")
    if wanted == "amqtt" and importlib.util.find_spec("amqtt") is None:
        pytest.skip("needs amqtt (pip install 'sottovoce[coordinator]')")
    return wanted


@contextmanager
def opened(path: Path) -> Iterator[ReportStore]:
    with open_store(
        path,
        study="north",
        policy=POLICY.reference,
        cells=CELLS,
        clock=lambda: datetime.now(UTC),
    ) as store:
        yield store


def stored(store: ReportStore) -> int:
    return sum(t.count for t in store.tallies() if t.outcome is Outcome.STORED)


def test_either_broker_carries_a_release_to_the_store(tmp_path: Path, kind: Kind) -> None:
    with (
        embedded_broker(tmp_path / "broker", kind=kind) as broker,
        opened(tmp_path / "reports.db") as store,
    ):
        intake = Intake("north", POLICY, store)

        def take(topic: str, payload: bytes) -> None:
            intake.receive(topic, payload)

        with Subscription(broker.host, broker.port, "coordinator", all_reports("north"), take):
            send((broker.host, broker.port), [released(1), released(2), released(2)])
            assert until(lambda: sum(tally.count for tally in store.tallies()) == 3)


def test_a_report_that_could_not_be_stored_comes_again(tmp_path: Path) -> None:
    if mosquitto_path() is None:
        pytest.skip("needs Mosquitto (Debian: apt-get install mosquitto); amqtt does not redeliver")
    faults: list[Explained] = []
    failed = threading.Event()

    def noted(fault: Explained) -> None:
        faults.append(fault)
        failed.set()

    with (
        embedded_broker(tmp_path / "broker", kind="mosquitto") as broker,
        opened(tmp_path / "reports.db") as store,
    ):
        intake = Intake("north", POLICY, store)

        def take(topic: str, payload: bytes) -> None:
            intake.receive(topic, payload)

        with Subscription(
            broker.host,
            broker.port,
            "coordinator",
            all_reports("north"),
            take,
            on_fault=noted,
            first_pause_s=0.1,
        ):
            send((broker.host, broker.port), [released(1)])
            assert until(lambda: stored(store) == 1)
            store._connection.execute("PRAGMA query_only = 1")  # as a disk that refuses to write
            send((broker.host, broker.port), [released(2), released(3)])
            assert failed.wait(20)
            assert stored(store) == 1
            store._connection.execute("PRAGMA query_only = 0")
            assert until(lambda: stored(store) == 3)
    assert isinstance(faults[0], ReportStoreError)
