"""Drafts of what people sign: a new repository, other keyholders, a bundle, a release.

Rules it upholds: nobody's key is needed to prepare a draft; whoever prepares it says whose
signatures it needs, as the repository's own root has them; a change of keyholders renews
everything that people sign, so the yearly meeting and the replacement of a key are one act.

In the life of a bundle: **prepared** → signed by each → published.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from edge_models.errors import ContractError
from sync.errors import PublishingError
from sync.publishing.bundles import Addition
from sync.publishing.keys import PublicKey
from sync.publishing.metadata import first_documents
from sync.publishing.repository import Repository, State
from sync.publishing.roles import DELEGATED, OFFLINE, Keyholders, RoleName
from sync.publishing.staged import Part, Staged
from sync.updates.offers import Kind


def new_repository(
    study: str,
    people: Sequence[PublicKey],
    threshold: int,
    online: PublicKey,
    heads: PublicKey | None,
    now: datetime,
) -> Staged:
    """Version 1 of everything: `people` sign root, targets, bundles and releases.

    `online` signs snapshot and timestamp, and heads where no other key is named for those.

    Raises:
        PublishingError: one person could sign alone, or these keys can't reach the threshold.
    """
    offline = _keyholders(people, threshold)
    if threshold < 2:
        raise PublishingError(
            "One person could change everything alone.", "Let at least two sign: --threshold 2"
        )
    names = [key.holder for key in {*people, online, heads or online}]
    if len(set(names)) != len(names) or {online.key_id, (heads or online).key_id} & {
        key.key_id for key in people
    }:
        raise PublishingError(
            "A key or a name occurs twice.",
            "Everybody has one key, and the coordinator has one that is nobody else's.",
        )
    holders = {role: offline for role in OFFLINE}
    holders |= {role: Keyholders((online,), 1) for role in (RoleName.SNAPSHOT, RoleName.TIMESTAMP)}
    holders[RoleName.HEADS] = Keyholders((heads or online,), 1)
    made = first_documents(study, holders, now)
    parts = tuple(Part(document, (holders[role],)) for role, document in made.items())
    details = {"study": study, "threshold": f"{threshold} of {len(people)}"}
    return Staged(study, "root-init", details, parts)


def new_keyholders(
    state: State,
    now: datetime,
    *,
    replace: Mapping[str, PublicKey],
    add: Sequence[PublicKey] = (),
    remove: Sequence[str] = (),
    threshold: int | None = None,
) -> Staged:
    """The next version of all that people sign, with other keyholders, or with the same.

    `replace` and `remove` name holders; `add` and `threshold` are about those who sign together.

    Raises:
        PublishingError: there is no such holder, or too few would be left.
    """
    before = {role: holders_of(state, role) for role in RoleName}
    known = {key.holder for group in before.values() for key in group.keys}
    for name in (*replace, *remove):
        if name not in known:
            raise PublishingError(
                f"Nobody called '{name}' holds a key here.",
                "See who does: sottovoce publish root show",
            )
    held = {key.key_id for group in before.values() for key in group.keys}
    for key in (*replace.values(), *add):
        if key.key_id in held:
            raise PublishingError(
                f"{_named(key)} is one of the keys in use, not a new one.",
                f"Make a new key: sottovoce publish key new {key.holder}-2",
            )
    taken = (known - set(replace) - set(remove)) & {key.holder for key in (*replace.values(), *add)}
    if taken:
        raise PublishingError(
            f"Somebody called '{min(taken)}' holds a key already.", "Give the new key another name."
        )
    after = {
        role: _changed(group, replace, add if role in OFFLINE else (), remove,
                       threshold if role in OFFLINE else None)
        for role, group in before.items()
    }  # fmt: skip
    root = state.root.with_holders(after, now)
    targets = state.targets.with_holders(after, now)
    parts = (
        Part(root, (before[RoleName.ROOT], after[RoleName.ROOT])),
        Part(targets, (after[RoleName.TARGETS],)),
        Part(state.bundles.renewed(now), (after[RoleName.BUNDLES],)),
        Part(state.releases.renewed(now), (after[RoleName.RELEASES],)),
    )
    details = {f"instead of {name}": _named(key) for name, key in replace.items()}
    details |= {f"new {key.holder}": _named(key) for key in add}
    details |= {f"gone {name}": "removed" for name in remove}
    return Staged(state.study, "root-rotate" if details else "root-renew", details, parts)


def with_addition(
    repository: Repository, state: State, kind: Kind, addition: Addition, now: datetime
) -> Staged:
    """The next version of bundles or releases, with what was added; its files are laid out here.

    Files that nothing signed names yet are harmless; they are there when it is published.

    Raises:
        PublishingError: a file can't be written.
    """
    for each in addition.contents:
        repository.lay(each.listed, each.content)
    role = RoleName(kind.role)
    document = state.document(role).with_listed(addition.listed, now)
    offer = addition.offer
    details = {
        "name": offer.name,
        "serial": str(offer.serial),
        "says": offer.says,
        "sha256": addition.contents[0].listed.sha256,
    }
    return Staged(state.study, kind.value, details, (Part(document, (holders_of(state, role),)),))


def holders_of(state: State, role: RoleName) -> Keyholders:
    """Who signs for a role now."""
    return (state.targets if role in DELEGATED else state.root).holders(role)


def _changed(
    group: Keyholders,
    replace: Mapping[str, PublicKey],
    add: Sequence[PublicKey],
    remove: Sequence[str],
    threshold: int | None,
) -> Keyholders:
    kept = [replace.get(key.holder, key) for key in group.keys if key.holder not in remove]
    return _keyholders([*kept, *add], threshold or group.threshold)


def _keyholders(keys: Sequence[PublicKey], threshold: int) -> Keyholders:
    try:
        return Keyholders(tuple(keys), threshold)
    except ContractError as fault:
        raise PublishingError(
            f"{threshold} signatures of {threshold} people can't come from what is named: "
            f"{', '.join(map(_named, keys)) or 'nobody'}.",
            "Name as many different keys as have to sign, or more: three, of which two sign.",
        ) from fault


def _named(key: PublicKey) -> str:
    return f"{key.holder} ({key.key_id[:8]})"
