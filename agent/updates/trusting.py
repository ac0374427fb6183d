"""Where a device keeps what it trusts of updates, and how a member comes to its first root.

Rules it upholds: one process at a time works on it; a member pins the root that its study's
authority has signed for, once; a device in no study pins one by hand (`sottovoce ota init`), or
takes no updates.

In the life of a bundle: before anything else, once.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from agent.errors import SlotError
from agent.home import Home
from agent.keys import UPDATES_FOLDER
from sync.updates.first_root import AUTH_FILE, FIRST_ROOT_FILE, MOST_AUTH_BYTES, pinned_root
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.source import NotThere, Source
from sync.updates.trust import Trust
from sync.updates.tuf_client import MOST_ROOT_BYTES

TRUST_FOLDER: Final = "trust"


class NoUpdates(UpdateRejected):
    """This device's study has no repository of updates, which is nobody's fault."""


def updates_folder(home: Home) -> Path:
    """Where everything about updates lies: signed metadata, slots, parts, history."""
    return home.settings.state_folder / UPDATES_FOLDER


def trust_of(home: Home, source: Source, now: Callable[[], datetime]) -> Trust:
    """What this device trusts, with its first root pinned.

    Raises:
        NoUpdates: the study offers none yet.
        UpdateRejected: UNKNOWN, nothing was pinned by hand; or as `pinned_root` and `Trust.init`.
    """
    member = home.membership
    trust = Trust(
        updates_folder(home) / TRUST_FOLDER,
        source,
        source,
        now=now,
        study=None if member is None else member.study,
    )
    if trust.initialised:
        return trust
    if member is None:
        raise UpdateRejected(
            Reason.UNKNOWN,
            "This device is in no study and knows no keys to trust updates by.",
            "Give it the first root of a repository: sottovoce ota init 1.root.json",
        )
    try:
        auth = b"".join(source.read(AUTH_FILE, MOST_AUTH_BYTES))
        root = b"".join(source.read(FIRST_ROOT_FILE, MOST_ROOT_BYTES))
    except NotThere:
        raise NoUpdates(
            Reason.UNKNOWN, "The study offers no updates yet.", "Nothing has to be done."
        ) from None
    trust.init(pinned_root(root, auth, study=member.study, authority=member.authority))
    return trust


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Inside, no other process looks for updates or takes any.

    Raises:
        SlotError: another one does, or the folder can't be used.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as fault:
        raise SlotError(
            f"The folder of updates '{folder}' can't be used: {fault.strerror}.",
            "Check who owns it and whether its disk is full.",
        ) from fault
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SlotError(
                "The agent is looking for updates right now.", "Wait a moment, and try again."
            ) from None
        yield
    finally:
        os.close(handle)
