"""What the study says of heads, as this device keeps it: lessons of rounds, and the newest head.

Rules it upholds: nothing is kept but what the study's certified coordinator signed; a head is
taken for the bundle that it names and for no other, and never an older one; a lesson is kept for
the round that its digest names, a few at a time. A head that was adopted scores from the next
start or update on, as long as embeddings lie where it looks (`Bundle.space`, which is what heads
and lessons call a bundle); the bundle itself is not changed.

In the life of a federated round: study → line → **here** → `learner`, or the next start.
"""

from typing import Final

from agent.shelf import Kind as Kept
from agent.store import Store
from edge_models.bundle import Bundle
from sync.envelope import decoded, encoded
from sync.errors import ProtocolError
from sync.federated.lesson import HeadForAll, Lesson, parse_said
from sync.participation import Enrolled

MOST_LESSONS: Final = 8
_MOMENT_BYTES: Final = 8


def heed(
    store: Store, payload: bytes, *, enrolled: Enrolled, bundle: Bundle, learns: bool, now: int
) -> None:
    """Keep the lesson or the head that these bytes announce; `now` in seconds since 1970.

    A lesson is kept only where the person has consented to learning (`learns`).

    Raises:
        ProtocolError: they hold none of this study's coordinator; or a head that is older than the
            one at hand, or for another bundle. Nothing has changed.
        StoreError: it can't be kept; leave it unacknowledged.
    """
    said = parse_said(payload, study=enrolled.study, authority=enrolled.authority, now=now)
    if isinstance(said, Lesson):
        if learns:
            _keep_lesson(store, said, now)
        return
    if said.bundle != bundle.space or said.head.embedding_size != bundle.head.embedding_size:
        raise ProtocolError(
            f"The study gives a head for the bundle '{said.bundle}', and this device has "
            f"'{bundle.space}'.",
            "The head at hand stays; install the bundle that the study uses.",
        )
    known = _newest(store, bundle)
    if known is None or known.study != said.study or said.number > known.number:
        store.shelf.put(Kept.HEAD, bundle.space, encoded(said))
    elif said != known:
        raise ProtocolError(
            f"Somebody gives this device head number {said.number}, and it has number "
            f"{known.number} already.",
            "The newer head stays. If the study was put back from a backup, ask it for help.",
        )


def adopted_head(store: Store, *, study: str, bundle: Bundle) -> HeadForAll | None:
    """The head that this study gave for this bundle; None: the bundle's own is in use.

    Raises:
        StoreError: the store can't be read.
    """
    known = _newest(store, bundle)
    if known is None or (known.study, known.bundle) != (study, bundle.space):
        return None
    return known if known.head.embedding_size == bundle.head.embedding_size else None


def lesson_of(store: Store, digest: str) -> Lesson | None:
    """The lesson of a round whose terms name this digest, None if none is at hand.

    Raises:
        StoreError: the store can't be read.
    """
    kept = store.shelf.get(Kept.LESSON, digest)
    return None if kept is None else decoded(kept[_MOMENT_BYTES:], Lesson)


def _newest(store: Store, bundle: Bundle) -> HeadForAll | None:
    """Each bundle's own: when an update is taken back, the head of before is there."""
    kept = store.shelf.get(Kept.HEAD, bundle.space)
    return None if kept is None else decoded(kept, HeadForAll)


def _keep_lesson(store: Store, lesson: Lesson, now: int) -> None:
    if store.shelf.get(Kept.LESSON, lesson.digest) is not None:
        return
    kept = sorted((content[:_MOMENT_BYTES], name) for name, content in store.shelf.all(Kept.LESSON))
    for _, name in kept[: max(0, len(kept) - MOST_LESSONS + 1)]:
        store.shelf.drop(Kept.LESSON, name)
    moment = now.to_bytes(_MOMENT_BYTES, "big")
    store.shelf.put(Kept.LESSON, lesson.digest, moment + encoded(lesson))
