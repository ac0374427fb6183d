"""Listen and watch while its owner allows it, screen on the device, report once a week.

    sottovoce run                                        the default microphone, no camera
    sottovoce run --camera 0                             and the first camera
    sottovoce run --microphone x.wav --camera y.mp4      recordings through the same code
    sottovoce run --config /etc/sottovoce/sottovoce.toml

It shows a page on this machine only, and says where. It ends at Ctrl-C, or when the recordings do.
A screening aid: it never tells whether somebody is ill.
"""

import argparse
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from agent.account import Account
from agent.answers import Enrolment, Live, enrolment_of
from agent.capture.sensing import Indicator
from agent.cold_code import let_cold_code_go
from agent.config import Settings, settings_said
from agent.courier import Courier
from agent.errors import SettingError
from agent.hardening import harden
from agent.home import Home, open_home
from agent.pipeline import screen_stream
from agent.records import GapRecord, WindowRecord
from agent.service import ParticipantPage
from agent.sources import Chosen, choose, open_sources
from agent.store import Store
from agent.summing import Totals
from agent.tally import tally_of
from agent.updates.heart import Heart
from agent.updates.launch import START_AGAIN
from agent.updates.live import LiveEar
from agent.updates.locks import held_by_the_agent
from agent.updates.shown import Updates
from sync.periods import period_end, period_of, period_start
from sync.stopping import stopped_by_signals

if TYPE_CHECKING:
    from agent.updates.updater import Updater


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sottovoce run`; each one wins over the settings file."""
    parser.add_argument("--config", type=Path, help="a settings file (see deploy/sottovoce.toml)")
    parser.add_argument(
        "--microphone", nargs="+", metavar="X", help='"default", a device\'s name, "off", or files'
    )
    parser.add_argument("--camera", metavar="Y", help='a number, "off", or a video file')
    parser.add_argument("--state", help="folder of the key and the encrypted store")
    parser.add_argument("--study", help="the study's short name")
    parser.add_argument("--broker", metavar="HOST:PORT", help="where reports go")
    parser.add_argument("--page-port", type=int, help="port of the page on this machine; 0: any")
    parser.add_argument("--no-page", action="store_true", help="serve no page")
    parser.add_argument(
        "--pace", choices=("fast", "real"), default="fast", help="of recordings (default: fast)"
    )
    parser.add_argument(
        "--report-at-end", action="store_true", help="report at the end, not only after the week"
    )
    parser.add_argument("--account", type=Path, help="write this run's totals here, as JSON")
    parser.add_argument("--show", action="store_true", help="print scores even to a file or a log")


def run(arguments: argparse.Namespace) -> int:
    """Run the agent until it is stopped or its recordings end."""
    harden()
    heart = Heart(os.environ)
    settings = _settings(arguments)
    chosen = choose(
        arguments.microphone or [settings.microphone.device],
        settings.camera.device,
        frames_per_s=settings.camera.frames_per_s,
        pace=arguments.pace,
    )
    home = open_home(settings, os.environ)
    totals = Totals()
    with ExitStack() as stack:
        stop = stack.enter_context(stopped_by_signals())
        store = stack.enter_context(home.open_store())
        indicator = Indicator()
        ear = stack.enter_context(LiveEar(home, store, clock=_utc_now, say=_say))
        courier = stack.enter_context(Courier(ear.home))
        ear.tell(courier.adopt)
        updater = _updater(ear, courier, stack, stop)
        if not arguments.no_page:
            updates = _updates(ear.home, updater)
            ear.tell(updates.adopt)
            page = stack.enter_context(_page(ear.home, indicator, courier, updates))
            ear.tell(lambda home: page.adopt(home.study, _enrolment(home)))
            _say(f"Your page: {page.address} (this machine only)")
        for record in _records(ear, store, chosen, indicator, stop, heart):
            totals.add(record)
            if isinstance(record, WindowRecord):
                if totals.windows == 1:
                    let_cold_code_go()
                if updater is not None:
                    updater.hear(described=record.embedding is not None)
            if arguments.show or sys.stdout.isatty():
                print(_in_words(record), flush=True)
        if arguments.report_at_end:
            _, sending = courier.deliver(finish_current=True)
            totals.sent(len(sending.sent), sending.sent_bytes, len(sending.waiting))
        print(totals.in_words(), flush=True)
        if courier.trouble is not None:
            print(f"Waiting: {courier.trouble}", file=sys.stderr)
        if updater is not None and updater.trouble is not None:
            print(f"Updates: {updater.trouble}", file=sys.stderr)
        if arguments.account is not None:
            _account(ear.home, store, totals).write(arguments.account)
    return START_AGAIN if updater is not None and updater.starts_again else 0


def _records(
    ear: LiveEar,
    store: Store,
    chosen: Chosen,
    indicator: Indicator,
    stop: threading.Event,
    heart: Heart,
) -> Iterator[WindowRecord | GapRecord]:
    with open_sources(chosen, indicator=indicator, stop=stop) as (stream, faces):
        now = _utc_now()
        # Recordings end now; the running week is theirs, even on a Monday morning.
        monday = period_start(period_of(now))
        started_at = max(now - timedelta(seconds=chosen.recorded_s), min(monday, now))
        yield from screen_stream(
            heart.beating(stream),
            ear=ear,
            faces=faces,
            memory=store,
            started_at=started_at,
        )


def _updater(
    ear: LiveEar, courier: Courier, stack: ExitStack, stop: threading.Event
) -> "Updater | None":
    """What looks for updates, on a device that has a line to ask over and is told to."""
    if courier.files is None:
        return None
    stack.enter_context(held_by_the_agent(ear.home))  # whoever looks, there is one line
    if not ear.home.settings.updates.automatic:
        return None
    from agent.updates.updater import Updater, releases_of  # TUF: only for a member

    updater = Updater(
        ear.home,
        courier.files,
        say=lambda progress: courier.say(progress.to_parcel()),
        releases=releases_of(ear.home, end=stop.set),
    )
    courier.on_look = updater.look_soon
    ear.tell(updater.adopt)
    return stack.enter_context(updater)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _say(sentence: str) -> None:
    print(sentence, flush=True)


def _enrolment(home: Home) -> Enrolment | None:
    return enrolment_of(home.membership, home.study)


def _updates(home: Home, updater: "Updater | None") -> Updates:
    if updater is None:
        return Updates(home, clock=_utc_now)
    return Updates(
        home, clock=_utc_now, trouble=lambda: updater.trouble, answered=updater.look_soon
    )


def _page(home: Home, indicator: Indicator, courier: Courier, updates: Updates) -> ParticipantPage:
    def live() -> Live:
        return Live(
            agent_runs=True,
            sensing=indicator.now,
            broker=home.broker_address,
            waiting_because=str(courier.trouble or ""),
        )

    return ParticipantPage(
        home.open_store,
        home.study,
        home.seal,
        live=live,
        clock=_utc_now,
        port=home.settings.page.port,
        enrolment=_enrolment(home),
        updates=updates,
    )


def _settings(arguments: argparse.Namespace) -> Settings:
    """The settings file with the command line's words over it."""
    said: dict[str, object] = {
        "state": arguments.state,
        "study": arguments.study,
        "camera.device": arguments.camera,
        "page.port": arguments.page_port,
    }
    if arguments.broker is not None:
        host, _, port = arguments.broker.rpartition(":")
        if not host or not port.isdecimal():
            raise SettingError(
                f"'{arguments.broker}' is not a broker's address.", "Give HOST:PORT."
            )
        said |= {"broker.host": host, "broker.port": int(port)}
    return settings_said(arguments.config, said)


def _account(home: Home, store: Store, totals: Totals) -> Account:
    now = datetime.now(UTC)
    start, end = period_start(period_of(now)), period_end(period_of(now))
    tally = tally_of(store.windows(start, end), store.gaps(start, end), start, end)
    return totals.account(
        choices=tally.choices(home.study.thresholds),
        epsilon_spent=store.ledger().epsilon(home.study.policy.delta),
    )


def _in_words(record: WindowRecord | GapRecord) -> str:
    at = f"{record.started_at.astimezone():%H:%M:%S}"
    if isinstance(record, GapRecord):
        what = f"no {record.sensor} for {record.duration_s:.1f} s ({record.reason})"
        return f"{at}  {what}: {record.detail}"
    scores = record.assessment.scores
    heard = f"{at}  speech {record.speech_s:4.1f} s, face {record.face_s:4.1f} s"
    if scores is None:
        return f"{heard}  not scored: {record.assessment.abstained}"
    return (
        f"{heard}  sounds sad {scores.sadness:.2f}, fearful {scores.fear:.2f}, "
        f"either {scores.distress:.2f}"
    )
