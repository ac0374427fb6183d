"""Sign and publish bundles, releases and heads, and look after the keys that may.

    sottovoce publish key new asha                          a key of your own, with a passphrase
    sottovoce publish root init spring --person …           the first ceremony
    sottovoce publish bundle FOLDER --key asha.key.pem      prepare a bundle and sign it
    sottovoce publish sign staged-bundle.json --key …       add your signature to somebody's draft
    sottovoce publish refresh --key online.key.pem          renew what expires within days
    sottovoce publish log                                   check and show every act

What needs the signatures of several people becomes a draft, a file that you hand on; whoever signs
last, where the repository and the online key are, publishes it. Keys are files: --key, as often as
you have keys. Passphrases are asked for, or taken from SOTTOVOCE_KEY_PASSPHRASE. Who holds what,
and what to do when a key is lost: deploy/key-ceremony.md.
"""

import argparse
import getpass
import hashlib
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sync.errors import PublishingError
from sync.publishing import drafts
from sync.publishing.arguments import add_arguments
from sync.publishing.audit import when
from sync.publishing.bundles import bundle_addition, policy_signature_in
from sync.publishing.files import read
from sync.publishing.keys import (
    PRIVATE_ENDING,
    PUBLIC_ENDING,
    SigningKey,
    new_key,
    open_key,
    passphrase_from,
    read_public,
)
from sync.publishing.online import OnlineSigner
from sync.publishing.publication import Order, publish, verified_log
from sync.publishing.releases import platforms_of, release_addition
from sync.publishing.repository import Repository
from sync.publishing.roles import RoleName
from sync.publishing.staged import Staged, read_staged
from sync.updates import archive
from sync.updates.offers import MOST_HEAD_BYTES, Kind

__all__ = ["add_arguments", "run"]

_NEXT: Final = {
    "bundle": "Devices take it once a rollout lets them: sottovoce rollout start",
    "release": "Devices take it once a rollout lets them: sottovoce rollout start",
    "root-init": "Next: the study vouches for the first root: sottovoce study trust-root "
    "{folder}/metadata/1.root.json --repository {folder}",
    "root-rotate": "Devices follow by themselves when they next look.",
    "root-renew": "Devices follow by themselves when they next look.",
}


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; returns 0.

    Raises:
        PublishingError: it can't be done; nothing was published.
        BundleError: a bundle is damaged or gives wrong answers on this machine.
    """
    now = datetime.now(UTC)
    actions = {
        "key new": _key_new,
        "key list": _key_list,
        "root init": _root_init,
        "root rotate": _root_rotate,
        "root show": _root_show,
        "root sign": _sign,
        "sign": _sign,
        "bundle": _bundle,
        "release": _release,
        "head": _head,
        "refresh": _refresh,
        "log": _log,
    }
    what = f"{arguments.action} {getattr(arguments, 'part', '')}".strip()
    actions[what](arguments, now)
    return 0


def _key_new(arguments: argparse.Namespace, now: datetime) -> None:
    passphrase = None
    if not arguments.no_passphrase:
        passphrase = passphrase_from(os.environ, _twice)(
            Path(f"{arguments.holder}{PRIVATE_ENDING}")
        )
    key = new_key(arguments.folder, arguments.holder, passphrase)
    private = arguments.folder / f"{arguments.holder}{PRIVATE_ENDING}"
    public = arguments.folder / f"{arguments.holder}{PUBLIC_ENDING}"
    kept = (
        "belongs into the coordinator's state folder and nowhere else"
        if arguments.no_passphrase
        else "stays with you, and a copy in another place"
    )
    print(f"Made the key {key.key_id[:8]} of {arguments.holder}. '{private}' {kept}; "
          f"give '{public}' to whoever prepares the ceremony.")  # fmt: skip


def _key_list(arguments: argparse.Namespace, now: datetime) -> None:
    paths = sorted(arguments.folder.glob(f"*{PUBLIC_ENDING}"))
    for path in paths:
        key = read_public(path)
        private = (arguments.folder / f"{key.holder}{PRIVATE_ENDING}").exists()
        print(f"{key.holder}  {key.key_id}  {'signs here' if private else 'public half only'}")
    if not paths:
        print(f"'{arguments.folder}' holds no keys. Make one: sottovoce publish key new NAME")


def _root_init(arguments: argparse.Namespace, now: datetime) -> None:
    repository = Repository(arguments.repository)
    if repository.state_if_any() is not None:
        raise PublishingError(
            f"There is a repository in '{arguments.repository}' already.",
            "Change its keys with: sottovoce publish root rotate",
        )
    staged = drafts.new_repository(
        arguments.study,
        [read_public(path) for path in arguments.person],
        arguments.threshold,
        read_public(arguments.online),
        None if arguments.heads is None else read_public(arguments.heads),
        now,
    )
    _go_on(staged, arguments, _keys(arguments), now)


def _root_rotate(arguments: argparse.Namespace, now: datetime) -> None:
    staged = drafts.new_keyholders(
        Repository(arguments.repository).state(),
        now,
        replace={name: read_public(path) for name, path in arguments.replace},
        add=[read_public(path) for path in arguments.add],
        remove=arguments.remove,
        threshold=arguments.threshold,
    )
    _go_on(staged, arguments, _keys(arguments), now)


def _root_show(arguments: argparse.Namespace, now: datetime) -> None:
    state = Repository(arguments.repository).state()
    print(f"Study {state.study}")
    for role in RoleName:
        group, document = drafts.holders_of(state, role), state.document(role)
        names = ", ".join(f"{key.holder} ({key.key_id[:8]})" for key in group.keys)
        over = "ENDED" if document.expires <= now else "until"
        print(f"{role.value:10} version {document.version:4}, {over} "
              f"{document.expires:%d %B %Y}, signed by {group.threshold} of: {names}")  # fmt: skip


def _bundle(arguments: argparse.Namespace, now: datetime) -> None:
    repository, keys = Repository(arguments.repository), _keys(arguments)
    state = repository.state()
    signature = arguments.policy_signature
    addition = bundle_addition(
        repository,
        state.bundles.listed,
        arguments.folder,
        None if signature is None else policy_signature_in(signature),
    )
    whole = addition.contents[0].listed.length
    for patch in addition.contents[1:]:
        share = 100 * patch.listed.length / whole
        print(f"A patch of {patch.listed.length} bytes, {share:.1f} % of the whole.")
    _go_on(
        drafts.with_addition(repository, state, Kind.BUNDLE, addition, now), arguments, keys, now
    )


def _release(arguments: argparse.Namespace, now: datetime) -> None:
    repository, keys = Repository(arguments.repository), _keys(arguments)
    state = repository.state()
    platforms = arguments.platform or platforms_of(arguments.wheelhouse)
    print(f"For {', '.join(platforms)}.")
    addition = release_addition(repository, state.releases.listed, arguments.wheelhouse, platforms)
    staged = drafts.with_addition(repository, state, Kind.RELEASE, addition, now)
    _go_on(staged, arguments, keys, now)


def _head(arguments: argparse.Namespace, now: datetime) -> None:
    signer = OnlineSigner(Repository(arguments.repository), _keys(arguments))
    offer = signer.publish_head(read(arguments.file, MOST_HEAD_BYTES), now)
    print(f"Published head {offer.serial} of {offer.name}. Devices that were away fetch it.")


def _refresh(arguments: argparse.Namespace, now: datetime) -> None:
    repository = Repository(arguments.repository)
    signer = OnlineSigner(repository, _keys(arguments))
    if arguments.always:
        signer.record("refresh", {"asked": "by hand"}, now)
        renewed = True
    else:
        renewed = signer.refresh_if_due(now)
    until = repository.state().timestamp.expires
    print(f"{'Renewed' if renewed else 'Nothing was due'}: fresh until {until:%d %B %Y %H:%M} UTC.")
    for role in signer.expiring(now):
        end = repository.state().document(role).expires
        print(f"'{role}' ends on {end:%d %B %Y}: its keyholders have to meet before "
              "(sottovoce publish root rotate).")  # fmt: skip


def _log(arguments: argparse.Namespace, now: datetime) -> None:
    repository = Repository(arguments.repository)
    acts = verified_log(repository)
    keys = repository.every_key()
    for act in acts:
        said = ", ".join(f"{name} {value}" for name, value in sorted(act.details.items()) if value)
        print(
            f"{act.number:5}  {when(act):%Y-%m-%d %H:%M}  {keys[act.who].holder}: {act.act} {said}"
        )
    head = repository.log.head()
    print(f"The log is whole: {head.lines} acts. Write down its end to compare: {head.digest}")


def _sign(arguments: argparse.Namespace, now: datetime) -> None:
    staged, keys = read_staged(arguments.draft), _keys(arguments)
    repository = Repository(arguments.repository)
    own = [key for key in keys if staged.may_sign(key)]
    stranger = [
        key for key in keys if key not in own and key not in _online(keys, staged, repository)
    ]
    if stranger:
        raise PublishingError(
            f"The draft does not ask for the key of {stranger[0].public.holder} "
            f"({stranger[0].key_id[:8]}).",
            "See whom it asks for in the list above." if own else "Name another key with --key.",
        )
    print("\n".join(staged.in_words()))
    if arguments.bundle is not None:
        _same_bundle(staged, arguments.bundle)
    if own and not arguments.yes and not _agreed():
        raise PublishingError("Nothing was signed.", "Ask whoever prepared the draft.")
    _go_on(staged, arguments, keys, now)


def _same_bundle(staged: Staged, folder: Path) -> None:
    digest = hashlib.sha256(archive.pack(folder)).hexdigest()
    if staged.details.get("sha256") != digest:
        raise PublishingError(
            f"The bundle in '{folder}' is not the one of this draft.",
            "Don't sign. Find out which of both is the right one.",
        )
    print(f"The bundle in '{folder}' is the one of this draft.")


def _go_on(
    staged: Staged, arguments: argparse.Namespace, keys: Sequence[SigningKey], now: datetime
) -> None:
    """Sign with what is at hand; publish where that is enough, and else keep the draft."""
    staged = staged.signed_by(keys)
    repository = Repository(arguments.repository)
    path = arguments.draft or Path(f"staged-{staged.act}.json")
    if staged.complete and _online(keys, staged, repository):
        details = {**staged.details, "signed by": ", ".join(staged.signers)}
        order = publish(
            repository, staged.documents, keys, act=staged.act, details=details, now=now
        )
        path.unlink(missing_ok=True)
        _say_published(staged, order, repository)
        return
    staged.keep(path)
    signed = ", ".join(staged.signers) or "nobody"
    print(f"'{path}' waits; it is signed by {signed}.")
    if staged.complete:
        print("It has all signatures of people. On the coordinator's machine, with its online key: "
              f"sottovoce publish sign {path.name} --repository FOLDER "
              f"--key online{PRIVATE_ENDING}")  # fmt: skip
    else:
        print(f"Still needed is one of: {', '.join(staged.could_sign)}. Hand the file on; there: "
              f"sottovoce publish sign {path.name} --key NAME{PRIVATE_ENDING}")  # fmt: skip


def _say_published(staged: Staged, order: Order, repository: Repository) -> None:
    names = ", ".join(f"{each.role} {each.version}" for each in order.documents)
    about = " ".join(staged.details[k] for k in ("name", "serial", "says") if k in staged.details)
    after = _NEXT[staged.act].format(folder=repository.folder)
    print(f"Published: {staged.act} {about}".rstrip() + f" ({names}). {after}")
    if order.gap:
        print("For a moment between two files devices could trust neither; they kept what they "
              "run and look again.")  # fmt: skip


def _online(keys: Sequence[SigningKey], staged: Staged, repository: Repository) -> list[SigningKey]:
    """Those of the keys at hand that sign timestamps or heads, before or after the draft."""
    roots = [each for each in staged.documents if each.role is RoleName.ROOT]
    targets = [each for each in staged.documents if each.role is RoleName.TARGETS]
    if (state := repository.state_if_any()) is not None:
        roots.append(state.root)
        targets.append(state.targets)
    groups = [root.holders(RoleName.TIMESTAMP) for root in roots]
    groups += [each.holders(RoleName.HEADS) for each in targets]
    ids = {key.key_id for group in groups for key in group.keys}
    return [key for key in keys if key.key_id in ids]


def _keys(arguments: argparse.Namespace) -> list[SigningKey]:
    passphrase = passphrase_from(os.environ, getpass.getpass)
    return [open_key(path, passphrase) for path in arguments.key]


def _agreed() -> bool:
    print("Sign this? Type yes: ", end="", flush=True)
    return sys.stdin.readline().strip().lower() == "yes"


def _twice(question: str) -> str:
    first = getpass.getpass(question)
    if getpass.getpass("Once more: ") != first:
        raise PublishingError("Both passphrases differ.", "Try again.")
    return first
