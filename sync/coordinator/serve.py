"""Receive a study's noised reports and show the cohort on a page, on this machine.

    sottovoce coordinator --study home --state coordinator-state

starts a broker of its own unless `--broker` names one, listens for reports, and serves the page.
One line for machines, `ready mqtt=HOST:PORT page=http://HOST:PORT broker=KIND`, says that all three
are up. Ctrl-C or SIGTERM ends it in order, with exit code 0.
"""

import argparse
import re
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge_models.errors import Explained
from sync.broker import Broker, embedded_broker
from sync.coordinator.estimate import DEFAULT_MINIMUM
from sync.coordinator.intake import Intake
from sync.coordinator.service import Study, application, served
from sync.coordinator.store import open_store
from sync.endpoint import Tls
from sync.errors import BrokerError, PolicyError
from sync.messages import CELLS
from sync.policy import Policy, parse_policy
from sync.stopping import stopped_by_signals
from sync.topics import all_reports
from sync.transport import Subscription

_STUDY: Final = r"[a-z0-9][a-z0-9-]{0,31}"
_LOOK_EVERY_S: Final = 0.5
_LARGEST_POLICY_BYTES: Final = 65_536


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line accepts."""
    parser.add_argument("--study", required=True, type=_study, help="the study's short name")
    parser.add_argument(
        "--state",
        type=Path,
        default=Path("~/.local/share/sottovoce-coordinator"),
        help="folder of the reports and of the embedded broker (default: %(default)s)",
    )
    parser.add_argument("--port-mqtt", type=int, default=0, help="of the embedded broker; 0: any")
    parser.add_argument("--port-page", type=int, default=0, help="of the page; 0: any free one")
    parser.add_argument(
        "--broker", type=_address, metavar="HOST:PORT", help="one that runs already"
    )
    parser.add_argument("--ca-file", type=Path, help="with --broker: the study's CA; turns TLS on")
    parser.add_argument("--certificate-file", type=Path, help="with --ca-file: the coordinator's")
    parser.add_argument("--key-file", type=Path, help="with --certificate-file: its key")
    parser.add_argument("--policy", type=Path, help="privacy policy, JSON (default: the bundle's)")
    parser.add_argument(
        "--minimum",
        type=_positive,
        default=DEFAULT_MINIMUM,
        help="show no numbers of a period with fewer reports (default: %(default)s)",
    )


@dataclass(frozen=True, slots=True)
class _LiveFeed:
    """What the page says about where reports come from."""

    subscription: Subscription
    name: str

    @property
    def connected(self) -> bool:
        """Whether reports can arrive right now."""
        return self.subscription.connected


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; returns 0.

    Raises:
        BrokerError: the broker can't be run or reached, or ended.
        PageError: the page's port is taken.
        PolicyError: the policy can't be read, or the state belongs to another study.
        ReportStoreError: the state's folder or store can't be used.
        BundleError: there is no --policy, and the shipped bundle is damaged.
    """
    policy = _policy(arguments.policy)
    state = arguments.state.expanduser()
    with ExitStack() as stack:
        stop = stack.enter_context(stopped_by_signals())
        store = stack.enter_context(
            open_store(
                state / "reports.db",
                study=arguments.study,
                policy=policy.reference,
                cells=CELLS,
                clock=lambda: datetime.now(UTC),
            )
        )
        own = (
            stack.enter_context(embedded_broker(state / "broker", arguments.port_mqtt))
            if arguments.broker is None
            else None
        )
        host, port = arguments.broker if own is None else (own.host, own.port)
        intake = Intake(arguments.study, policy, store)
        subscription = stack.enter_context(
            Subscription(
                host,
                port,
                f"sottovoce-coordinator-{arguments.study}",
                all_reports(arguments.study),
                lambda topic, payload: _take(intake, topic, payload),
                tls=_tls(arguments),
                on_fault=_say,
            )
        )
        kind = own.kind if own else "external"
        feed = _LiveFeed(subscription, f"{kind} at {host}:{port}")
        study = Study(arguments.study, policy, arguments.minimum)
        page_port = stack.enter_context(
            served(application(study, store, feed), arguments.port_page)
        )
        page = f"http://127.0.0.1:{page_port}"
        print(f"ready mqtt={host}:{port} page={page} broker={kind}")
        print(f"Study '{study.name}' under policy {policy.reference}; state in {state}.")
        print(f"Broker: {own.note if own else 'the one you named.'}")
        print(f"Page:   {page} (Ctrl-C ends)", flush=True)
        _wait(stop, own)
    return 0


def _take(intake: Intake, topic: str, payload: bytes) -> None:
    intake.receive(topic, payload)  # its outcome is counted in the store


def _wait(stop: threading.Event, own: Broker | None) -> None:
    while not stop.wait(_LOOK_EVERY_S):
        if own is not None and not own.running:
            raise BrokerError(
                f"The embedded broker ({own.kind}) ended by itself.",
                "Start the coordinator again; devices keep what they could not send.",
            )


def _say(fault: Explained) -> None:
    print(f"sottovoce coordinator: {fault}", file=sys.stderr, flush=True)


def _policy(path: Path | None) -> Policy:
    if path is None:
        from edge_models.bundle import shipped_bundle  # here, for it brings the models' runtimes

        return parse_policy(shipped_bundle().policy)
    try:
        with path.open("rb") as file:
            return parse_policy(file.read(_LARGEST_POLICY_BYTES))
    except OSError as fault:
        raise PolicyError(
            f"The policy '{path}' can't be read ({fault.strerror}).",
            "Name a readable file, or leave --policy out to use the bundle's.",
        ) from fault


def _tls(arguments: argparse.Namespace) -> Tls | None:
    if arguments.ca_file is None:
        return None
    return Tls(arguments.ca_file, arguments.certificate_file, arguments.key_file)


def _study(word: str) -> str:
    if not re.fullmatch(_STUDY, word):
        raise argparse.ArgumentTypeError(
            "a study's name has up to 32 lower-case letters, digits and hyphens"
        )
    return word


def _address(word: str) -> tuple[str, int]:
    host, _, port = word.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port):
        raise argparse.ArgumentTypeError("write it as HOST:PORT, such as broker.example:8883")
    return host, int(port)


def _positive(word: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,8}", word):
        raise argparse.ArgumentTypeError("a number of reports is 1 or more")
    return int(word)
