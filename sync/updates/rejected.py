"""Why an update is not taken: one error, and a code that a status report may name.

Rules it upholds: whatever is wrong with what came, the answer is an `UpdateRejected` with one
sentence for the person, and the running slot stays as it is; the code says nothing about a person.

In the life of a bundle: every step between the repository and the slot may end here.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from sync.errors import SyncError


class Reason(StrEnum):
    """What is wrong with an update, or with a place that it comes from."""

    UNSIGNED = "unsigned"  # too few valid signatures of the role's keys
    EXPIRED = "expired"  # what is signed is stale: a freeze, or a study that stopped signing
    CLOCK = "clock"  # this device's clock can't be right
    OLDER = "older"  # a version below one that was seen
    EQUIVOCAL = "equivocal"  # the same version with other content
    MIXED = "mixed"  # pieces that were not published together
    OTHER_STUDY = "other-study"
    UNKNOWN = "unknown"  # no role that may sign for it has signed it
    NOT_ALLOWED = "not-allowed"  # a role signed what it may not, such as a head role a bundle
    TOO_LARGE = "too-large"
    TOO_SLOW = "too-slow"
    ALTERED = "altered"  # bytes are not those that were signed for
    MALFORMED = "malformed"  # archive, patch or metadata that can't be what it says
    BAD_PATH = "bad-path"  # a name that leads elsewhere, or a link
    CONTRACT = "contract"  # does not fit what this device keeps: front end, baseline, policy
    DECLINED = "declined"  # the person said no
    WITHDRAWN = "withdrawn"  # the study took it back
    SUPERSEDED = "superseded"  # a newer one came before it had proven itself
    GOLDEN = "golden"  # golden vectors give other answers on this device, or take too long
    UNHEALTHY = "unhealthy"  # it failed on probation
    INCOMPLETE = "incomplete"  # a slot half written, a wheel missing
    NO_ROOM = "no-room"  # the disk is full
    UNREACHABLE = "unreachable"  # nothing could be fetched; nothing is known to be wrong


class UpdateRejected(SyncError):
    """An update was not taken; nothing that runs has changed."""

    def __init__(self, reason: Reason, cause: str, remedy: str = "") -> None:
        super().__init__(cause, remedy or "What runs now stays as it is.")
        self.reason = reason


DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the file system says where there is no room: on it, in a quota, for a file."""


@contextmanager
def kept_on_disk(what: str) -> Iterator[None]:
    """Turn what the file system says while `what` is written into why an update is not taken.

    Raises:
        UpdateRejected: NO_ROOM where the disk is full, INCOMPLETE where it fails in another way.
    """
    try:
        yield
    except OSError as fault:
        if fault.errno in DISK_FULL:
            raise UpdateRejected(
                Reason.NO_ROOM,
                f"The disk is full: {what} has no room.",
                "Free some space; it is tried again by itself.",
            ) from fault
        raise UpdateRejected(
            Reason.INCOMPLETE, f"{what[0].upper()}{what[1:]} can't be kept ({fault.strerror})."
        ) from fault
