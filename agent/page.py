"""Show your own page from what is stored, without sensing anything.

    sottovoce page --state ~/.local/share/sottovoce

An update that waits for your answer can be answered here, too.

One line for machines, `ready page=http://HOST:PORT`, says that it is up. Ctrl-C or SIGTERM ends it
in order, with exit code 0. (While `sottovoce run` runs, it serves the same page itself.)
"""

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path

from agent.answers import Live, enrolment_of
from agent.config import settings_said
from agent.home import Home, open_home
from agent.service import ParticipantPage
from agent.updates.shown import Updates
from sync.stopping import stopped_by_signals


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line accepts."""
    parser.add_argument("--state", type=Path, help="the state folder (default: the settings')")
    parser.add_argument("--study", help="the study's short name (default: the settings')")
    parser.add_argument("--port", type=int, help="of the page; 0: any free one")
    parser.add_argument("--config", type=Path, help="settings file, TOML")


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop."""
    said = {
        "state": arguments.state and str(arguments.state),
        "study": arguments.study,
        "page.port": arguments.port,
    }
    home = open_home(settings_said(arguments.config, said), os.environ)

    def renewed(home: Home) -> None:
        page.adopt(home.study, enrolment_of(home.membership, home.study))

    page = ParticipantPage(
        home.open_store,
        home.study,
        home.seal,
        live=lambda: Live(broker=home.broker_address),
        clock=_utc_now,
        port=home.settings.page.port,
        enrolment=enrolment_of(home.membership, home.study),
        updates=Updates(home, clock=_utc_now, on_renewal=renewed),
    )
    with stopped_by_signals() as stop, page:
        print(f"ready page={page.address}", flush=True)
        print(f"Your page is at {page.address}; Ctrl-C ends it.", flush=True)
        stop.wait()
    return 0


def _utc_now() -> datetime:
    return datetime.now(UTC)
