"""What a device does about rounds: which it joins, which it refuses, and that it pays once."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from sync.budget import Ledger, Spend
from sync.coordinator.drafts import draft_of
from sync.coordinator.fleet import Fleet, dying
from sync.coordinator.round_book import RoundBook, open_round_book
from sync.errors import ProtocolError
from sync.messages import CELLS, HISTOGRAMS, first_cells
from sync.parcels import Kind, Parcel
from sync.participation import Part, parse_part
from sync.policy import Policy, Purpose
from sync.secure_sum.server import Failed, Opened
from sync.secure_sum.states import Ended
from sync.secure_sum.terms import Terms, sign_terms
from sync.secure_sum.wire import Step

NOW = 1_795_000_000
PERIOD = "2026-W47"
POLICY = Policy(
    name="weekly-1",
    version=1,
    rho_per_report=Fraction(1, 8),
    rho_budget=Fraction(3, 2),
    delta=1e-6,
    period_days=7,
)
DIGEST = hashlib.sha256(b"the policy's file").hexdigest()
SEED_COMMITMENT = hashlib.sha256(bytes(32)).hexdigest()


class Answers:
    """Somebody whose week is always in the first bin; `willing` as told."""

    def __init__(self, willing: bool = True) -> None:
        self.willing = willing
        self.asked = 0

    def is_willing(self, terms: Terms) -> bool:
        return self.willing

    def numbers(self, terms: Terms) -> list[int]:
        self.asked += 1
        cells = [0] * CELLS
        for first in first_cells():
            cells[first] = 1
        return cells


@pytest.fixture
def book(tmp_path: Path) -> Iterator[RoundBook]:
    with open_round_book(tmp_path / "rounds.db") as book:
        yield book


def fleet_of(size: int, book: RoundBook, **changes: object) -> Fleet:
    return Fleet(
        size,
        book,
        study="spring",
        policy=POLICY,
        policy_digest=DIGEST,
        contributor=lambda _: Answers(),
        now=NOW,
        **changes,  # type: ignore[arg-type]
    )


def draft(period: str = PERIOD, now: int = NOW, policy: Policy = POLICY) -> object:
    return draft_of(
        Purpose.REPORT,
        period,
        study="spring",
        policy=policy,
        policy_digest=DIGEST,
        now=now,
        step_s=60,
    )


def terms(**changes: object) -> Terms:
    made = draft()("ab" * 32, SEED_COMMITMENT)  # type: ignore[operator]
    return made.model_copy(update=changes) if changes else made


def announced(fleet: Fleet, said: Terms) -> Parcel:
    return Parcel(Kind.SIGNED_TERMS, sign_terms(said, fleet.coordinator).to_bytes())


def refusal_of(fleet: Fleet, said: Terms) -> str:
    """What the first device keeps of these terms: its reason, or nothing."""
    device = next(iter(fleet.devices.values()))
    device.participation.hear(announced(fleet, said), fleet.now)
    kept = device.notebook.part(said.round)
    if kept is None:
        return ""
    member = parse_part(kept).member
    assert not device.notebook.outbox or not isinstance(member, Ended)
    return member.refusal.cause if isinstance(member, Ended) and member.refusal else ""


def test_a_round_costs_its_price_once_and_opens_the_sum(book: RoundBook) -> None:
    fleet = fleet_of(22, book)
    result = fleet.run(draft())  # type: ignore[arg-type]
    assert isinstance(result, Opened) and len(result.members) == 22
    for device in fleet.devices.values():
        assert device.notebook.paid == Ledger.of([Spend(PERIOD, Fraction(1, 8), "weekly-1@1")])
        assert not device.refusals
    assert isinstance(fleet.run(draft(now=fleet.now)), Failed)  # type: ignore[arg-type]
    for device in fleet.devices.values():
        assert len(device.notebook.paid.spends) == 1  # the week was paid for: nobody joined


@pytest.mark.parametrize(
    "step", [Step.ADVERT, Step.SHARES, Step.MASKED, Step.CONFIRM, Step.OPENING]
)
def test_who_dies_before_masking_pays_nothing(book: RoundBook, step: Step) -> None:
    fleet = fleet_of(60, book)
    dies = dying(0.2, step)
    result = fleet.run(draft(), dies)  # type: ignore[arg-type]
    assert isinstance(result, Opened)
    for device in fleet.devices.values():
        heard_to_mask = step > Step.SHARES or not dies(device.name, step)
        assert len(device.notebook.paid.spends) == heard_to_mask


def test_a_part_outlives_its_bytes(book: RoundBook) -> None:
    fleet = fleet_of(20, book)
    fleet.run(draft(), dying(1.0, Step.MASKED))  # type: ignore[arg-type]
    for device in fleet.devices.values():
        for kept in device.notebook.kept.values():
            part = parse_part(kept)
            assert part.to_bytes() == kept
            assert replace(part, early=(b"early",)) == parse_part(
                replace(part, early=(b"early",)).to_bytes()
            )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"minimum": 5}, "over 5 people"),
        ({"squared_clip": 7}, "squared clip"),
        ({"rho": Fraction(1, 4)}, "costs rho 1/4"),
        ({"policy": "other-1@1"}, "'other-1@1'"),
        ({"policy_digest": "00" * 32}, "other content"),
        ({"purpose": "head", "subject": "ab" * 32}, "no price"),
        ({"deadlines": tuple(NOW + 10 * 24 * 3600 * n for n in range(1, 6))}, "a month"),
    ],
)
def test_terms_that_break_the_policy_are_refused_and_the_reason_is_kept(
    book: RoundBook, changes: dict[str, object], why: str
) -> None:
    fleet = fleet_of(1, book)
    assert why in refusal_of(fleet, terms(**changes))
    assert not next(iter(fleet.devices.values())).notebook.outbox


def test_an_exhausted_budget_refuses_before_anything_is_said(book: RoundBook) -> None:
    fleet = fleet_of(1, book)
    device = next(iter(fleet.devices.values()))
    spends = [Spend(f"2026-W{week:02d}", Fraction(1, 8), "weekly-1@1") for week in range(1, 13)]
    device.notebook.paid = Ledger.of(spends)
    assert "used up" in refusal_of(fleet, terms())


def test_terms_of_old_or_of_somebody_else_are_not_joined(book: RoundBook) -> None:
    fleet = fleet_of(1, book)
    device = next(iter(fleet.devices.values()))
    said = terms()
    device.participation.hear(announced(fleet, said), said.deadlines[0])
    assert device.notebook.part(said.round) is None
    stranger = fleet_of(1, book, seed=1)
    with pytest.raises(ProtocolError):
        device.participation.hear(announced(stranger, said), NOW)


def test_who_is_unwilling_says_nothing(book: RoundBook) -> None:
    fleet = fleet_of(1, book)
    device = next(iter(fleet.devices.values()))
    unwilling = replace(device.participation, contributor=Answers(willing=False))
    unwilling.hear(announced(fleet, terms()), NOW)
    assert not device.notebook.outbox and not device.notebook.kept


def test_a_step_that_comes_too_early_waits_for_its_turn(book: RoundBook) -> None:
    """The survivors' list overtakes the inbox, as it may over a broker."""
    fleet = fleet_of(20, book)
    held: dict[bytes, list[bytes]] = {}
    round_terms = fleet.rounds.start(draft(), fleet.now)  # type: ignore[arg-type]
    for letter in fleet.rounds.due(fleet.now):  # terms
        fleet._deliver(letter, lambda _n, _s: False)
    late = next(iter(fleet.devices))
    while round_terms.round not in fleet.ended:
        letters = list(fleet.rounds.due(fleet.now))
        fleet.now += not letters
        for letter in letters:
            if letter.name == late and letter.payload[32] == Step.INBOX:
                held.setdefault(late, []).append(letter.payload)
                continue
            fleet._deliver(letter, lambda _n, _s: False)
        if held.get(late) and fleet.rounds.progress():
            device = fleet.devices[late]
            early = device.participation
            with pytest.raises(ProtocolError):
                early.hear(Parcel(Kind.ROUND, held[late][0][:-1]), fleet.now)  # cut short
            part = parse_part(device.notebook.kept[round_terms.round])
            assert part.early == ()
            survivors = Parcel(Kind.ROUND, held[late][0][:32] + bytes([Step.SURVIVORS]) + b"x")
            early.hear(survivors, fleet.now)
            part = parse_part(device.notebook.kept[round_terms.round])
            assert part.early == (survivors.content,)
            break
    assert held


def test_a_clock_that_jumps_costs_nothing_twice(book: RoundBook) -> None:
    fleet = fleet_of(20, book)
    terms_of_round = fleet.rounds.start(draft(), fleet.now)  # type: ignore[arg-type]
    jumps = iter([0, -7 * 24 * 3600, 30, -3600, 0])
    device = next(iter(fleet.devices.values()))
    while terms_of_round.round not in fleet.ended:
        letters = list(fleet.rounds.due(fleet.now))
        fleet.now += not letters
        for letter in letters:
            if letter.name == device.name:  # its clock is wrong by days, and not the others'
                moment = fleet.now + next(jumps)
                fleet.now, right = moment, fleet.now
                fleet._deliver(letter, lambda _n, _s: False)
                fleet.now = right
            else:
                fleet._deliver(letter, lambda _n, _s: False)
    assert isinstance(fleet.ended[terms_of_round.round], Opened)
    assert len(device.notebook.paid.spends) == 1
    ahead = terms_of_round.deadlines[-1] + 1
    with pytest.raises(ProtocolError):  # years ahead: it takes the round to be over
        late = bytes.fromhex(terms_of_round.round) + bytes([Step.SURVIVORS])
        device.participation.hear(Parcel(Kind.ROUND, late), ahead)


def test_parts_of_rounds_that_were_over_long_ago_are_forgotten(book: RoundBook) -> None:
    fleet = fleet_of(20, book)
    fleet.run(draft())  # type: ignore[arg-type]
    device = next(iter(fleet.devices.values()))
    device.participation.forget(fleet.now)
    assert len(device.notebook.kept) == 1
    device.participation.forget(fleet.now + 40 * 24 * 3600)
    assert not device.notebook.kept


@pytest.mark.parametrize("payload", [b"", b"x", bytes(12), bytes(300)])
def test_bytes_that_are_no_part_are_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_part(payload)


def test_a_part_shows_no_secret(book: RoundBook) -> None:
    fleet = fleet_of(20, book)
    fleet.run(draft(), dying(1.0, Step.MASKED))  # type: ignore[arg-type]
    device = next(iter(fleet.devices.values()))
    (kept,) = device.notebook.kept.values()
    part: Part = parse_part(kept)
    assert not isinstance(part.member, Ended)
    assert part.member.seat.mask_private.hex() not in repr(part) or not (
        part.member.seat.mask_private
    )
    assert len(HISTOGRAMS) == POLICY.price(Purpose.REPORT).squared_clip


def test_a_round_over_vectors_of_another_length_is_left_and_costs_nothing(book: RoundBook) -> None:
    fleet = fleet_of(20, book)

    def longer(round_id: str, commitment: str) -> Terms:
        return draft()(round_id, commitment).model_copy(update={"length": CELLS + 1})  # type: ignore[operator]

    assert isinstance(fleet.run(longer), Failed)
    for device in fleet.devices.values():
        (kept,) = device.notebook.kept.values()
        member = parse_part(kept).member
        assert isinstance(member, Ended) and member.refusal is not None
        assert str(CELLS + 1) in member.refusal.cause
        assert not device.notebook.paid.spends
    assert isinstance(fleet.run(draft(now=fleet.now)), Opened)  # type: ignore[arg-type]


def test_a_refused_round_is_not_remembered_until_a_deadline_in_a_thousand_years(
    book: RoundBook,
) -> None:
    fleet = fleet_of(1, book)
    device = next(iter(fleet.devices.values()))
    assert "a month" in refusal_of(fleet, terms(deadlines=(NOW + 60, *range(2**39, 2**39 + 4))))
    device.participation.forget(NOW + 70 * 24 * 3600)
    assert not device.notebook.kept


def test_a_study_that_announces_round_after_round_does_not_fill_the_disk(book: RoundBook) -> None:
    fleet = fleet_of(1, book)
    device = next(iter(fleet.devices.values()))
    for number in range(1000):
        refusal_of(fleet, terms(round=f"{number:064x}", minimum=5))
    with pytest.raises(ProtocolError, match="1000 rounds"):
        refusal_of(fleet, terms(round="ff" * 32))
    assert len(device.notebook.kept) == 1000 and not device.notebook.outbox


def test_a_part_that_can_not_be_read_is_forgotten(book: RoundBook) -> None:
    fleet = fleet_of(1, book)
    device = next(iter(fleet.devices.values()))
    device.notebook.kept["ab" * 32] = b"of another version"
    device.participation.forget(NOW)
    assert not device.notebook.kept
