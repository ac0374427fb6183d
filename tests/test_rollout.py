"""Directives: signed, bounded, one order of devices a rollout; and what a device does about one."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import chi2

from edge_models.errors import ContractError
from sync.envelope import encoded
from sync.identity import Role, public_key
from sync.updates.offers import Kind
from sync.updates.orders import MOST_HEARD, Heard, Installed, Order, order_of, parse_heard
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.rollout import (
    MOST_AGE_S,
    MOST_DIRECTIVES,
    MOST_ROLLOUT_BYTES,
    MOST_WITHDRAWN,
    Directive,
    Rollouts,
    State,
    parse_rollouts,
    sign_rollouts,
)
from tests.rolling import AUTHORITY, DAY_S, NOW, SIGNING, coordinator, directive, pseudonym

RELEASE = directive(kind=Kind.RELEASE, name="agent", path="releases/7.json")


def parsed(content: bytes, **changes: Any) -> tuple[Directive, ...]:
    said: dict[str, Any] = {"study": "north", "authority": public_key(AUTHORITY), "now": NOW}
    return parse_rollouts(content, **(said | changes))


def refused(reason: Reason, content: bytes, **changes: Any) -> None:
    with pytest.raises(UpdateRejected) as refusal:
        parsed(content, **changes)
    assert refusal.value.reason is reason


def test_what_is_signed_comes_back_as_it_was() -> None:
    assert parsed(sign_rollouts((directive(), RELEASE), coordinator())) == (directive(), RELEASE)
    assert parsed(sign_rollouts((), coordinator())) == ()


def test_a_directive_of_anybody_else_is_refused() -> None:
    content = sign_rollouts((directive(),), coordinator())
    refused(Reason.UNSIGNED, content, authority=public_key(SIGNING))
    refused(Reason.UNSIGNED, sign_rollouts((directive(),), coordinator(role=Role.DEVICE)))
    refused(Reason.UNSIGNED, sign_rollouts((directive(),), coordinator(study="south")))
    refused(Reason.OTHER_STUDY, content, study="south")
    refused(Reason.EXPIRED, content, now=NOW + 300 * DAY_S)


@pytest.mark.parametrize(
    ("field", "value"),
    [("open", 2), ("number", 4), ("serial", 8), ("sha256", "ba" * 32), ("key", "0d" * 32)],
)
def test_an_altered_directive_is_refused(field: str, value: object) -> None:
    said = json.loads(sign_rollouts((directive(),), coordinator()))
    said["rollouts"][0]["directive"][field] = value
    refused(Reason.UNSIGNED, json.dumps(said).encode())


def test_what_is_too_long_is_refused_unread() -> None:
    content = sign_rollouts((directive(),), coordinator())
    refused(Reason.TOO_LARGE, content + b" " * MOST_ROLLOUT_BYTES)


def test_the_longest_directives_fit_into_one_file() -> None:
    longest = [
        directive(
            study="n" * 32,
            name=f"{'a' * 30}-{number}",
            path="bundles" + f"/{'b' * 128}" * 2,
            rings=tuple(range(993, 1001)),
            withdrawn=tuple(2**31 - each for each in range(MOST_WITHDRAWN)),
            number=2**31,
            serial=2**31,
            state=State.ABORTED,
            signed_at=2**40,
        )
        for number in range(MOST_DIRECTIVES)
    ]
    content = sign_rollouts(tuple(longest), coordinator("n" * 32))
    assert len(parsed(content, study="n" * 32)) == MOST_DIRECTIVES


def test_two_directives_of_one_name_are_not_signed_nor_read() -> None:
    with pytest.raises(ContractError):
        sign_rollouts((directive(), directive(number=4)), coordinator())
    signed = Rollouts.model_validate_json(sign_rollouts((directive(),), coordinator())).rollouts
    twice = {"version": 1, "rollouts": [json.loads(encoded(each)) for each in signed * 2]}
    refused(Reason.MALFORMED, json.dumps(twice).encode())


@given(st.binary(max_size=400))
def test_any_bytes_give_directives_or_a_reason(content: bytes) -> None:
    with pytest.raises(UpdateRejected):
        parsed(content)


@given(st.integers(0, 5000), st.integers(1, 255))
def test_one_altered_byte_is_refused(at: int, change: int) -> None:
    content = bytearray(sign_rollouts((directive(), RELEASE), coordinator()))
    content[at % len(content)] ^= change
    with pytest.raises(UpdateRejected):
        parsed(bytes(content))


@pytest.mark.parametrize(
    "changes",
    [
        {"rings": ()}, {"rings": (10, 10)}, {"rings": (100, 10)}, {"rings": (0, 10)},
        {"rings": (10, 1001)}, {"rings": tuple(range(1, 10))}, {"open": 0}, {"open": 5},
        {"number": 0}, {"number": True}, {"key": "0c" * 31}, {"path": "bundles/../x"},
        {"state": State.ABORTED}, {"withdrawn": (7,)}, {"kind": Kind.HEAD}, {"serial": 0},
        {"withdrawn": tuple(range(8, 25))}, {"per_mille": 10}, {"version": 2},
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_no_directive(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        directive(**changes)


# Rings.

HEX = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(st.binary(min_size=16, max_size=16).map(bytes.hex), HEX)
def test_who_is_in_a_ring_is_in_each_larger_one(name: str, key: str) -> None:
    shares = (1, 10, 100, 300, 500, 999, 1000)
    inside = [directive(rings=shares, open=ring, key=key).includes(name) for ring in range(1, 8)]
    assert inside == sorted(inside) and inside[-1]
    first = directive(rings=shares, key=key).ring_of(name)
    assert first == 1 + inside.index(True)


def test_places_in_rings_are_uniform() -> None:
    """200,000 devices over 200 cells of 5 ‰; it would fail once in a million right codes."""
    cells, devices = 200, 200_000
    counts = [0] * (cells + 1)
    rings = tuple(range(5, 1001, 5))
    key = bytes(32)
    steps = [directive(rings=rings[start : start + 8], key=key.hex()) for start in range(0, 200, 8)]
    for number in range(devices):
        name = hashlib.sha256(number.to_bytes(4, "big")).hexdigest()[:32]
        low, high = 0, len(steps) - 1
        while low < high:  # the first step that has a ring for it
            middle = (low + high) // 2
            low, high = (low, middle) if steps[middle].ring_of(name) else (middle + 1, high)
        counts[8 * low + (steps[low].ring_of(name) or 0) - 1] += 1
    expected = devices / cells
    statistic = sum((count - expected) ** 2 / expected for count in counts[:cells])
    assert counts[cells] == 0 and sum(counts) == devices
    assert chi2.sf(statistic, cells - 1) > 1e-6
    assert chi2.cdf(statistic, cells - 1) > 1e-6  # nor is it too even to be a hash


def test_another_key_gives_another_order() -> None:
    """Of 1000 devices 100 are first; that 40 of them are first again has odds below 1e-13."""
    first, again = (
        {number for number in range(1000) if directive(rings=(100,), key=key).includes(
            pseudonym(number))}
        for key in ("0c" * 32, "0d" * 32)
    )  # fmt: skip
    assert 50 < len(first) < 160 and 50 < len(again) < 160
    assert len(first & again) < 40


# Numbers.


def test_the_highest_number_counts_and_outlives_a_restart() -> None:
    heard = Heard().follow(directive(number=3)).follow(RELEASE).follow(directive(number=5))
    again = parse_heard(heard.to_bytes())
    assert again.follow(directive(number=5)) and again.follow(directive(number=6))
    with pytest.raises(UpdateRejected) as older:
        again.follow(directive(number=4))
    assert older.value.reason is Reason.OLDER


def test_another_directive_of_the_same_number_is_refused() -> None:
    heard = Heard().follow(directive(number=3))
    with pytest.raises(UpdateRejected) as other:
        heard.follow(directive(number=3, open=2))
    assert other.value.reason is Reason.EQUIVOCAL


def test_numbers_of_one_name_say_nothing_of_another() -> None:
    heard = Heard().follow(directive(number=9))
    assert heard.follow(RELEASE.model_copy(update={"number": 1}))
    assert heard.follow(directive(number=1, name="affect-2"))


def test_what_is_remembered_is_bounded() -> None:
    heard = Heard()
    for number in range(MOST_HEARD):
        heard = heard.follow(directive(name=f"name-{number}"))
    assert parse_heard(heard.to_bytes()) == heard
    with pytest.raises(UpdateRejected) as refusal:
        heard.follow(directive(name="one-more"))
    assert refusal.value.reason is Reason.NO_ROOM


@given(st.binary(max_size=200))
def test_a_damaged_memory_is_never_taken_for_an_empty_one(content: bytes) -> None:
    with pytest.raises(UpdateRejected):
        parse_heard(content)


# Orders.

ALL = {"rings": (10, 1000), "open": 2}
ME = pseudonym(1)


@pytest.mark.parametrize("state", list(State))
def test_only_who_is_in_an_open_ring_of_what_goes_on_takes_it(state: State) -> None:
    withdrawn = (7,) if state is State.ABORTED else ()
    said = directive(**ALL, state=state, withdrawn=withdrawn)
    taken = Order.TAKE if state in (State.STARTED, State.FINISHED) else Order.STAY
    assert order_of(said, ME, Installed(6), NOW) is taken
    outside = next(pseudonym(n) for n in range(100) if not directive().includes(pseudonym(n)))
    assert order_of(directive(state=State.STARTED), outside, Installed(6), NOW) is Order.STAY


@pytest.mark.parametrize(
    "installed",
    [Installed(7, 6), Installed(8, 7), Installed(6, None, frozenset({7}))],
    ids=["the same", "newer", "failed here"],
)
def test_nothing_is_taken_twice_nor_backwards(installed: Installed) -> None:
    assert order_of(directive(**ALL), ME, installed, NOW) is Order.STAY


def test_a_directive_a_week_old_opens_nothing() -> None:
    assert order_of(directive(**ALL), ME, Installed(6), NOW + MOST_AGE_S) is Order.TAKE
    assert order_of(directive(**ALL), ME, Installed(6), NOW + MOST_AGE_S + 1) is Order.STAY


def test_who_runs_what_was_withdrawn_goes_back_to_what_it_has_however_old_the_word() -> None:
    aborted = directive(state=State.ABORTED, withdrawn=(5, 7))
    for now in (NOW, NOW + 50 * MOST_AGE_S):
        assert order_of(aborted, ME, Installed(7, 6), now) is Order.GO_BACK
        assert order_of(aborted, ME, Installed(5, 0), now) is Order.GO_BACK
    assert order_of(aborted, ME, Installed(7), NOW) is Order.STAY
    assert order_of(aborted, ME, Installed(7, 5), NOW) is Order.STAY, "that is withdrawn, too"
    assert order_of(aborted, ME, Installed(6, 7), NOW) is Order.STAY


def test_a_later_rollout_still_says_what_was_withdrawn() -> None:
    later = directive(**ALL, serial=8, path="bundles/affect-1/8.bundle", withdrawn=(7,))
    assert order_of(later, ME, Installed(7, 6), NOW) is Order.GO_BACK
    assert order_of(later, ME, Installed(7), NOW) is Order.TAKE
    assert order_of(later, ME, Installed(6, None, frozenset({7})), NOW) is Order.TAKE
