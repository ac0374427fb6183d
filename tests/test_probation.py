"""Probation: what keeps a bundle, what takes it back, and what does neither; and its history."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.updates.history import MOST_BYTES, History, Line, Step
from agent.updates.probation import Demands, Probation, Watchdog, Watched, failed_at, read_record
from agent.updates.slots import Slot, Slots
from sync.updates.offers import Kind
from sync.updates.rejected import Reason, UpdateRejected
from tests.test_slots_kill import fill
from tests.updating import Ticking, label

DEMANDS = Demands(windows=3, lived_s=600.0, longest_window_s=30.0)
FRESH = Probation(sha256="0" * 64)


@pytest.fixture
def slot(tmp_path: Path) -> Slot:
    slots = Slots(tmp_path / "slots")
    fill(slots, 1)
    return slots.activate()


def test_the_third_start_after_two_deaths_is_refused(slot: Slot) -> None:
    Watched(slot, DEMANDS, Ticking())
    Watched(slot, DEMANDS, Ticking())
    assert read_record(slot).crashes == 1
    with pytest.raises(UpdateRejected, match="ended the agent 2 times") as refused:
        Watched(slot, DEMANDS, Ticking())
    assert refused.value.reason is Reason.UNHEALTHY


def test_starts_that_end_in_order_are_no_deaths(slot: Slot) -> None:
    for _ in range(10):
        Watched(slot, DEMANDS, Ticking()).ended_well()
    assert read_record(slot).crashes == 0


def test_dying_outside_a_window_after_the_first_minutes_is_nobodys_fault(slot: Slot) -> None:
    for _ in range(5):  # the plug is pulled each night
        clock = Ticking()
        watched = Watched(slot, DEMANDS, clock)
        clock.now_s += 601
        watched.before_window()
        assert read_record(slot).at_risk
        watched.after_window(described=False, took_s=0.1)
        assert not read_record(slot).at_risk
    assert read_record(slot).crashes == 0


def test_dying_inside_a_window_counts_however_long_it_ran(slot: Slot) -> None:
    clock = Ticking()
    watched = Watched(slot, DEMANDS, clock)
    clock.now_s += 5_000
    watched.after_window(described=False, took_s=0.1)
    watched.before_window()
    Watched(slot, DEMANDS, clock)
    assert read_record(slot).crashes == 1


def test_it_is_proven_by_windows_and_by_time_and_by_neither_alone(slot: Slot) -> None:
    clock = Ticking()
    watched = Watched(slot, DEMANDS, clock)
    assert not any(watched.after_window(described=True, took_s=0.1) for _ in range(9))
    clock.now_s += 601
    assert watched.after_window(described=True, took_s=0.1)


def test_silence_is_no_proof_however_long_it_lasts(slot: Slot) -> None:
    clock = Ticking()
    watched = Watched(slot, DEMANDS, clock)
    for _ in range(50):
        clock.now_s += 10_000
        assert not watched.after_window(described=False, took_s=0.1)


def test_what_it_has_shown_outlives_an_orderly_restart_and_not_a_death(slot: Slot) -> None:
    clock = Ticking()
    watched = Watched(slot, DEMANDS, clock)
    watched.after_window(described=True, took_s=0.1)
    clock.now_s += 300
    watched.ended_well()
    again = Watched(slot, DEMANDS, clock)
    assert (again.record.windows, again.record.lived_s) == (1, 300.0)
    after_a_death = Watched(slot, DEMANDS, clock)
    assert (after_a_death.record.windows, after_a_death.record.lived_s) == (0, 0.0)


def test_a_slow_window_takes_it_back(slot: Slot) -> None:
    watched = Watched(slot, DEMANDS, Ticking())
    watched.after_window(described=True, took_s=30.0)
    with pytest.raises(UpdateRejected, match="more than 30 s"):
        watched.after_window(described=True, took_s=30.1)


def test_a_record_of_another_update_or_a_damaged_one_counts_as_none(slot: Slot) -> None:
    Watched(slot, DEMANDS, Ticking())
    slot.record.write_bytes(slot.record.read_bytes().replace(b"0" * 64, b"1" * 64))
    assert read_record(slot) == FRESH
    slot.record.write_bytes(b"{")
    assert read_record(slot) == FRESH


def test_a_start_that_can_not_be_noted_is_not_made(slot: Slot) -> None:
    slot.record.with_name(f".draft.{slot.record.name}").mkdir()
    with pytest.raises(UpdateRejected) as refused:
        Watched(slot, DEMANDS, Ticking())
    assert refused.value.reason is Reason.NO_ROOM


def test_a_failure_is_told_without_what_it_held() -> None:
    told = failed_at(ValueError("a score of 0.93"))
    assert "ValueError" in told.cause and "0.93" not in str(told)


def test_the_watchdog_goes_back_before_it_ends_the_process() -> None:
    order: list[object] = []
    ended = threading.Event()

    def give_up(code: int) -> None:
        order.append(code)
        ended.set()

    with Watchdog(0.05, lambda: order.append("back"), give_up).watching():
        assert ended.wait(30)
    assert order == ["back", 70]


def test_the_watchdog_leaves_work_in_time_alone() -> None:
    barked: list[object] = []
    dog = Watchdog(60.0, lambda: barked.append(1), lambda _: barked.append(2))
    for _ in range(3):
        with dog.watching():
            pass
    with pytest.raises(ZeroDivisionError), dog.watching():
        raise ZeroDivisionError
    assert barked == [] and "watchdog" not in {thread.name for thread in threading.enumerate()}


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 900))), st.booleans())
def test_lived_time_and_windows_only_grow_until_a_death(
    windows: list[tuple[bool, float]], dies: bool
) -> None:
    record, now_s = FRESH.started(DEMANDS), 0.0
    for described, passed_s in windows:
        after = record.heard(described=described, took_s=0.1, demands=DEMANDS)
        after = after.lived(now_s, now_s + passed_s, DEMANDS)
        now_s += passed_s
        assert after.windows >= record.windows and after.lived_s >= record.lived_s
        assert after.at_risk == (after.lived_s < DEMANDS.lived_s)
        record = after
    said = sum(described for described, _ in windows)
    assert record.is_proven(DEMANDS) == (said >= 3 and record.lived_s >= 600.0)
    if dies and record.at_risk:
        assert record.started(DEMANDS).windows == 0


# History.


def line(number: int, step: Step = Step.COMMITTED, why: UpdateRejected | None = None) -> Line:
    return Line.of(label(number), step, 1_795_000_000 + number, why=why)


def test_lines_come_back_in_order_and_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "updates" / "history.jsonl"
    lines = [line(n) for n in range(1, 6)]
    assert all(History(path).add(one) for one in lines)
    numbered = (one.model_copy(update={"number": n}) for n, one in enumerate(lines, 1))
    assert History(path).lines() == tuple(numbered)
    assert History(path).has(Step.COMMITTED, label(3).sha256)
    assert not History(path).has(Step.ROLLED_BACK, label(3).sha256)


def test_what_failed_here_is_known_and_what_was_only_unreachable_is_not(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    history.add(line(1, Step.ROLLED_BACK, UpdateRejected(Reason.UNHEALTHY, "It was too slow.")))
    history.add(line(2, Step.REJECTED, UpdateRejected(Reason.UNREACHABLE, "Nobody answers.")))
    history.add(line(3, Step.REJECTED, UpdateRejected(Reason.GOLDEN, "It answers otherwise.")))
    history.add(line(4, Step.COMMITTED))
    assert history.failed(Kind.BUNDLE, "affect-1") == {1, 3}
    assert history.failed(Kind.BUNDLE, "affect-2") == frozenset()
    assert history.lines()[0].sentence == "It was too slow."


def test_it_never_grows_beyond_two_files(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    why = UpdateRejected(Reason.GOLDEN, "x" * 900)
    for number in range(1, 600):
        history.add(line(number, Step.REJECTED, why))
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"history.jsonl", "history.1.jsonl", "history.lock"}
    assert max(sizes.values()) <= MOST_BYTES
    kept = [one.serial for one in history.lines()]
    assert kept == list(range(kept[0], 600)) and len(kept) > 100


def test_what_failed_here_outlives_all_that_is_said_later(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    history.add(line(1, Step.ROLLED_BACK, UpdateRejected(Reason.UNHEALTHY, "It was too slow.")))
    history.add(line(2, Step.REJECTED, UpdateRejected(Reason.DECLINED, "You said no.")))
    for number in range(3, 1200):
        history.add(line(number, Step.REJECTED, UpdateRejected(Reason.UNREACHABLE, "x" * 900)))
    assert history.failed(Kind.BUNDLE, "affect-1") == {1, 2}
    assert history.lines()[2].number > 500


@given(st.binary(max_size=400))
def test_a_torn_or_altered_line_is_passed_over(junk: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.jsonl"
        history = History(path)
        history.add(line(1))
        with path.open("ab") as file:
            file.write(junk)
        assert history.add(line(2))
        found = [one.serial for one in History(path).lines()]
        assert found[0] == 1 and found[-1] == 2


FULL = """
import resource, sys
from pathlib import Path
from agent.updates.history import History
from tests.test_probation import line
history = History(Path(sys.argv[1]))
assert history.add(line(1))
size = Path(sys.argv[1]).stat().st_size
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
assert not history.add(line(2))
assert not history.add(line(3))
assert Path(sys.argv[1]).stat().st_size == size
assert [one.serial for one in history.lines()] == [1, 2, 3]
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
assert history.add(line(4))
"""


def test_on_a_full_disk_lines_wait_and_are_written_with_the_next(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert [one.serial for one in History(path).lines()] == [1, 2, 3, 4]
