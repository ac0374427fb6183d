"""What a device says of its ledger, what the study makes of it, and whom its answer stops."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sync.budget import Ledger, Spend
from sync.envelope import encoded
from sync.errors import LedgerRefused, ProtocolError
from sync.identity import COORDINATOR, Identity, Role, issue_credential, public_key
from sync.ledger_head import (
    TRAIL,
    LedgerHead,
    LedgerNotice,
    Standing,
    head_of,
    heed,
    parse_head,
    parse_notice,
    sign_notice,
    standing,
)
from sync.policy import Purpose

START = bytes(range(32))
WHO = "ab" * 16
AUTHORITY, KEY = bytes(32), bytes(range(1, 33))
FREE = Fraction(0)


def ledger(*rounds: int) -> Ledger:
    return Ledger.of(
        Spend(f"{number:064x}", Fraction(1, 80), "any@1", Purpose.HEAD) for number in rounds
    )


def head(*rounds: int, start: bytes = START, study: str = "home") -> LedgerHead:
    return head_of(ledger(*rounds), start, study=study, pseudonym=WHO)


def coordinator(study: str = "home", role: Role = Role.COORDINATOR) -> Identity:
    name = COORDINATOR if role is Role.COORDINATOR else bytes.fromhex(WHO)
    return Identity(
        KEY,
        issue_credential(
            AUTHORITY, study=study, role=role, name=name, signing_key=public_key(KEY),
            expires=2_000,
        ),
    )  # fmt: skip


def heard(payload: bytes, **changes: Any) -> LedgerNotice:
    known = {"study": "home", "pseudonym": WHO, "authority": public_key(AUTHORITY), "now": 1_000}
    return parse_notice(payload, **(known | changes))


@pytest.mark.parametrize(
    ("known", "said", "verdict"),
    [
        (None, head(), Standing.AGREES),
        (None, head(1, 2), Standing.AGREES),
        (head(1, 2), head(1, 2), Standing.AGREES),
        (head(1, 2), head(1, 2, 3, 4), Standing.AGREES),
        (head(1, 2), head(*range(1, 200)), Standing.AGREES),  # further than the trail shows
        (head(1, 2), head(1), Standing.BEHIND),
        (head(1), head(), Standing.BEHIND),
        (head(1, 2), head(1, 3), Standing.FORKED),
        (head(1, 2), head(2, 1), Standing.FORKED),
        (head(1, 2), head(1, 3, 4, 5), Standing.FORKED),
        (head(), head(1, start=bytes(32)), Standing.FORKED),  # another device of the same name
    ],
)
def test_a_study_sees_what_is_behind_or_forked(
    known: LedgerHead | None, said: LedgerHead, verdict: Standing
) -> None:
    assert standing(known, said, FREE) is verdict


def test_a_device_that_says_it_spent_less_than_it_sent_is_behind() -> None:
    assert standing(None, head(1, 2), Fraction(2, 80)) is Standing.AGREES
    assert standing(None, head(1, 2), Fraction(3, 80)) is Standing.BEHIND


@given(st.lists(st.integers(0, 9), unique=True), st.lists(st.integers(0, 9), unique=True))
def test_study_and_device_judge_alike(before: list[int], now: list[int]) -> None:
    """Whatever the study objects to, the device sees in its own ledger; and nothing else."""
    known, said = head(*before), head(*now)
    notice = heard(sign_notice(known, coordinator()).to_bytes())
    agrees = now[: len(before)] == before
    assert (standing(known, said, FREE) is Standing.AGREES) == agrees
    if agrees:
        heed(notice, ledger(*now), START)
    else:
        with pytest.raises(LedgerRefused) as refused:
            heed(notice, ledger(*now), START)
        assert refused.value.remedy


def test_a_late_or_doubled_notice_stops_nobody() -> None:
    for seen in range(4):
        notice = heard(sign_notice(head(*range(seen)), coordinator()).to_bytes())
        heed(notice, ledger(*range(5)), START)


def test_two_studies_cannot_recognise_a_device() -> None:
    one, other = head(1, 2), head(1, 2, study="other")
    assert not set(one.trail) & set(other.trail)
    assert not set(one.trail) & {digest.hex()[:32] for digest in ledger(1, 2).chain(START)}


@pytest.mark.parametrize("count", [0, 1, TRAIL - 1, TRAIL, 3 * TRAIL])
def test_a_head_is_read_as_it_was_written_and_finds_its_own_digests(count: int) -> None:
    said = head(*range(count))
    assert parse_head(said.to_bytes()) == said
    assert said.count == count and said.spent_rho == Fraction(count, 80)
    assert len(said.trail) == min(count + 1, TRAIL) and len(said.to_bytes()) < 4_000
    for earlier in range(max(0, count - 70), count + 1):
        reached = earlier > count - TRAIL
        expected = head(*range(earlier)).trail[-1] if reached else None
        assert said.at(earlier) == expected
    assert said.at(count + 1) is None


def test_a_trail_that_does_not_fit_its_count_is_refused() -> None:
    fields = head(1, 2).model_dump()
    for change in ({"trail": fields["trail"][:2]}, {"count": 3}, {"spent": "1/0"}, {"spent": "1"}):
        with pytest.raises(ValidationError):
            LedgerHead(**(fields | change))


@given(st.binary(max_size=300))
def test_any_bytes_give_a_value_or_a_protocol_error(payload: bytes) -> None:
    for read in (parse_head, heard):
        with pytest.raises(ProtocolError):
            read(payload)


@pytest.mark.parametrize(
    "changes",
    [{"study": "other"}, {"pseudonym": "cd" * 16}, {"authority": public_key(KEY)}, {"now": 2_000}],
)
def test_a_notice_of_another_study_person_authority_or_time_is_refused(
    changes: dict[str, Any],
) -> None:
    payload = sign_notice(head(1), coordinator()).to_bytes()
    assert heard(payload).count == 1
    with pytest.raises(ProtocolError):
        heard(payload, **changes)


def test_a_notice_that_was_altered_or_signed_by_a_device_is_refused() -> None:
    signed = sign_notice(head(1), coordinator())
    altered = signed.model_copy(update={"notice": signed.notice.model_copy(update={"count": 9})})
    with pytest.raises(ProtocolError):
        heard(encoded(altered))
    with pytest.raises(ProtocolError):
        heard(sign_notice(head(1), coordinator(role=Role.DEVICE)).to_bytes())
