"""Be there for the study's rounds and send what waits, without sensing anything.

    sottovoce report                          until Ctrl-C
    sottovoce report --until-reported         until the last week's report is in, or was refused
    sottovoce report --for-s 3600             an hour at most

`sottovoce run` does the same beside sensing. This is for a device that is charging, or a trial.
"""

import argparse
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agent.config import settings_said
from agent.courier import Courier
from agent.errors import SettingError
from agent.home import Home, open_home
from agent.shelf import Kind
from sync.participation import parse_part
from sync.periods import period_before, period_of
from sync.secure_sum.device import Ended
from sync.stopping import stopped_by_signals

_LOOK_EVERY_S: Final = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sottovoce report`."""
    parser.add_argument("--config", type=Path, help="a settings file (see deploy/sottovoce.toml)")
    parser.add_argument("--state", help="folder of the key and the encrypted store")
    parser.add_argument("--for-s", type=float, default=float("inf"), help="at most so long")
    parser.add_argument("--until-reported", action="store_true", help="end when the report is in")
    parser.add_argument(
        "--finish-current", action="store_true", help="report the running week as if it were over"
    )


def run(arguments: argparse.Namespace) -> int:
    """Take part; 0, or with --until-reported 1 if the report did not get in.

    Raises:
        SettingError: this device is not enrolled in a study that sums.
        StoreError: the store can't be read or written.
    """
    settings = settings_said(arguments.config, {"state": arguments.state})
    home = open_home(settings, os.environ)
    if not home.sums:
        raise SettingError(
            "This device is not enrolled in a study that holds rounds.",
            "Enrol it first: sottovoce enrol INVITE",
        )
    now = datetime.now(UTC)
    period = period_of(now) if arguments.finish_current else period_before(period_of(now))
    until = time.monotonic() + arguments.for_s
    reported = refused = ""
    with (
        stopped_by_signals() as stop,
        Courier(home, finish_current=arguments.finish_current) as courier,
    ):
        print(f"ready study={home.study.name} period={period}", flush=True)
        while not stop.wait(_LOOK_EVERY_S) and time.monotonic() < until:
            reported, refused = standing(home, period)
            if arguments.until_reported and (reported or refused) and courier.is_idle:
                break
        trouble = courier.trouble
    if reported:
        print(f"The report of {period} is in, as one addend of a sum.")
    if refused:
        print(f"This device took no part in {period}: {refused}", file=sys.stderr)
    elif trouble is not None:
        print(f"Waiting: {trouble}", file=sys.stderr)
    return 1 if arguments.until_reported and not reported else 0


def standing(home: Home, period: str) -> tuple[str, str]:
    """The round in which a week's report got in, and why it did not; empty where not."""
    reported = refused = ""
    with home.open_store() as store:
        for round_id, kept in store.shelf.all(Kind.PART):
            part = parse_part(kept)
            if part.subject == period and isinstance(part.member, Ended):
                if part.member.refusal is None:
                    reported = round_id
                else:
                    refused = str(part.member.refusal)
    return reported, refused
