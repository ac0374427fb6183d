"""Found a study, invite people into it, see who is in it, and take a device back.

    sottovoce study init spring --host study.example.org
    sottovoce study invite --expires 7d --qr invite.svg
    sottovoce study list
    sottovoce study revoke PSEUDONYM
    sottovoce study withdraw                 all open invites, where one went astray
    sottovoce study trust-root FILE          devices take updates from there on (1.root.json)
    sottovoce study sign-policy FILE         another privacy policy, for `publish bundle`

Each works on one state folder (--state), which `sottovoce coordinator` with the same --state
then runs: the broker, the desk that answers invites, the reports and the page. That folder holds
the study's keys. An invite is as good as membership until it is used: hand it over in person, or
by a channel that you trust.
"""

import argparse
import ipaddress
import re
import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from edge_models.manifest import MANIFEST_NAME
from sync.agreement import SIGNATURE_FILE
from sync.coordinator.authority import Authority, StudyFile, found_study, open_study
from sync.coordinator.desk import renew_revocations
from sync.coordinator.members import Member, Members, open_members
from sync.coordinator.policy_file import policy_of
from sync.coordinator.qr_code import in_terminal, save_svg
from sync.coordinator.repository_folder import UPDATES_FOLDER
from sync.errors import PublishingError, StudyError
from sync.invites import SECRET_BYTES, Invite
from sync.publishing.metadata import parse_document
from sync.publishing.roles import RoleName
from sync.updates.durable import write_durably
from sync.updates.first_root import AUTH_FILE, FIRST_ROOT_FILE

DEFAULT_STATE: Final = Path("~/.local/share/sottovoce-coordinator")
_MOST_INVITES: Final = 1000
_LONGEST: Final = timedelta(days=90)
_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1)}
_VERSION: Final = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line accepts."""
    state = argparse.ArgumentParser(add_help=False)
    state.add_argument(
        "--state", type=Path, default=DEFAULT_STATE, help="the study's folder (%(default)s)"
    )
    actions = parser.add_subparsers(title="actions", dest="action", required=True)

    init = actions.add_parser("init", parents=[state], help="make a study's keys and broker files")
    init.add_argument("name", metavar="NAME", type=_study, help="the study's short name")
    init.add_argument(
        "--host", required=True, type=_host, help="where devices reach the broker and the desk"
    )
    init.add_argument("--port-mqtt", type=_port, default=8883, help="of the broker (%(default)s)")
    init.add_argument("--port-desk", type=_port, default=8884, help="of the desk (%(default)s)")

    init.add_argument(
        "--noise", choices=("sum", "local"), default="sum", help="where it is added (%(default)s)"
    )
    init.add_argument("--policy", type=Path, help="privacy policy, JSON (default: the bundle's)")

    invite = actions.add_parser("invite", parents=[state], help="make one-time invites")
    invite.add_argument("--count", type=_count, default=1, help="how many (%(default)s)")
    invite.add_argument(
        "--expires", type=_span, default=timedelta(days=7), metavar="7d", help="hours or days (7d)"
    )
    invite.add_argument("--qr", type=Path, metavar="FILE.svg", help="write the code as a picture")

    actions.add_parser("list", parents=[state], help="members and invites")

    revoke = actions.add_parser("revoke", parents=[state], help="take a device back, for good")
    revoke.add_argument("pseudonym", metavar="PSEUDONYM", help="as `study list` shows it")

    actions.add_parser("withdraw", parents=[state], help="make all open invites useless")

    root = actions.add_parser("trust-root", parents=[state], help="let devices take updates")
    root.add_argument("file", metavar="FILE", type=Path, help="the repository's first root")
    root.add_argument("--repository", type=Path, help="its folder (default: updates, in --state)")

    policy = actions.add_parser("sign-policy", parents=[state], help="sign a privacy policy")
    policy.add_argument(
        "file", metavar="FILE", type=Path, help="policy.json, such as a new bundle's"
    )
    policy.add_argument(
        "--adopt", action="store_true", help="and ask for it from the coordinator's next start on"
    )


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; returns 0.

    Raises:
        StudyError: the study is there already, is not there, or its files can't be used.
        MembersError: its members' file can't be used.
    """
    state, now = arguments.state.expanduser(), datetime.now(UTC)
    if arguments.action == "init":
        return _init(arguments, state, now)
    authority = open_study(state)
    if arguments.action == "trust-root":
        repository = (arguments.repository or state / UPDATES_FOLDER).expanduser()
        return _trust_root(arguments.file, repository, authority)
    if arguments.action == "sign-policy":
        return _sign_policy(arguments.file, authority, adopt=arguments.adopt)
    with open_members(authority.members_file) as members:
        if arguments.action == "invite":
            return _invite(arguments, authority, members, now)
        if arguments.action == "list":
            return _list(members, now)
        if arguments.action == "withdraw":
            print(f"{members.withdraw_invites()} open invites are useless now.")
            return 0
        return _revoke(arguments.pseudonym, authority, members, now)


def _init(arguments: argparse.Namespace, state: Path, now: datetime) -> int:
    about = StudyFile(
        version=_VERSION,
        study=arguments.name,
        host=arguments.host,
        broker_port=arguments.port_mqtt,
        desk_port=arguments.port_desk,
        noise=arguments.noise,
    )
    policy = policy_of(arguments.policy)
    folder = found_study(state, about, policy, now=now, random_bytes=secrets.token_bytes)
    print(f"The study '{about.study}' is in '{folder}'. Keep a copy: its keys can't be made again.")
    print(f"Its broker will be at {about.host}:{about.broker_port}, its desk at port "
          f"{about.desk_port}. Open both to the devices' network.")  # fmt: skip
    print("Next: sottovoce coordinator, and sottovoce study invite (each with the same --state).")
    print(f"For a broker of your own, copy '{folder / 'broker'}' to its machine.")
    return 0


def _invite(
    arguments: argparse.Namespace, authority: Authority, members: Members, now: datetime
) -> int:
    if arguments.qr is not None and arguments.count > 1:
        raise StudyError("A picture holds one invite.", "Leave out --count, or --qr.")
    end = now + arguments.expires
    for _ in range(arguments.count):
        text = new_invite(authority, members, now=now, expires=end).to_text()
        if arguments.qr is not None:
            save_svg(text, arguments.qr)
        elif arguments.count == 1 and sys.stdout.isatty():
            print(in_terminal(text))
        print(text)
    print(f"Good for one device each, until {end:%d %B %Y %H:%M} UTC.", file=sys.stderr)
    return 0


def new_invite(
    authority: Authority, members: Members, *, now: datetime, expires: datetime
) -> Invite:
    """An invite that the study will take once, kept before it is returned.

    Raises:
        MembersError: it could not be kept.
    """
    secret, end = secrets.token_bytes(SECRET_BYTES), int(expires.timestamp())
    members.invite(secret, made=int(now.timestamp()), expires=end)
    return Invite(
        study=authority.about.study,
        host=authority.about.host,
        broker_port=authority.about.broker_port,
        desk_port=authority.about.desk_port,
        door=authority.door,
        authority=authority.public_key,
        secret=secret,
        expires=end,
    )


def _list(members: Members, now: datetime) -> int:
    seconds = int(now.timestamp())
    for member in members.members():
        print(f"{member.pseudonym}  enrolled {_day(member.enrolled)}  {_state(member, seconds)}")
    invited = members.invited(seconds)
    print(f"Invites: {invited.open} open, {invited.used} used, {invited.expired} expired.")
    return 0


def _revoke(pseudonym: str, authority: Authority, members: Members, now: datetime) -> int:
    members.revoke(pseudonym, int(now.timestamp()))
    renew_revocations(authority, members, now)
    print(f"{pseudonym} is revoked: its certificate, its messages, and its word in every round.")
    print("A coordinator that runs its own broker tells it within a second. For another broker, "
          f"copy revoked.crl and mosquitto.acl from '{authority.broker_folder}' to it, and run: "
          "systemctl reload mosquitto")  # fmt: skip
    return 0


def _trust_root(file: Path, repository: Path, authority: Authority) -> int:
    auth, first = repository / AUTH_FILE, repository / FIRST_ROOT_FILE
    try:
        root = file.read_bytes()
        _check_first_root(root, str(file), authority.about.study)
        if first.read_bytes() != root:
            raise StudyError(
                f"'{file}' is not the first root of the repository '{repository}'.",
                f"Name its own, '{first}', or its folder with --repository.",
            )
        write_durably(auth, authority.authorise_root(root))
    except OSError as fault:
        raise StudyError(
            f"'{fault.filename}' can't be used: {fault.strerror}.",
            "Name the repository's metadata/1.root.json, and its folder with --repository.",
        ) from fault
    print(f"Devices of '{authority.about.study}' will trust updates from that root: '{auth}'.")
    print("Each pins it once, at its first look. A later root is signed by the keys before it.")
    return 0


def _check_first_root(raw: bytes, named: str, study: str) -> None:
    """Devices pin what the study vouches for once, so a slip here could not be mended on them."""
    remedy = "Name the repository's metadata/1.root.json."
    try:
        root = parse_document(RoleName.ROOT, raw)
    except PublishingError as fault:
        raise StudyError(f"'{named}' is not a repository's root.", remedy) from fault
    if root.version != 1 or not root.is_signed(root.holders(RoleName.ROOT)):
        raise StudyError(f"'{named}' is not a first root that its keyholders signed.", remedy)
    if root.binding.study != study:
        raise StudyError(
            f"'{named}' is a root of the study '{root.binding.study}', not of '{study}'.",
            "Name this study's repository with --repository, and its metadata/1.root.json.",
        )


def _sign_policy(file: Path, authority: Authority, *, adopt: bool) -> int:
    folder = file.absolute().parent
    of_bundle = (folder / MANIFEST_NAME).exists()
    signature = (  # a bundle's folder holds what its manifest lists and nothing else
        folder.with_name(f"{folder.name}.{SIGNATURE_FILE}")
        if of_bundle
        else file.with_name(SIGNATURE_FILE)
    )
    try:
        policy = file.read_bytes()
        write_durably(signature, authority.sign_policy(policy))
    except OSError as fault:
        raise StudyError(
            f"'{fault.filename}' can't be used: {fault.strerror}.", "Name a policy.json."
        ) from fault
    print(f"Signed for the study '{authority.about.study}': '{signature}'.")
    if of_bundle:
        print(f"Next: sottovoce publish bundle {folder.name} --policy-signature {signature.name}")
    if adopt:
        authority.adopt_policy(policy)
        print("Start the coordinator again: from then on its rounds ask for this policy, and only "
              "devices that have it take part.")  # fmt: skip
    return 0


def _state(member: Member, now: int) -> str:
    if member.revoked is not None:
        return f"revoked {_day(member.revoked)}"
    return f"{'ended' if now >= member.expires else 'until'} {_day(member.expires)}"


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def _study(word: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", word):
        raise argparse.ArgumentTypeError(
            "a study's name has up to 32 lower-case letters, digits and hyphens"
        )
    return word


def _host(word: str) -> str:
    try:
        ipaddress.ip_address(word.replace("%", " "))  # an address that holds on one link only
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}", word):
            raise argparse.ArgumentTypeError(
                "give a name or an address, without a port, such as study.example.org"
            ) from None
    return word


def _port(word: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", word) or not 0 < int(word) < 65536:
        raise argparse.ArgumentTypeError("a port is between 1 and 65535")
    return int(word)


def _count(word: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,3}", word) or int(word) > _MOST_INVITES:
        raise argparse.ArgumentTypeError(f"give a number up to {_MOST_INVITES}")
    return int(word)


def _span(word: str) -> timedelta:
    found = re.fullmatch("([1-9][0-9]{0,3})([hd])", word)
    if found is None or int(found[1]) * _UNITS[found[2]] > _LONGEST:
        raise argparse.ArgumentTypeError(f"give hours or days up to {_LONGEST.days}d, such as 7d")
    return int(found[1]) * _UNITS[found[2]]
