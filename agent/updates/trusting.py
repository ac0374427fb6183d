"""Where a device keeps what it trusts of updates, and how a member comes to its first root.

Rules it upholds: a member pins the root that its study's authority has signed for, once; a device
in no study pins one by hand (`sottovoce ota init`), or takes no updates; what was pinned by hand is
not what a member trusts, whenever the device joined its study.

In the life of a bundle: before anything else, once.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from agent.home import Home
from agent.updates.locks import updates_folder
from sync.updates.first_root import AUTH_FILE, FIRST_ROOT_FILE, MOST_AUTH_BYTES, pinned_root
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.source import NotThere, Source
from sync.updates.trust import FIRST_ROOT, Trust
from sync.updates.tuf_client import MOST_ROOT_BYTES

_OF_ITS_STUDY: Final = "trust"
_BY_HAND: Final = "trust-by-hand"


class NoUpdates(UpdateRejected):
    """This device's study has no repository of updates, which is nobody's fault."""


def trust_of(home: Home, source: Source, now: Callable[[], datetime]) -> Trust:
    """What this device trusts, with its first root pinned.

    Raises:
        NoUpdates: the study offers none yet.
        UpdateRejected: UNKNOWN, nothing was pinned by hand; or as `pinned_root` and `Trust.init`.
    """
    member = home.membership
    trust = Trust(
        trust_folder(home),
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


def trusts_anything(home: Home) -> bool:
    """Whether a first root has been pinned on this device."""
    return (trust_folder(home) / FIRST_ROOT).is_file()


def trust_folder(home: Home) -> Path:
    """Where that root, and what it led to, is kept."""
    return updates_folder(home) / (_BY_HAND if home.membership is None else _OF_ITS_STUDY)
