"""The stream of one run: sound and gaps in, records out.

Rules it upholds: sound ends in the screener; every stretch that was not sensed is recorded as
a gap with its reason; a record is stored before it is shown, and what is usual together with
the window that changed it.

Place in the life of a frame: microphone and camera → **here** → store → tally.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Protocol

from agent.capture.frames import Gap, TurnedOff
from agent.records import GapRecord, OwnBaseline, WindowRecord
from agent.screening import Screened
from edge_models.facial import FaceObservation, FacialSummary, summarise
from edge_models.raw import SAMPLE_RATE_HZ, RawAudio
from edge_models.windows import AudioWindow, WindowCutter


class Looked(Protocol):
    """What a camera saw during a window."""

    @property
    def observations(self) -> tuple[FaceObservation, ...]:
        """Faces, frame by frame; no pixels."""
        ...

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """When it gave nothing usable, and why."""
        ...


class FaceTrack(Protocol):
    """A camera, or a recording of one, that can be asked what it saw."""

    def between(self, start_s: float, end_s: float) -> Looked:
        """What was seen between two moments of the stream."""
        ...


class Memory(Protocol):
    """Where records go: the encrypted store."""

    def add_window(self, record: WindowRecord, baseline: OwnBaseline | None = None) -> None:
        """Keep a window, and the baseline that now includes it."""
        ...

    def add_gap(self, record: GapRecord) -> None:
        """Keep a gap."""
        ...


class Screens(Protocol):
    """Who screens; it may turn into another between two windows."""

    def screen(self, window: AudioWindow | None, *, alone: bool | None) -> Screened:
        """Screen a window and overwrite its sound; None: nothing was heard, only seen."""
        ...


def screen_stream(
    stream: Iterable[RawAudio | Gap | TurnedOff],
    *,
    ear: Screens,
    faces: FaceTrack | None,
    memory: Memory,
    started_at: datetime,
) -> Iterator[WindowRecord | GapRecord]:
    """Screen a stream to its end; yields each record after it has been stored.

    `started_at` (UTC) is the moment of the stream's first sample.
    """
    keeper = _Keeper(ear, faces, memory, started_at)
    cutter = WindowCutter()
    try:
        for item in stream:
            if isinstance(item, RawAudio):
                windows = cutter.push(item)
            else:
                windows = cutter.skip_to(round(item.end_s * SAMPLE_RATE_HZ))
            if isinstance(item, Gap):
                yield keeper.keep_gap(item)
            for window in windows:
                yield from keeper.keep(window)
            if isinstance(item, RawAudio):
                item.wipe()
        for window in cutter.finish():
            yield from keeper.keep(window)
    finally:
        cutter.wipe()


class _Keeper:
    """Turns windows and gaps into stored records."""

    def __init__(
        self,
        ear: Screens,
        faces: FaceTrack | None,
        memory: Memory,
        started_at: datetime,
    ) -> None:
        self._ear = ear
        self._faces = faces
        self._memory = memory
        self._started_at = started_at

    def keep_gap(self, gap: Gap) -> GapRecord:
        record = GapRecord(
            self._at(gap.start_s), gap.duration_s, gap.sensor, gap.reason, gap.detail
        )
        self._memory.add_gap(record)
        return record

    def keep(self, window: AudioWindow) -> Iterator[WindowRecord | GapRecord]:
        face = FacialSummary.nobody_looked()
        if self._faces is not None:
            looked = self._faces.between(window.start_s, window.end_s)
            for gap in looked.gaps:
                yield self.keep_gap(gap)
            face = summarise(looked.observations, window.start_s, window.end_s)
        if window.missing >= window.inner_samples:
            window.wipe()
            if face.values is None:
                return  # nothing was heard and nothing seen: the gap says it all
            screened = self._ear.screen(None, alone=face.alone)
        else:
            screened = self._ear.screen(window, alone=face.alone)
        record = self._record(window, screened, face)
        self._memory.add_window(record, screened.baseline)
        yield record

    def _record(self, window: AudioWindow, screened: Screened, face: FacialSummary) -> WindowRecord:
        judged = screened.judged
        return WindowRecord(
            started_at=self._at(window.start_s),
            duration_s=window.end_s - window.start_s,
            speech_s=screened.speech_s,
            face_s=face.face_s,
            alone=face.alone,
            summary=judged.summary,
            facial=face.values,
            embedding=judged.embedding,
            assessment=judged.assessment,
            bundle=screened.bundle,
            serial=screened.serial,
            space=screened.space,
        )

    def _at(self, stream_s: float) -> datetime:
        return self._started_at + timedelta(seconds=stream_s)
