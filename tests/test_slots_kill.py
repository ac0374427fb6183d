"""Power loss at every system call of every step, by SIGKILL; afterwards a fresh process looks."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.updates.slots import Label, Slot, Slots
from sync.updates.offers import Kind
from sync.updates.rejected import Reason
from tests.killing import in_a_fresh_process, killed_after


def label(serial: int) -> Label:
    return Label(
        kind=Kind.BUNDLE, name="affect-1", serial=serial, says=f"1.0.{serial}", sha256="0" * 64
    )


def fill(slots: Slots, serial: int) -> None:
    with slots.stage(label(serial)) as folder:
        (folder / "inside").mkdir()
        (folder / "inside" / "one").write_bytes(b"%d" % serial * 1000)
        (folder / "two").write_bytes(b"%d" % serial)


def install(slots: Slots, serial: int) -> None:
    fill(slots, serial)
    slots.activate()
    slots.commit()


def is_whole(slot: Slot) -> bool:
    serial = slot.label.serial
    return (slot.folder / "inside" / "one").read_bytes() == b"%d" % serial * 1000 and (
        slot.folder / "two"
    ).read_bytes() == b"%d" % serial


def serial_of(slot: Slot | None) -> int:
    """The serial of what runs, 0 for factory; what a slot holds must be what its label says."""
    assert slot is None or is_whole(slot)
    return slot.label.serial if slot else 0


def on_factory(slots: Slots) -> None:
    slots.folder.mkdir()


def on_two(slots: Slots) -> None:
    install(slots, 1)
    install(slots, 2)


def two_staged(slots: Slots) -> None:
    install(slots, 1)
    fill(slots, 2)


def two_on_probation(slots: Slots) -> None:
    two_staged(slots)
    slots.activate()


def one_on_probation(slots: Slots) -> None:
    fill(slots, 1)
    slots.activate()


def back(slots: Slots) -> None:
    slots.roll_back(Reason.UNHEALTHY, "It did not answer in time.")


Step = Callable[[Slots], object]
STEPS: dict[str, tuple[Step, Step, set[int], int, int]] = {
    # what was, what is done, what may run afterwards, fewest calls to expect, what runs at the end
    "stage on factory": (on_factory, lambda slots: fill(slots, 3), {0}, 30, 0),
    "stage over the one before": (on_two, lambda slots: fill(slots, 3), {2}, 40, 2),
    "activate": (two_staged, Slots.activate, {1, 2}, 15, 2),
    "activate on factory": (lambda slots: fill(slots, 1), Slots.activate, {0, 1}, 15, 1),
    "commit": (two_on_probation, Slots.commit, {2}, 10, 2),
    "roll back": (two_on_probation, back, {1, 2}, 15, 1),
    "roll back to factory": (one_on_probation, back, {0, 1}, 10, 0),
}


@pytest.mark.parametrize("name", STEPS)
def test_killed_after_any_system_call_the_old_or_the_new_runs_whole(
    name: str, tmp_path: Path
) -> None:
    before, step, may_run, fewest, at_the_end = STEPS[name]
    made = tmp_path / "made"
    before(Slots(made))
    seen, calls = set(), -1
    while True:
        calls += 1
        folder = tmp_path / "copy"
        shutil.copytree(made, folder, symlinks=True)
        slots = Slots(folder)
        was_killed = killed_after(calls, lambda slots=slots: step(slots))
        seen.add(serial_of(slots.current()))
        in_a_fresh_process(lambda slots=slots: goes_on(slots, may_run))
        shutil.rmtree(folder)
        if not was_killed:
            break
    assert seen == may_run
    assert calls > fewest, "the sweep must reach the calls that matter"
    step(Slots(made))
    assert serial_of(Slots(made).current()) == at_the_end


def goes_on(slots: Slots, may_run: set[int]) -> None:
    """What a device does after the power came back: all of it must work."""
    now = slots.current()
    assert serial_of(now) in may_run
    ready = slots.staged()
    assert ready is None or is_whole(ready), "what is half written is never ready"
    before = slots.previous()
    assert before is None or is_whole(before)
    if slots.on_probation:
        former = serial_of(before)
        assert serial_of(slots.roll_back(Reason.UNHEALTHY)) == former
    fill(slots, 9)
    stays = serial_of(slots.current())
    assert serial_of(slots.activate()) == 9
    assert serial_of(slots.previous()) == stays
    assert serial_of(slots.roll_back(Reason.UNHEALTHY)) == stays
    fill(slots, 10)
    slots.activate()
    slots.commit()
    assert (serial_of(slots.current()), slots.on_probation) == (10, False)
