"""Be there for the study's rounds and send what waits, without sensing anything.

    sottovoce report                          until Ctrl-C
    sottovoce report --until-reported         until the last week's report is in, or was refused
    sottovoce report --for-s 3600             an hour at most

`sottovoce run` does the same beside sensing. This is for a device that is charging; several state
folders (`--state A B C`) are as many devices, for a trial on one machine.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
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
from sync.secure_sum.states import Ended
from sync.stopping import stopped_by_signals

_LOOK_EVERY_S: Final = 0.3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sottovoce report`."""
    parser.add_argument("--config", type=Path, help="a settings file (see deploy/sottovoce.toml)")
    parser.add_argument(
        "--state", nargs="+", metavar="DIR", help="folder of the key and the encrypted store"
    )
    parser.add_argument("--for-s", type=float, default=float("inf"), help="at most so long")
    parser.add_argument("--until-reported", action="store_true", help="end when the report is in")
    parser.add_argument(
        "--finish-current", action="store_true", help="report the running week as if it were over"
    )


def run(arguments: argparse.Namespace) -> int:
    """Take part; 0, or with --until-reported 1 if a report did not get in.

    Raises:
        SettingError: a device is not enrolled in a study that sums.
        StoreError: a store can't be read or written.
    """
    homes = [
        open_home(settings_said(arguments.config, {"state": state}), os.environ)
        for state in arguments.state or [None]
    ]
    for home in homes:
        if not home.sums:
            raise SettingError(
                f"The device in '{home.settings.state_folder}' is not enrolled in a study that "
                "holds rounds.",
                "Enrol it first: sottovoce enrol INVITE",
            )
    now = datetime.now(UTC)
    period = period_of(now) if arguments.finish_current else period_before(period_of(now))
    until = time.monotonic() + arguments.for_s
    with ExitStack() as stack:
        stop = stack.enter_context(stopped_by_signals())
        couriers = [
            stack.enter_context(Courier(home, finish_current=arguments.finish_current))
            for home in homes
        ]
        print(f"ready study={homes[0].study.name} period={period}", flush=True)
        while not stop.wait(_LOOK_EVERY_S) and time.monotonic() < until:
            if arguments.until_reported and _is_settled(homes, couriers, period):
                break
        troubles = [courier.trouble for courier in couriers]
    reported = 0
    for home, trouble in zip(homes, troubles, strict=True):
        standing = Standing.of(home, period)
        reported += standing.is_reported
        if standing.refusal:
            print(f"This device took no part in {period}: {standing.refusal}", file=sys.stderr)
        elif trouble is not None and not standing.is_reported:
            print(f"Waiting: {trouble}", file=sys.stderr)
    if reported:
        print(f"{reported} of {len(homes)} reports of {period} are in, each as an addend of a sum.")
    return 1 if arguments.until_reported and reported < len(homes) else 0


@dataclass(frozen=True, slots=True)
class Standing:
    """How a week's report stands: whether it got in, and why nothing can come of it any more."""

    is_reported: bool
    refusal: str

    @classmethod
    def of(cls, home: Home, period: str) -> "Standing":
        """Read from a device's store."""
        is_reported, is_open, refusal, now = False, False, "", time.time()
        with home.open_store() as store:
            for _, kept in store.shelf.all(Kind.PART):
                part = parse_part(kept)
                if part.subject != period:
                    continue
                if isinstance(part.member, Ended):
                    is_reported |= part.member.refusal is None
                    refusal = refusal or str(part.member.refusal or "")
                elif now <= part.ends_at:
                    is_open = True
                elif period in store.ledger().periods:
                    refusal = f"The round over {period} was not opened, and the week is paid for."
        return cls(is_reported, "" if is_reported or is_open else refusal)


def _is_settled(homes: Sequence[Home], couriers: Sequence[Courier], period: str) -> bool:
    for home, courier in zip(homes, couriers, strict=True):
        standing = Standing.of(home, period)
        if not (standing.is_reported or standing.refusal) or not courier.is_idle:
            return False
    return True
