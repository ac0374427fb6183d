"""Join a study with the invite that it gave you.

    sottovoce enrol SOTTOVOCE1-...
    sottovoce enrol - < invite.txt           so that it stays out of the shell's history

The device makes its own keys; what it sends proves that it holds them and the invite, and says
nothing about you. From the next start on, `sottovoce run` reports to the study. An invite is good
for one device; when the connection breaks, the same command tries the same again.
"""

import argparse
import os
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agent.config import settings_said
from agent.errors import SettingError, StoreError
from agent.home import device_key
from agent.keys import STORE_FILE
from agent.membership import IdentityFolder, Membership, Pending
from agent.store import Store
from sync.enrolment import make_ask, new_keys, read_answer
from sync.enrolment_line import exchange
from sync.invites import Invite, parse_invite

_LONGEST_TEXT: Final = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line accepts."""
    parser.add_argument("invite", metavar="INVITE", help="the text of the invite, or - to read it")
    parser.add_argument("--state", help="the state folder (default: the settings')")
    parser.add_argument("--config", type=Path, help="a settings file (see deploy/sottovoce.toml)")
    parser.add_argument(
        "--again", action="store_true", help="replace the identity that this device has"
    )


def run(arguments: argparse.Namespace) -> int:
    """Enrol; returns 0 when this device is a member.

    Raises:
        ProtocolError: this is no invite, or it was mistyped, or no study answered.
        SettingError: the device has an identity, or its key can't be used.
        InviteRefused: the study does not take the invite.
        DeskError: the study can't be reached, or another answers there.
        StoreError: the state folder can't be read or written.
    """
    invite = parse_invite(
        sys.stdin.read(_LONGEST_TEXT) if arguments.invite == "-" else arguments.invite
    )
    settings = settings_said(arguments.config, {"state": arguments.state})
    key = device_key(settings, os.environ)
    with Store(settings.state_folder / STORE_FILE, key) as store:
        folder = IdentityFolder(settings.state_folder, key)
        member = enrol(invite, folder, store, again=arguments.again, now=datetime.now(UTC))
    print(f"This device is now a member of the study '{member.study}', as {member.pseudonym}.")
    print(f"It reports to {member.host}:{member.port}. Start the agent, or start it again.")
    return 0


def enrol(
    invite: Invite, folder: IdentityFolder, store: Store, *, again: bool, now: datetime
) -> Membership:
    """Ask the invite's desk for membership and keep what it grants; raises as `run`."""
    before = _before(folder, again)
    pending = folder.pending()
    if pending is None or pending.ask.invite_name != invite.name:
        if now.timestamp() >= invite.expires:
            raise SettingError(
                f"This invite expired on {datetime.fromtimestamp(invite.expires, UTC):%d %B %Y}.",
                "Ask the study for a fresh one, or set this device's clock if it is wrong.",
            )
        pending = _asked(invite, before, pending, store)
        folder.keep_pending(pending)
    answer = exchange(invite, pending.ask)
    grant = read_answer(answer, ask=pending.ask, invite=invite, now=int(now.timestamp()))
    return folder.keep_granted(invite, pending, grant)


def _before(folder: IdentityFolder, again: bool) -> Membership | None:
    try:
        before = folder.membership()
    except StoreError:
        if again:
            return None  # damaged, and to be replaced
        raise
    if before is not None and not again:
        raise SettingError(
            f"This device is a member of the study '{before.study}' already.",
            "To replace its identity, use a fresh invite and --again.",
        )
    return before


def _asked(
    invite: Invite, before: Membership | None, pending: Pending | None, store: Store
) -> Pending:
    """A fresh ask.

    Another invite's ask may have been granted without our hearing of it: then the study knows the
    keys of that one, so they are used again.
    """
    if pending is not None and pending.study == invite.study:
        keys = pending.keys
    else:
        keys = new_keys(secrets.token_bytes)
    renews = before is not None and before.study == invite.study
    ask = make_ask(
        invite,
        keys,
        store.pseudonym(invite.study, secrets.token_bytes),
        random_bytes=secrets.token_bytes,
        previous_key=before.identity.private_key if before is not None and renews else None,
    )
    return Pending(invite.study, keys, ask)
