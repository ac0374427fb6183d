"""Take, try and take back updates on this device; or act as a bare TUF client (--metadata-dir).

    sottovoce ota status                 what runs, what ran before, what waits for your yes
    sottovoce ota apply                  take the newest, or answer for the one that waits
    sottovoce ota apply --from ADDRESS   from a mirror, or a folder such as a USB stick's
    sottovoce ota rollback               go back to what ran before
    sottovoce ota history                what became of updates here
    sottovoce ota refresh                take in what is offered now, and say what is new
    sottovoce ota init ROOT              in no study: trust the repository with this first root

A member takes what its study rolls out by itself, over its one connection; none of this is needed.

With `--metadata-dir` the command is the client of TUF's public conformance protocol: `init` pins a
first root, `refresh` takes in a repository's lists, `download` fetches targets; exit 0 or 1.

    sottovoce ota --metadata-dir DIR init ROOT
    sottovoce ota --metadata-dir DIR --metadata-url URL refresh
    sottovoce ota --metadata-dir DIR --metadata-url URL --target-name NAME … \\
        --target-base-url URL --target-dir FOLDER download
"""

# This only parses and dispatches; what isn't asked for isn't loaded.

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from sync.updates.rejected import UpdateRejected

_ACTS: Final = (
    ("status", "what runs, what ran before, what waits"),
    ("apply", "take the newest, or answer for the one that waits"),
    ("rollback", "go back to what ran before"),
    ("history", "what became of updates here"),
    ("init", "pin the first root"),
    ("refresh", "take in the repository's newest lists"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    client = parser.add_argument_group("as a bare TUF client")
    client.add_argument("--metadata-dir", type=Path, help="where trusted metadata is kept")
    client.add_argument("--metadata-url", help="the repository's metadata: http:, https: or file:")
    client.add_argument(
        "--target-name", action="append", default=[], help="path of a target; may be repeated"
    )
    client.add_argument("--target-base-url", help="the repository's targets")
    client.add_argument("--target-dir", type=Path, help="where verified targets are kept")
    device = argparse.ArgumentParser(add_help=False)
    device.add_argument("--config", type=Path, help="a settings file (see deploy/sottovoce.toml)")
    device.add_argument("--state", help="folder of the key and the encrypted store")
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    known = {name: acts.add_parser(name, help=does, parents=[device]) for name, does in _ACTS}
    taking, asking = known["apply"], known["refresh"]
    said = taking.add_mutually_exclusive_group()
    said.add_argument("--yes", action="store_true", help="say yes to what is asked")
    said.add_argument("--no", action="store_true", help="say no to what is asked")
    known["init"].add_argument("root", metavar="ROOT", type=Path, help="its 1.root.json")
    for act in (taking, asking):
        act.add_argument("--from", dest="address", metavar="ADDRESS", help="a mirror or a folder")
    acts.add_parser("download", help="fetch targets, verified (a bare client only)")


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; returns the exit code."""
    if arguments.metadata_dir is None and arguments.act != "download":
        return _for_this_device(arguments)
    from agent.updates import bare_client

    try:
        match arguments.act:
            case "init":
                bare_client.init(arguments.metadata_dir, arguments.root)
            case "refresh":
                bare_client.refresh(arguments.metadata_dir, arguments.metadata_url)
            case "download":
                bare_client.download(
                    arguments.metadata_dir,
                    arguments.metadata_url,
                    arguments.target_name,
                    arguments.target_base_url,
                    arguments.target_dir,
                )
            case _:
                print("sottovoce ota: A bare client only knows init, refresh and download. "
                      "Leave --metadata-dir out.", file=sys.stderr)  # fmt: skip
                return 1
    except UpdateRejected as refused:
        print(f"sottovoce ota: {refused} ({refused.reason})", file=sys.stderr)
        return 1
    return 0


def _for_this_device(arguments: argparse.Namespace) -> int:
    from agent.config import settings_said
    from agent.home import open_home
    from agent.updates import own

    home = open_home(settings_said(arguments.config, {"state": arguments.state}), os.environ)
    match arguments.act:
        case "status":
            print("\n".join(own.status(home)))
        case "apply":
            answer = True if arguments.yes else False if arguments.no else None
            print(own.apply(home, arguments.address, answer=answer, ask=_ask))
        case "rollback":
            print(own.roll_back(home))
        case "history":
            print("\n".join(own.history(home)))
        case "init":
            print(own.pin(home, arguments.root))
        case _:
            print(own.refresh(home, arguments.address))
    return 0


def _ask(question: str) -> bool:
    """Show it whole; anything but a yes is none, and where nobody can answer, nobody has."""
    from agent.errors import SettingError

    print(question)
    if not sys.stdin.isatty():
        raise SettingError("Nobody is here to answer.", "Say so with the command: --yes or --no.")
    return input("Take it? [y/N] ").strip().lower() in ("y", "yes")
