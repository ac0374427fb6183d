"""Take, try and take back updates on this device; or act as a bare TUF client (--metadata-dir).

With `--metadata-dir` the command is the client of TUF's public conformance protocol: `init` pins a
first root, `refresh` takes in a repository's lists, `download` fetches targets; exit 0 or 1.

    sottovoce ota --metadata-dir DIR init ROOT
    sottovoce ota --metadata-dir DIR --metadata-url URL refresh
    sottovoce ota --metadata-dir DIR --metadata-url URL --target-name NAME … \\
        --target-base-url URL --target-dir FOLDER download

Rules it upholds: this only parses and dispatches; what isn't asked for isn't loaded.
"""

import argparse
import sys
from pathlib import Path

from sync.updates.rejected import UpdateRejected


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
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    acts.add_parser("init", help="pin the first root").add_argument("root", type=Path)
    acts.add_parser("refresh", help="take in the repository's newest lists")
    acts.add_parser("download", help="fetch targets, verified")


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; returns the exit code."""
    from agent.updates import bare_client

    try:
        match arguments.act:
            case "init":
                bare_client.init(arguments.metadata_dir, arguments.root)
            case "refresh":
                bare_client.refresh(arguments.metadata_dir, arguments.metadata_url)
            case _:
                bare_client.download(
                    arguments.metadata_dir,
                    arguments.metadata_url,
                    arguments.target_name,
                    arguments.target_base_url,
                    arguments.target_dir,
                )
    except UpdateRejected as refused:
        print(f"sottovoce ota: {refused} ({refused.reason})", file=sys.stderr)
        return 1
    return 0
