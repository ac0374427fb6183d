"""What a person is told when the lists of a repository can't be trusted: a reason and a sentence.

Rules it upholds: one sentence says what is wrong and one what follows; no name that came from
outside is repeated in it.

In the life of a bundle: where `tuf_client` ends when something is wrong.
"""

from datetime import datetime
from typing import Final

from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.targets import MOST_BYTES

_KNOWN: Final = {"root", "timestamp", "snapshot", "targets", *MOST_BYTES}


def spoken(role: str) -> str:
    """How a list is called in a sentence."""
    return f"list '{role}'" if role in _KNOWN else "list of a further role"


def unsigned() -> UpdateRejected:
    """Too few valid signatures."""
    return UpdateRejected(
        Reason.UNSIGNED, "The repository's lists are not signed by enough of the right keys."
    )


def altered() -> UpdateRejected:
    """Another hash or length than was signed for."""
    return UpdateRejected(
        Reason.ALTERED, "A list of the repository is not the one that was signed for."
    )


def malformed() -> UpdateRejected:
    """No metadata at all."""
    return UpdateRejected(Reason.MALFORMED, "A list of the repository can't be read.")


def too_large(role: str) -> UpdateRejected:
    """More bytes than a list may have."""
    return UpdateRejected(
        Reason.TOO_LARGE, f"The repository's {spoken(role)} is longer than it may be."
    )


def equivocal(role: str) -> UpdateRejected:
    """The same version with other content."""
    return UpdateRejected(
        Reason.EQUIVOCAL,
        f"The repository shows another {spoken(role)} under a version that was seen before.",
        "Tell your study: somebody shows different devices different things.",
    )


def older(role: str) -> UpdateRejected:
    """A version below one that was seen."""
    return UpdateRejected(
        Reason.OLDER, f"The repository offers an older {spoken(role)} than was seen before."
    )


def mixed(role: str) -> UpdateRejected:
    """Lists of different publications."""
    return UpdateRejected(
        Reason.MIXED, f"The repository's {spoken(role)} was not published with the others."
    )


def other_study(role: str) -> UpdateRejected:
    """A list that names another study, or none."""
    return UpdateRejected(
        Reason.OTHER_STUDY,
        f"The repository's {spoken(role)} belongs to another study than this device does.",
    )


def expired(role: str) -> UpdateRejected:
    """A freeze, or a study that stopped signing."""
    return UpdateRejected(
        Reason.EXPIRED,
        f"The newest {spoken(role)} that could be found is out of date.",
        "Either somebody keeps newer ones from this device, its clock is wrong, or the study has "
        "stopped signing; what runs now stays as it is.",
    )


def impossible_clock(clock: datetime) -> UpdateRejected:
    """A clock that is years ahead of everything that was ever signed."""
    return UpdateRejected(
        Reason.CLOCK,
        f"By this device's clock it is {clock.year}, many years after all that its study signed.",
        "Set the clock; what runs now stays as it is.",
    )
