"""Reports a second from a broker's socket to the disk, and how fast the page's JSON answers."""

import hashlib
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import paho.mqtt.client as paho

from sync.broker import embedded_broker
from sync.coordinator.intake import Intake
from sync.coordinator.service import Study, application, served
from sync.coordinator.store import ReportStore, open_store
from sync.messages import CELLS, Report
from sync.policy import parse_policy
from sync.topics import all_reports, report_topic
from sync.transport import Subscription
from tests.bench.figure import Figure

_POLICY = parse_policy(
    b'{"name":"bench","version":1,"rho_per_report":"1/8","rho_budget":"3/2","delta":1e-6,'
    b'"period_days":7}'
)
_THROUGH_BROKER = 1000
_HELD = 20_000
_ASKED = 15


@dataclass(frozen=True)
class _Feed:
    connected: bool = True
    name: str = "bench"


def measure() -> list[Figure]:
    """All figures of the coordinator."""
    with tempfile.TemporaryDirectory() as folder:
        return [_intake(Path(folder) / "intake"), _page(Path(folder) / "page")]


@contextmanager
def _opened(folder: Path) -> Iterator[ReportStore]:
    with open_store(
        folder / "reports.db",
        study="bench",
        policy=_POLICY.reference,
        cells=CELLS,
        clock=lambda: datetime.now(UTC),
    ) as store:
        yield store


def _report(person: int, week: int = 48) -> Report:
    return Report(
        version=1,
        study="bench",
        pseudonym=f"{person:032x}",
        period=f"2026-W{week}",
        policy=_POLICY.reference,
        bundle="affect-1",
        counts=tuple((person * 7 + cell * 3) % 29 - 14 for cell in range(CELLS)),
    )


def _intake(folder: Path) -> Figure:
    """One publisher with 20 messages in flight; every report is on the disk when it is counted."""
    payloads = [_report(person).to_bytes() for person in range(_THROUGH_BROKER)]
    arrived = threading.Semaphore(0)
    with embedded_broker(folder / "broker") as broker, _opened(folder) as store:
        intake = Intake("bench", _POLICY, store)

        def take(topic: str, payload: bytes) -> None:
            intake.receive(topic, payload)
            arrived.release()

        with Subscription(broker.host, broker.port, "bench", all_reports("bench"), take):
            client = paho.Client(
                paho.CallbackAPIVersion.VERSION2,
                protocol=paho.MQTTv5 if broker.kind == "mosquitto" else paho.MQTTv311,
            )
            client.max_inflight_messages_set(20)
            client.connect(broker.host, broker.port)
            client.loop_start()
            start = time.perf_counter()
            for person, payload in enumerate(payloads):
                client.publish(report_topic("bench", f"{person:032x}"), payload, qos=1)
            for _ in payloads:
                if not arrived.acquire(timeout=60):
                    raise RuntimeError("reports were lost between broker and store")
            taken_s = time.perf_counter() - start
            client.disconnect()
            client.loop_stop()
        (period,) = store.snapshot().sums
        if period.reports != _THROUGH_BROKER:
            raise RuntimeError("not every report was stored")
    return Figure(
        "coordinator: reports a second, broker to disk",
        f"{_THROUGH_BROKER / taken_s:.0f}",
        "",
        None,
        f"{_THROUGH_BROKER} reports at QoS 1 through {broker.kind}, one transaction each, durable",
    )


def _page(folder: Path) -> Figure:
    """`/api/cohort` over the network stack, with a quarter of a year of reports in the store."""
    with _opened(folder) as store:
        for number in range(_HELD):
            report = _report(number // 10, 39 + number % 10)
            store.add(report, hashlib.sha256(report.to_bytes()).digest(), 12)
        with served(application(Study("bench", _POLICY, 5), store, _Feed())) as port:
            taken_s = []
            for _ in range(_ASKED):
                start = time.perf_counter()
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/cohort") as reply:
                    reply.read()
                taken_s.append(time.perf_counter() - start)
    return Figure(
        "coordinator: page JSON, median (worst)",
        f"{1000 * statistics.median(taken_s):.0f} ms ({1000 * max(taken_s):.0f} ms)",
        "",
        None,
        f"/api/cohort with {_HELD:,} reports of {_HELD // 10:,} people in the store",
    )
