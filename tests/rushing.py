"""A rush of devices on one coordinator: real reports, connections, broker, process and store."""

import json
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sync.budget import Ledger
from sync.coordinator.store import Outcome, open_store
from sync.messages import CELLS, HISTOGRAMS, parse_report
from sync.policy import parse_policy
from sync.release import Counts, Released, release_report
from sync.transport import Transport

_POLICY_FILE: Final = (
    b'{"name":"rush","version":1,"rho_per_report":"1/8","rho_budget":"3/2","delta":1e-6,'
    b'"period_days":7}'
)
_POLICY: Final = parse_policy(_POLICY_FILE)
_STUDY: Final = "rush"
_AT_ONCE: Final = 50
_TWICE: Final = 10  # one device in ten sends its report again, as after a lost acknowledgement
_PATIENCE_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Rush:
    """What came of it; `exact`: the store's sum is that of every report once, to the last cell."""

    devices: int
    stored: int
    repeated: int
    exact: bool
    taken_s: float

    @property
    def lost(self) -> int:
        """Reports that did not arrive."""
        return self.devices - self.stored


def rush(devices: int, folder: Path) -> Rush:
    """Let so many devices report, 50 at a time, each over a connection of its own.

    `taken_s` runs from the first connection to the moment at which the coordinator's page counts
    the last message.
    """
    reports = [_report(person) for person in range(devices)]
    sent = [(r, 1 + (n % _TWICE == 0)) for n, r in enumerate(reports)]
    with _coordinator(folder) as (host, port, page):
        start = time.perf_counter()
        with ThreadPoolExecutor(_AT_ONCE) as crowd:
            list(crowd.map(lambda one: _send(host, port, *one), sent))
        _wait_for(page, sum(times for _, times in sent))
        taken_s = time.perf_counter() - start
    with open_store(
        folder / "state" / "reports.db", study=_STUDY, policy=_POLICY.reference, cells=CELLS,
        clock=lambda: datetime.now(UTC),
    ) as store:  # fmt: skip
        snapshot = store.snapshot()
    (period,) = snapshot.sums
    counts = [parse_report(report.payload).counts for report in reports]
    return Rush(
        devices=devices,
        stored=period.reports,
        repeated=sum(t.count for t in snapshot.tallies if t.outcome is Outcome.DUPLICATE),
        exact=period.totals == tuple(map(sum, zip(*counts, strict=True))),
        taken_s=taken_s,
    )


def _report(person: int) -> Released:
    bins = {h.name: (person + place) % len(h.bins) for place, h in enumerate(HISTOGRAMS)}
    return release_report(
        Counts.of(bins), study=_STUDY, pseudonym=f"{person:032x}", period="2026-W47",
        bundle="affect-1", policy=_POLICY, ledger=Ledger(), randbelow=secrets.randbelow,
    )[0]  # fmt: skip


def _send(host: str, port: int, report: Released, times: int) -> None:
    name = report.topic.rpartition("/")[2]
    for _ in range(times):
        with Transport(host, port, name, timeout_s=_PATIENCE_S) as transport:
            transport.publish(report)


@contextmanager
def _coordinator(folder: Path) -> Iterator[tuple[str, int, str]]:
    """`sottovoce coordinator` with its own broker: host, port and page."""
    (folder / "policy.json").write_bytes(_POLICY_FILE)
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_models.command", "coordinator", "--study", _STUDY,
         "--state", str(folder / "state"), "--policy", str(folder / "policy.json")],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        words = dict(w.split("=", 1) for w in process.stdout.readline().split()[1:])
        host, port = words["mqtt"].split(":")
        yield host, int(port), words["page"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def _wait_for(page: str, messages: int) -> None:
    until = time.monotonic() + _PATIENCE_S
    while True:
        with urllib.request.urlopen(f"{page}/api/health", timeout=10) as reply:
            health = json.load(reply)
        if health["messages"] >= messages:
            return
        if time.monotonic() > until:
            raise RuntimeError(f"only {health['messages']} of {messages} messages arrived")
        time.sleep(0.05)
