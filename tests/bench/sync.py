"""What privacy and sending cost: noise a report, bytes on the wire, time until acknowledged."""

import secrets
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from sync.broker import embedded_broker
from sync.budget import Ledger
from sync.messages import CELLS, HISTOGRAMS
from sync.noise import discrete_gaussian
from sync.policy import Policy, parse_policy
from sync.release import Counts, Released, release_report
from sync.transport import Transport
from tests.bench.figure import Figure

_REPORTS = 200


def measure() -> list[Figure]:
    """Noise, a whole release, its bytes, and publishing over loopback."""
    folder = resources.files("edge_models").joinpath("bundles", "affect-1")
    policy = parse_policy(folder.joinpath("policy.json").read_bytes())
    noise_ms = _median_ms(
        lambda: [discrete_gaussian(policy.sigma2, secrets.randbelow) for _ in range(CELLS)]
    )
    release_ms = _median_ms(lambda: _released(policy))
    messages = [_released(policy) for _ in range(_REPORTS)]
    payload = statistics.mean(len(message.payload) for message in messages)
    packet = statistics.mean(_packet_bytes(message) for message in messages)
    kind, publish_ms = _publish_ms(messages)
    return [
        Figure(
            "noise of one report", f"{noise_ms:.2f} ms", "", None,
            f"{CELLS} exact samples at sigma^2 = {policy.sigma2}, median of {_REPORTS}",
        ),
        Figure(
            "release of one report", f"{release_ms:.2f} ms", "", None,
            f"charge, draw, encode; median of {_REPORTS}",
        ),
        Figure(
            "report on the wire", f"{packet:.0f} bytes", "", None,
            f"MQTT 5 PUBLISH without TCP and TLS; {payload:.0f} of them payload; "
            f"mean of {_REPORTS}",
        ),
        Figure(
            "publish until acknowledged", f"{publish_ms:.2f} ms", "", None,
            f"QoS 1 over loopback to {kind}, connection open; median of {_REPORTS}",
        ),
        Figure(
            "epsilon of a report; of the budget",
            f"{policy.epsilon_per_report:.2f}; {policy.epsilon_budget:.2f}", "", None,
            f"delta {policy.delta:g}, {policy.reports_in_budget} reports, zCDP converted by "
            "Bun and Steinke 2016, Proposition 1.3",
        ),
    ]  # fmt: skip


def _released(policy: Policy) -> Released:
    return release_report(
        Counts.of({histogram.name: 0 for histogram in HISTOGRAMS}),
        study="bench", pseudonym=secrets.token_hex(16), period="2026-W48", bundle="affect-1",
        policy=policy, ledger=Ledger(), randbelow=secrets.randbelow,
    )[0]  # fmt: skip


def _packet_bytes(message: Released) -> int:
    """Fixed header 3, topic with its length, packet number 2, properties (expiry) 1 + 5."""
    return 3 + 2 + len(message.topic) + 2 + 6 + len(message.payload)


def _publish_ms(messages: list[Released]) -> tuple[str, float]:
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded_broker(Path(folder)) as broker,
        Transport(broker.host, broker.port, "bench") as transport,
    ):
        transport.publish(messages[0])
        waiting = iter(messages)
        return broker.kind, _median_ms(lambda: transport.publish(next(waiting)))


def _median_ms(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(_REPORTS):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return 1000 * statistics.median(taken)
