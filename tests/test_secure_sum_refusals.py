"""A malicious coordinator, or neighbour: what it tries, and that nobody opens."""

import dataclasses
import hashlib
from collections.abc import Callable

import pytest

from sync.errors import OutOfTurn, ProtocolError, RoundRefused
from sync.identity import (
    COORDINATOR,
    Acquaintances,
    Credential,
    Identity,
    Role,
    issue_credential,
    parse_credential,
    public_key,
)
from sync.secure_sum import wire
from sync.secure_sum.channel import public_half
from sync.secure_sum.device import hear, join
from sync.secure_sum.server import Failed, Letter
from sync.secure_sum.states import Ended, Joined, Member, Shared
from sync.secure_sum.terms import Terms, parse_terms, sign_terms
from sync.secure_sum.wire import Step
from tests.secure_fleet import (
    AUTHORITY,
    AUTHORITY_PRIVATE,
    FOR_GOOD,
    NOW,
    SEED,
    STUDY,
    Fleet,
    coordinator_identity,
    identity_of,
    name_of,
    seeded_bytes,
    stranger,
    terms_of,
)

MINIMUM = 14


def fleet_of(size: int = 20) -> Fleet:
    return Fleet(size, terms_of(minimum=MINIMUM))


def offers(fleet: Fleet) -> list[bytes]:
    """Everybody's advert, in the order of the names; every member has joined."""
    said = fleet.adverts()
    return [said[name][33:] for name in sorted(said)]


def told_roster(
    fleet: Fleet,
    adverts: list[bytes],
    name: bytes,
    *,
    seed: bytes = SEED,
    signer: Identity | None = None,
    shown: Callable[[list[bytes]], list[bytes]] = list,
) -> tuple[Member, bytes | None]:
    """What a member makes of a roster of these adverts (everybody is a neighbour of everybody)."""
    roster = wire.Roster(seed, tuple(hashlib.sha256(advert).digest() for advert in adverts))
    own = fleet.members[name]
    assert isinstance(own, Joined)
    near = shown([advert for advert in adverts if advert != own.seat.advert])
    body = wire.roster_body(signer or fleet.coordinator, fleet.terms.digest, roster, near)
    return hears(fleet, name, wire.framed(bytes.fromhex(fleet.terms.round), Step.ROSTER, body))


def hears(fleet: Fleet, name: bytes, payload: bytes) -> tuple[Member, bytes | None]:
    return hear(
        fleet.members[name],
        payload,
        fleet.identities[name],
        acquaintances=fleet.acquaintances,
        now=NOW,
        random_bytes=seeded_bytes(3),
    )


def assert_left(answer: tuple[Member, bytes | None], fleet: Fleet, name: bytes, why: str) -> None:
    """It has left, said why under its own signature, and has no secrets."""
    member, said = answer
    assert isinstance(member, Ended) and member.refusal is not None
    assert why in member.refusal.cause
    assert member.refusal.remedy
    assert said is not None
    round_id, step, _ = wire.split(said)
    assert (round_id.hex(), step) == (fleet.terms.round, Step.REFUSAL)
    reason = wire.unsigned(said, fleet.identities[name].credential.signing_key)
    assert reason.decode() == member.refusal.cause


def somebody(fleet: Fleet) -> bytes:
    return min(fleet.identities)


# The terms.


def announced(terms: Terms, signer: Identity | None = None) -> bytes:
    return sign_terms(terms, signer or coordinator_identity()).to_bytes()


def certified(role: Role, name: bytes, *, study: str = STUDY, expires: int = FOR_GOOD) -> Identity:
    private = hashlib.sha256(b"somebody's key" + name).digest()
    credential = issue_credential(
        AUTHORITY_PRIVATE, study=study, role=role, name=name, signing_key=public_key(private),
        expires=expires,
    )  # fmt: skip
    return Identity(private, credential)


def test_terms_are_read_as_they_were_signed() -> None:
    terms, credential = parse_terms(
        announced(terms_of()), study=STUDY, authority=AUTHORITY, now=NOW
    )
    assert terms == terms_of()
    assert credential == coordinator_identity().credential


@pytest.mark.parametrize(
    "signer",
    [
        certified(Role.DEVICE, name_of(0)),
        certified(Role.COORDINATOR, COORDINATOR, study="autumn"),
        certified(Role.COORDINATOR, COORDINATOR, expires=NOW),
        identity_of(0, authority=hashlib.sha256(b"somebody else").digest()),
    ],
    ids=["a device", "another study's", "expired", "another authority's"],
)
def test_terms_that_no_coordinator_of_the_study_signed_are_refused(signer: Identity) -> None:
    with pytest.raises(ProtocolError):
        parse_terms(announced(terms_of(), signer), study=STUDY, authority=AUTHORITY, now=NOW)


@pytest.mark.parametrize(
    "change",
    [{"minimum": 3}, {"squared_clip": 13}, {"rho": "1/4"}, {"scale": 1}, {"length": 9},
     {"round": "11" * 32}, {"subject": "2026-W49"}, {"policy": "weekly-sum-1@2"}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_terms_that_were_changed_on_the_way_are_refused(change: dict[str, object]) -> None:
    signed = sign_terms(terms_of(), coordinator_identity())
    other = Terms.model_validate(terms_of().model_dump(mode="json") | change)
    forged = signed.model_copy(update={"terms": other})
    with pytest.raises(ProtocolError, match="signature"):
        parse_terms(forged.to_bytes(), study=STUDY, authority=AUTHORITY, now=NOW)


def test_terms_of_another_study_are_refused() -> None:
    other = terms_of().model_copy(update={"study": "autumn"})
    with pytest.raises(ProtocolError, match="another study"):
        parse_terms(announced(other), study=STUDY, authority=AUTHORITY, now=NOW)


def test_a_cohort_that_may_be_too_small_gets_no_keys() -> None:
    asked: list[int] = []

    def counted(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    with pytest.raises(RoundRefused, match="19 people"):
        join(
            terms_of(minimum=19), identity_of(0), coordinator_identity().credential,
            random_bytes=counted,
        )  # fmt: skip
    assert not asked


# The roster.


def test_a_roster_below_the_announced_minimum_is_left() -> None:
    fleet = fleet_of()
    name = somebody(fleet)
    answer = told_roster(fleet, offers(fleet)[: MINIMUM - 1], name)
    assert_left(answer, fleet, name, "and 13 take part")


def test_a_roster_signed_by_somebody_else_changes_nothing() -> None:
    fleet = fleet_of()
    with pytest.raises(ProtocolError, match="signature"):
        told_roster(fleet, offers(fleet), somebody(fleet), signer=identity_of(5))


def test_a_seed_that_was_not_committed_to_is_left() -> None:
    fleet = fleet_of()
    name = somebody(fleet)
    answer = told_roster(fleet, offers(fleet), name, seed=b"\1" * 32)
    assert_left(answer, fleet, name, "changed the seed")


def test_a_roster_without_oneself_is_left() -> None:
    fleet = fleet_of()
    name = somebody(fleet)
    answer = told_roster(fleet, offers(fleet)[1:], name)
    assert_left(answer, fleet, name, "without this device")


def test_a_roster_with_a_copy_of_this_device_in_its_place_is_left() -> None:
    """Two devices with one identity: the coordinator took the other one's keys."""
    fleet = fleet_of()
    name = somebody(fleet)
    adverts = offers(fleet)
    _, copy = join(
        fleet.terms, fleet.identities[name], fleet.coordinator.credential,
        random_bytes=seeded_bytes(99), least_cohort=MINIMUM,
    )  # fmt: skip
    answer = told_roster(fleet, [copy[33:], *adverts[1:]], name)
    assert_left(answer, fleet, name, "another that has its identity")
    both = told_roster(fleet, [*adverts, copy[33:]], name)
    assert_left(both, fleet, name, "a person twice")


def test_a_member_listed_twice_is_noticed() -> None:
    fleet = fleet_of()
    name = somebody(fleet)
    adverts = offers(fleet)
    answer = told_roster(fleet, [*adverts, adverts[4]], name)
    assert_left(answer, fleet, name, "a member twice")


def test_a_person_with_two_pairs_of_keys_is_noticed() -> None:
    fleet = fleet_of()
    name = somebody(fleet)
    adverts = offers(fleet)
    twice = sorted(fleet.identities)[4]
    _, second = join(
        fleet.terms, fleet.identities[twice], fleet.coordinator.credential,
        random_bytes=seeded_bytes(98), least_cohort=MINIMUM,
    )  # fmt: skip
    answer = told_roster(fleet, [*adverts, second[33:]], name)
    assert_left(answer, fleet, name, "a person twice")


def advert_of(credential: Credential, private: bytes, terms: Terms) -> bytes:
    identity = Identity(private, credential)
    keys = (hashlib.sha256(b"c").digest(), hashlib.sha256(b"m").digest())
    return wire.make_advert(identity, terms.digest, *(public_half(key) for key in keys)).body


def false_neighbour(fault: str, terms: Terms) -> bytes:
    private = hashlib.sha256(b"key 50").digest()
    right = identity_of(50).credential
    match fault:
        case "another authority":
            credential = dataclasses.replace(stranger(), signing_key=public_key(private))
        case "expired":
            credential = issue_credential(
                AUTHORITY_PRIVATE, study=STUDY, role=Role.DEVICE, name=name_of(50),
                signing_key=public_key(private), expires=NOW,
            )  # fmt: skip
        case "another study":
            credential = issue_credential(
                AUTHORITY_PRIVATE, study="autumn", role=Role.DEVICE, name=name_of(50),
                signing_key=public_key(private), expires=FOR_GOOD,
            )  # fmt: skip
        case "a coordinator":
            credential = issue_credential(
                AUTHORITY_PRIVATE, study=STUDY, role=Role.COORDINATOR, name=COORDINATOR,
                signing_key=public_key(private), expires=FOR_GOOD,
            )  # fmt: skip
        case "renamed":
            credential = dataclasses.replace(right, name=name_of(51))
        case "other terms":
            changed = terms.model_copy(update={"squared_clip": terms.squared_clip + 1})
            return advert_of(right, private, changed)
        case "keys exchanged":
            whole = wire.parse_advert(advert_of(right, private, terms))
            return dataclasses.replace(
                whole, channel_key=whole.mask_key, mask_key=whole.channel_key
            ).body
        case "small-order channel" | "small-order mask":
            zero, good = bytes(32), public_half(hashlib.sha256(b"c").digest())
            keys = (zero, good) if "channel" in fault else (good, zero)
            return wire.make_advert(Identity(private, right), terms.digest, *keys).body
        case _:
            raise AssertionError(fault)
    return advert_of(credential, private, terms)


FALSE_NEIGHBOURS = [
    "another authority", "expired", "another study", "a coordinator", "renamed", "other terms",
    "keys exchanged", "small-order channel", "small-order mask",
]  # fmt: skip


@pytest.mark.parametrize("fault", FALSE_NEIGHBOURS)
def test_a_false_neighbour_gets_no_shares_and_no_place(fault: str) -> None:
    fleet = fleet_of()
    advert = false_neighbour(fault, fleet.terms)
    with pytest.raises(ProtocolError):
        told_roster(fleet, [*offers(fleet), advert], somebody(fleet))
    with pytest.raises(ProtocolError):
        claimed = wire.parse_advert(advert).credential.name
        payload = wire.framed(bytes.fromhex(fleet.terms.round), Step.ADVERT, advert)
        fleet.gathering.receive(claimed, payload, NOW)
    assert fleet.gathering.members == 0


def test_an_acquaintance_whose_credential_has_ended_is_refused() -> None:
    fleet = fleet_of()
    adverts = offers(fleet)
    ended = wire.parse_advert(adverts[3]).credential
    known = Acquaintances(STUDY, AUTHORITY)
    known.check(ended, Role.DEVICE, NOW)
    with pytest.raises(ProtocolError, match="ended"):
        known.check(ended, Role.DEVICE, ended.expires)
    with pytest.raises(ProtocolError, match="role"):
        known.check(ended, Role.COORDINATOR, NOW)


def test_other_keys_than_those_on_the_roster_are_refused() -> None:
    fleet = fleet_of()
    other = false_neighbour("other terms", fleet.terms)
    for shown in (
        lambda near: [other, *near[1:]],
        lambda near: [near[1], near[0], *near[2:]],
        lambda near: near[:-1],
        lambda near: [*near, other],
    ):
        with pytest.raises(ProtocolError):
            told_roster(fleet, offers(fleet), somebody(fleet), shown=shown)


def test_keys_agreed_to_one_clip_are_none_for_another() -> None:
    """Members who were shown different terms don't accept each other's keys."""
    fleet = fleet_of()
    changed = Fleet(20, fleet.terms.model_copy(update={"squared_clip": 10**6}))
    mixed = offers(fleet)[:10] + offers(changed)[10:]
    with pytest.raises(ProtocolError, match="round keys"):
        told_roster(fleet, mixed, somebody(fleet))


def test_the_roster_of_another_round_is_refused() -> None:
    fleet, other = fleet_of(), Fleet(20, terms_of(minimum=MINIMUM, round_id=2))
    offers(fleet)
    other.run()
    name = somebody(fleet)
    replayed = other.told[Step.ADVERT][name]
    with pytest.raises(ProtocolError, match="another round"):
        hears(fleet, name, replayed)
    renamed = bytes.fromhex(fleet.terms.round) + replayed[32:]
    with pytest.raises(ProtocolError, match="round roster"):
        hears(fleet, name, renamed)


def test_two_rosters_for_one_round_end_it() -> None:
    fleet = fleet_of()
    name = somebody(fleet)
    adverts = offers(fleet)
    fleet.members[name], said = told_roster(fleet, adverts, name)
    assert isinstance(fleet.members[name], Shared) and said is not None
    second = wire.Roster(SEED, tuple(hashlib.sha256(advert).digest() for advert in adverts[:-1]))
    body = wire.roster_body(fleet.coordinator, fleet.terms.digest, second, ())
    payload = wire.framed(bytes.fromhex(fleet.terms.round), Step.ROSTER, body)
    assert_left(hears(fleet, name, payload), fleet, name, "two rosters")


def test_a_signed_roster_with_a_forged_rest_accuses_nobody() -> None:
    """Anybody who saw the roster could have put other bytes behind it."""
    fleet = fleet_of()
    name = somebody(fleet)
    fleet.run()
    again = fleet_of()
    again.adverts()
    letter = fleet.told[Step.ADVERT][name]
    again.members[name], _ = hears(again, name, letter)
    for forged in (letter + b"\0", letter[:-1], letter[:-249]):
        with pytest.raises(ProtocolError, match="second story"):
            hears(again, name, forged)
    assert isinstance(again.members[name], Shared)


# The inbox.


def edited_inbox(
    edit: Callable[[list[bytes | None]], None],
) -> Callable[[Step, list[Letter]], None]:
    def coordinator_says(step: Step, letters: list[Letter]) -> None:
        if step is not Step.SHARES:
            return
        for at, (name, payload) in enumerate(letters):
            parts = list(wire.flagged_parts(payload[33:], 19, wire.CIPHERTEXT_BYTES))
            edit(parts)
            body = wire.bits_of([part is not None for part in parts])
            body += b"".join(part for part in parts if part is not None)
            letters[at] = (name, payload[:33] + body)

    return coordinator_says


def test_an_inbox_of_fewer_than_open_a_secret_is_refused() -> None:
    fleet = fleet_of()

    def few(parts: list[bytes | None]) -> None:
        parts[:7] = [None] * 7

    fleet.run(coordinator_says=edited_inbox(few))
    assert set(fleet.protests.values()) == {"Fewer neighbours have shared than open a secret."}
    assert not fleet.said[Step.MASKED]


def test_shares_made_for_another_roster_are_refused() -> None:
    fleet, other = fleet_of(), Fleet(20, terms_of(minimum=MINIMUM, round_id=2))
    other.run()

    def swap(step: Step, letters: list[Letter]) -> None:
        if step is Step.SHARES:
            letters[:] = [
                (name, payload[:33] + other.told[step][name][33:]) for name, payload in letters
            ]

    fleet.run(coordinator_says=swap)
    assert all("another roster" in cause for cause in fleet.protests.values())
    assert len(fleet.protests) == 20
    assert not fleet.said[Step.MASKED]


def test_whoever_the_inbox_left_out_can_not_survive() -> None:
    fleet = fleet_of()

    def one_fewer(parts: list[bytes | None]) -> None:
        parts[3] = None

    fleet.run(coordinator_says=edited_inbox(one_fewer))
    assert len(fleet.refusals()) == 20
    assert all("as a survivor one that it had said was gone" in why for why in fleet.refusals())
    assert not fleet.said[Step.CONFIRM] or isinstance(fleet.gathering.result, Failed)
    assert len(fleet.gathering.refusals) == 20


# The survivors.


def survivors_letter(fleet: Fleet, dead: set[int], signer: Identity | None = None) -> bytes:
    flags = wire.bits_of([place not in dead for place in range(20)])
    cohort = fleet.gathering._cohort
    body = wire.survivors_body(signer or fleet.coordinator, cohort.digest, flags)
    return wire.framed(bytes.fromhex(fleet.terms.round), Step.SURVIVORS, body)


def with_survivors(
    fleet: Fleet, letter: Callable[[int, bytes], bytes]
) -> Callable[[Step, list[Letter]], None]:
    def coordinator_says(step: Step, letters: list[Letter]) -> None:
        if step is Step.MASKED:
            letters[:] = [(n, letter(at, payload)) for at, (n, payload) in enumerate(letters)]

    return coordinator_says


def no_opening(fleet: Fleet) -> bool:
    return not any(
        wire.split(said)[1] is Step.OPENING
        for step in fleet.said
        for said in fleet.said[step].values()
    )


def test_too_few_survivors_end_the_round() -> None:
    fleet = fleet_of()
    fleet.run(coordinator_says=with_survivors(
        fleet, lambda at, payload: survivors_letter(fleet, set(range(13, 20)))
    ))  # fmt: skip
    assert no_opening(fleet)
    assert len(fleet.refusals()) == 20
    assert all("A sum over 13 people" in why for why in fleet.refusals())


def test_a_seventh_tenth_is_needed_even_where_the_minimum_is_small() -> None:
    """An honest majority's noise is sized for it."""
    fleet = Fleet(20, terms_of(minimum=3))
    fleet.run(coordinator_says=with_survivors(
        fleet, lambda at, payload: survivors_letter(fleet, set(range(7)))
    ))  # fmt: skip
    assert no_opening(fleet)
    assert all("14 are needed" in why for why in fleet.refusals())


def openings(fleet: Fleet, letter: Callable[[int], bytes]) -> dict[bytes, bytes]:
    """Who opens, if the coordinator tells each member its own list and forwards what fits.

    The member at each place gets the letter for it; each confirmation is delivered where it is
    meant for. All vectors have arrived, and the coordinator's own state machine is not asked.
    """
    fleet.run(
        coordinator_says=lambda step, letters: letters.clear() if step is Step.MASKED else None
    )
    names = sorted(fleet.identities)
    confirmed = fleet.answers([(name, letter(at)) for at, name in enumerate(names)])
    shown: dict[tuple[int, int], bytes] = {}
    for at, name in enumerate(names):
        if wire.split(confirmed.get(name, bytes(32) + b"\x0a"))[1] is not Step.CONFIRM:
            continue
        told = wire.parse_bits(letter(at)[33 + 64 :], 20)
        near = [other for other in range(20) if other != at and told[other]]
        parts = wire.equal_parts(confirmed[name][33 + 32 : -64], len(near), 16)
        shown |= {(at, other): part for other, part in zip(near, parts, strict=True)}
    letters = []
    for at, name in enumerate(names):
        parts = [shown.get((other, at)) for other in range(20) if other != at]
        body = wire.bits_of([part is not None for part in parts])
        body += b"".join(part for part in parts if part is not None)
        letters.append((name, wire.framed(bytes.fromhex(fleet.terms.round), Step.CONFIRMS, body)))
    return {
        name: said
        for name, said in fleet.answers(letters).items()
        if wire.split(said)[1] is Step.OPENING
    }


def test_a_member_declared_dead_leaves_the_round_and_keeps_its_seed() -> None:
    """The others give its masks away; its vector stays under the seed that only it could open."""
    fleet = fleet_of()
    name = somebody(fleet)
    said = openings(fleet, lambda at: survivors_letter(fleet, {0}))
    member = fleet.members[name]
    assert isinstance(member, Ended) and member.refusal is not None
    assert "came too late" in member.refusal.cause
    assert len(said) == 19 and name not in said


@pytest.mark.parametrize("split_at", range(20))
def test_two_lists_for_two_groups_are_opened_by_one_of_them_at_most(split_at: int) -> None:
    """Member 18 lives for some and is dead for the others: its two kinds of share stay apart."""
    fleet = fleet_of()
    said = openings(fleet, lambda at: survivors_letter(fleet, set() if at < split_at else {18}))
    names = sorted(fleet.identities)
    live, dead = said.keys() & set(names[:split_at]), said.keys() & set(names[split_at:])
    assert not (live and dead)
    assert bool(live) is (split_at >= 14)
    assert bool(dead) is (split_at <= 5)


def test_different_survivors_for_everybody_open_nothing() -> None:
    fleet = fleet_of()
    assert not openings(fleet, lambda at: survivors_letter(fleet, {(at + 5) % 20}))


def test_a_second_list_of_survivors_ends_the_round() -> None:
    """Asking for both kinds of share: first that one lives, then that it died."""
    fleet = fleet_of()

    def both(step: Step, letters: list[Letter]) -> None:
        if step is Step.MASKED:
            letters.extend([(name, survivors_letter(fleet, {4})) for name, _ in letters])

    fleet.run(coordinator_says=both)
    assert no_opening(fleet)
    left = [member for member in fleet.members.values() if isinstance(member, Ended)]
    assert len(left) == 20
    assert all(m.refusal and "two lists of survivors" in m.refusal.cause for m in left)


def test_survivors_signed_by_somebody_else_change_nothing() -> None:
    fleet = fleet_of()
    fleet.run(coordinator_says=with_survivors(
        fleet, lambda at, payload: survivors_letter(fleet, set(), identity_of(3))
    ))  # fmt: skip
    assert no_opening(fleet)
    assert all("round survivors" in cause for cause in fleet.protests.values())
    assert not fleet.refusals()


def test_after_its_opening_a_member_has_nothing_left_to_say() -> None:
    fleet = fleet_of()
    fleet.run()
    for name in fleet.identities:
        for step in (Step.ADVERT, Step.SHARES, Step.MASKED, Step.CONFIRM):
            assert hears(fleet, name, fleet.told[step][name]) == (fleet.members[name], None)
        answer = hears(fleet, name, survivors_letter(fleet, {4}))
        assert answer == (fleet.members[name], None)


def test_confirmations_of_too_few_open_nothing() -> None:
    fleet = fleet_of()

    def few(step: Step, letters: list[Letter]) -> None:
        if step is not Step.CONFIRM:
            return
        for at, (name, payload) in enumerate(letters):
            parts = list(wire.flagged_parts(payload[33:], 19, 16))
            parts[:7] = [None] * 7
            body = wire.bits_of([part is not None for part in parts])
            body += b"".join(part for part in parts if part is not None)
            letters[at] = (name, payload[:33] + body)

    fleet.run(coordinator_says=few)
    assert no_opening(fleet)
    assert len(fleet.protests) == 20


def test_a_confirmation_is_not_accepted_from_its_own_receiver() -> None:
    """Reflected: what a member showed its neighbour proves nothing to itself."""
    fleet = fleet_of()

    def reflect(step: Step, letters: list[Letter]) -> None:
        if step is Step.CONFIRM:
            for at, (name, payload) in enumerate(letters):
                own = fleet.said[Step.CONFIRM][name][33 + 32 : -64]
                letters[at] = (name, payload[:33] + wire.bits_of([True] * 19) + own)

    fleet.run(coordinator_says=reflect)
    assert no_opening(fleet)
    assert len(fleet.protests) == 20


# The coordinator is told lies.


def at_step(step: Step) -> tuple[Fleet, dict[bytes, bytes]]:
    """A fleet whose coordinator waits for this step, and what the members say in it."""
    fleet = fleet_of()
    said = fleet.adverts()
    for awaited in (Step.ADVERT, Step.SHARES, Step.MASKED, Step.CONFIRM, Step.OPENING):
        if awaited is step:
            break
        fleet.deliver(said)
        said = fleet.answers(fleet.gathering.close_step())
    return fleet, said


@pytest.mark.parametrize("step", [Step.SHARES, Step.MASKED, Step.CONFIRM, Step.OPENING])
def test_only_the_members_own_signature_counts(step: Step) -> None:
    fleet, said = at_step(step)
    one, other = sorted(said)[:2]
    body = said[one][33:-64]
    round_id = bytes.fromhex(fleet.terms.round)
    for payload in (
        wire.framed(round_id, step, body),
        said[one][:-1] + bytes((said[one][-1] ^ 1,)),
        wire.signed(fleet.identities[other], round_id, step, body),
        wire.signed(fleet.identities[one], b"\1" * 32, step, body),
        wire.framed(round_id, step, body) + fleet.identities[one].sign("round keys", body),
        said[other],
    ):
        with pytest.raises(ProtocolError):
            fleet.gathering.receive(one, payload, NOW)
    assert fleet.gathering.answered == 0
    assert fleet.gathering.receive(one, said[one], NOW)


@pytest.mark.parametrize("step", [Step.SHARES, Step.MASKED, Step.CONFIRM, Step.OPENING])
def test_somebody_who_is_not_on_the_roster_is_not_heard(step: Step) -> None:
    fleet, said = at_step(step)
    outsider = identity_of(77)
    payload = wire.signed(outsider, bytes.fromhex(fleet.terms.round), step, said[min(said)][33:-64])
    with pytest.raises(ProtocolError, match="not on the roster"):
        fleet.gathering.receive(outsider.credential.name, payload, NOW)


def test_a_step_that_is_over_hears_nobody() -> None:
    fleet, said = at_step(Step.MASKED)
    name = min(said)
    with pytest.raises(ProtocolError, match="too late"):
        fleet.gathering.receive(
            name,
            wire.signed(fleet.identities[name], bytes.fromhex(fleet.terms.round), Step.SHARES, b""),
            NOW,
        )
    with pytest.raises(ProtocolError, match="too late"):
        fleet.gathering.receive(
            name,
            wire.signed(
                fleet.identities[name], bytes.fromhex(fleet.terms.round), Step.OPENING, b""
            ),
            NOW,
        )


def test_who_comes_after_the_roster_has_no_place() -> None:
    fleet, _ = at_step(Step.SHARES)
    late = identity_of(60)
    _, advert = join(
        fleet.terms, late, fleet.coordinator.credential, random_bytes=seeded_bytes(1),
        least_cohort=MINIMUM,
    )  # fmt: skip
    with pytest.raises(ProtocolError, match="too late"):
        fleet.gathering.receive(late.credential.name, advert, NOW)


def test_a_second_device_with_one_identity_has_no_place_and_is_reported() -> None:
    fleet, said = at_step(Step.ADVERT)
    name = min(said)
    fleet.deliver(said)
    _, second = join(
        fleet.terms, fleet.identities[name], fleet.coordinator.credential,
        random_bytes=seeded_bytes(1), least_cohort=MINIMUM,
    )  # fmt: skip
    with pytest.raises(ProtocolError, match="one identity") as refused:
        fleet.gathering.receive(name, second, NOW)
    assert "Revoke" in refused.value.remedy
    assert not fleet.gathering.receive(name, said[name], NOW)


def test_an_advert_on_somebody_elses_topic_is_refused() -> None:
    fleet, said = at_step(Step.ADVERT)
    one, other = sorted(said)[:2]
    with pytest.raises(ProtocolError, match="somebody else"):
        fleet.gathering.receive(one, said[other], NOW)


def test_another_seed_than_the_committed_one_is_not_opened() -> None:
    fleet, said = at_step(Step.OPENING)
    name = min(said)
    body = b"\1" * 32 + said[name][33 + 32 : -64]
    payload = wire.signed(
        fleet.identities[name], bytes.fromhex(fleet.terms.round), Step.OPENING, body
    )
    with pytest.raises(ProtocolError, match="another seed"):
        fleet.gathering.receive(name, payload, NOW)


def test_a_confirmation_of_other_survivors_is_refused_by_the_coordinator() -> None:
    fleet, said = at_step(Step.CONFIRM)
    name = min(said)
    payload = wire.signed(
        fleet.identities[name], bytes.fromhex(fleet.terms.round), Step.CONFIRM,
        bytes(32) + said[name][33 + 32 : -64],
    )  # fmt: skip
    with pytest.raises(ProtocolError, match="other survivors"):
        fleet.gathering.receive(name, payload, NOW)


def test_a_refusal_is_kept_short_and_printable() -> None:
    fleet, said = at_step(Step.SHARES)
    name = min(said)
    round_id = bytes.fromhex(fleet.terms.round)
    words = "no\x1b[31m thanks\n\N{RIGHT-TO-LEFT OVERRIDE}".encode()
    payload = wire.signed(fleet.identities[name], round_id, Step.REFUSAL, words)
    assert fleet.gathering.receive(name, payload, NOW)
    assert fleet.gathering.refusals == {name: "no[31m thanks"}
    long = wire.signed(fleet.identities[name], round_id, Step.REFUSAL, b"x" * 301)
    with pytest.raises(ProtocolError, match="few words"):
        fleet.gathering.receive(name, long, NOW)


def test_a_round_of_too_few_fails_and_says_so() -> None:
    fleet = fleet_of(13)
    fleet.run()
    assert fleet.gathering.result == Failed("Only 13 members joined; 14 are needed.")


def test_a_letter_of_the_coordinator_is_no_message_of_a_member() -> None:
    fleet, said = at_step(Step.MASKED)
    name = min(said)
    for step in (Step.ROSTER, Step.INBOX, Step.SURVIVORS, Step.CONFIRMS):
        payload = wire.signed(fleet.identities[name], bytes.fromhex(fleet.terms.round), step, b"")
        with pytest.raises(ProtocolError):
            fleet.gathering.receive(name, payload, NOW)
    with pytest.raises(ProtocolError, match="not from the coordinator"):
        hears(fleet, name, said[name])


def test_out_of_turn_is_a_protocol_error_that_can_be_told_apart() -> None:
    fleet, _ = at_step(Step.SHARES)
    name = somebody(fleet)
    with pytest.raises(OutOfTurn):
        hears(fleet, name, wire.framed(bytes.fromhex(fleet.terms.round), Step.SURVIVORS, b""))


def test_credentials_say_what_they_are() -> None:
    credential = identity_of(0).credential
    assert parse_credential(credential.to_bytes()) == credential
    for payload in (b"", credential.to_bytes()[:-1], b"\3" + credential.to_bytes()[1:]):
        with pytest.raises(ProtocolError):
            parse_credential(payload)
