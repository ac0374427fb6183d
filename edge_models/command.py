"""The `sottovoce` command, assembled from what each room registers (entry points).

A sub-command is a module with `add_arguments(parser)` and `run(arguments) -> int`. It is
imported only when it is called, so a device never imports the server, and a package that is
not installed is answered with one sentence and the line that installs it. This module knows
no sub-command by name and lives in the lowest room, so that no arrow is bent.
"""

import argparse
import ast
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path
from typing import Final

from edge_models.errors import Explained

GROUP: Final = "sottovoce.commands"

_EVERYTHING: Final = "make setup"
_INSTALLED_BY: Final = {
    # The locks, without dependencies: pip alone finds no set that fits (DECISIONS.md, 2).
    "sync.coordinator": f"{sys.executable} -m pip install --no-deps "
    "-r deploy/requirements/coordinator.txt",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command; returns the exit code (0 fine, 1 failed, 2 misused, 130 stopped)."""
    words = list(sys.argv[1:] if argv is None else argv)
    commands = {entry.name: entry for entry in entry_points(group=GROUP)}
    chosen = commands.get(words[0]) if words else None
    parser = _front_page(commands)
    if chosen is None:
        parser.parse_args(words or ["--help"])
        return 2
    try:
        module = importlib.import_module(chosen.value)
        child = argparse.ArgumentParser(
            prog=f"sottovoce {chosen.name}",
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(child)
        return int(module.run(child.parse_args(words[1:])))
    except ModuleNotFoundError as missing:
        return _say_what_is_missing(chosen, missing)
    except Explained as failure:
        print(f"sottovoce {chosen.name}: {failure}", file=sys.stderr)
        return failure.exit_code
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left: nothing more to say to it
        return 1


def _front_page(commands: dict[str, EntryPoint]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sottovoce",
        description="A private screening aid: features stay here, only noised aggregates leave. "
        "It never diagnoses.",
    )
    parser.add_argument("--version", action="version", version=f"sottovoce {version('sottovoce')}")
    choices = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, entry in sorted(commands.items()):
        choices.add_parser(name, help=_first_line(entry.value), add_help=False)
    return parser


def _first_line(module_name: str) -> str:
    """The first docstring line of a module, read without importing it or what it lies in."""
    room, *below = module_name.split(".")
    spec = importlib.util.find_spec(room)
    places = [] if spec is None else [Path(one) for one in spec.submodule_search_locations or ()]
    files = (place.joinpath(*below).with_suffix(".py") for place in places)
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        return "(not installed)"
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    return (doc or "").split("\n", 1)[0].replace("%", "%%")


def _say_what_is_missing(entry: EntryPoint, missing: ModuleNotFoundError) -> int:
    if missing.name is None or missing.name.split(".")[0] in ("agent", "sync", "edge_models"):
        raise missing  # a broken installation of our own, not a missing extra
    line = next(
        (line for room, line in _INSTALLED_BY.items() if entry.value.startswith(room)), _EVERYTHING
    )
    print(
        f"sottovoce {entry.name} needs the package '{missing.name}', which is not installed. "
        f"In the project's folder, run: {line}",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
