"""The one way into the repository: all checks, the log, then files in an order that never breaks.

Rules it upholds: nothing is placed that does not have the signatures that devices will ask for;
an act is in the log before it can be seen; new versions lie there before anything names them, and
the timestamp, the one file that is replaced, names them last, so a crash between any two files
leaves the old state or the new. A new root is a second file that changes what holds: it goes first
where the old state holds under it, and last where the new state holds under the old root. What
was interrupted is finished by doing it again.

In the life of a bundle: enough signatures → **published**.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sync.errors import PublishingError
from sync.publishing.audit import Act, LogHead
from sync.publishing.keys import SigningKey
from sync.publishing.metadata import Document, snapshot_of, timestamp_of
from sync.publishing.repository import Repository, State
from sync.publishing.roles import DELEGATED, RoleName

_IN_SNAPSHOT: Final = (RoleName.TARGETS, *DELEGATED)
_LATER: Final = (RoleName.SNAPSHOT, RoleName.TIMESTAMP)


@dataclass(frozen=True, slots=True)
class Order:
    """What will be placed, first to last; `gap` where no order keeps devices content throughout."""

    documents: tuple[Document, ...]
    gap: bool


def publish(
    repository: Repository,
    documents: Sequence[Document],
    keys: Sequence[SigningKey],
    *,
    act: str,
    details: Mapping[str, str],
    now: datetime,
) -> Order:
    """Publish signed documents, with the online roles that go with them; returns what was placed.

    `keys` are those at hand: the online ones sign heads, snapshot and timestamp. `documents` may be
    empty: then only the online roles are renewed.

    Raises:
        PublishingError: a signature is missing, somebody published in between, the clock is wrong,
            or files can't be written. Where it fails before writing, nothing has changed.
    """
    with repository.locked():
        before = repository.state_if_any()
        _clock_is_right(before, now)
        after = {role: before.document(role) for role in RoleName} if before else {}
        for document in documents:
            _fits(document, before)
            if before is None or document.body != before.document(document.role).body:
                after[document.role] = document
        _complete(after, before)
        _have_their_targets(repository, documents)
        after |= _online(before, after, keys, now)
        _goes_on(repository, before)
        _timestamp(before, after, repository.log.head(), keys, now)  # or it says whose key lacks
        signer = _logger(repository, after, keys)
        head = repository.log.append(signer, act, details, int(now.timestamp()))
        after[RoleName.TIMESTAMP] = _timestamp(before, after, head, keys, now)
        state = State(**{role.value: document for role, document in after.items()})
        order = _order(before, state)
        for document in order.documents:
            repository.place(document)
        return order


def verified_log(repository: Repository) -> tuple[Act, ...]:
    """Every act, if the log is whole and as long as the timestamp says.

    Raises:
        PublishingError: it is not, or there is no repository.
    """
    timestamp = repository.state().timestamp
    return repository.log.verified(repository.every_key(), timestamp.log_head)


def _clock_is_right(before: State | None, now: datetime) -> None:
    if before is not None and now.timestamp() < before.signed_at:
        raise PublishingError(
            "This computer's clock is behind what was published already.",
            "Set its clock; devices would refuse what is dated earlier.",
        )


def _fits(document: Document, before: State | None) -> None:
    """A document follows the current one, or is the current one (after an interruption)."""
    if before is None:
        if document.version != 1:
            raise PublishingError(
                "This draft goes on from a repository that is not here.",
                "Name the right one with --repository.",
            )
        return
    if document.binding.study != before.study:
        raise PublishingError(
            f"The draft is of the study '{document.binding.study}', the repository of "
            f"'{before.study}'.",
            "Name the right one with --repository.",
        )
    current = before.document(document.role)
    if document.version != current.version + 1 and document.body != current.body:
        raise PublishingError(
            f"Version {document.version} of '{document.role}' does not follow version "
            f"{current.version}, which is published.",
            "Somebody published in between: prepare the draft again, and sign it again.",
        )


def _complete(after: Mapping[RoleName, Document], before: State | None) -> None:
    """Root under the old root and itself, the others under it, each as clients will check."""
    lacking = [role for role in RoleName if role not in after and role not in _LATER]
    if lacking:
        raise PublishingError(f"The draft lacks '{lacking[0]}'.", "Prepare it again.")
    root, targets = after[RoleName.ROOT], after[RoleName.TARGETS]
    pairs = [(root, root), (root, targets)]
    pairs += [(targets, after[role]) for role in (RoleName.BUNDLES, RoleName.RELEASES)]
    if before is not None and root.version > before.root.version:
        pairs.append((before.root, root))
    for above, document in pairs:
        holders = above.holders(document.role)
        found = len(document.signers(holders))
        if found < holders.threshold:
            raise PublishingError(
                f"'{document.role}' has {found} of the {holders.threshold} signatures that it "
                "needs.",
                "Have it signed: sottovoce publish sign FILE --key THEIR-KEY",
            )


def _have_their_targets(repository: Repository, documents: Sequence[Document]) -> None:
    for document in documents:
        if document.role in DELEGATED and (missing := repository.missing(document)):
            raise PublishingError(
                f"The repository has no file for '{missing[0].path}'.",
                "Publish on the machine on which the draft was prepared.",
            )


def _online(
    before: State | None,
    after: Mapping[RoleName, Document],
    keys: Sequence[SigningKey],
    now: datetime,
) -> dict[RoleName, Document]:
    """Heads where their key changed or their time is half over, and the snapshot."""
    made: dict[RoleName, Document] = {}
    heads = after[RoleName.HEADS]
    holders = after[RoleName.TARGETS].holders(RoleName.HEADS)
    if not heads.is_signed(holders):
        current = before is not None and heads.body == before.heads.body
        fresh = heads.renewed(now) if current else heads
        made[RoleName.HEADS] = _signed(fresh, keys, after, before)
    elif heads.due(now):
        made[RoleName.HEADS] = _signed(heads.renewed(now), keys, after, before)
    inside = [made.get(role, after[role]) for role in _IN_SNAPSHOT]
    old = before.snapshot if before is not None else None
    changed = old is None or any(old.versions[each.role] != each.version for each in inside)
    holders = after[RoleName.ROOT].holders(RoleName.SNAPSHOT)
    if old is None or changed or old.due(now) or not old.is_signed(holders):
        made[RoleName.SNAPSHOT] = _signed(snapshot_of(old, inside, now), keys, after, before)
    return made


def _timestamp(
    before: State | None,
    after: Mapping[RoleName, Document],
    head: LogHead,
    keys: Sequence[SigningKey],
    now: datetime,
) -> Document:
    old = before.timestamp if before is not None else None
    made = timestamp_of(old, after[RoleName.SNAPSHOT], head, now)
    return _signed(made, keys, after, before)


def _signed(
    document: Document,
    keys: Sequence[SigningKey],
    after: Mapping[RoleName, Document],
    before: State | None,
) -> Document:
    """Signed with every key at hand that holds the role, under the new root or the old one.

    Two signatures bridge a change of an online key: devices with either root are content.
    """
    above = RoleName.TARGETS if document.role in DELEGATED else RoleName.ROOT
    groups = [after[above].holders(document.role)]
    if before is not None:
        groups.append(before.document(above).holders(document.role))
    allowed = {key.key_id for group in groups for key in group.keys}
    made = document.signed_by([key for key in keys if key.key_id in allowed])
    if not made.is_signed(groups[0]):
        names = ", ".join(key.holder for key in groups[0].keys)
        raise PublishingError(
            f"'{document.role}' has to be signed with the online key of: {names}.",
            "Name that key with --key, too. A coordinator needs it as online.key.pem in its state "
            "folder, and a new start.",
        )
    return made


def _goes_on(repository: Repository, before: State | None) -> None:
    """The log holds what the timestamp says: a line more would otherwise hide what was cut off."""
    said = before.timestamp.log_head if before is not None else None
    if said is not None and not repository.log.has(said):
        raise PublishingError(
            "Lines of the log of acts are gone or were altered; nothing more is published.",
            "Restore the log from a copy, and see what is wrong with it: sottovoce publish log",
        )


def _logger(
    repository: Repository, after: Mapping[RoleName, Document], keys: Sequence[SigningKey]
) -> SigningKey:
    """Whose signature the line in the log gets: the first key at hand that devices know."""
    known = set() if repository.state_if_any() is None else set(repository.every_key())
    root, targets = after[RoleName.ROOT], after[RoleName.TARGETS]
    for role in RoleName:
        holders = (targets if role in DELEGATED else root).holders(role)
        known |= {key.key_id for key in holders.keys}
    return next(key for key in keys if key.key_id in known)  # the timestamp's, at least


def _order(before: State | None, state: State) -> Order:
    reached = (*_IN_SNAPSHOT, RoleName.SNAPSHOT, RoleName.TIMESTAMP)
    rest = [
        state.document(role)
        for role in reached
        if before is None or state.document(role).body != before.document(role).body
    ]
    if before is None or state.root.body == before.root.body:
        root = [state.root] if before is None else []
        return Order((*root, *rest), gap=False)
    if _holds(replace(before, root=state.root)):
        return Order((state.root, *rest), gap=False)
    if _holds(replace(state, root=before.root)):
        return Order((*rest, state.root), gap=False)
    return Order((*rest[:-1], state.root, rest[-1]), gap=True)


def _holds(state: State) -> bool:
    """Whether a device that trusts this root would take all of this state."""
    under_root = (RoleName.TIMESTAMP, RoleName.SNAPSHOT, RoleName.TARGETS)
    return all(
        state.document(role).is_signed(state.root.holders(role)) for role in under_root
    ) and all(state.document(role).is_signed(state.targets.holders(role)) for role in DELEGATED)
