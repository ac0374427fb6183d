"""Show your own page from what is stored, without sensing anything.

    sottovoce page --state ~/.local/share/sottovoce

One line for machines, `ready page=http://HOST:PORT`, says that it is up. Ctrl-C or SIGTERM ends it
in order, with exit code 0. (While `sottovoce run` runs, it serves the same page itself.)
"""

import argparse
import os
import signal
import threading
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType

from agent.answers import Live
from agent.config import Settings, load_settings, parse_settings
from agent.keys import STORE_FILE, Purpose, load_key, sub_key
from agent.reporter import Study
from agent.service import ParticipantPage
from agent.store import Store
from edge_models.bundle import load_bundle, shipped_bundle
from sync.policy import parse_policy
from sync.release import Seal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line accepts."""
    parser.add_argument("--state", type=Path, help="the state folder (default: the settings')")
    parser.add_argument("--study", help="the study's short name (default: the settings')")
    parser.add_argument("--port", type=int, help="of the page; 0: any free one")
    parser.add_argument("--config", type=Path, help="settings file, TOML")


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop."""
    settings = _settings(arguments)
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    key = load_key(
        settings.state_folder,
        passphrase=os.environ.get("SOTTOVOCE_PASSPHRASE"),
        credentials=Path(credentials) if credentials else None,
    )
    open_store = partial(Store, settings.state_folder / STORE_FILE, key)
    open_store().close()  # another key, or a damaged store, is told at once
    page = ParticipantPage(
        open_store,
        study_of(settings),
        Seal(sub_key(key, Purpose.SEAL)),
        live=lambda: Live(broker=broker_of(settings)),
        clock=lambda: datetime.now(UTC),
        port=settings.page.port,
    )
    stop = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with page:
            print(f"ready page={page.address}", flush=True)
            print(f"Your page is at {page.address}; Ctrl-C ends it.", flush=True)
            stop.wait()
    finally:
        for number, former in before.items():
            signal.signal(number, former)
    return 0


def study_of(settings: Settings) -> Study:
    """The study that the settings name, with the policy and thresholds of their bundle.

    Raises:
        BundleError: the bundle can't be read.
        PolicyError: its policy can't be kept.
    """
    folder = settings.bundle
    bundle = load_bundle(Path(folder).expanduser()) if folder else shipped_bundle()
    return Study(settings.study, parse_policy(bundle.policy), bundle.name, bundle.thresholds)


def broker_of(settings: Settings) -> str:
    """Where reports go, for a person; empty where there is no broker."""
    broker = settings.broker
    return f"{broker.host}:{broker.port}" if broker.host else ""


def _settings(arguments: argparse.Namespace) -> Settings:
    """The settings file, and what the command line says over it."""
    said = load_settings(arguments.config).model_dump()
    if arguments.state is not None:
        said["state"] = str(arguments.state)
    if arguments.study is not None:
        said["study"] = arguments.study
    if arguments.port is not None:
        said["page"]["port"] = arguments.port
    return parse_settings(said, "the command line")
