"""Any bytes at any state, events in any order: a value or `ProtocolError`, never another sum."""

import copy
import tracemalloc
from contextlib import suppress
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sync.errors import OutOfTurn, ProtocolError
from sync.identity import Acquaintances, Role, parse_credential
from sync.secure_sum import wire
from sync.secure_sum.channel import CONFIRMATION_BYTES
from sync.secure_sum.device import hear, masked
from sync.secure_sum.neighbours import members_needed, neighbourhood
from sync.secure_sum.saved import restored, saved
from sync.secure_sum.server import Failed, Gathering, Opened
from sync.secure_sum.states import Ended, Member, Ready
from sync.secure_sum.terms import parse_terms, sign_terms
from sync.secure_sum.wire import Step
from tests.secure_fleet import (
    AUTHORITY,
    MEMBERS_SAY,
    NOW,
    STUDY,
    Fleet,
    coordinator_identity,
    identity_of,
    seeded_bytes,
    terms_of,
)

MEMBERS = 7  # 5 of them open a secret, and 5 are needed
MOST_PEAK_BYTES = 1 << 20
"""For messages of a few KiB: no length in them may ask for more."""


class Recorded:
    """A whole round of seven, with every state and message on the way."""

    def __init__(self) -> None:
        fleet = Fleet(MEMBERS, terms_of(minimum=3))
        self.fleet = fleet
        self.name = min(fleet.identities)
        self.states: list[Member] = []
        self.gatherings: list[Gathering] = []

        def before(step: Step, said: dict[bytes, bytes]) -> None:
            self.states.append(fleet.members[self.name])
            self.gatherings.append(copy.deepcopy(fleet.gathering))

        fleet.run(members_say=before)
        self.gatherings.append(fleet.gathering)
        self.states.append(fleet.members[self.name])
        shared = self.states[1]
        ready, _ = self.hear(shared, fleet.told[Step.SHARES][self.name])
        self.states.append(ready)
        self.letters = [fleet.told[step][self.name] for step in MEMBERS_SAY[:4]]
        self.said = [fleet.said[step][self.name] for step in MEMBERS_SAY]

    @property
    def threshold(self) -> int:
        return neighbourhood(len(self.fleet.members)).threshold

    def hear(self, member: Member, payload: bytes) -> tuple[Member, bytes | None]:
        return hear(
            member, payload, self.fleet.identities[self.name],
            acquaintances=self.fleet.acquaintances, now=NOW, random_bytes=seeded_bytes(5),
        )  # fmt: skip


@cache
def recorded() -> Recorded:
    return Recorded()


@st.composite
def mutated(draw: st.DrawFn, originals: tuple[bytes, ...], keep: int = 0) -> bytes:
    """One of these, with some of it changed, cut off, put in, doubled or taken from another."""
    payload = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(min(keep, len(payload)), len(payload)))
        match draw(st.sampled_from(["flip", "cut", "insert", "splice", "fill"])):
            case "flip" if at < len(payload):
                payload[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del payload[at : at + draw(st.integers(1, 64))]
            case "insert":
                payload[at:at] = draw(st.binary(min_size=1, max_size=64))
            case "splice":
                payload[at:] = draw(st.sampled_from(originals))[at:]
            case "fill":
                size = draw(st.integers(1, 8))
                payload[at : at + size] = draw(st.sampled_from([b"\0", b"\xff"])) * size
    return bytes(payload)


def any_message() -> st.SearchStrategy[bytes]:
    known = recorded()
    every = (*known.letters, *known.said)
    round_id = bytes.fromhex(known.fleet.terms.round)
    return st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda step, body: round_id + bytes((step,)) + body,
            st.integers(0, 11), st.binary(max_size=300),
        ),
        mutated(every, keep=33),
        mutated(every),
        st.sampled_from(every),
    )  # fmt: skip


def peak_bytes_of(work: object) -> int:
    assert callable(work)
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def genuine_confirmations(payload: bytes) -> int:
    """How many of a CONFIRMS are those that the neighbours really gave."""
    known = recorded()
    (genuine,) = (letter for letter in known.letters if letter[32] == Step.CONFIRMS)
    shown, given = (
        wire.flagged_parts(message[33:], len(known.fleet.members) - 1, CONFIRMATION_BYTES)
        for message in (payload, genuine)
    )
    return sum(a is not None and a == b for a, b in zip(shown, given, strict=True))


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_any_bytes_at_any_state_of_a_member_give_a_state_or_a_refusal(data: st.DataObject) -> None:
    known = recorded()
    member = data.draw(st.sampled_from(known.states))
    payload = data.draw(any_message())
    before = saved(member)

    def listen() -> None:
        try:
            after, said = known.hear(member, payload)
        except ProtocolError:
            return
        if said is not None:
            round_id, step, _ = wire.split(said)
            assert round_id.hex() == known.fleet.terms.round
            if step is Step.OPENING:  # some of its confirmations may be false, but not too many
                assert genuine_confirmations(payload) >= known.threshold - 1
            else:
                assert payload in known.letters or step is Step.REFUSAL
        assert restored(saved(after)) == after or isinstance(after, Ended)

    assert peak_bytes_of(listen) < MOST_PEAK_BYTES
    assert saved(member) == before


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_any_bytes_at_any_step_of_the_coordinator_are_taken_or_refused(data: st.DataObject) -> None:
    known = recorded()
    gathering = copy.deepcopy(data.draw(st.sampled_from(known.gatherings)))
    payload = data.draw(any_message())
    name = data.draw(
        st.sampled_from([known.name, max(known.fleet.identities), bytes(16), b"", b"x" * 40])
    )
    answered, awaited = gathering.answered, gathering.awaited

    def listen() -> None:
        try:
            news = gathering.receive(name, payload, NOW)
        except ProtocolError:
            assert gathering.answered == answered
        else:
            genuine = payload in known.said and name == known.name
            assert genuine or wire.split(payload)[1] is Step.REFUSAL or not news

    assert peak_bytes_of(listen) < MOST_PEAK_BYTES
    assert gathering.awaited is awaited


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_whatever_members_sign_the_round_ends_with_a_true_sum_or_none(data: st.DataObject) -> None:
    """Well signed, and false inside: the coordinator's arithmetic meets any bytes."""
    known = recorded()
    fleet = Fleet(MEMBERS, terms_of(minimum=3))
    liar = data.draw(st.sampled_from(sorted(fleet.identities)))
    at = data.draw(st.sampled_from([Step.SHARES, Step.CONFIRM, Step.OPENING]))
    dead = data.draw(st.sampled_from([set(), {min(fleet.identities.keys() - {liar})}]))

    def lie(step: Step, said: dict[bytes, bytes]) -> None:
        if step is at and liar in said:
            body = data.draw(mutated((said[liar][33:-64],), keep=32))
            size = len(said[liar]) - 33 - 64
            body = (body + bytes(size))[:size]
            round_id = bytes.fromhex(fleet.terms.round)
            said[liar] = wire.signed(fleet.identities[liar], round_id, step, body)

    fleet.run({data.draw(st.sampled_from(MEMBERS_SAY[1:])): dead}, members_say=lie)
    result = fleet.gathering.result
    assert known.fleet.terms == fleet.terms
    if isinstance(result, Opened):
        assert len(result.members) >= 5
        assert np.array_equal(result.total, fleet.sum_of(result.members))
    else:
        assert isinstance(result, Failed)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_bytes_in_the_store_are_a_state_or_refused(data: st.DataObject) -> None:
    known = recorded()
    originals = tuple(saved(state) for state in known.states)
    payload = data.draw(
        st.one_of(st.binary(max_size=300), mutated(originals), st.sampled_from(originals))
    )

    def read() -> Member | None:
        try:
            return restored(payload)
        except ProtocolError:
            return None

    assert peak_bytes_of(read) < MOST_PEAK_BYTES
    member = read()
    if member is None:
        return
    identity = known.fleet.identities[known.name]
    if isinstance(member, Ready):
        try:
            member, _ = masked(member, np.zeros(member.seat.terms.length, np.uint32), identity)
        except ProtocolError:  # a mask key that none can be, from a store that was altered
            return
    for letter in known.letters:
        try:
            member, _ = known.hear(member, letter)
        except ProtocolError:
            continue


@pytest.mark.parametrize("at", range(6))
def test_a_state_comes_back_as_it_was(at: int) -> None:
    state = recorded().states[at]
    again = restored(saved(state))
    assert type(again) is type(state)
    assert saved(again) == saved(state)


@pytest.mark.parametrize("at", range(6))
def test_a_state_that_was_cut_short_or_made_longer_is_refused(at: int) -> None:
    payload = saved(recorded().states[at])
    for cut in {*range(0, len(payload), 17), len(payload) - 1}:
        with pytest.raises(ProtocolError):
            restored(payload[:cut])
    for more in (b"\0", bytes(4), b"\0\0\0\1x"):
        with pytest.raises(ProtocolError):
            restored(payload + more)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_bytes_as_terms_are_refused_unless_they_say_the_same(data: st.DataObject) -> None:
    signed = sign_terms(terms_of(), coordinator_identity()).to_bytes()
    payload = data.draw(st.one_of(st.binary(max_size=200), mutated((signed,))))

    def read() -> None:
        try:
            terms, _ = parse_terms(payload, study=STUDY, authority=AUTHORITY, now=NOW)
        except ProtocolError:
            return
        assert terms == terms_of()

    assert peak_bytes_of(read) < MOST_PEAK_BYTES


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.data())
def test_any_bytes_as_a_credential_vouch_for_nobody(payload: bytes, data: st.DataObject) -> None:
    genuine = identity_of(0).credential.to_bytes()
    payload = data.draw(st.sampled_from([payload, data.draw(mutated((genuine,)))]))
    known = Acquaintances(STUDY, AUTHORITY, met=payload)
    try:
        known.check(parse_credential(payload), Role.DEVICE, NOW)
    except ProtocolError:
        return
    assert payload == genuine


class Weather(RuleBasedStateMachine):
    """Seven members on a bad line: messages are lost, doubled, late; devices restart and die.

    Whatever happens, the sum is exactly that of the members it names, or the round fails.
    """

    @initialize()
    def start(self) -> None:
        self.fleet = Fleet(MEMBERS, terms_of(minimum=3, length=3))
        self.names = sorted(self.fleet.identities)
        self.ever_said: dict[bytes, set[bytes]] = {name: set() for name in self.names}
        self.up: list[tuple[bytes, bytes]] = []
        self.down: list[tuple[bytes, bytes]] = []
        self.dead: set[bytes] = set()
        self.lost = 0
        for name, said in self.fleet.adverts().items():
            self.say(name, said)

    def say(self, name: bytes, payload: bytes) -> None:
        self.ever_said[name].add(payload)
        self.up.append((name, payload))

    def receive(self, at: int, *, keep: bool) -> None:
        name, payload = self.up[at] if keep else self.up.pop(at)
        with suppress(ProtocolError):
            self.fleet.gathering.receive(name, payload, NOW)

    def hear(self, at: int, *, keep: bool) -> None:
        name, payload = self.down.pop(at)
        if name in self.dead:
            return
        if keep:
            self.down.append((name, payload))
        try:
            member, said = hear(
                self.fleet.members[name], payload, self.fleet.identities[name],
                acquaintances=self.fleet.acquaintances, now=NOW,
                random_bytes=self.fleet.random_bytes(name),
            )  # fmt: skip
        except OutOfTurn:
            if not keep:
                self.down.append((name, payload))
            return
        except ProtocolError as refused:  # too few are left; nothing that was altered
            assert refused.cause.startswith("Fewer neighbours have"), refused.cause
            return
        self.fleet.members[name] = member
        if said is not None:
            self.say(name, said)

    def mask(self, name: bytes) -> None:
        member = self.fleet.members[name]
        if isinstance(member, Ready) and name not in self.dead:
            after, said = masked(member, self.fleet.values[name], self.fleet.identities[name])
            self.fleet.members[name] = after
            self.say(name, said)

    @precondition(lambda self: self.up)
    @rule(data=st.data(), keep=st.booleans())
    def one_arrives(self, data: st.DataObject, keep: bool) -> None:
        self.receive(data.draw(st.integers(0, len(self.up) - 1)), keep=keep)

    @precondition(lambda self: self.up)
    @rule()
    def all_arrive(self) -> None:
        while self.up:
            self.receive(0, keep=False)

    @precondition(lambda self: self.down)
    @rule(data=st.data(), keep=st.booleans())
    def one_is_heard(self, data: st.DataObject, keep: bool) -> None:
        self.hear(data.draw(st.integers(0, len(self.down) - 1)), keep=keep)

    @rule()
    def all_are_heard(self) -> None:
        for _ in range(len(self.down)):
            self.hear(0, keep=False)
        for name in self.names:
            self.mask(name)

    @precondition(lambda self: (self.up or self.down) and self.lost < 3)
    @rule(data=st.data())
    def one_is_lost(self, data: st.DataObject) -> None:
        line = self.up if self.up and (not self.down or data.draw(st.booleans())) else self.down
        self.lost += 1
        line.pop(data.draw(st.integers(0, len(line) - 1)))

    @rule(at=st.integers(0, MEMBERS - 1))
    def one_restarts(self, at: int) -> None:
        name = self.names[at]
        self.fleet.members[name] = restored(saved(self.fleet.members[name]))

    @precondition(lambda self: len(self.dead) < 3)
    @rule(at=st.integers(0, MEMBERS - 1))
    def one_dies(self, at: int) -> None:
        self.dead.add(self.names[at])

    @rule(deadline=st.sampled_from([*["patient"] * 9, "hasty"]))
    def a_step_ends(self, deadline: str) -> None:
        if deadline == "patient":
            self.all_are_heard()
            self.all_arrive()
        self.down += self.fleet.gathering.close_step()

    @invariant()
    def each_member_says_each_thing_once(self) -> None:
        for said in getattr(self, "ever_said", {}).values():
            steps = [wire.split(payload)[1] for payload in said]
            assert len(steps) == len(set(steps))
            assert not {Step.REFUSAL, Step.OPENING} <= set(steps)

    @invariant()
    def the_sum_is_exact_or_there_is_none(self) -> None:
        fleet = getattr(self, "fleet", None)
        if fleet is not None and isinstance(fleet.gathering.result, Opened):
            result = fleet.gathering.result
            assert len(result.members) >= members_needed(fleet.gathering.members, 3)
            assert np.array_equal(result.total, fleet.sum_of(result.members))

    def teardown(self) -> None:
        if not hasattr(self, "fleet"):
            return
        for _ in MEMBERS_SAY:
            self.a_step_ends("patient")
            self.the_sum_is_exact_or_there_is_none()
            self.each_member_says_each_thing_once()
        assert self.fleet.gathering.result is not None


Weather.TestCase.settings = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestWeather = Weather.TestCase
