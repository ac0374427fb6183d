"""What the command line of `sottovoce publish` accepts."""

import argparse
import re
from pathlib import Path
from typing import Final

DEFAULT_REPOSITORY: Final = Path("~/.local/share/sottovoce-coordinator/updates")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line accepts."""
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument(
        "--repository", type=_path, default=_path(str(DEFAULT_REPOSITORY)), metavar="FOLDER",
        help="where the repository's files lie (%(default)s)",
    )  # fmt: skip
    signing = argparse.ArgumentParser(add_help=False, parents=[where])
    signing.add_argument(
        "--key", type=_path, action="append", default=[], metavar="FILE.key.pem",
        help="a key to sign with; repeatable",
    )  # fmt: skip
    draft = argparse.ArgumentParser(add_help=False, parents=[signing])
    draft.add_argument(
        "--draft", type=_path, metavar="FILE", help="where to keep the draft (staged-….json)"
    )
    actions = parser.add_subparsers(title="actions", dest="action", required=True)
    _add_key(actions)
    _add_root(actions, where, draft, signing)

    bundle = actions.add_parser("bundle", parents=[draft], help="check, pack and list a bundle")
    bundle.add_argument("folder", type=_path, metavar="FOLDER", help="the bundle")
    bundle.add_argument(
        "--policy-signature", type=_path, metavar="FILE", help="the study's policy.sig, 64 bytes"
    )
    release = actions.add_parser("release", parents=[draft], help="list a folder of wheels")
    release.add_argument("wheelhouse", type=_path, metavar="WHEELHOUSE", help="the wheels")
    release.add_argument(
        "--platform", type=_platform, action="append", default=[], metavar="cp311-linux-aarch64",
        help="whom it is for; repeatable (default: as the wheels' names say)",
    )  # fmt: skip
    head = actions.add_parser("head", parents=[signing], help="publish a coordinator's head")
    head.add_argument("file", type=_path, metavar="FILE", help="the head, as it was signed")

    refresh = actions.add_parser("refresh", parents=[signing], help="renew what expires soon")
    refresh.add_argument("--always", action="store_true", help="even if it is not due")
    actions.add_parser("log", parents=[where], help="check and show every act")
    _add_sign(actions, signing)


def _add_key(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    folder = argparse.ArgumentParser(add_help=False)
    folder.add_argument(
        "--folder", type=_path, default=Path(), help="where key files lie (this folder)"
    )
    key = actions.add_parser("key", help="make and list keys")
    parts = key.add_subparsers(dest="part", required=True)
    new = parts.add_parser("new", parents=[folder], help="make a key")
    new.add_argument("holder", type=_holder, metavar="NAME", help="whose it is, such as asha")
    new.add_argument(
        "--no-passphrase", action="store_true", help="for the coordinator, which starts alone"
    )
    parts.add_parser("list", parents=[folder], help="the keys in a folder")


def _add_root(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
    where: argparse.ArgumentParser,
    draft: argparse.ArgumentParser,
    signing: argparse.ArgumentParser,
) -> None:
    root = actions.add_parser("root", help="who may sign: the ceremonies")
    parts = root.add_subparsers(dest="part", required=True)
    init = parts.add_parser("init", parents=[draft], help="make a repository")
    init.add_argument("study", type=_study, metavar="STUDY", help="the study's short name")
    init.add_argument(
        "--person", type=_path, action="append", required=True, metavar="FILE.pub.json",
        help="somebody who signs; repeatable",
    )  # fmt: skip
    init.add_argument("--threshold", type=_count, default=2, help="how many sign (%(default)s)")
    init.add_argument(
        "--online", type=_path, required=True, metavar="FILE.pub.json", help="the coordinator's key"
    )
    init.add_argument(
        "--heads", type=_path, metavar="FILE.pub.json", help="another key for heads, if any"
    )
    rotate = parts.add_parser("rotate", parents=[draft], help="change keyholders, or renew")
    rotate.add_argument(
        "--replace", type=_replacement, action="append", default=[], metavar="NAME=FILE.pub.json",
        help="a key in the place of NAME's; repeatable",
    )  # fmt: skip
    rotate.add_argument(
        "--add", type=_path, action="append", default=[], metavar="FILE.pub.json",
        help="one more person; repeatable",
    )  # fmt: skip
    rotate.add_argument(
        "--remove",
        type=_holder,
        action="append",
        default=[],
        metavar="NAME",
        help="somebody who signs no longer; repeatable",
    )
    rotate.add_argument("--threshold", type=_count, help="how many sign from now on (as before)")
    _add_sign(parts, signing)
    parts.add_parser("show", parents=[where], help="who signs what, and until when")


def _add_sign(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
    signing: argparse.ArgumentParser,
) -> None:
    sign = actions.add_parser("sign", parents=[signing], help="add a signature to a draft")
    sign.add_argument("draft", type=_path, metavar="DRAFT", help="the file that was handed on")
    sign.add_argument("--bundle", type=_path, metavar="FOLDER", help="check that it is this one")
    sign.add_argument("--yes", action="store_true", help="sign without asking")


def _path(word: str) -> Path:
    return Path(word).expanduser()


def _study(word: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", word):
        raise argparse.ArgumentTypeError(
            "a study's name has up to 32 lower-case letters, digits and hyphens"
        )
    return word


def _holder(word: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", word):
        raise argparse.ArgumentTypeError(
            "a name has up to 32 lower-case letters, digits and hyphens, and starts with a letter"
        )
    return word


def _platform(word: str) -> str:
    if not re.fullmatch(r"cp3[0-9]{1,2}-linux-[a-z0-9_]{1,16}", word):
        raise argparse.ArgumentTypeError("a platform reads like cp311-linux-aarch64")
    return word


def _count(word: str) -> int:
    if not re.fullmatch("[1-9]", word):
        raise argparse.ArgumentTypeError("give a number from 1 to 9")
    return int(word)


def _replacement(word: str) -> tuple[str, Path]:
    name, equals, path = word.partition("=")
    if not equals or not path:
        raise argparse.ArgumentTypeError("it reads NAME=FILE.pub.json")
    return _holder(name), _path(path)
