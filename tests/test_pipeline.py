"""The stream of one run: every second is a window or a gap, and raw sound is wiped on the way."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

import numpy as np

from agent.capture.frames import Gap, GapReason, Sensor, TurnedOff
from agent.capture.looked import Looked
from agent.pipeline import screen_stream
from agent.records import GapRecord, OwnBaseline, WindowRecord
from agent.screening import Ear, Heard, Judged, Screener
from edge_models.alignment import Moments
from edge_models.assessment import Abstention, Assessment, Scores
from edge_models.baseline import Population
from edge_models.facial import FaceObservation
from edge_models.own import Own
from edge_models.raw import RawAudio
from edge_models.windows import AudioWindow

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
ONES = np.ones(88, np.float32)
POPULATION = Population(ONES, ONES, ONES, ONES)


@dataclass
class FakeScreener:
    """Hears speech in any sound and remembers whether it was asked to judge alone or not."""

    name: str = "fake-1"
    alone: list[bool | None] = field(default_factory=list)
    heard: list[AudioWindow] = field(default_factory=list)

    hearing: str = "0" * 16
    space: str = "fake-1-0"
    population: Population = POPULATION
    moments: Moments | None = None

    @property
    def bundle(self) -> "FakeScreener":
        return self

    def hear(self, window: AudioWindow) -> Heard:
        speech = np.full(window.frames, bool(window.sound.samples.any()))
        self.heard.append(window)
        window.wipe()
        return Heard(np.zeros((window.frames, 25), np.float32), speech)

    def judge(self, heard: Heard, own: Own, *, alone: bool | None) -> tuple[Judged, Own]:
        self.alone.append(alone)
        if alone is False:
            return Judged(ONES, ONES, Assessment(None, Abstention.NOT_ALONE)), own
        scored = Assessment(Scores(0.1, 0.2, 0.3), None)
        embedding, after = own.heard(ONES, lambda z: z)
        return Judged(ONES, embedding, scored), after


@dataclass
class FakeMemory:
    """Keeps what the store would keep."""

    windows: list[WindowRecord] = field(default_factory=list)
    gaps: list[GapRecord] = field(default_factory=list)
    baseline: bytes = b""

    def add_window(self, record: WindowRecord, baseline: OwnBaseline | None = None) -> None:
        self.windows.append(record)
        self.baseline = baseline.content if baseline else self.baseline

    def add_gap(self, record: GapRecord) -> None:
        self.gaps.append(record)


class FakeFaces:
    """One face in the first ten seconds, two in the next, then a camera that is gone."""

    def between(self, start_s: float, end_s: float) -> Looked:
        if start_s >= 20:
            gap = Gap(Sensor.CAMERA, GapReason.UNPLUGGED, start_s, end_s, "It went away.")
            return Looked((), (gap,))
        faces = 1 if start_s < 10 else 2
        zeros = np.zeros(52, np.float32)
        seen = tuple(
            FaceObservation(
                time_s=start_s + step / 10,
                faces=faces,
                blendshapes=zeros,
                head_deg=zeros[:3],
                gaze=zeros[:2],
                centre=zeros[:2],
                size=0.3,
            )
            for step in range(100)
        )
        return Looked(seen, ())


def _sound(seconds: float, first: int = 0) -> RawAudio:
    return RawAudio(np.full(round(seconds * 16_000), 0.1, np.float32), first)


def _screened(
    stream: list[RawAudio | Gap | TurnedOff], faces: FakeFaces | None = None
) -> tuple[list[WindowRecord | GapRecord], FakeMemory, FakeScreener]:
    memory, screener = FakeMemory(), FakeScreener()
    records: Iterator[WindowRecord | GapRecord] = screen_stream(
        stream,
        ear=Ear(cast(Screener, screener), Own.empty(screener), serial=7),
        faces=faces,
        memory=memory,
        started_at=START,
    )
    return list(records), memory, screener


def test_windows_carry_their_place_in_time_and_what_is_usual_is_kept_with_them() -> None:
    records, memory, screener = _screened([_sound(25)])
    assert records == memory.windows
    assert [w.started_at - START for w in memory.windows] == [
        timedelta(seconds=s) for s in (0, 10, 20)
    ]
    assert [w.duration_s for w in memory.windows] == [10.0, 10.0, 5.0]
    assert Own.from_bytes(memory.baseline, screener).baseline.windows == 3


def test_a_gap_is_kept_with_its_reason_and_later_windows_keep_their_time() -> None:
    gap = Gap(Sensor.MICROPHONE, GapReason.UNPLUGGED, 5.0, 31.0, "It went away.")
    records, memory, screener = _screened([_sound(5), gap, _sound(9, 31 * 16_000)])
    assert [g.reason for g in memory.gaps] == [GapReason.UNPLUGGED]
    assert memory.gaps[0].duration_s == 26.0
    starts = [(w.started_at - START).total_seconds() for w in memory.windows]
    assert starts == [0.0, 30.0], "a window in which nothing was heard or seen is no record"
    assert len(screener.heard) == 2
    assert len(records) == 3


def test_raw_sound_is_zero_everywhere_once_it_was_heard() -> None:
    block = _sound(12)
    _, _, screener = _screened([block])
    assert not block.samples.any()
    assert not any(window.sound.samples.any() for window in screener.heard)


def test_two_faces_are_told_to_the_judge_and_a_camera_gap_is_kept() -> None:
    _, memory, screener = _screened([_sound(30)], FakeFaces())
    assert screener.alone == [True, False, None]
    assert memory.windows[1].assessment.abstained is Abstention.NOT_ALONE
    assert [g.sensor for g in memory.gaps] == [Sensor.CAMERA]


def test_a_microphone_that_is_off_lets_the_camera_tell_time_and_is_no_gap() -> None:
    off: list[RawAudio | Gap | TurnedOff] = [
        TurnedOff(Sensor.MICROPHONE, end_s) for end_s in (10.0, 20.0)
    ]
    _, memory, screener = _screened(off, FakeFaces())
    assert not screener.heard
    assert {w.assessment.abstained for w in memory.windows} == {Abstention.NOT_HEARD}
    assert [w.face_s > 5 for w in memory.windows] == [True, True]
    assert memory.gaps == []
