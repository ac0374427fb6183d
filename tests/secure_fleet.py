"""A whole cohort and its coordinator in memory, speaking the protocol's exact bytes."""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from sync.errors import ProtocolError
from sync.identity import (
    COORDINATOR,
    Acquaintances,
    Credential,
    Identity,
    Role,
    issue_credential,
    public_key,
)
from sync.secure_sum.device import hear, join, masked
from sync.secure_sum.masks import Vector
from sync.secure_sum.saved import restored, saved
from sync.secure_sum.server import Gathering, Letter
from sync.secure_sum.states import Ended, Member, Ready
from sync.secure_sum.terms import Terms
from sync.secure_sum.wire import Step

STUDY = "spring"
NOW = 1_795_000_000
FOR_GOOD = NOW + 10**8
SEED = bytes(range(32))
MEMBERS_SAY = (Step.ADVERT, Step.SHARES, Step.MASKED, Step.CONFIRM, Step.OPENING)


def seeded_bytes(seed: int) -> Callable[[int], bytes]:
    """Random bytes that are the same in every run; for tests only."""
    return random.Random(seed).randbytes


def name_of(number: int) -> bytes:
    return hashlib.sha256(f"member {number}".encode()).digest()[:16]


AUTHORITY_PRIVATE = hashlib.sha256(b"authority of the tests").digest()
AUTHORITY = public_key(AUTHORITY_PRIVATE)


def identity_of(number: int, *, authority: bytes = AUTHORITY_PRIVATE) -> Identity:
    private = hashlib.sha256(f"key {number}".encode()).digest()
    credential = issue_credential(
        authority,
        study=STUDY,
        role=Role.DEVICE,
        name=name_of(number),
        signing_key=public_key(private),
        expires=FOR_GOOD,
    )
    return Identity(private, credential)


def coordinator_identity() -> Identity:
    private = hashlib.sha256(b"key of the coordinator").digest()
    credential = issue_credential(
        AUTHORITY_PRIVATE,
        study=STUDY,
        role=Role.COORDINATOR,
        name=COORDINATOR,
        signing_key=public_key(private),
        expires=FOR_GOOD,
    )
    return Identity(private, credential)


def terms_of(*, length: int = 8, minimum: int = 20, round_id: int = 1, seed: bytes = SEED) -> Terms:
    return Terms(
        version=1,
        study=STUDY,
        round=hashlib.sha256(f"round {round_id}".encode()).hexdigest(),
        purpose="report",
        subject="2026-W48",
        length=length,
        minimum=minimum,
        policy="weekly-sum-1@1",
        policy_digest="00" * 32,
        rho=Fraction(1, 8),
        squared_clip=12,
        scale=64,
        deadlines=tuple(NOW + 60 * step for step in range(1, 6)),
        seed_commitment=hashlib.sha256(seed).hexdigest(),
    )


@dataclass
class Fleet:
    """`size` members and a coordinator; `dead` says who is gone from which step on."""

    size: int
    terms: Terms
    seed: bytes = SEED
    restart: bool = False  # save and restore every state after every step
    values: dict[bytes, Vector] = field(default_factory=dict)
    members: dict[bytes, Member] = field(default_factory=dict)
    identities: dict[bytes, Identity] = field(default_factory=dict)
    protests: dict[bytes, str] = field(default_factory=dict)  # what was no message to a member
    said: dict[Step, dict[bytes, bytes]] = field(default_factory=dict)  # by the members
    told: dict[Step, dict[bytes, bytes]] = field(default_factory=dict)  # at the step's end

    def __post_init__(self) -> None:
        self.coordinator = coordinator_identity()
        self.acquaintances = Acquaintances(STUDY, AUTHORITY)  # one for all: faster tests
        self.gathering = Gathering(
            self.terms, self.coordinator, authority=AUTHORITY, seed=self.seed
        )
        draw = np.random.default_rng(7)
        for number in range(self.size):
            identity = identity_of(number)
            name = identity.credential.name
            self.identities[name] = identity
            self.values[name] = draw.integers(0, 2**32, self.terms.length, dtype=np.uint32)

    def adverts(self) -> dict[bytes, bytes]:
        said = {}
        for name, identity in self.identities.items():
            self.members[name], said[name] = join(
                self.terms,
                identity,
                self.coordinator.credential,
                random_bytes=self.random_bytes(name + b"joins"),
                least_cohort=self.terms.minimum,
            )
        return said

    def random_bytes(self, what: bytes) -> Callable[[int], bytes]:
        """Other bytes for each round and purpose; the same in every run."""
        seed = hashlib.sha256(self.terms.digest + what).digest()
        return seeded_bytes(int.from_bytes(seed, "big"))

    def deliver(self, said: dict[bytes, bytes]) -> None:
        for name, payload in said.items():
            self.gathering.receive(name, payload, NOW)

    def answers(self, letters: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
        """What the members say to these letters; a `Ready` one masks its values at once."""
        said = {}
        for name, payload in letters:
            try:
                member, answer = hear(
                    self.members[name],
                    payload,
                    self.identities[name],
                    acquaintances=self.acquaintances,
                    now=NOW,
                    random_bytes=self.random_bytes(name + b"hears"),
                )
            except ProtocolError as refused:
                self.protests[name] = refused.cause
                continue
            if isinstance(member, Ready):
                member, answer = masked(member, self.values[name], self.identities[name])
            self.members[name] = restored(saved(member)) if self.restart else member
            if answer is not None:
                said[name] = answer
        return said

    def run(
        self,
        dies: dict[Step, set[bytes]] | None = None,
        *,
        members_say: Callable[[Step, dict[bytes, bytes]], None] = lambda step, said: None,
        coordinator_says: Callable[[Step, list[Letter]], None] = lambda step, letters: None,
    ) -> None:
        """The whole round; whoever dies at a step says nothing from then on.

        The two hooks may change what is said, in place, before it is delivered.
        """
        dies = dies or {}
        gone: set[bytes] = set()
        said = self.adverts()
        for step in MEMBERS_SAY:
            gone |= dies.get(step, set())
            said = {name: payload for name, payload in said.items() if name not in gone}
            members_say(step, said)
            self.said[step] = said
            self.deliver(said)
            letters = [letter for letter in self.gathering.close_step() if letter[0] not in gone]
            coordinator_says(step, letters)
            self.told[step] = dict(letters)
            said = self.answers(letters)

    def sum_of(self, names: tuple[bytes, ...]) -> Vector:
        total = np.zeros(self.terms.length, dtype=np.uint32)
        for name in names:
            total += self.values[name]
        return total

    def refusals(self) -> list[str]:
        return [
            member.refusal.cause
            for member in self.members.values()
            if isinstance(member, Ended) and member.refusal is not None
        ]


def stranger() -> Credential:
    """A credential of another authority."""
    return identity_of(0, authority=hashlib.sha256(b"somebody else").digest()).credential
