"""Receive a study's noised reports and show the cohort on a page, on this machine.

    sottovoce coordinator --study home --state coordinator-state

starts a broker of its own unless `--broker` names one, listens for reports, and serves the page.
Where `sottovoce study init` has founded a study in the state folder, the broker has its
certificates and access list, the enrolment desk answers invites, and only members' reports count.
One line for machines, `ready mqtt=HOST:PORT page=http://HOST:PORT broker=KIND`, says that all three
are up. Ctrl-C or SIGTERM ends it in order, with exit code 0.
"""

import argparse
import re
import secrets
import sys
import threading
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from edge_models.bundle import load_bundle, shipped_bundle
from edge_models.errors import ContractError, Explained
from sync.broker import Broker, embedded_broker
from sync.coordinator.authority import has_study
from sync.coordinator.estimate import DEFAULT_MINIMUM
from sync.coordinator.founded import Founded, opened_study
from sync.coordinator.intake import Intake
from sync.coordinator.learning import School
from sync.coordinator.offered import find, must_be_of
from sync.coordinator.policy_file import policy_of
from sync.coordinator.post import Post
from sync.coordinator.post import Study as PostStudy
from sync.coordinator.repository_folder import UPDATES_FOLDER
from sync.coordinator.rollout_answers import RolloutsHeld
from sync.coordinator.rollout_book import ROLLOUT_BOOK_FILE, open_rollout_book
from sync.coordinator.rollout_desk import Publisher, RolloutDesk
from sync.coordinator.round_answers import RoundsHeld
from sync.coordinator.round_book import BOOK_FILE, open_round_book
from sync.coordinator.service import Study, application, served
from sync.coordinator.store import open_store
from sync.coordinator.updating import ONLINE_KEY_FILE, Updating, online_signer
from sync.endpoint import Endpoint, Tls
from sync.errors import BrokerError, PolicyError, StudyError
from sync.messages import CELLS
from sync.policy import Policy, parse_policy, policy_digest
from sync.stopping import stopped_by_signals
from sync.topics import all_reports
from sync.transport import Subscription

_STUDY: Final = r"[a-z0-9][a-z0-9-]{0,31}"
_LOOK_EVERY_S: Final = 0.5
_LARGEST_POLICY_BYTES: Final = 65_536


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line accepts."""
    parser.add_argument("--study", type=_study, help="the study's short name")
    parser.add_argument(
        "--state",
        type=Path,
        default=Path("~/.local/share/sottovoce-coordinator"),
        help="folder of the reports and of the embedded broker (default: %(default)s)",
    )
    parser.add_argument("--port-mqtt", type=int, help="of the embedded broker; 0: any free one")
    parser.add_argument("--port-page", type=int, default=0, help="of the page; 0: any free one")
    parser.add_argument(
        "--broker", type=_address, metavar="HOST:PORT", help="one that runs already"
    )
    parser.add_argument("--ca-file", type=Path, help="with --broker: the study's CA; turns TLS on")
    parser.add_argument("--certificate-file", type=Path, help="with --ca-file: the coordinator's")
    parser.add_argument("--key-file", type=Path, help="with --certificate-file: its key")
    parser.add_argument("--bundle", type=Path, help="whose head to train (default: the shipped)")
    parser.add_argument("--policy", type=Path, help="privacy policy, JSON (default: the bundle's)")
    parser.add_argument(
        "--repository",
        type=Path,
        help=f"folder of the study's updates (default: {UPDATES_FOLDER} in the state folder)",
    )
    parser.add_argument(
        "--minimum",
        type=_positive,
        default=DEFAULT_MINIMUM,
        help="show no numbers of a period with fewer reports (default: %(default)s)",
    )


@dataclass(frozen=True, slots=True)
class _LiveFeed:
    """What the page says about where reports come from."""

    link: Subscription | Post
    name: str

    @property
    def connected(self) -> bool:
        """Whether reports can arrive right now."""
        return self.link.connected


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; returns 0.

    Raises:
        BrokerError: the broker can't be run or reached, or ended.
        PageError: the page's port is taken.
        PolicyError: the policy can't be read, or the state belongs to another study.
        ReportStoreError: the state's folder or store can't be used.
        RoundBookError: the rounds of a founded study can't be read or kept.
        RolloutBookError: its rollouts can't.
        PublishingError: its online key can't be opened.
        StudyError: no study is named, or another was founded in the state's folder.
        MembersError: the study's members can't be read.
        DeskError: the enrolment desk's port is taken.
        ContractError: our bug: a thread of the rounds has ended.
        BundleError: there is no --policy, and the shipped bundle is damaged.
    """
    state = arguments.state.expanduser()
    with ExitStack() as stack:
        stop = stack.enter_context(stopped_by_signals())
        founded = (
            stack.enter_context(opened_study(state, clock=_now, on_fault=_say))
            if has_study(state)
            else None
        )
        name = _name(arguments.study, founded)
        policy_bytes = _policy(arguments.policy, founded)
        policy = parse_policy(policy_bytes)
        repository = (arguments.repository or state / UPDATES_FOLDER).expanduser()
        store = stack.enter_context(
            open_store(
                state / "reports.db", study=name, policy=policy.reference, cells=CELLS, clock=_now
            )
        )
        own = (
            stack.enter_context(_own_broker(state / "broker", arguments.port_mqtt, founded))
            if arguments.broker is None
            else None
        )
        host, port = arguments.broker if own is None else (own.host, own.port)
        feed_name = f"{own.kind if own else 'external'} at {host}:{port}"
        endpoint = Endpoint(host, port, _tls(arguments, founded))
        if founded is None:
            intake = Intake(name, policy, store)
            subscription = Subscription(
                host,
                port,
                f"sottovoce-coordinator-{name}",
                all_reports(name),
                lambda topic, payload: _take(intake, topic, payload),
                tls=endpoint.tls,
                on_fault=_say,
            )
            feed, post = _LiveFeed(stack.enter_context(subscription), feed_name), None
            rounds, rollouts = None, None
        else:
            book = stack.enter_context(open_round_book(state / BOOK_FILE))
            rollout_book = stack.enter_context(open_rollout_book(state / ROLLOUT_BOOK_FILE))
            publisher = publisher_of(founded, repository)
            rollouts = RolloutsHeld(rollout_book, publisher)
            post = Post(
                post_study(founded, policy, policy_digest(policy_bytes)),
                endpoint,
                book,
                store,
                random_bytes=secrets.token_bytes,
                school=_school(arguments.bundle, state),
                updates=_updating(rollouts, state),
                on_fault=_say,
            )
            feed = _LiveFeed(stack.enter_context(post), feed_name)
            rounds = RoundsHeld(book, post.rounds.progress)
        kind = own.kind if own else "external"
        study = Study(name, policy, arguments.minimum)
        page_port = stack.enter_context(
            served(
                application(study, store, feed, rounds, rollouts, repository), arguments.port_page
            )
        )
        page = f"http://127.0.0.1:{page_port}"
        print(f"ready mqtt={host}:{port} page={page} broker={kind}")
        print(f"Study '{study.name}' under policy {policy.reference}; state in {state}.")
        print(f"Broker: {own.note if own else 'the one you named.'}")
        if founded is not None:
            print(f"Desk:   answers invites at port {founded.authority.about.desk_port}")
        print(f"Page:   {page} (Ctrl-C ends)", flush=True)
        _wait(stop, own, founded, post)
    return 0


def post_study(founded: Founded, policy: Policy, digest: str) -> PostStudy:
    """What the post has to know of a founded study."""
    authority = founded.authority
    return PostStudy(
        authority.about.study,
        policy,
        digest,
        authority.coordinator,
        authority.public_key,
        founded.is_member,
        founded.count,
    )


def publisher_of(founded: Founded, repository: Path) -> Publisher:
    """What rollouts have to know of a founded study and its repository.

    Raises:
        RolloutError: the repository is another study's.
        PublishingError: its files are not all there.
    """
    authority = founded.authority
    must_be_of(repository, authority.about.study)
    return Publisher(
        authority.about.study,
        authority.coordinator,
        authority.public_key,
        founded.everybody,
        repository,
        partial(find, repository),
    )


def _updating(held: RolloutsHeld, state: Path) -> Updating:
    """Without the online key nothing is rolled out: every rollout is an act that it signs."""
    folder = held.publisher.repository
    signer = online_signer(folder, state / ONLINE_KEY_FILE)
    if signer is None:
        return Updating(folder, on_fault=_say)
    desk = RolloutDesk(
        held.publisher, held.book, signer, random_bytes=secrets.token_bytes, on_fault=_say
    )
    return Updating(folder, signer, desk, _say)


def _school(folder: Path | None, state: Path) -> School:
    bundle = shipped_bundle() if folder is None else load_bundle(folder)
    return School.of(bundle, state / "flower" / "bin" / "python")


def _take(intake: Intake, topic: str, payload: bytes) -> None:
    intake.receive(topic, payload)  # its outcome is counted in the store


def _own_broker(
    folder: Path, port: int | None, founded: Founded | None
) -> AbstractContextManager[Broker]:
    if founded is None:
        return embedded_broker(folder, port or 0)
    wanted = founded.authority.about.broker_port if port is None else port
    return embedded_broker(folder, wanted, settings_of=founded.broker_settings)


def _wait(
    stop: threading.Event, own: Broker | None, founded: Founded | None, post: Post | None
) -> None:
    while not stop.wait(_LOOK_EVERY_S):
        if own is not None and founded is not None:
            founded.tell(own)
        if own is not None and not own.running:
            raise BrokerError(
                f"The embedded broker ({own.kind}) ended by itself.",
                "Start the coordinator again; devices keep what they could not send.",
            )
        if post is not None and not post.is_at_work:
            raise ContractError(
                "A fault in the program, told above, has ended the coordinator's rounds.",
                "Start the coordinator again: rounds go on where they were. Please report it.",
            )


def _say(fault: Explained) -> None:
    print(f"sottovoce coordinator: {fault}", file=sys.stderr, flush=True)


def _policy(path: Path | None, founded: Founded | None) -> bytes:
    """The study's own, which its devices have agreed to; else the one that is named."""
    if founded is None:
        return policy_of(path)
    signed = founded.authority.policy
    if path is not None and policy_of(path) != signed:
        raise PolicyError(
            "The study was founded with another privacy policy; its devices agreed to that one.",
            "Leave --policy out; a study with another policy is another study.",
        )
    return signed


def _now() -> datetime:
    return datetime.now(UTC)


def _name(said: str | None, founded: Founded | None) -> str:
    if founded is None and said is None:
        raise StudyError(
            "No study is named, and none was founded in this state folder.",
            "Name one with --study, or found one: sottovoce study init NAME --host HOST",
        )
    if founded is None:
        return str(said)
    name = founded.authority.about.study
    if said not in (None, name):
        raise StudyError(
            f"The study that was founded in this state folder is '{name}', not '{said}'.",
            "Leave --study out, or name another folder with --state.",
        )
    return name


def _tls(arguments: argparse.Namespace, founded: Founded | None) -> Tls | None:
    if arguments.ca_file is None:
        return None if founded is None else founded.authority.tls
    return Tls(arguments.ca_file, arguments.certificate_file, arguments.key_file)


def _study(word: str) -> str:
    if not re.fullmatch(_STUDY, word):
        raise argparse.ArgumentTypeError(
            "a study's name has up to 32 lower-case letters, digits and hyphens"
        )
    return word


def _address(word: str) -> tuple[str, int]:
    host, _, port = word.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port):
        raise argparse.ArgumentTypeError("write it as HOST:PORT, such as broker.example:8883")
    return host, int(port)


def _positive(word: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,8}", word):
        raise argparse.ArgumentTypeError("a number of reports is 1 or more")
    return int(word)
