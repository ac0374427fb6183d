"""The `face` stage of `sottovoce describe`: a video's facial summary, one row a window.

Columns: file, start_s, end_s, seconds a face was seen, whether it was alone, and the facial
features; a window without enough of a face has empty numbers. The sound of a video is not read.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import track

from agent.capture.camera import face_track, open_recording
from agent.capture.sensing import Indicator
from agent.tables import Row, open_table
from edge_models.errors import RecordingError
from edge_models.facial import FACIAL_NAMES, summarise

_FRAMES_PER_S: Final = 10.0
_WINDOW_S: Final = 10.0


def describe_faces(files: Sequence[str], out: Path, window: str) -> int:
    """Describe the faces of video files; 1 if some file could not be read."""
    columns = ["file", "start_s", "end_s", "face_s", "alone", *FACIAL_NAMES]
    unreadable: list[RecordingError] = []
    with open_table(out, columns) as table:
        for file in track(files, "Watching", console=Console(stderr=True), transient=True):
            try:
                table.add(list(_rows(file, window)))
            except RecordingError as fault:
                unreadable.append(fault)
    for failure in unreadable:
        print(f"sottovoce describe: {failure}", file=sys.stderr)
    return 1 if unreadable else 0


def _rows(file: str, window: str) -> Iterator[Row]:
    device = open_recording(Path(file))
    duration_s = device.promised_s
    device.close()
    step_s = duration_s if window == "file" else _WINDOW_S
    track_of_faces = face_track(
        Path(file),
        frames_per_s=_FRAMES_PER_S,
        indicator=Indicator(),
        clock=lambda: 0.0,
        live=False,
    )
    with track_of_faces as faces:
        start_s = 0.0
        while start_s < duration_s:
            end_s = min(start_s + step_s, duration_s)
            seen = summarise(faces.between(start_s, end_s).observations, start_s, end_s)
            values = np.full(len(FACIAL_NAMES), np.nan) if seen.values is None else seen.values
            yield [file, start_s, end_s, seen.face_s, bool(seen.alone), *map(float, values)]
            start_s = end_s
