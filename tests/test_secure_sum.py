"""Whole rounds in memory: who comes and goes, and what the coordinator learns."""

import hashlib
import random

import numpy as np
import pytest

from edge_models.errors import ContractError
from sync.errors import OutOfTurn
from sync.secure_sum import wire
from sync.secure_sum.device import hear, masked
from sync.secure_sum.masks import mask
from sync.secure_sum.neighbours import neighbourhood
from sync.secure_sum.saved import saved
from sync.secure_sum.server import Failed, Gathering, Opened
from sync.secure_sum.shamir import SHARE_BYTES
from sync.secure_sum.states import Confirmed, Ended, Joined, Masked, Ready, Shared
from sync.secure_sum.wire import Step
from tests.secure_fleet import (
    AUTHORITY,
    MEMBERS_SAY,
    NOW,
    SEED,
    Fleet,
    coordinator_identity,
    seeded_bytes,
    terms_of,
)

COUNTED_FROM = MEMBERS_SAY.index(Step.CONFIRM)  # who dies from here on is in the sum


def fleet_of(size: int, *, length: int = 8, restart: bool = False) -> Fleet:
    return Fleet(size, terms_of(length=length, minimum=-(-size * 7 // 10)), restart=restart)


def some(fleet: Fleet, count: int, seed: int = 0) -> list[bytes]:
    return random.Random(seed).sample(sorted(fleet.identities), count)


def opened(fleet: Fleet) -> Opened:
    result = fleet.gathering.result
    assert isinstance(result, Opened), result
    return result


def assert_exact(fleet: Fleet, dies: dict[Step, set[bytes]]) -> None:
    """The sum is that of everybody whose numbers had arrived, to the last bit."""
    missing = set().union(*(dies.get(step, set()) for step in MEMBERS_SAY[:COUNTED_FROM]))
    result = opened(fleet)
    assert set(result.members) == set(fleet.identities) - missing
    assert np.array_equal(result.total, fleet.sum_of(result.members))
    assert not fleet.refusals()


@pytest.mark.parametrize("step", MEMBERS_SAY)
@pytest.mark.parametrize(("size", "tenths"), [(20, 1), (20, 3), (100, 3)])
def test_whoever_dies_at_a_step_the_sum_is_exact(size: int, step: Step, tenths: int) -> None:
    fleet = fleet_of(size)
    dies = {step: set(some(fleet, size * tenths // 10))}
    fleet.run(dies)
    assert_exact(fleet, dies)


@pytest.mark.parametrize("size", [3, 20, 100])
def test_without_a_death_the_sum_is_over_everybody(size: int) -> None:
    fleet = fleet_of(size)
    fleet.run()
    assert_exact(fleet, {})
    assert all(member == Ended(fleet.terms.round, None, member.heard)
               for member in fleet.members.values())  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_deaths_in_all_steps_together(seed: int) -> None:
    """30 % in all, each at a step of its own."""
    fleet = fleet_of(20, restart=True)
    dies: dict[Step, set[bytes]] = {}
    draw = random.Random(seed)
    for name in some(fleet, 6, seed):
        dies.setdefault(draw.choice(MEMBERS_SAY[1:]), set()).add(name)
    fleet.run(dies)
    assert_exact(fleet, dies)


def test_a_sparse_cohort_with_deaths_in_every_step() -> None:
    """210 members with a hundred-odd neighbours each."""
    fleet = fleet_of(210)
    assert not neighbourhood(210).is_complete
    gone = some(fleet, 40)
    dies = {step: set(gone[10 * at : 10 * at + 10]) for at, step in enumerate(MEMBERS_SAY[1:])}
    fleet.run(dies)
    assert_exact(fleet, dies)


@pytest.mark.slow
def test_a_thousand_members_of_whom_three_in_ten_die() -> None:
    fleet = Fleet(1000, terms_of(length=64))
    gone = some(fleet, 300)
    dies = {Step.MASKED: set(gone[:150]), Step.OPENING: set(gone[150:])}
    fleet.run(dies)
    assert_exact(fleet, dies)


@pytest.mark.parametrize("step", MEMBERS_SAY)
def test_one_death_too_many_and_nothing_is_opened(step: Step) -> None:
    fleet = fleet_of(20)
    fleet.run({step: set(some(fleet, 7))})
    assert isinstance(fleet.gathering.result, Failed)
    if step is not Step.OPENING:
        assert not fleet.said.get(Step.OPENING)
    assert set(fleet.protests) == (set(fleet.said[step]) if step is Step.CONFIRM else set())
    assert fleet.gathering.close_step() == []


def test_a_restart_after_every_step_changes_no_byte() -> None:
    steady, restarted = fleet_of(20), fleet_of(20, restart=True)
    dies = {Step.MASKED: set(some(steady, 3))}
    steady.run(dies)
    restarted.run(dies)
    assert restarted.said == steady.said
    assert restarted.told == steady.told


def test_a_coordinator_made_again_from_the_same_messages_says_the_same() -> None:
    fleet = fleet_of(20)
    fleet.run({Step.MASKED: set(some(fleet, 3)), Step.OPENING: set(some(fleet, 2, seed=5))})
    again = Gathering(fleet.terms, coordinator_identity(), authority=AUTHORITY, seed=SEED)
    for step in MEMBERS_SAY:
        for name, payload in fleet.said[step].items():
            assert again.receive(name, payload, NOW)
        told = dict(again.close_step())
        assert {name: told[name] for name in fleet.told[step]} == fleet.told[step]
    assert isinstance(again.result, Opened)
    assert np.array_equal(again.result.total, opened(fleet).total)


def test_the_order_and_the_repetition_of_messages_change_nothing() -> None:
    fleet = fleet_of(20)

    def shuffled(step: Step, said: dict[bytes, bytes]) -> None:
        order = sorted(said, reverse=True)
        for name in order:
            said[name] = said.pop(name)
        for name in order[:5]:
            fleet.gathering.receive(name, said[name], NOW)
            assert not fleet.gathering.receive(name, said[name], NOW)

    fleet.run(members_say=shuffled)
    assert_exact(fleet, {})


def test_hearing_a_letter_twice_says_nothing_new() -> None:
    fleet = fleet_of(20)

    def twice(step: Step, letters: list[tuple[bytes, bytes]]) -> None:
        letters.extend(letters[:4])

    fleet.run(coordinator_says=twice)
    assert_exact(fleet, {})


def test_a_letter_before_its_turn_is_to_be_kept_until_then() -> None:
    fleet = fleet_of(20)
    fleet.run()
    name = min(fleet.identities)
    early = fleet_of(20)
    early.adverts()
    for step in MEMBERS_SAY[1:4]:
        with pytest.raises(OutOfTurn):
            hear_again(early, name, fleet.told[step][name])
    assert isinstance(early.members[name], Joined)


def hear_again(fleet: Fleet, name: bytes, payload: bytes) -> None:
    fleet.members[name], _ = hear(
        fleet.members[name], payload, fleet.identities[name],
        acquaintances=fleet.acquaintances, now=NOW, random_bytes=seeded_bytes(1),
    )  # fmt: skip


def test_what_a_member_sends_is_masked() -> None:
    """Twenty times the same numbers leave as twenty vectors that have nothing in common."""
    fleet = fleet_of(20, length=64)
    for name in fleet.values:
        fleet.values[name] = np.full(64, 7, dtype=np.uint32)
    fleet.run()
    sent = np.stack(
        [np.frombuffer(said[33:-64], dtype="<u4") for said in fleet.said[Step.MASKED].values()]
    )
    assert len(np.unique(sent)) > 1270  # of 1,280; one pair is equal with a chance of 2^-13
    assert (opened(fleet).total == 140).all()


def test_the_own_mask_alone_or_the_pairs_alone_do_not_bare_a_vector() -> None:
    """Both layers are there: who knows only one of a member's secrets still sees noise."""
    fleet = fleet_of(20, length=64)
    fleet.run({Step.MASKED: {max(fleet.identities)}})
    name = min(fleet.identities)
    vector = np.frombuffer(fleet.said[Step.MASKED][name][33:-64], dtype="<u4")
    own = fleet.said[Step.OPENING][name][33 : 33 + 32]
    without_own = vector - mask(own, 64)
    assert (without_own != fleet.values[name]).sum() > 60


def test_each_state_knows_only_what_it_still_needs() -> None:
    fleet = fleet_of(20)
    name = min(fleet.identities)
    seen = []

    def look(step: Step, said: dict[bytes, bytes]) -> None:
        seen.append(fleet.members[name])

    fleet.run(members_say=look)
    joined, shared, after_mask, confirmed, ended = (*seen[:4], fleet.members[name])
    assert isinstance(joined, Joined) and isinstance(shared, Shared)
    assert isinstance(after_mask, Masked) and isinstance(confirmed, Confirmed)
    secrets = {
        "channel": joined.seat.channel_private,
        "mask": joined.seat.mask_private,
        "own": shared.place.own_seed,
    }
    known = [
        {what for what, secret in secrets.items() if secret in saved(state)}
        for state in (joined, shared, after_mask, confirmed, ended)
    ]
    assert known == [{"channel", "mask"}, {"mask", "own"}, {"own"}, {"own"}, set()]
    for state in (joined, shared, after_mask, confirmed):
        assert not any(secret.hex() in repr(state) or repr(secret) in repr(state)
                       for secret in secrets.values())  # fmt: skip


def test_of_each_member_one_kind_of_share_leaves() -> None:
    """Of the dead the masks', of the living the own seed's; the other kind is in no opening."""
    fleet = fleet_of(20)
    dead = set(some(fleet, 4))
    held: dict[bytes, Masked] = {}

    def look(step: Step, said: dict[bytes, bytes]) -> None:
        if step is Step.MASKED:
            held.update({n: m for n, m in fleet.members.items() if isinstance(m, Masked)})

    fleet.run({Step.MASKED: dead}, members_say=look)
    names = sorted(fleet.identities)
    for name, opening in fleet.said[Step.OPENING].items():
        for neighbour, shares in zip(held[name].place.neighbours, held[name].held, strict=True):
            assert shares is not None
            seed_share, mask_share = shares[:SHARE_BYTES], shares[SHARE_BYTES:]
            is_dead = names[neighbour.index] in dead
            assert (mask_share in opening) is is_dead
            assert (seed_share in opening) is not is_dead


def test_a_vector_of_another_shape_is_our_bug() -> None:
    fleet = fleet_of(20)
    name = min(fleet.identities)

    def stop(step: Step, letters: list[tuple[bytes, bytes]]) -> None:
        if step is not Step.SHARES:
            return
        letters[:] = [letter for letter in letters if letter[0] == name]
        member, said = hear(
            fleet.members[name], letters[0][1], fleet.identities[name],
            acquaintances=fleet.acquaintances, now=NOW, random_bytes=seeded_bytes(1),
        )  # fmt: skip
        assert said is None and isinstance(member, Ready)
        for values in (np.zeros(7, np.uint32), np.zeros(8, np.int64), np.zeros((8, 1), np.uint32)):
            with pytest.raises(ContractError):
                masked(member, values, fleet.identities[name])

    fleet.run(coordinator_says=stop)


def signed_again(fleet: Fleet, name: bytes, step: Step, body: bytes) -> bytes:
    """What a malicious member says: well signed, and false."""
    return wire.signed(fleet.identities[name], bytes.fromhex(fleet.terms.round), step, body)


@pytest.mark.parametrize("liars", [1, 2])
@pytest.mark.parametrize("dies_at", [Step.MASKED, Step.OPENING])
def test_false_shares_of_some_members_do_not_change_the_sum(dies_at: Step, liars: int) -> None:
    """A member's secret has 18 or 19 shares and needs 14: two false ones are found."""
    fleet = fleet_of(20)
    one, *lying = some(fleet, 1 + liars)

    def lie(step: Step, said: dict[bytes, bytes]) -> None:
        if step is Step.OPENING:
            for name in lying:
                body = said[name][33:-64]
                said[name] = signed_again(fleet, name, step, body[:32] + bytes(len(body) - 32))

    fleet.run({dies_at: {one}}, members_say=lie)
    assert_exact(fleet, {dies_at: {one}})


def test_more_liars_than_can_be_found_end_the_round_with_a_reason() -> None:
    fleet = fleet_of(20)
    one, *lying = some(fleet, 6)

    def lie(step: Step, said: dict[bytes, bytes]) -> None:
        if step is Step.OPENING:
            for name in lying:
                body = said[name][33:-64]
                shares = b"\7\0\0" * (len(body[32:]) // 3)
                said[name] = signed_again(fleet, name, step, body[:32] + shares)

    fleet.run({Step.OPENING: {one}}, members_say=lie)
    result = fleet.gathering.result
    assert isinstance(result, Failed)
    assert "fit together" in result.why or "put together" in result.why


def test_a_neighbour_whose_shares_can_not_be_read_keeps_nobody_out() -> None:
    fleet = fleet_of(20, restart=True)
    one = some(fleet, 1)[0]

    def lie(step: Step, said: dict[bytes, bytes]) -> None:
        if step is Step.SHARES:
            body = said[one][33:-64]
            said[one] = signed_again(fleet, one, step, body[:32] + bytes(len(body) - 32))

    fleet.run(members_say=lie)
    assert_exact(fleet, {})


def test_a_neighbour_with_false_confirmations_keeps_nobody_from_opening() -> None:
    fleet = fleet_of(20)
    one = some(fleet, 1)[0]

    def lie(step: Step, said: dict[bytes, bytes]) -> None:
        if step is Step.CONFIRM:
            body = said[one][33:-64]
            said[one] = signed_again(fleet, one, step, body[:32] + bytes(len(body) - 32))

    fleet.run(members_say=lie)
    assert_exact(fleet, {})
    assert len(fleet.said[Step.OPENING]) == 20


def test_the_next_round_of_the_same_members_has_nothing_in_common() -> None:
    first, second = fleet_of(20), Fleet(20, terms_of(minimum=14, round_id=2))
    first.run()
    second.run()
    pieces = [
        {said[at : at + 32] for said in fleet.said[step].values() for at in range(33, 33 + 64, 32)}
        for fleet in (first, second)
        for step in (Step.SHARES, Step.MASKED)
    ]
    assert not (pieces[0] | pieces[1]) & (pieces[2] | pieces[3])


def test_the_seed_that_the_terms_commit_to_is_the_only_one() -> None:
    with pytest.raises(ContractError):
        Gathering(terms_of(), coordinator_identity(), authority=AUTHORITY, seed=bytes(32))


def test_the_progress_of_a_round_can_be_watched() -> None:
    fleet = fleet_of(20)
    seen = []

    def watch(step: Step, letters: list[tuple[bytes, bytes]]) -> None:
        gathering = fleet.gathering
        seen.append((gathering.awaited, gathering.answered, gathering.expected, gathering.members))

    fleet.run({Step.MASKED: set(some(fleet, 2))}, coordinator_says=watch)
    assert seen == [
        (Step.SHARES, 0, 20, 20), (Step.MASKED, 0, 20, 20), (Step.CONFIRM, 0, 18, 20),
        (Step.OPENING, 0, 18, 20), (None, 18, 18, 20),
    ]  # fmt: skip


def test_the_roster_lists_the_adverts_in_the_order_of_the_names() -> None:
    fleet = fleet_of(20)
    fleet.run()
    names = sorted(fleet.identities)
    body = fleet.told[Step.ADVERT][names[0]][33:]
    leaves = [body[100 + 32 * at : 132 + 32 * at] for at in range(20)]
    adverts = [fleet.said[Step.ADVERT][name][33:] for name in names]
    assert leaves == [hashlib.sha256(advert).digest() for advert in adverts]
