"""Attack everything that is kept, sent or published, and say what was found: one page.

    sottovoce threats run --out DIR                    every attack (30 to 40 minutes)
    sottovoce threats run --quick --out DIR            a first look (under 4 minutes)
    sottovoce threats run --attack egress --out DIR    one attack, or several; see `list`
    sottovoce threats run --system my.module:Mine --out DIR     another's features beside ours
    sottovoce threats list                             what there is, and what each one asks
    sottovoce threats check --seeds 20 --out DIR       planted bugs are caught, clean code is quiet
    sottovoce threats compare BEFORE AFTER             exits with 1 where something got worse

`run` writes threats.html (read this one), threats.md, threats.json and its schema into --out.
Interrupted, it goes on where it stopped. Recordings: --recordings DIR, else SOTTOVOCE_DATA;
without any, attacks that need them are reported as not run, never as passed. It exits with 1 where
a promise is broken, a planted bug was missed, or an attack failed by a fault of its own.
Figures of acted emotions are affect figures; this is a screening aid and never a diagnosis.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from edge_models.errors import ModelError
from edge_models.threats.attack import Attack, Effort
from edge_models.threats.checking import Counted, check_jobs, counted
from edge_models.threats.ground import Ground
from edge_models.threats.planted.bug import Bug
from edge_models.threats.planted.bugs import BUGS
from edge_models.threats.record import Record
from edge_models.threats.report.files import write_report
from edge_models.threats.running import AT_ONCE
from edge_models.threats.suite import ATTACKS
from edge_models.threats.whole_run import Asked, done_and_told, forget, opened_parts, run_all
from edge_models.training.described_cache import usual_folder
from edge_models.training.seeds import seed_number
from edge_models.training.whole import written_whole

DEFAULT_SEED: Final = 7
MOST_SEEDS: Final = 1000


class ThreatsError(ModelError):
    """A call that names what there is not."""

    exit_code = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sottovoce threats`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="run|list|check|compare")
    run = verbs.add_parser("run", help="attack, and write the report")
    run.add_argument("--quick", action="store_true", help="a first look, under four minutes")
    run.add_argument("--seed", type=seed_number, default=DEFAULT_SEED)
    check = verbs.add_parser("check", help="many seeds: bugs are caught, clean code is quiet")
    check.add_argument("--seeds", type=_count, default=20, metavar="N")
    for verb in (run, check):
        verb.add_argument("--attack", action="append", default=[], metavar="NAME", help="only this")
        verb.add_argument("--recordings", type=Path, metavar="DIR", help="else SOTTOVOCE_DATA")
        verb.add_argument("--corpus", action="append", default=[], metavar="NAME=DIR")
        verb.add_argument("--cache", type=Path, metavar="DIR", help="of what was heard and seen")
        verb.add_argument(
            "--jobs", type=_count, default=AT_ONCE, metavar="N", help="processes at a time"
        )
        verb.add_argument("--out", type=Path, required=True, metavar="DIR")
    verbs.add_parser("list", help="every attack, every planted bug")


def run(arguments: argparse.Namespace) -> int:
    """Do what the verb says."""
    match arguments.verb:
        case "run":
            return _run(arguments)
        case "check":
            return _check(arguments)
        case _:
            return _list()


def _run(arguments: argparse.Namespace) -> int:
    console = Console(stderr=True)
    attacks, bugs = _chosen(arguments.attack)
    effort = Effort.QUICK if arguments.quick else Effort.FULL
    asked = Asked(attacks, bugs, effort, arguments.seed, arguments.out, arguments.jobs)
    record = run_all(asked, _ground(arguments), console)
    write_report(arguments.out, record)
    forget(asked)
    print_matrix(record, console)
    console.print(f"Read {arguments.out / 'threats.html'}.")
    return int(is_wrong(record))


def is_wrong(record: Record) -> bool:
    """A promise broken, a bug missed, an alarm on clean code, or an attack that fell over."""
    fallen = any(result.broke or result.alarms for result in record.results)
    return fallen or not all(row.caught and row.clean for row in record.detection)


def _check(arguments: argparse.Namespace) -> int:
    console = Console(stderr=True)
    attacks, bugs = _chosen(arguments.attack)
    asked = Asked(attacks, bugs, Effort.PROBE, 0, arguments.out, arguments.jobs)
    ground = _ground(arguments)
    jobs = check_jobs(attacks, bugs, arguments.seeds, opened_parts(asked, ground))
    rows = counted(done_and_told(jobs, ground, asked.at_once, console))
    with written_whole(arguments.out / "check.json") as part:
        told = ",\n ".join(row.model_dump_json() for row in rows)
        part.write_text(f"[\n {told}\n]\n", encoding="utf-8")
    forget(asked)
    console.print(_counts(rows))
    return int(any(row.wrong for row in rows))


def _chosen(names: Sequence[str]) -> tuple[tuple[Attack, ...], tuple[Bug, ...]]:
    """The attacks named (else all), and the bugs that one of them must catch.

    Raises:
        ThreatsError: there is no such attack.
    """
    unknown = sorted(set(names) - {attack.name for attack in ATTACKS})
    if unknown:
        raise ThreatsError(
            f"There is no attack '{unknown[0]}'.", "`sottovoce threats list` names all of them."
        )
    attacks = tuple(attack for attack in ATTACKS if not names or attack.name in names)
    kept = {attack.name for attack in attacks}
    return attacks, tuple(bug for bug in BUGS if bug.caught_by in kept)


def _ground(arguments: argparse.Namespace) -> Ground:
    return Ground(
        recordings=arguments.recordings,
        corpora=tuple(arguments.corpus),
        cache=arguments.cache or usual_folder(),
        quiet=False,
    )


def _count(words: str) -> int:
    """A whole number from 1 on."""
    number = int(words) if words.isdecimal() else 0
    if not 1 <= number <= MOST_SEEDS:
        raise argparse.ArgumentTypeError(f"'{words}' is no whole number from 1 to {MOST_SEEDS}.")
    return number


def _list() -> int:
    table = Table("attack", "after", "asks", box=None, pad_edge=False, show_edge=False)
    for attack in ATTACKS:
        table.add_row(attack.name, str(attack.family), attack.asks)
    bugs = Table("planted bug", "caught by", "what it is", box=None, pad_edge=False)
    for bug in BUGS:
        bugs.add_row(bug.name, bug.caught_by, bug.what)
    console = Console()
    console.print(table)
    console.print()
    console.print(bugs)
    return 0


def print_matrix(record: Record, console: Console) -> None:
    """The detection matrix, where bugs were planted."""
    if not record.detection:
        return
    table = Table("planted bug", "must be caught by", "caught", "without it", "noticed by others")
    for row in record.detection:
        table.add_row(
            row.bug,
            row.caught_by,
            "[green]yes[/]" if row.caught else f"[red]no[/] {row.not_run}",
            "[green]quiet[/]" if row.clean else "[red]alarm[/]",
            ", ".join(row.caught_also),
        )
    console.print(table)


def _counts(rows: Sequence[Counted]) -> Table:
    table = Table("attack", "planted bug", "alarms", "ran", "not run", "")
    for row in rows:
        colour = "red" if row.wrong else "green"
        verdict = "wrong" if row.wrong else "as it should be"
        counts = (str(row.alarms), str(row.ran), str(row.not_run))
        table.add_row(row.attack, row.bug or "none", *counts, f"[{colour}]{verdict}[/]")
    return table
