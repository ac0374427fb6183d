"""Roll a published bundle or release out in rings, halt it, take it back; or try one first.

    sottovoce rollout start bundle affect-1 latest --state DIR --repository repository
    sottovoce rollout start bundle affect-1 latest --state DIR --tolerate 2% --soak 24h
    sottovoce rollout start release agent 7 --state DIR --rings 1,10,50,100
    sottovoce rollout pause bundle affect-1 --state DIR
    sottovoce rollout resume bundle affect-1 --state DIR
    sottovoce rollout abort bundle affect-1 --state DIR
    sottovoce rollout status --state DIR
    sottovoce rollout simulate --devices 500 --failing 10%

`start`, `pause`, `resume` and `abort` ask the coordinator that runs on the same state; it does so
within a second, and devices hear of it at once. Without `--rings` the first ring is as large as it
takes to find a version that fails five times as often as is tolerated. `abort` is for good: devices
that have the version go back to the one before.
"""

import argparse
import re
import tempfile
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from sync.coordinator.authority import MEMBERS_FILE, STUDY_FOLDER, has_study, open_study
from sync.coordinator.halting import FALSE_HALT, TROUBLE, found_among, rings_for
from sync.coordinator.members import current_members, open_members
from sync.coordinator.offered import find, must_be_of
from sync.coordinator.repository_folder import UPDATES_FOLDER
from sync.coordinator.rollout_book import (
    ROLLOUT_BOOK_FILE,
    Deed,
    RolloutBook,
    Wish,
    open_rollout_book,
)
from sync.coordinator.rollout_desk import may_follow, start_of
from sync.coordinator.rollouts import Rollout, RolloutError, Rules, Stand
from sync.coordinator.simulated_rollout import SERIAL, SimulatedFleet
from sync.coordinator.updating import ONLINE_KEY_FILE
from sync.errors import StudyError
from sync.updates.offers import Kind
from sync.updates.rollout import State

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}
_MOST_SIMULATED: Final = 5000
_DEFAULT: Final = Rules()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line accepts."""
    deeds = parser.add_subparsers(
        dest="deed", required=True, metavar="start|pause|resume|abort|status|simulate"
    )
    start = deeds.add_parser("start", help="ask the running coordinator to roll a version out")
    _add_what(start)
    start.add_argument("serial", metavar="SERIAL", type=_serial, help="its serial, or latest")
    start.add_argument(
        "--repository",
        type=Path,
        help="folder of the study's updates, as the coordinator has it (default: updates, in "
        "--state)",
    )
    _add_rules(start)
    here = [start, deeds.add_parser("status", help="show every rollout and how devices stand")]
    for deed, what in (
        (Deed.PAUSE, "let nobody new take it"),
        (Deed.RESUME, "go on; what was seen so far is set aside if it had halted by itself"),
        (Deed.ABORT, "for good: devices that have it go back to what they ran before"),
    ):
        here.append(deeds.add_parser(deed.value, help=what))
        _add_what(here[-1])
    for deed_parser in here:
        deed_parser.add_argument(
            "--state",
            type=Path,
            default=Path("~/.local/share/sottovoce-coordinator"),
            help="the coordinator's folder (default: %(default)s)",
        )
    simulate = deeds.add_parser("simulate", help="a rollout over simulated devices, no network")
    simulate.add_argument("--devices", type=int, default=500, help="how many (%(default)s)")
    simulate.add_argument("--failing", type=_share, default=0.1, help="share it fails on (10%%)")
    simulate.add_argument("--away", type=_share, default=0.0, help="share that is never on (0%%)")
    simulate.add_argument("--abort", action="store_true", help="withdraw it once it has halted")
    simulate.add_argument("--seed", type=int, default=0, help="who they are (%(default)s)")
    _add_rules(simulate)


def _add_what(deed: argparse.ArgumentParser) -> None:
    deed.add_argument("kind", choices=[Kind.BUNDLE.value, Kind.RELEASE.value])
    deed.add_argument("name", metavar="NAME", help="such as affect-1")


def _add_rules(deed: argparse.ArgumentParser) -> None:
    deed.add_argument("--rings", type=_rings, help="per cent, such as 1,10,50,100")
    deed.add_argument(
        "--tolerate", type=_share, default=_DEFAULT.tolerated, help="share that may fail (2%%)"
    )
    deed.add_argument(
        "--enough", type=_share, default=_DEFAULT.enough, help="share of a ring to keep it (80%%)"
    )
    deed.add_argument(
        "--soak", type=_duration, default=_DEFAULT.soak_s, help="time a ring is open (24h)"
    )
    deed.add_argument(
        "--silent",
        type=_duration,
        default=_DEFAULT.silent_s,
        help="silence that counts as failed (48h)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns 0.

    Raises:
        RolloutError: it can't be had like that.
        RolloutBookError: the rollouts can't be read or kept.
        PublishingError: the repository's files are not all there.
        StudyError: there is no study in that folder.
        MembersError: its members can't be read.
    """
    console = Console()
    if arguments.deed == "simulate":
        _simulate(arguments, console)
        return 0
    state = arguments.state.expanduser()
    if not has_study(state):
        raise StudyError(
            f"No study was founded in '{state}'.",
            "Name its folder with --state, or found one: sottovoce study init NAME --host HOST",
        )
    members = _members(state)
    with open_rollout_book(state / ROLLOUT_BOOK_FILE) as book:
        if arguments.deed == "status":
            _status(book, members, console)
            return 0
        kind = Kind(arguments.kind)
        if arguments.deed == "start":
            _start(arguments, book, len(members), console)
        else:
            _newest(book, kind, arguments.name)
            book.wish(Wish(Deed(arguments.deed), kind, arguments.name))
            console.print(f"Asked the coordinator to {arguments.deed} it. {_SEE}", soft_wrap=True)
    return 0


_SEE: Final = "See: sottovoce rollout status"


def _start(
    arguments: argparse.Namespace, book: RolloutBook, everybody: int, console: Console
) -> None:
    repository = (arguments.repository or arguments.state / UPDATES_FOLDER).expanduser()
    kind = Kind(arguments.kind)
    if not (key := arguments.state.expanduser() / ONLINE_KEY_FILE).exists():
        raise RolloutError(
            f"The coordinator has no online key: there is no '{key}'.",
            "Put there the one that signs the repository's timestamp, and start it again.",
        )
    must_be_of(repository, open_study(arguments.state.expanduser()).about.study)
    offer, _ = find(repository, kind, arguments.name, arguments.serial)
    for rollout in book.newest():
        if (rollout.directive.kind, rollout.directive.name) == (kind, offer.name):
            may_follow(rollout.directive, offer.serial)
    rules = _rules(arguments)
    rings = arguments.rings or rings_for(everybody, rules.tolerated)
    book.wish(Wish(Deed.START, kind, offer.name, start_of(offer.serial, rings, rules)))
    console.print(
        f"Asked the coordinator to roll out {kind.value} {offer.name} {offer.serial} "
        f"({offer.says}). {_SEE}",
        soft_wrap=True,
    )
    console.print(_foretold(rings, everybody, rules), soft_wrap=True)


def _foretold(rings: tuple[int, ...], everybody: int, rules: Rules) -> str:
    """What rings and tolerance will find and miss, before it begins."""
    first = round(everybody * rings[0] / 1000)
    trouble = min(TROUBLE * rules.tolerated, 0.9)
    missed = 1 - found_among(first, trouble, rules.tolerated)
    shares = ", ".join(f"{share / 10:g} %" for share in rings)
    return (
        f"Rings: {shares} of {everybody} devices. A version that fails on {100 * trouble:g} % gets "
        f"past a first ring of {first} with a probability of {100 * missed:.1f} %; one that fails "
        f"on no more than {100 * rules.tolerated:g} % is halted all the same in at most "
        f"{100 * FALSE_HALT:g} % of rollouts."
    )


def _status(book: RolloutBook, members: tuple[str, ...], console: Console) -> None:
    now = int(time.time())
    rollouts = book.rollouts()
    if waiting := book.wishes():
        console.print(
            f"{waiting} asked for, and no coordinator has done it. Does it run? "
            "What it prints says what is in the way.",
            soft_wrap=True,
        )
    if not rollouts:
        console.print(
            "Nothing has been rolled out. Start: sottovoce rollout start bundle NAME latest",
            soft_wrap=True,
        )
        return
    newest = book.newest()
    for rollout in rollouts:
        about = rollout.directive
        said = book.said(about.kind, about.name, about.serial)
        count = rollout.count(members, said, now)
        state = about.state.value if rollout in newest else "replaced"
        lines = [
            f"{about.kind.value} {about.name} {about.serial}: "
            f"{'halted' if rollout.halted else state}, ring {_ring(rollout)}, "
            f"began {datetime.fromtimestamp(rollout.began_at, UTC):%Y-%m-%d %H:%M} UTC",
            f"  of {count.devices} in open rings: "
            + ", ".join(
                f"{count[stand]} {called}"
                for stand, called in _CALLED.items()
                if count[stand] or stand in _ALWAYS
            ),
        ]
        if rollout.why:
            lines.append(f"  {rollout.why}")
        for line in lines:
            console.print(line, soft_wrap=True)


_CALLED: Final = {
    Stand.COMMITTED: "committed",
    Stand.FAILED: "failed",
    Stand.SILENT: "silent",
    Stand.UNDER_WAY: "under way",
    Stand.WAITING: "waiting for a yes",
    Stand.DECLINED: "declined",
    Stand.HINDERED: "held up by their surroundings",
    Stand.WENT_BACK: "gone back",
    Stand.AWAY: "not heard of it",
}
_ALWAYS: Final = frozenset({Stand.COMMITTED, Stand.FAILED, Stand.UNDER_WAY})


def _ring(rollout: Rollout) -> str:
    about = rollout.directive
    return f"{about.open} of {len(about.rings)} ({about.per_mille / 10:g} %)"


def _newest(book: RolloutBook, kind: Kind, name: str) -> Rollout:
    for rollout in book.newest():
        if (rollout.directive.kind, rollout.directive.name) == (kind, name):
            return rollout
    raise RolloutError(
        f"Nothing of the {kind.value} '{name}' is rolled out.", "See what is: " + _SEE[5:]
    )


def _members(state: Path) -> tuple[str, ...]:
    with open_members(state / STUDY_FOLDER / MEMBERS_FILE) as members:
        return current_members(members, int(time.time()))


def _rules(arguments: argparse.Namespace) -> Rules:
    try:
        return Rules(
            tolerated=arguments.tolerate,
            enough=arguments.enough,
            soak_s=arguments.soak,
            silent_s=arguments.silent,
        )
    except ValueError as fault:
        raise RolloutError(
            "A rollout tolerates 0.1 % to 20 %, asks 10 % to 100 % of a ring, and takes up to a "
            "year.",
            "Such as --tolerate 2% --enough 80% --soak 24h --silent 48h.",
        ) from fault


def _simulate(arguments: argparse.Namespace, console: Console) -> None:
    if not 1 <= arguments.devices <= _MOST_SIMULATED:
        raise RolloutError(
            f"A simulation takes 1 to {_MOST_SIMULATED} devices.", "Try --devices 500."
        )
    rules = _rules(arguments)
    rings = arguments.rings or rings_for(arguments.devices, rules.tolerated)
    with (
        tempfile.TemporaryDirectory(prefix="sottovoce-rollout-") as folder,
        open_rollout_book(Path(folder) / ROLLOUT_BOOK_FILE, durable=False) as book,
        console.status(f"{arguments.devices} devices take a version, ring by ring"),
    ):
        fleet = SimulatedFleet(
            arguments.devices, book, Path(folder) / UPDATES_FOLDER, failing=arguments.failing,
            away=arguments.away, rings=rings, rules=rules, seed=arguments.seed,
        )  # fmt: skip
        simulated = fleet.run(then_abort=arguments.abort)
    table = Table("hour", "state", "ring", "in rings", "runs it", "failed", "went back")
    for hour in simulated.hours:
        state = "halted" if hour.rollout.halted else hour.rollout.directive.state.value
        numbers = (hour.in_rings, hour.committed, hour.failed, hour.went_back)
        table.add_row(str(hour.hour), state, _ring(hour.rollout), *map(str, numbers))
    console.print(_foretold(rings, arguments.devices, rules), soft_wrap=True)
    console.print(table)
    last = simulated.last
    console.print(last.why or f"It went through ({last.directive.state.value}).", soft_wrap=True)
    ran = sum(SERIAL in device.ran for device in simulated.devices)
    bad = [device for device in simulated.devices if device.fails is not None]
    still = sum(device.installed.runs == SERIAL for device in bad)
    console.print(
        f"It would have failed on {len(bad)} of {len(simulated.devices)} devices. It ran on {ran}, "
        f"{sum(SERIAL in device.ran for device in bad)} of those failing; {still} of the failing "
        "still run it.",
        soft_wrap=True,
    )
    outside = [d for d in simulated.devices if not last.directive.includes(d.pseudonym)]
    if last.directive.state is not State.FINISHED:
        changed = sum(len(device.ran) > 1 for device in outside)
        console.print(f"Outside the open rings {changed} of {len(outside)} devices changed.")


def _share(word: str) -> float:
    """`2%`, or a number between 0 and 1."""
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,4})?)(%?)", word.replace(" ", ""))
    if found is None or not 0 <= (share := float(found[1]) / (100 if found[2] else 1)) <= 1:
        raise argparse.ArgumentTypeError("write a share such as 2% or 0.02")
    return share


def _rings(word: str) -> tuple[int, ...]:
    """Rising per cents, the finest a tenth of one."""
    found = [
        re.fullmatch(r"([0-9]{1,3})(?:\.([0-9]))?%?", part)
        for part in word.replace(" ", "").split(",")
    ]
    rings = tuple(10 * int(each[1]) + int(each[2] or 0) for each in found if each is not None)
    rising = all(a < b for a, b in pairwise((0, *rings, 1001)))
    if len(rings) != len(found) or not rising or len(rings) > 8:
        raise argparse.ArgumentTypeError("write rising per cents such as 1,10,50,100, at most 8")
    return rings


def _duration(word: str) -> int:
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", word)
    if found is None:
        raise argparse.ArgumentTypeError("write a time such as 90m, 24h or 2d")
    return int(found[1]) * _UNITS[found[2]]


def _serial(word: str) -> str:
    if not re.fullmatch("latest|[1-9][0-9]{0,9}", word):
        raise argparse.ArgumentTypeError("a serial is a whole number from 1, or latest")
    return word
