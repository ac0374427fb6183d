"""A released message and a transport, for tests that send one."""

import secrets
from importlib import resources
from typing import Any

from sync.budget import Ledger
from sync.messages import HISTOGRAMS
from sync.policy import parse_policy
from sync.release import Counts, Released, release_report
from sync.transport import Transport

POLICY = parse_policy(
    resources.files("edge_models").joinpath("bundles", "affect-1", "policy.json").read_bytes()
)


def released(week: int = 48) -> Released:
    return release_report(
        Counts.of({histogram.name: 0 for histogram in HISTOGRAMS}),
        study="home", pseudonym="ab" * 16, period=f"2026-W{week:02d}", bundle="affect-1",
        policy=POLICY, ledger=Ledger(), randbelow=secrets.randbelow,
    )[0]  # fmt: skip


def transport_to(broker: Any, timeout_s: float = 10.0) -> Transport:
    return Transport(broker.host, broker.port, "device", timeout_s=timeout_s)
