"""500 devices and their coordinator: what fails halts within the first ring, what is good arrives.

The claims are about shares of rollouts; each test says how often it would fail though they hold.
"""

from pathlib import Path

import pytest

from edge_models.command import main
from sync.coordinator.rollout_book import open_rollout_book
from sync.coordinator.rollouts import Rules
from sync.coordinator.simulated_rollout import BEFORE, SERIAL, Simulated, SimulatedFleet
from sync.updates.rejected import Reason
from sync.updates.rollout import State

DEVICES = 500


def simulated(
    folder: Path, seed: int, failing: float, *, abort: bool = False, away: float = 0.0,
    devices: int = DEVICES, rings: tuple[int, ...] | None = None, rules: Rules | None = None,
) -> Simulated:  # fmt: skip
    with open_rollout_book(folder / f"{seed}.db", durable=False) as book:
        fleet = SimulatedFleet(
            devices, book, folder / "repository", failing=failing, away=away, seed=seed,
            rings=rings, rules=rules,
        )  # fmt: skip
        return fleet.run(then_abort=abort)


def test_ten_per_cent_failing_halts_within_the_first_ring_and_rolls_back_on_its_own(
    tmp_path: Path,
) -> None:
    done = simulated(tmp_path, 0, 0.1)
    last = done.last.directive
    assert done.last.halted and (last.state, last.open) == (State.PAUSED, 1)
    assert "Halted by itself in ring 1" in done.last.why
    for device in done.devices:
        if not last.includes(device.pseudonym):
            assert device.ran == [BEFORE] and device.heard.known != ()
        if device.fails is not None and device.heard.known:
            assert device.installed.runs == BEFORE, "it went back by itself"
        if device.fails is Reason.GOLDEN:
            assert SERIAL not in device.ran, "it never ran"
    failed = [each for each in done.devices if each.fails and SERIAL in each.installed.refused]
    assert len(failed) >= 3
    assert any(each.ran == [BEFORE, SERIAL, BEFORE] for each in failed)


def test_it_halts_in_the_first_ring_in_nearly_every_study(tmp_path: Path) -> None:
    """It gets past with 1.9 %: 3 of 20 would once in 160 right codes, 4 of 20 once in 1,600."""
    ends = [simulated(tmp_path, seed, 0.1).last for seed in range(1, 21)]
    assert sum(end.halted and end.directive.open == 1 for end in ends) >= 17
    assert all(end.halted for end in ends)


def test_what_fails_on_one_in_two_hundred_reaches_everybody(tmp_path: Path) -> None:
    """A false halt has 0.07 %: 2 of 20 would be once in 10,000 right codes."""
    for_all = 0
    for seed in range(20):
        done = simulated(tmp_path, seed, 0.005)
        good = [each for each in done.devices if each.fails is None]
        arrived = all(each.installed.runs == SERIAL for each in good)
        for_all += done.last.directive.state is State.FINISHED and arrived
        assert all(each.installed.runs == BEFORE for each in done.devices if each.fails)
    assert for_all >= 19


def test_who_has_what_is_withdrawn_goes_back_and_never_takes_it_again(tmp_path: Path) -> None:
    done = simulated(tmp_path, 1, 0.1, abort=True)
    assert done.last.directive.state is State.ABORTED
    had = [each for each in done.devices if SERIAL in each.ran]
    assert len(had) > 5
    for device in done.devices:
        assert device.installed.runs == BEFORE
        assert device.ran.count(SERIAL) <= 1
    assert all(SERIAL in each.installed.refused for each in had)


def test_devices_that_are_away_hold_a_ring_up_and_halt_nothing(tmp_path: Path) -> None:
    done = simulated(tmp_path, 2, 0.0, away=0.3, devices=100)
    assert (done.last.directive.state, done.last.directive.open) == (State.STARTED, 1)
    patient = simulated(tmp_path, 3, 0.0, away=0.3, devices=100, rules=Rules(enough=0.5))
    assert patient.last.directive.state is State.FINISHED


def test_a_few_devices_and_one_flaky_board_go_on(tmp_path: Path) -> None:
    rings = (500, 1000)
    for seed in range(40):
        done = simulated(tmp_path, seed, 0.08, devices=12, rings=rings)
        if sum(each.fails is not None for each in done.devices) == 1:
            break
    assert not done.last.halted
    assert done.last.directive.state is State.FINISHED


def test_the_command_shows_it_as_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert not main(["rollout", "simulate", "--devices", "500", "--failing", "0.1"])
    said = capsys.readouterr().out
    assert "halted" in said and "1 of 2 (37 %)" in said
    assert "Outside the open rings 0 of" in said
    assert "0 of the failing still run it" in said
