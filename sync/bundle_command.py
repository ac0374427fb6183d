"""Build a bundle from its parts, check one on this machine, or show what is in it.

    sottovoce bundle inspect                        the bundle that comes with this version
    sottovoce bundle inspect FOLDER --json          another one, for machines
    sottovoce bundle inspect 7.affect-1.bundle      one as devices fetch it
    sottovoce bundle verify FOLDER                  every check, and golden vectors in both runtimes
    sottovoce bundle build PARTS --out DIR --version 1.1.0

PARTS is a folder with gate.onnx, descriptors.onnx, functionals.onnx, body.onnx, body.tflite,
head.json, population.json, golden.json, policy.json, consent.md and CARD.md. A manifest.json of an
earlier bundle among them says what the options leave open, and thresholds and purpose. What --out
holds is replaced only by a newer version that passed `verify`; then: sottovoce publish bundle DIR
"""

import argparse
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_models.bundle import load_bundle, shipped_folder
from edge_models.bundle_checks import Check, Reader, checks
from edge_models.bundle_facts import Facts, facts_of
from edge_models.errors import BundleError
from sync.policy import parse_policy
from sync.updates.archive import unpack

_OK: Final = Text("ok    ", style="green")
_FAILED: Final = Text("failed", style="bold red")
_WHAT_WIDTH: Final = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line accepts."""
    deeds = parser.add_subparsers(dest="deed", required=True, metavar="inspect|verify|build")
    inspect = deeds.add_parser("inspect", help="show what is in a bundle")
    inspect.add_argument(
        "bundle", type=Path, nargs="?", metavar="FOLDER|X.bundle", help="else the shipped one"
    )
    inspect.add_argument("--json", action="store_true", help="the same for machines")
    verify = deeds.add_parser("verify", help="check everything on this machine; 1 if one fails")
    verify.add_argument("bundle", type=Path, metavar="FOLDER|X.bundle")
    build = deeds.add_parser("build", help="make a bundle from a folder of parts")
    build.add_argument("parts", type=Path, metavar="PARTS")
    build.add_argument("--out", type=Path, required=True, metavar="DIR")
    build.add_argument("--version", type=_version, required=True, help="such as 1.1.0")
    build.add_argument("--name", help="such as affect-1; else the parts' manifest's or card's")
    build.add_argument("--licence", help="such as 'CC BY-NC-SA 4.0'; else the parts' own")
    build.add_argument("--notice", help="why that licence; else the parts' manifest's")
    build.add_argument(
        "--consent-version", type=_number, metavar="N", help="raise it where consent.md changes"
    )


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; 1 if a check failed.

    Raises:
        BundleError: a bundle does not load, or can't be built; nothing was replaced.
        UpdateRejected: a `.bundle` file is no archive of one.
    """
    deeds = {"inspect": _inspect, "verify": _verify, "build": _build}
    return deeds[arguments.deed](arguments)


def policy_said(raw: bytes) -> str:
    """What to say of a bundle's privacy policy.

    Raises:
        PolicyError: it is none that can be kept.
    """
    policy = parse_policy(raw)
    epsilon = f"ε {policy.epsilon_per_report:.2f} a report, {policy.epsilon_budget:.2f} in all"
    return f"{policy.reference}, {epsilon}"


# Inspect.


def _inspect(arguments: argparse.Namespace) -> int:
    with _folder(arguments.bundle or shipped_folder()) as folder:
        bundle = load_bundle(folder)
    facts = facts_of(bundle)
    if arguments.json:
        print(facts.model_dump_json(indent=1))
        return 0
    console = Console()
    for part in (_about(facts, policy_said(bundle.policy)), *_tables(facts)):
        console.print(part)
        console.print()
    return 0


def _about(facts: Facts, policy: str) -> Table:
    limits, golden = facts.thresholds, facts.golden
    rows = {
        "bundle": f"{facts.name} {facts.version}",
        "what for": facts.purpose,
        "licence": facts.licence,
        "notice": facts.notice,
        "consent text": f"version {facts.consent_version}",
        "privacy policy": policy,
        "hearing": facts.hearing,
        "space": facts.space,
        "embedding": f"{facts.embedding} numbers from {facts.functionals} functionals",
        "own moments": "each person's are moved to everybody's"
        if facts.aligned
        else "none: embeddings stay where the body puts them",
        "bands": f"middle from {limits.middle_from:g}, high from {limits.high_from:g}",
        "least speech": f"{limits.minimum_speech_s:g} s in a window, "
        f"{limits.minimum_speech_short_s:g} s where a short recording is one",
        "golden vectors": f"{golden.vectors}, within {golden.allowed_steps:g} int8 step; sound "
        f"within {golden.allowed_spreads:g} spreads",
        "card": f"{facts.card.title} ("
        + ("states its files)" if facts.card.states_its_files else "does not state its files)"),
        "made with": ", ".join(facts.made_with) or "not said",
    }
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(Text(name), Text(value))
    return table


def _tables(facts: Facts) -> Iterator[Table]:
    files = _table("file", "bytes", "SHA-256 begins")
    files.columns[1].justify = "right"
    for entry in facts.files:
        files.add_row(Text(entry.name), f"{entry.bytes:,}", entry.sha256[:16])
    files.add_row("all", f"{sum(entry.bytes for entry in facts.files):,}", "")
    yield files
    graphs = _table("graph", "chosen", "takes", "gives")
    for graph in facts.graphs:
        takes, gives = (Text("\n".join(edges)) for edges in (graph.takes, graph.gives))
        graphs.add_row(Text(graph.file), "yes" if graph.chosen else "", takes, gives)
    yield graphs
    if facts.card.figures:
        figures = _table("affect figure of the card, on people never met", "95 % over people")
        for figure in facts.card.figures:
            figures.add_row(Text(figure.of), Text(figure.value))
        yield figures


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


# Verify.


def _verify(arguments: argparse.Namespace) -> int:
    console = Console()
    with _folder(arguments.bundle) as folder:
        found = [_told(console, check) for check in checks(folder, _readers())]
    failed = sum(not check.ok for check in found)
    console.print(
        f"{failed} of {len(found)} checks failed: no device should be given this."
        if failed
        else f"All {len(found)} checks passed on this machine."
    )
    return 1 if failed else 0


def _readers() -> dict[str, Reader]:
    return {"policy.json": policy_said}


def _told(console: Console, check: Check) -> Check:
    line = Text.assemble(
        _OK if check.ok else _FAILED, f"  {check.what:{_WHAT_WIDTH}}", check.said or check.fault
    )
    console.print(line, soft_wrap=True)
    return check


# Build.


def _build(arguments: argparse.Namespace) -> int:
    console = Console()
    with Console(stderr=True).status("Opening the workshop"):
        from edge_models.training.build import Wanted, build  # heavy: only where one builds

    wanted = Wanted(
        version=arguments.version,
        name=arguments.name,
        licence=arguments.licence,
        notice=arguments.notice,
        consent_version=arguments.consent_version,
    )
    built = build(arguments.parts, arguments.out, wanted, _readers(), partial(_told, console))
    is_ = f"{built.manifest.name} {built.manifest.version}"
    if not built.new:
        console.print(
            f"{is_} lies in {arguments.out} already, the same to the byte.", soft_wrap=True
        )
        return 0
    console.print(f"{is_} lies in {arguments.out} now.", soft_wrap=True)
    console.print(f"Next: sottovoce publish bundle {arguments.out}", soft_wrap=True)
    return 0


@contextmanager
def _folder(bundle: Path) -> Iterator[Path]:
    """A bundle's folder; what is packed is unpacked into one that is gone afterwards."""
    if not bundle.exists():
        raise BundleError(f"There is no '{bundle}'.", "Give a bundle's folder or .bundle file.")
    if bundle.is_dir():
        yield bundle
        return
    with tempfile.TemporaryDirectory(prefix="sottovoce-") as place:
        unpack(bundle, Path(place))
        yield Path(place)


def _version(word: str) -> str:
    if not re.fullmatch(r"\d{1,4}\.\d{1,4}\.\d{1,4}", word):
        raise argparse.ArgumentTypeError("a version reads like 1.2.3")
    return word


def _number(word: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,3}", word):
        raise argparse.ArgumentTypeError("give a whole number from 1")
    return int(word)
