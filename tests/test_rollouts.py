"""A rollout as a value: who counts as what, when a ring widens, when it halts, what a hand does."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.coordinator.rollouts import (
    RENEW_S,
    Count,
    Rollout,
    RolloutError,
    Rules,
    Said,
    Stand,
    stand_of,
)
from sync.updates.progress import Phase
from sync.updates.rejected import Reason
from sync.updates.rollout import State
from tests.rolling import DAY_S, NOW, directive, progress, pseudonym

RULES = Rules()
LATER = NOW + DAY_S


def rollout(**changes: Any) -> Rollout:
    return Rollout(directive(**changes), RULES, began_at=NOW, opened_at=NOW)


def count(**of: int) -> Count:
    return Count({Stand(name.replace("_", "-")): number for name, number in of.items()})


def looked_at(*, now: int = LATER, on: Rollout | None = None, **of: int) -> Rollout:
    return (on or rollout()).looked_at(count(**of), now)


# Who counts as what.


@pytest.mark.parametrize(
    ("phase", "reason", "stand"),
    [
        (Phase.FETCHED, None, Stand.UNDER_WAY),
        (Phase.TRYING, None, Stand.UNDER_WAY),
        (Phase.WAITING, None, Stand.WAITING),
        (Phase.DECLINED, Reason.DECLINED, Stand.DECLINED),
        (Phase.COMMITTED, None, Stand.COMMITTED),
        (Phase.ROLLED_BACK, Reason.UNHEALTHY, Stand.FAILED),
        (Phase.ROLLED_BACK, Reason.DECLINED, Stand.DECLINED),
        (Phase.ROLLED_BACK, Reason.WITHDRAWN, Stand.WENT_BACK),
        (Phase.REJECTED, Reason.GOLDEN, Stand.FAILED),
        (Phase.REJECTED, Reason.CONTRACT, Stand.FAILED),
        (Phase.REJECTED, Reason.MALFORMED, Stand.FAILED),
        (Phase.REJECTED, Reason.NO_ROOM, Stand.HINDERED),
        (Phase.REJECTED, Reason.UNREACHABLE, Stand.HINDERED),
        (Phase.REJECTED, Reason.CLOCK, Stand.HINDERED),
        (Phase.REJECTED, Reason.WITHDRAWN, Stand.WENT_BACK),
    ],
)
def test_each_last_word_has_its_place(phase: Phase, reason: Reason | None, stand: Stand) -> None:
    assert stand_of(Said(progress(phase, reason), NOW), RULES, NOW) is stand


def test_who_began_and_fell_silent_has_failed_and_who_never_began_is_away() -> None:
    for phase in (Phase.FETCHED, Phase.TRYING):
        said = Said(progress(phase), NOW)
        assert stand_of(said, RULES, NOW + RULES.silent_s) is Stand.UNDER_WAY
        assert stand_of(said, RULES, NOW + RULES.silent_s + 1) is Stand.SILENT
    assert stand_of(None, RULES, NOW + 10 * RULES.silent_s) is Stand.AWAY
    for phase in (Phase.WAITING, Phase.COMMITTED):
        said = Said(progress(phase), NOW)
        assert stand_of(said, RULES, NOW + 10 * RULES.silent_s) is not Stand.SILENT


def test_a_device_is_well_from_its_beginning_until_it_fails() -> None:
    assert count(committed=3, under_way=2, failed=1, silent=1, hindered=9, away=9).well == 5


def test_only_members_in_the_open_rings_are_counted() -> None:
    everybody = [pseudonym(number) for number in range(400)]
    on = rollout(open=2)
    inside = [name for name in everybody if on.directive.includes(name)]
    said = {name: Said(progress(), NOW) for name in everybody}
    counted = on.count(everybody, said, NOW)
    assert counted.devices == counted[Stand.COMMITTED] == len(inside) < 80
    assert on.count(everybody[:200], {}, NOW)[Stand.AWAY] == counted.devices - len(
        [name for name in inside if name in everybody[200:]]
    )


# Widening.


def test_a_ring_widens_when_enough_keep_it_and_the_time_has_passed() -> None:
    assert looked_at(committed=8, away=2).directive.open == 2
    assert looked_at(committed=7, away=3).directive.open == 1
    assert looked_at(committed=10, now=LATER - 1).directive.open == 1
    widened = looked_at(committed=10)
    assert (widened.opened_at, widened.directive.number) == (LATER, 4)
    assert widened.directive.state is State.STARTED
    assert looked_at(on=widened, committed=10).directive.open == 2, "its own time has to pass"


def test_who_waits_for_a_yes_or_said_no_holds_nobody_up() -> None:
    assert looked_at(committed=8, away=2, waiting=50, declined=50).directive.open == 2
    assert looked_at(waiting=5, declined=5).directive.open == 1, "nobody has tried it"


def test_a_full_disk_holds_up_and_halts_nothing() -> None:
    on = looked_at(committed=1, hindered=300)
    assert (on.directive.open, on.directive.state) == (1, State.STARTED)


def test_an_empty_ring_is_passed_at_once_and_the_last_one_waits() -> None:
    assert looked_at(now=NOW).directive.open == 2
    last = rollout(open=4)
    assert looked_at(on=last).directive.state is State.STARTED


def test_the_last_ring_ends_it() -> None:
    done = looked_at(on=rollout(open=4), committed=90, away=10)
    assert (done.directive.state, done.directive.open) == (State.FINISHED, 4)
    assert looked_at(on=done, committed=100) is done


# Halting.


def test_trouble_halts_at_once_and_says_what_was_seen() -> None:
    halted = looked_at(now=NOW, failed=4, silent=1, committed=40, away=60)
    assert halted.directive.state is State.PAUSED and halted.halted
    assert halted.why == (
        "Halted by itself in ring 1: of 45 devices that began, 5 failed (1 of them fell "
        "silent). More than 2 % fail."
    )
    assert halted.directive.number == 4 and halted.directive.open == 1
    assert looked_at(on=halted, committed=1000).directive.state is State.PAUSED


def test_one_flaky_board_of_a_few_halts_nothing() -> None:
    for others in range(5):
        assert looked_at(now=NOW, failed=1, committed=others).directive.state is State.STARTED
    assert looked_at(now=NOW, failed=2, committed=3).directive.state is State.PAUSED


def test_a_failure_that_is_told_before_its_neighbours_success_halts_nothing() -> None:
    """Of 100 that began at once the two that fail say so first."""
    begun = looked_at(now=NOW, failed=2, under_way=98)
    assert begun.directive.state is State.STARTED
    assert looked_at(now=NOW, failed=2, away=98).directive.state is State.PAUSED


def test_trouble_after_the_end_still_halts() -> None:
    done = rollout(open=4, state=State.FINISHED)
    assert looked_at(on=done, committed=200, failed=20).directive.state is State.PAUSED
    assert looked_at(on=done, committed=300, failed=2) is not None


@given(
    st.dictionaries(st.sampled_from(Stand), st.integers(0, 300)),
    st.sampled_from([State.STARTED, State.FINISHED, State.PAUSED, State.ABORTED]),
    st.integers(1, 4),
    st.integers(0, 10 * DAY_S),
)
def test_whatever_is_counted_numbers_rise_and_rings_never_close(
    of: dict[Stand, int], state: State, ring: int, passed: int
) -> None:
    withdrawn = (7,) if state is State.ABORTED else ()
    before = rollout(state=state, open=ring, withdrawn=withdrawn)
    after = before.looked_at(Count(of), NOW + passed)
    if after is before:
        return
    assert after.directive.number == before.directive.number + 1
    assert after.directive.signed_at == NOW + passed
    assert ring <= after.directive.open <= ring + 1
    assert after.directive.key == before.directive.key
    if state in (State.PAUSED, State.ABORTED):
        assert after.directive.state is state and after.directive.open == ring


def test_what_still_stands_is_signed_anew_each_day() -> None:
    for state in (State.PAUSED, State.FINISHED, State.ABORTED):
        on = rollout(state=state, withdrawn=(7,) if state is State.ABORTED else ())
        assert looked_at(on=on, now=NOW + RENEW_S - 1, committed=1) is on
        again = looked_at(on=on, now=NOW + RENEW_S, committed=1)
        assert (again.directive.number, again.directive.state) == (4, state)


# By hand.


def test_a_pause_and_what_ends_it() -> None:
    paused = rollout().paused(NOW + 1)
    assert paused.directive.state is State.PAUSED and not paused.halted
    assert looked_at(on=paused, committed=10).directive.open == 1
    resumed = paused.resumed(count(committed=10), NOW + 9)
    assert (resumed.directive.state, resumed.opened_at, resumed.why) == (State.STARTED, NOW + 9, "")
    for wrong in (paused.paused, lambda now: rollout().resumed(count(), now)):
        with pytest.raises(RolloutError, match="it can't be"):
            wrong(NOW)


def test_who_resumes_what_halted_has_looked_at_it_and_later_trouble_halts_again() -> None:
    halted = looked_at(now=NOW, failed=5, committed=40)
    resumed = halted.resumed(count(failed=5, committed=40), NOW + 1)
    assert looked_at(on=resumed, now=NOW + 2, failed=6, committed=60) is resumed
    again = looked_at(on=resumed, now=NOW + 2, failed=10, committed=80)
    assert again.halted and "of 45 devices that began, 5 failed" in again.why
    by_hand = rollout().paused(NOW).resumed(count(failed=1, committed=3), NOW)
    assert by_hand.aside == (0, 0), "what did not halt it still counts"


@pytest.mark.parametrize("state", [State.STARTED, State.PAUSED, State.FINISHED])
def test_an_abort_is_for_good_and_withdraws_the_serial(state: State) -> None:
    gone = rollout(state=state, withdrawn=(3,)).aborted(NOW)
    assert (gone.directive.state, gone.directive.withdrawn) == (State.ABORTED, (3, 7))
    for wrong in (gone.aborted, gone.paused, lambda now: gone.resumed(count(), now)):
        with pytest.raises(RolloutError):
            wrong(NOW)
    assert looked_at(on=gone, now=NOW, committed=100) is gone


def test_only_so_many_withdrawn_serials_are_said_the_newest_ones() -> None:
    many = rollout(serial=100, withdrawn=tuple(range(1, 17))).aborted(NOW)
    assert many.directive.withdrawn == (*range(2, 17), 100)


@pytest.mark.parametrize(
    "changes", [{"tolerated": 0.0}, {"tolerated": 0.5}, {"enough": 0.0}, {"soak_s": -1}]
)
def test_rules_out_of_the_tests_domain_are_none(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Rules(**changes)


def test_a_rollout_is_compared_by_value() -> None:
    assert rollout() == rollout() != replace(rollout(), why="x")
