"""A bundle is exchanged while people speak: no window is lost, each says who screened it."""

import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import numpy as np
import onnx
import pytest

from agent.capture.recorded import recorded
from agent.capture.sensing import Indicator
from agent.home import Home
from agent.pipeline import screen_stream
from agent.records import GapRecord, OwnBaseline, WindowRecord
from agent.updates.history import History, Step, history_file
from agent.updates.live import LiveEar
from agent.updates.probation import Demands, Watched
from edge_models.baseline import Baseline
from edge_models.bundle import shipped_bundle
from edge_models.errors import BundleError
from edge_models.own import Own
from sync.updates.rejected import Reason
from tests.updating import (
    NOW,
    Ticking,
    each,
    fails_at_the_first_speech,
    home_in,
    install,
    other_moments,
    other_population,
    stage,
)

WINDOW = timedelta(seconds=10)
EASY = Demands(windows=2, lived_s=0.0)
FOREVER = (NOW - timedelta(days=3650), NOW + timedelta(days=3650))


def speech(recordings: Path, count: int) -> list[Path]:
    return sorted((recordings / "speech" / "libri_multi").glob("*.flac"))[:count]


class Run:
    """`sottovoce run` on recordings, with something done in the middle."""

    def __init__(
        self,
        home: Home,
        files: list[Path],
        then: dict[int, Callable[[], object]] | None = None,
        *,
        demands: Demands = EASY,
        clock: Ticking | None = None,
    ) -> None:
        self.said: list[str] = []
        self.homes: list[Home] = []
        with ExitStack() as stack:
            store = stack.enter_context(home.open_store())
            ear = stack.enter_context(
                LiveEar(
                    home, store, clock=lambda: NOW, say=self.said.append, demands=demands,
                    monotonic=clock or Ticking(),
                )
            )  # fmt: skip
            ear.tell(self.homes.append)
            self.began_with = ear.home
            stream = recorded(files, indicator=Indicator())
            records = screen_stream(stream, ear=ear, faces=None, memory=store, started_at=NOW)
            self.records = list(each(records, then or {}))
            self.ended_with = ear.home
        self.windows = [record for record in self.records if isinstance(record, WindowRecord)]
        self.gaps = [record for record in self.records if isinstance(record, GapRecord)]

    @property
    def serials(self) -> list[int]:
        return [window.serial for window in self.windows]


def steps_of(home: Home) -> list[tuple[Step, int, Reason | None]]:
    lines = History(history_file(home.settings.state_folder)).lines()
    return [(line.step, line.serial, line.reason) for line in lines]


def must_be_seamless(run: Run) -> None:
    starts = [window.started_at for window in run.windows]
    assert starts == [NOW + n * WINDOW for n in range(len(starts))]
    assert run.gaps == []


def test_a_swap_between_two_windows_loses_none_and_each_says_who_screened_it(
    recordings: Path, tmp_path: Path
) -> None:
    files = speech(recordings, 12)
    plain = Run(home_in(tmp_path / "plain"), files)
    home = home_in(tmp_path / "device")
    run = Run(home, files, {3: lambda: install(home.slots, 7)})
    must_be_seamless(run)
    count = len(plain.windows)
    assert count >= 6
    assert run.serials == [0] * 3 + [7] * (count - 3)
    assert {window.bundle for window in run.windows} == {"affect-1"}
    assert [w.assessment for w in run.windows] == [w.assessment for w in plain.windows], (
        "the same graphs under another version: the baseline was carried over"
    )
    assert [home.serial for home in run.homes] == [7]
    assert run.said == ["The bundle 'affect-1 1.0.1, update 7' screens from now on."]
    assert steps_of(home) == [(Step.COMMITTED, 7, None)]
    assert not home.slots.on_probation
    with home.open_store() as store:
        assert [window.serial for window in store.windows(*FOREVER)] == run.serials


def test_a_bundle_that_hears_differently_begins_a_baseline_and_the_old_one_waits(
    recordings: Path, tmp_path: Path
) -> None:
    home = home_in(tmp_path)
    old = shipped_bundle().hearing
    Run(home, speech(recordings, 3))
    with home.open_store() as store:
        before = store.baseline(old)
    install(home.slots, 7, other_population)
    Run(home_in(tmp_path), speech(recordings, 3))
    with home.open_store() as store:
        new = home_in(tmp_path).bundle.hearing
        assert new != old
        assert store.baseline(new) not in (None, before)
        assert store.baseline(old) == before
        spaces = [window.space for window in store.windows(*FOREVER)]
    assert set(spaces) == {shipped_bundle().space, home_in(tmp_path).bundle.space}


def test_another_body_keeps_the_baseline_and_begins_the_own_moments_anew(
    recordings: Path, tmp_path: Path
) -> None:
    home = home_in(tmp_path)
    files = speech(recordings, 6)
    plain = Run(home_in(tmp_path / "plain"), files)
    Run(home, files)
    with home.open_store() as store:
        kept = store.baseline(home.bundle.hearing)
    assert kept is not None
    before = Own.from_bytes(kept, home.bundle)
    install(home.slots, 7, other_moments)
    after_run = Run(home_in(tmp_path), files)
    bundle = home_in(tmp_path).bundle
    with home.open_store() as store:
        kept = store.baseline(bundle.hearing)
    assert kept is not None
    after = Own.from_bytes(kept, bundle)
    described = sum(window.embedding is not None for window in plain.windows)
    assert before.alignment is not None and after.alignment is not None
    assert before.baseline.windows == before.alignment.windows == described > 1
    assert (after.baseline.windows, after.alignment.windows) == (2 * described, described)
    assert [w.summary is not None for w in after_run.windows] == [
        w.summary is not None for w in plain.windows
    ]


def test_a_baseline_from_before_there_were_own_moments_goes_on(
    recordings: Path, tmp_path: Path
) -> None:
    home = home_in(tmp_path)
    hearing = home.bundle.hearing
    old = Baseline.empty(home.bundle.population)
    for step in range(5):
        old = old.including(home.bundle.population.median + np.float32(step))
    (tmp_path / "first").mkdir()
    first = Run(home_in(tmp_path / "first"), speech(recordings, 1)).windows[0]
    with home.open_store() as store:
        store.add_window(first, OwnBaseline(hearing, old.to_bytes()))
    run = Run(home, speech(recordings, 3))
    described = sum(window.embedding is not None for window in run.windows)
    with home.open_store() as store:
        kept = store.baseline(hearing)
    assert kept is not None
    own = Own.from_bytes(kept, home.bundle)
    assert own.alignment is not None
    assert own.alignment.windows == described > 0
    assert own.baseline.windows == 5 + described


def test_a_bundle_that_fails_on_a_window_is_taken_back_and_the_window_is_not_lost(
    recordings: Path, tmp_path: Path
) -> None:
    files = speech(recordings, 12)
    plain = Run(home_in(tmp_path / "plain"), files)
    home = home_in(tmp_path / "device")
    run = Run(home, files, {2: lambda: install(home.slots, 7, fails_at_the_first_speech)})
    must_be_seamless(run)
    described = [window.embedding is not None for window in run.windows]
    # Only windows that asked nothing of the bad part were answered by the new bundle.
    assert all(serial == 0 for serial, said in zip(run.serials, described, strict=True) if said)
    assert [w.assessment for w in run.windows] == [w.assessment for w in plain.windows]
    assert steps_of(home) == [(Step.ROLLED_BACK, 7, Reason.UNHEALTHY)]
    assert home.slots.current() is None
    assert run.ended_with.serial == 0
    assert "failed while it screened" in run.said[1]


def test_a_bundle_that_is_taken_back_and_fails_in_the_same_window_went_back_once(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home_in(tmp_path)

    def withdrawn_meanwhile(*_: object, **__: object) -> None:
        home.slots.roll_back(Reason.WITHDRAWN)
        raise BundleError("It fails.")

    monkeypatch.setattr(Watched, "after_window", withdrawn_meanwhile)
    run = Run(home, speech(recordings, 6), {1: lambda: install(home.slots, 7)})
    assert run.ended_with.serial == 0 and home.slots.current() is None
    assert steps_of(home) == []  # who took it back has written so


def test_a_bundle_that_does_not_load_is_taken_back_and_the_old_one_goes_on(
    recordings: Path, tmp_path: Path
) -> None:
    home = home_in(tmp_path)
    install(home.slots, 6)
    home.slots.commit()

    def damaged() -> None:
        install(home.slots, 7)
        current = home.slots.current()
        assert current is not None
        (current.folder / "body.onnx").write_bytes(b"bits that rotted")

    def no_graph(folder: Path) -> None:
        model = onnx.load(folder / "gate.onnx")
        model.graph.node[0].op_type = "Unheard"
        onnx.save(model, folder / "gate.onnx")

    run = Run(
        home_in(tmp_path),
        speech(recordings, 8),
        {2: damaged, 4: lambda: install(home.slots, 8, no_graph)},
    )
    must_be_seamless(run)
    assert set(run.serials) == {6}
    assert steps_of(home) == [
        (Step.ROLLED_BACK, 7, Reason.ALTERED),
        (Step.ROLLED_BACK, 8, Reason.UNHEALTHY),
    ]
    assert home_in(tmp_path).serial == 6


def test_a_window_that_takes_too_long_takes_the_bundle_back(
    recordings: Path, tmp_path: Path
) -> None:
    home = home_in(tmp_path)
    install(home.slots, 7)
    slow = Run(home_in(tmp_path), speech(recordings, 4), clock=Ticking(step_s=31.0))
    assert set(slow.serials) == {0}
    assert steps_of(home) == [(Step.ROLLED_BACK, 7, Reason.UNHEALTHY)]
    assert "more than 30 s" in slow.said[0]


def test_silence_neither_keeps_a_bundle_nor_takes_it_back(recordings: Path, tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    soundfile.write(tmp_path / "quiet.wav", np.zeros(16_000 * 95), 16_000)
    home = home_in(tmp_path)
    install(home.slots, 7)
    run = Run(home_in(tmp_path), [tmp_path / "quiet.wav"], clock=Ticking(step_s=1.0))
    assert set(run.serials) == {7}
    assert home.slots.on_probation
    assert steps_of(home) == []
    for _ in range(4):  # started and ended in order, as often as one likes
        Run(home_in(tmp_path), [tmp_path / "quiet.wav"])
    assert home.slots.on_probation
    Run(home_in(tmp_path), speech(recordings, 5))
    assert steps_of(home) == [(Step.COMMITTED, 7, None)]


def test_going_back_by_hand_is_followed_between_two_windows(
    recordings: Path, tmp_path: Path
) -> None:
    home = home_in(tmp_path)
    install(home.slots, 6)
    home.slots.commit()
    install(home.slots, 7)
    home.slots.commit()
    run = Run(
        home_in(tmp_path),
        speech(recordings, 8),
        {3: lambda: home.slots.roll_back(Reason.DECLINED, "The person wanted the old one.")},
    )
    must_be_seamless(run)
    assert run.serials == [7] * 3 + [6] * (len(run.windows) - 3)


def test_settings_that_name_a_bundle_are_obeyed_and_slots_are_not_looked_at(
    recordings: Path, tmp_path: Path
) -> None:
    from tests.updating import write_variant

    mine = write_variant(tmp_path / "mine", version="2.0.0")
    home = home_in(tmp_path / "device", bundle=str(mine))
    run = Run(home, speech(recordings, 5), {2: lambda: install(home.slots, 7)})
    assert run.ended_with.bundle.manifest.version == "2.0.0"
    assert set(run.serials) == {0}
    assert home.slots.on_probation, "and nothing was done to them"


KILLED = """
import os, signal, sys
from pathlib import Path
from agent.updates.live import LiveEar
from tests.updating import NOW, home_in
home = home_in(Path(sys.argv[1]))
with home.open_store() as store:
    ear = LiveEar(home, store, clock=lambda: NOW)
    print(ear.home.serial, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_kills_the_agent_is_taken_back_at_the_third_start(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    install(home.slots, 7)
    serials = []
    for _ in range(3):
        died = subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert died.returncode == -signal.SIGKILL, died.stderr
        serials.append(int(died.stdout.splitlines()[-1]))
    assert serials == [7, 7, 0]
    assert steps_of(home) == [(Step.ROLLED_BACK, 7, Reason.UNHEALTHY)]


HANGS = """
import sys, time
from pathlib import Path
from agent.screening import Ear
from agent.updates.live import LiveEar
from agent.updates.probation import Demands
from edge_models.golden_sound import golden_window
from tests.updating import NOW, home_in
home = home_in(Path(sys.argv[1]))
with home.open_store() as store:
    demands = Demands(longest_window_s=3)
    with LiveEar(home, store, clock=lambda: NOW, say=print, demands=demands) as ear:
        Ear.screen = lambda *_, **__: time.sleep(600)
        ear.screen(golden_window(), alone=None)
"""


def test_a_window_that_hangs_ends_the_agent_after_the_bundle_was_taken_back(
    tmp_path: Path,
) -> None:
    home = home_in(tmp_path)
    install(home.slots, 7)
    ended = subprocess.run(
        [sys.executable, "-c", HANGS, str(tmp_path)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 70, ended.stderr
    assert steps_of(home) == [(Step.ROLLED_BACK, 7, Reason.UNHEALTHY)]
    assert home_in(tmp_path).serial == 0


@pytest.mark.slow
def test_the_agent_follows_a_swap_by_another_process_without_a_gap(
    recordings: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    home = home_in(state)
    agent = subprocess.Popen(
        [sys.executable, "-m", "edge_models.command", "run", "--state", str(state), "--no-page",
         "--pace", "real", "--show", "--microphone", *map(str, speech(recordings, 4))],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    try:
        assert agent.stdout is not None
        lines = [agent.stdout.readline()]
        stage(home.slots, 7)
        home.slots.activate()
        lines += agent.stdout.readlines()
        assert agent.wait(timeout=120) == 0, lines
    finally:
        agent.kill()
        agent.wait()
    assert any("'affect-1 1.0.1, update 7' screens from now on" in line for line in lines), lines
    with home.open_store() as store:
        windows = list(store.windows(*FOREVER))
        assert list(store.gaps(*FOREVER)) == []
    serials = [window.serial for window in windows]
    assert serials == [0] * serials.count(0) + [7] * serials.count(7) and set(serials) == {0, 7}
    ends = [window.started_at + timedelta(seconds=window.duration_s) for window in windows]
    late = [b.started_at - a for a, b in zip(ends, windows[1:], strict=False)]
    assert all(abs(one) < timedelta(milliseconds=1) for one in late), "no second is missing"
