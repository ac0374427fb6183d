"""What a device does about rounds: joins those that its policy allows, and sees them through.

Rules it upholds: terms are compared with the device's own policy before anything is said; each
step's new state and what it says are kept in one transaction before anything is sent, so a restart
says the same bytes again; a vector is charged, noised and masked in that same transaction, once;
a refusal ends the round for this device, and its reason is kept for the person to read. Clock,
randomness, store and contribution are arguments.

In the life of a report: the tally's counts meet `release` here, when the round is ready for them.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from edge_models.errors import ContractError, Explained
from sync.agreement import terms_match
from sync.budget import Ledger
from sync.errors import (
    BudgetExhausted,
    OutOfTurn,
    PolicyError,
    ProtocolError,
    RoundRefused,
)
from sync.identity import Acquaintances, Identity
from sync.noise import RandBelow
from sync.parcels import Kind, Parcel
from sync.policy import Policy
from sync.release import Released, Seal, release_masked, release_protocol, spend_of
from sync.secure_sum.device import hear, join
from sync.secure_sum.saved import restored, saved
from sync.secure_sum.states import Ended, Joined, Member, Ready
from sync.secure_sum.terms import Terms, parse_terms
from sync.topics import UpTopic

_LONGEST_ROUND_S: Final = 31 * 24 * 3600
_REMEMBERED_S: Final = 35 * 24 * 3600
_MOST_EARLY: Final = 4
_MOST_PARTS: Final = 1000  # a study that announces more in five weeks means no good
_LENGTH: Final = struct.Struct(">QI")


@dataclass(frozen=True, slots=True)
class Part:
    """A device's part in one round: its state, what came too early, and when the round is over.

    `ends_at` in seconds since 1970. `purpose` and `subject` are for the person to read.
    """

    member: Member
    ends_at: int
    purpose: str
    subject: str
    early: tuple[bytes, ...] = ()

    def to_bytes(self) -> bytes:
        """For the encrypted store only: it holds secrets."""
        parts = (self.purpose.encode(), self.subject.encode(), saved(self.member), *self.early)
        return b"".join(_LENGTH.pack(self.ends_at, len(part)) + part for part in parts)


def parse_part(payload: bytes) -> Part:
    """The part that `Part.to_bytes` wrote.

    Raises:
        ProtocolError: the bytes are none.
    """
    parts, ends_at, at = [], 0, 0
    try:
        while at < len(payload):
            ends_at, length = _LENGTH.unpack_from(payload, at)
            at += _LENGTH.size
            parts.append(payload[at : at + length])
            at += length
        purpose, subject, member, *early = parts
        return Part(restored(member), ends_at, purpose.decode(), subject.decode(), tuple(early))
    except (struct.error, ValueError) as fault:
        raise ProtocolError("A stored part in a round can't be read.") from fault


def _is_worth_nothing(kept: bytes, now: int) -> bool:
    try:
        return parse_part(kept).ends_at + _REMEMBERED_S < now
    except ProtocolError:  # of another version, say: nothing can come of it any more
        return True


class Notebook(Protocol):
    """Where a device keeps its rounds: its encrypted store."""

    def ledger(self) -> Ledger:
        """What has been spent."""
        ...

    def part(self, round_id: str) -> bytes | None:
        """What was kept of a round, None if it was never heard of."""
        ...

    def parts(self) -> Iterable[tuple[str, bytes]]:
        """Everything that was kept, by the round's id."""
        ...

    def keep_part(
        self,
        round_id: str,
        part: bytes | None,
        *,
        sealed: Sequence[bytes] = (),
        charged: Ledger | None = None,
    ) -> None:
        """Replace what is kept of a round (None: forget it), add sealed messages to the outbox
        and the newest spend to the ledger: all in one transaction, or nothing."""
        ...


class Contributor(Protocol):
    """What a person has to add to a round."""

    def is_willing(self, terms: Terms) -> bool:
        """Whether the person takes part: consent, and something to tell.

        Raises:
            RoundRefused: the round asks for what this device never sends; its reason is kept.
        """
        ...

    def numbers(self, terms: Terms) -> Sequence[int]:
        """The person's vector, whole numbers (N,), within the policy's clip."""
        ...


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A device's place in a study: who it is, whom it believes, and by which policy it releases.

    `authority` is the study's public key (32 bytes), `policy_digest` the SHA-256 of the policy's
    file, in hexadecimal.
    """

    study: str
    identity: Identity
    authority: bytes
    policy: Policy
    policy_digest: str

    @property
    def topic(self) -> UpTopic:
        """Where this device speaks to the coordinator."""
        return UpTopic(self.study, self.identity.credential.name.hex())


@dataclass(frozen=True, slots=True)
class Participation:
    """A device's side of all rounds of its study; see the module's rules."""

    enrolled: Enrolled
    acquaintances: Acquaintances
    notebook: Notebook
    seal: Seal
    contributor: Contributor
    random_bytes: Callable[[int], bytes]
    randbelow: RandBelow

    def hear(self, parcel: Parcel, now: int) -> None:
        """Take in what the coordinator says; what is to be answered is in the outbox afterwards.

        `now` in seconds since 1970.

        Raises:
            ProtocolError: it breaks the protocol, or somebody forged it; nothing has changed.
            StoreError: it can't be kept; leave it unacknowledged.
        """
        match parcel.kind:
            case Kind.SIGNED_TERMS:
                self._hear_terms(parcel.content, now)
            case Kind.ROUND:
                self._hear_step(parcel.content, now)
            case _:
                raise ProtocolError("A message is of a kind that rounds don't know.")

    def forget(self, now: int) -> None:
        """Drop what was kept of rounds that were over long ago.

        Raises:
            StoreError: the store can't be written.
        """
        for round_id, kept in list(self.notebook.parts()):
            if _is_worth_nothing(kept, now):
                self.notebook.keep_part(round_id, None)

    def _hear_terms(self, payload: bytes, now: int) -> None:
        mine = self.enrolled
        terms, coordinator = parse_terms(
            payload, study=mine.study, authority=mine.authority, now=now
        )
        if self.notebook.part(terms.round) is not None:
            return  # heard before
        if now >= terms.deadlines[0]:
            return  # too late, or a round of old that somebody plays again
        if sum(1 for _ in self.notebook.parts()) >= _MOST_PARTS:
            raise ProtocolError(
                f"The study has announced {_MOST_PARTS} rounds within a few weeks.",
                "This device joins no more of them for now; ask the study why.",
            )
        try:
            if terms.deadlines[-1] > now + _LONGEST_ROUND_S:
                raise RoundRefused(
                    "A round would go on for more than a month.", "Nothing was sent."
                )
            terms_match(mine.policy, mine.policy_digest, terms)
            self.notebook.ledger().charged(spend_of(terms, mine.policy), mine.policy)
            if not self.contributor.is_willing(terms):
                return
        except (PolicyError, BudgetExhausted, RoundRefused) as refusal:
            self._end(terms, refusal, now)
            return
        member, said = join(
            terms,
            mine.identity,
            coordinator,
            random_bytes=self.random_bytes,
            least_cohort=mine.policy.minimum_cohort,
        )
        self._keep(self._part(terms, member, now), said)

    def _hear_step(self, payload: bytes, now: int) -> None:
        kept = self.notebook.part(payload[:32].hex())
        if kept is None:
            raise ProtocolError("A message is of a round that this device is not part of.")
        part = parse_part(kept)
        if now > part.ends_at:
            raise ProtocolError("A message is of a round that is over.")
        waiting = [payload, *(early for early in part.early if early != payload)][:_MOST_EARLY]
        going_on = True
        while going_on:
            going_on = False
            for one in waiting:
                try:
                    part = self._step(part, one, now)
                except OutOfTurn:
                    continue
                waiting.remove(one)
                going_on = True
                break
        if tuple(waiting) != part.early:
            self._store(replace(part, early=tuple(waiting)), (), None)

    def _step(self, part: Part, payload: bytes, now: int) -> Part:
        member, said = hear(
            part.member,
            payload,
            self.enrolled.identity,
            acquaintances=self.acquaintances,
            now=now,
            random_bytes=self.random_bytes,
        )
        if member is part.member:
            return part  # a repetition
        after = replace(part, member=member)
        if isinstance(member, Ready):
            return self._contribute(after, member)
        self._keep(after, said)
        return after

    def _contribute(self, part: Part, ready: Ready) -> Part:
        terms = ready.seat.terms
        try:
            # An update may have brought another policy since this device joined.
            terms_match(self.enrolled.policy, self.enrolled.policy_digest, terms)
            masked, released, charged = release_masked(
                self.contributor.numbers(terms),
                ready,
                self.enrolled.identity,
                policy=self.enrolled.policy,
                ledger=self.notebook.ledger(),
                topic=self.enrolled.topic,
                randbelow=self.randbelow,
            )
        except (BudgetExhausted, PolicyError, RoundRefused, ContractError) as refusal:
            left = Ended(terms.round, RoundRefused(refusal.cause, refusal.remedy), ready.heard)
            after = replace(part, member=left)
            self._keep(after, None)
            return after
        after = replace(part, member=masked)
        self._store(after, released, charged)
        return after

    def _end(self, terms: Terms, refusal: Explained, now: int) -> None:
        ended = Ended(terms.round, RoundRefused(refusal.cause, refusal.remedy), ())
        self._keep(self._part(terms, ended, now), None)

    def _part(self, terms: Terms, member: Joined | Ended, now: int) -> Part:
        ends_at = min(terms.deadlines[-1], now + _LONGEST_ROUND_S)  # or it were kept for ever
        return Part(member, ends_at, terms.purpose, terms.subject)

    def _keep(self, part: Part, said: bytes | None) -> None:
        released: tuple[Released, ...] = ()
        if said is not None:
            released = release_protocol(Parcel(Kind.ROUND, said), self.enrolled.topic)
        self._store(part, released, None)

    def _store(self, part: Part, released: Sequence[Released], charged: Ledger | None) -> None:
        member = part.member
        round_id = member.round if isinstance(member, Ended) else member.seat.terms.round
        self.notebook.keep_part(
            round_id,
            part.to_bytes(),
            sealed=[self.seal.close(one) for one in released],
            charged=charged,
        )
