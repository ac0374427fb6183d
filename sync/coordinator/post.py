"""A study's one connection: passes on what devices say, and says what rounds and ledgers ask.

Rules upheld here: it hears reports, steps of rounds, ledgers' heads and asks for files, from
members only; what arrives is kept by its receiver before it is acknowledged (but asks, which come
again); what is said is said by a thread of its own, again after a fault; what makes no sense is
counted and acknowledged, because it would come again for ever. An opened sum is written into the
record of costs before anybody can read it.

In the life of a round: between the broker and `rounds`.
"""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from edge_models.errors import Explained
from sync.coordinator.accounting import summed
from sync.coordinator.announce import Announcement, Podium, announcements
from sync.coordinator.course import Asked
from sync.coordinator.drafts import draft_of, noise_in
from sync.coordinator.file_desk import FileDesk
from sync.coordinator.intake import Intake
from sync.coordinator.learning import Learning, School
from sync.coordinator.ledger import judge, keep_round
from sync.coordinator.once_a_minute import OnceAMinute
from sync.coordinator.repository_folder import Lookout
from sync.coordinator.round_book import RoundBook, Wish
from sync.coordinator.rounds import Letter, Rounds
from sync.coordinator.store import PeriodSum, ReportStore
from sync.coordinator.updating import Updating
from sync.endpoint import Endpoint
from sync.envelope import decoded
from sync.errors import BrokerError, PolicyError, ProtocolError
from sync.identity import Identity
from sync.inbox import Inbox
from sync.ledger_head import Standing, parse_head, sign_notice
from sync.parcels import Kind, Parcel
from sync.policy import Policy, Purpose
from sync.retry import say_in_log
from sync.secure_sum.server import Failed, Opened
from sync.secure_sum.terms import SignedTerms, Terms
from sync.shared_noise import NEIGHBOURS, squared_sensitivity, unscaled
from sync.topics import AllTopic, DownTopic, all_reports, all_up, parse_up_topic
from sync.wire import Session

_LOOK_EVERY_S: Final = 0.2
_SETTLE_S: Final = 1.0  # after a start: what waited at the broker is heard before a step is closed
_MOMENT_BYTES: Final = 8  # before a ledger's head: saying it again is news
_CLIENT: Final = "coordinator"  # the broker takes it from the certificate
_WAITS_S: Final = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Study:
    """Whose rounds these are: name, policy with its file's digest, and who speaks for it.

    `is_member` by pseudonym; `everybody`: how many members there are.
    """

    name: str
    policy: Policy
    policy_digest: str
    coordinator: Identity
    authority: bytes
    is_member: Callable[[str], bool]
    everybody: Callable[[], int]


class Post:
    """A context manager: inside, it is connected or tries to be, and rounds go on.

    Without a `school` there are no courses of federated rounds; without `updates` nobody is given
    a file, and what devices say of updates is nonsense.
    """

    def __init__(
        self,
        study: Study,
        endpoint: Endpoint,
        book: RoundBook,
        store: ReportStore,
        *,
        random_bytes: Callable[[int], bytes],
        school: School | None = None,
        updates: Updating | None = None,
        clock: Callable[[], float] = time.time,
        on_fault: Callable[[Explained], None] = say_in_log,
    ) -> None:
        self._study = study
        self._book = book
        self._store = store
        self._clock = clock
        self._on_fault = on_fault
        self._tell = OnceAMinute(on_fault, clock)
        self._updates = updates
        self._intake = Intake(study.name, study.policy, store, study.is_member)
        self._inbox = Inbox()
        self._outbox = threading.Lock()  # guards what follows
        self._waiting: dict[tuple[Announcement, ...], None] = {}  # in order; the same thing once
        self._begun_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rounds", daemon=True)
        self.rounds = Rounds(
            book,
            study.coordinator,
            study.authority,
            random_bytes=random_bytes,
            everybody=study.everybody,
            on_end=self._keep_result,
        )
        self.learning = (
            None
            if school is None
            else Learning(
                book,
                self.rounds,
                school,
                study=study.name,
                policy=study.policy,
                policy_digest=study.policy_digest,
                coordinator=study.coordinator,
            )
        )
        self._podium = Podium(
            Session(
                endpoint,
                _CLIENT,
                (all_reports(study.name), all_up(study.name)),
                self._hear,
                on_fault=on_fault,
                must_connect=True,
            )
        )
        self._lookout = None if updates is None else Lookout(updates.folder)
        self._files = (
            None
            if updates is None
            else FileDesk(study.name, updates.folder, self._podium.send, on_fault=self._tell)
        )
        self._held = ExitStack()

    @property
    def connected(self) -> bool:
        """Whether anything can arrive right now."""
        return self._podium.connected

    @property
    def is_at_work(self) -> bool:
        """Whether all its threads run; if not, a bug has ended one of them."""
        gives = self._files is None or self._files.is_at_work
        return self._thread.is_alive() and self._podium.is_at_work and gives

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self._files is not None:
                stack.enter_context(self._files)
            stack.enter_context(self._podium)
            if self._files is not None:
                stack.callback(self._files.stop)  # before the podium, which it may wait for
            self._held = stack.pop_all()
        self._begun_at = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._held.close()

    # Hearing: on the connection's thread, which must not send.

    def _hear(self, topic: str, payload: bytes) -> None:
        try:
            address = parse_up_topic(topic)
        except ProtocolError:
            self._intake.receive(topic, payload)  # what became of it is counted in the store
            return
        now = self._clock()
        try:
            if not self._study.is_member(address.pseudonym):
                raise ProtocolError("Somebody who is no member speaks in a round.")
            heard = self._inbox.receive(address.pseudonym, payload, now)
            if heard.parcel is None:
                return
            self._act(address.pseudonym, heard.parcel, int(now))
            if heard.parcel.kind is Kind.ASK_FILE:  # thousands of them: none is worth remembering
                self._inbox.let_go(address.pseudonym, heard.digest)
            else:
                self._inbox.finish(address.pseudonym, heard.digest, now)
        except ProtocolError as fault:
            self._tell(fault)

    def _act(self, pseudonym: str, parcel: Parcel, now: int) -> None:
        match parcel.kind:
            case Kind.ROUND:
                self.rounds.receive(bytes.fromhex(pseudonym), parcel.content, now)
            case Kind.PROGRESS if self._updates is not None:
                self._updates.hear(pseudonym, parcel.content, now)
            case Kind.STATUS:
                head = parse_head(parcel.content[_MOMENT_BYTES:])
                if (head.study, head.pseudonym) != (self._study.name, pseudonym):
                    raise ProtocolError("A device speaks of another's ledger.")
                judged = judge(self._store, self._study.policy, head)
                topic = DownTopic(self._study.name, pseudonym)
                if judged.standing is not Standing.AGREES:
                    notice = sign_notice(judged.known, self._study.coordinator).to_bytes()
                    self._add(announcements(Parcel(Kind.NOTICE, notice), topic))
                if self.learning is not None and (given := self.learning.head_said) is not None:
                    self._add(announcements(Parcel(Kind.HEAD, given), topic))
                for terms in self.rounds.open_to_all():  # it may have come too late to hear them
                    self._add(self._announced(terms, topic))
                if self._lookout is not None and (look := self._lookout.newest(now)) is not None:
                    self._add(announcements(look.to_parcel(), topic))
            case Kind.ASK_FILE if self._files is not None:
                self._files.hear(pseudonym, parcel.content)
            case Kind.ASK_FILE:
                raise ProtocolError("A device asks for a file, and this study gives out none.")
            case _:
                raise ProtocolError("A device said what only a coordinator says.")

    # Speaking: on a thread of its own.

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            try:
                if self._lookout is not None and (look := self._lookout.news(int(self._clock()))):
                    self._add(announcements(look.to_parcel(), AllTopic(self._study.name)))
                for wish in self._book.take_wishes():
                    self._begin(wish)
                if self._updates is not None:
                    self._updates.advance(int(self._clock()))
                if self.learning is not None:
                    for given in self.learning.advance(int(self._clock())):
                        if self._updates is not None:
                            self._updates.publish_head(given, int(self._clock()))
                        everybody = AllTopic(self._study.name)
                        self._add(announcements(Parcel(Kind.HEAD, given), everybody))
                if time.monotonic() - self._begun_at < _SETTLE_S:
                    continue
                for letter in self.rounds.due(int(self._clock())):
                    self._add(self._addressed(letter))
                self._say()
            except Explained as fault:
                self._on_fault(fault)

    def _begin(self, wish: Wish) -> None:
        now = int(self._clock())
        try:
            if wish.purpose != Purpose.REPORT.value:
                self._begin_course(wish)
                return
            draft = draft_of(
                Purpose(wish.purpose),
                wish.subject,
                study=self._study.name,
                policy=self._study.policy,
                policy_digest=self._study.policy_digest,
                now=now,
                step_s=max(1, round(60 * wish.minutes)),
            )
            self.rounds.start(draft, now)
        except (PolicyError, ValueError) as fault:
            self._on_fault(
                PolicyError(f"A round that was asked for can't be had: {fault}.", "Ask anew.")
            )

    def _begin_course(self, wish: Wish) -> None:
        if self.learning is None:
            raise PolicyError("this coordinator teaches no head", "Give it a bundle.")
        self.learning.begin(Asked.of(wish))

    def _addressed(self, letter: Letter) -> tuple[Announcement, ...]:
        study = self._study.name
        topic = AllTopic(study) if letter.name is None else DownTopic(study, letter.name.hex())
        if letter.is_terms:
            return self._announced(letter.payload, topic)
        return announcements(Parcel(Kind.ROUND, letter.payload), topic)

    def _announced(self, terms: bytes, topic: AllTopic | DownTopic) -> tuple[Announcement, ...]:
        """A round's terms; before them the lesson that they are about, where there is one."""
        said = announcements(Parcel(Kind.SIGNED_TERMS, terms), topic)
        subject = decoded(terms, SignedTerms).terms.subject
        lesson = None if self.learning is None else self.learning.lesson_said(subject)
        if lesson is None:
            return said
        return (*announcements(Parcel(Kind.HEAD, lesson), topic), *said)

    def _say(self) -> None:
        """What waits, in order; what the broker did not take waits on."""
        while not self._stop.is_set():
            with self._outbox:
                said = next(iter(self._waiting), None)
            if said is None:
                return
            try:
                self._podium.send(*said, expiry_s=_WAITS_S)
            except BrokerError as fault:
                self._on_fault(fault)
                return
            with self._outbox:
                del self._waiting[said]

    def _add(self, said: tuple[Announcement, ...]) -> None:
        with self._outbox:
            self._waiting[said] = None  # a device that asks a thousand times is answered once

    def _keep_result(self, terms: Terms, result: Opened | Failed) -> None:
        if not isinstance(result, Opened):
            return
        apart = squared_sensitivity(terms.squared_clip, NEIGHBOURS[terms.purpose])
        noise = noise_in(terms, result.joined)
        purpose = Purpose(terms.purpose)
        release = summed(purpose, terms.rho, apart, noise)
        members = [name.hex() for name in result.members]
        keep_round(self._store, terms.round, release, members)
        if purpose is Purpose.REPORT:
            people = len(members)
            totals = np.rint(unscaled(result.total, terms.scale)).astype(np.int64)
            self._store.keep_sum(
                terms.round,
                PeriodSum(
                    terms.subject,
                    people,
                    tuple(int(total) for total in totals),
                    noise.sum_sigma2(people),
                ),
            )
