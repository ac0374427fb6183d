"""A head to publish: what the coordinator signed, as a target that a device can fetch any time.

Rules it upholds: a head is small and of this study, and its number rises; the online key that
signs this role can put nothing but heads in front of a device, and the coordinator's own signature
inside is checked there once more.

In the life of a federated round: head for everybody → **heads role** → a device that was away.
"""

from collections.abc import Sequence

from sync.envelope import decoded
from sync.errors import ProtocolError, PublishingError
from sync.federated.lesson import Signed
from sync.publishing.bundles import Addition, Content, checked_offer, newest_first
from sync.publishing.roles import Listed
from sync.updates.offers import MOST_HEAD_BYTES, Kind, head_path


def head_addition(listed: Sequence[Listed], content: bytes, study: str) -> Addition:
    """What to list so that devices can have this head (bytes of `lesson.sign_head`).

    Raises:
        PublishingError: it is no head or of another study, too long, or not newer than what is
            published.
    """
    if len(content) > MOST_HEAD_BYTES:
        raise PublishingError(
            f"A head is at most {MOST_HEAD_BYTES} bytes long; this is something else.",
            "Name the file of a head that the coordinator signed.",
        )
    try:
        head = decoded(content, Signed).head
    except ProtocolError as fault:
        raise PublishingError(
            "This is not a head that a coordinator signed.",
            "Name the file of one.",
        ) from fault
    if head is None or head.study != study:
        raise PublishingError(
            f"This is not a head of the study '{study}'.",
            "Name the file of a head that its coordinator signed.",
        )
    older = newest_first(listed, Kind.HEAD, head.bundle)
    if older and older[0].offer and older[0].offer.serial >= head.number:
        raise PublishingError(
            f"Head {older[0].offer.serial} of {head.bundle} is published, and this is number "
            f"{head.number}.",
            "Only a newer head can be published.",
        )
    offer = checked_offer(Kind.HEAD, head.bundle, head.number, str(head.number))
    new = Content.of(head_path(head.bundle), content, offer)
    rest = [each for each in listed if each.path != new.listed.path]
    return Addition(offer, (new,), (*rest, new.listed))
