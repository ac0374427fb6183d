"""Show what the agent would compute for recordings, one row a frame or window.

    sottovoce describe talk.wav --stage descriptors --out talk.csv
    sottovoce describe clips/*.flac --stage scores --window file --people people.csv --out s.parquet

The same code as on the device: so that anyone can study the features, and attack them.
Stages: descriptors (100 rows a second), summary (window functionals, before the personal
baseline), embedding (after baseline, int8 body and own moments), scores, face (from video files).

A row that the agent would not describe (too little speech) has empty numbers. Files of one
person are measured by that person's own running baseline and moments, in the order given; without
--people each file is a person of its own, so its first window is neither normalised nor aligned,
and tells far more of who speaks.
"""

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import track

from agent.errors import SettingError
from agent.screening import Heard, Judged, Screener
from agent.tables import Row, open_table
from edge_models.acoustic import DESCRIPTOR_NAMES, SUMMARY_NAMES
from edge_models.assessment import TASKS
from edge_models.bundle import load_bundle, shipped_bundle
from edge_models.errors import RecordingError
from edge_models.own import Own
from edge_models.recordings import read_recording
from edge_models.windows import windows_of

_FRAME_S: Final = 0.02
_HOP_S: Final = 0.01
STAGES: Final = ("descriptors", "summary", "embedding", "scores", "face")


@dataclass(slots=True)
class _Piece:
    """A window of one file, heard: where it lies, and what is left of its sound."""

    start_s: float
    end_s: float
    heard: Heard


@dataclass(slots=True)
class _People:
    """What is usual for each person so far; a file without a person is one of its own."""

    person_of: dict[str, str]
    fresh: Own
    known: dict[str, Own] = field(default_factory=dict)

    def own(self, file: str) -> Own:
        return self.known.get(self.person_of.get(file, file), self.fresh)

    def keep(self, file: str, own: Own) -> None:
        self.known[self.person_of.get(file, file)] = own


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sottovoce describe`."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="recordings, in order of time")
    parser.add_argument("--stage", choices=STAGES, default="scores")
    parser.add_argument("--out", type=Path, required=True, help="X.csv or X.parquet")
    parser.add_argument(
        "--window", choices=("10s", "file"), default="10s", help="'file': one window a file"
    )
    parser.add_argument("--people", type=Path, help="CSV with the columns file,person")
    parser.add_argument("--bundle", type=Path, help="another bundle's folder")


def run(arguments: argparse.Namespace) -> int:
    """Describe the files; 1 if some could not be read (the others are written all the same)."""
    if arguments.stage == "face":
        from agent.describe_face import describe_faces  # MediaPipe is heavy: only for video

        return describe_faces(arguments.files, arguments.out, arguments.window)
    bundle = load_bundle(arguments.bundle) if arguments.bundle else shipped_bundle()
    screener = Screener(bundle)
    people = _People(_people_of(arguments.people, arguments.files), Own.empty(bundle))
    unreadable: list[RecordingError] = []
    with open_table(arguments.out, _columns(arguments.stage, screener)) as table:
        for file in track(
            arguments.files, "Describing", console=Console(stderr=True), transient=True
        ):
            try:
                pieces = _heard(screener, Path(file))
                if arguments.window == "file":
                    table.add(_rows(file, _as_one(pieces), arguments, screener, people))
                else:
                    for piece in pieces:
                        table.add(_rows(file, piece, arguments, screener, people))
            except RecordingError as fault:
                unreadable.append(fault)
    for failure in unreadable:
        print(f"sottovoce describe: {failure}", file=sys.stderr)
    return 1 if unreadable else 0


def _heard(screener: Screener, path: Path) -> Iterator[_Piece]:
    for window in windows_of(read_recording(path)):
        yield _Piece(window.start_s, window.end_s, screener.hear(window))


def _as_one(pieces: Iterable[_Piece]) -> _Piece:
    parts = list(pieces)
    return _Piece(parts[0].start_s, parts[-1].end_s, Heard.joined([p.heard for p in parts]))


def _columns(stage: str, screener: Screener) -> list[str]:
    names: dict[str, Sequence[str]] = {
        "descriptors": DESCRIPTOR_NAMES,
        "summary": SUMMARY_NAMES,
        "embedding": [f"e{place:02d}" for place in range(screener.embedding_size)],
        "scores": [*TASKS, "abstained"],
    }
    return ["file", "start_s", "end_s", *names[stage]]


def _rows(
    file: str,
    piece: _Piece,
    arguments: argparse.Namespace,
    screener: Screener,
    people: _People,
) -> Iterator[Row]:
    if arguments.stage == "descriptors":
        for row, values in enumerate(piece.heard.descriptors):
            start_s = piece.start_s + row * _HOP_S
            yield [file, start_s, start_s + _FRAME_S, *map(float, values)]
        return
    judged, own = screener.judge(
        piece.heard, people.own(file), alone=None, short=arguments.window == "file"
    )
    people.keep(file, own)
    yield [file, piece.start_s, piece.end_s, *_numbers(judged, arguments.stage, screener)]


def _numbers(judged: Judged, stage: str, screener: Screener) -> list[float | bool]:
    if stage == "scores":
        scores = judged.assessment.scores
        if scores is None:
            return [np.nan, np.nan, np.nan, True]
        return [scores.sadness, scores.fear, scores.distress, False]
    values = judged.summary if stage == "summary" else judged.embedding
    if values is None:
        size = len(SUMMARY_NAMES) if stage == "summary" else screener.embedding_size
        return [np.nan] * size
    return [float(value) for value in values]


def _people_of(path: Path | None, files: Sequence[str]) -> dict[str, str]:
    """Who speaks in which file, by the name given or by the file's bare name."""
    if path is None:
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError) as fault:
        raise SettingError(f"'{path}' can't be read as CSV.", "Give a file file,person.") from fault
    if not rows or not {"file", "person"} <= set(rows[0]):
        raise SettingError(f"'{path}' lacks the columns file and person.", "Add that first line.")
    by_name = {row["file"]: row["person"] for row in rows}
    by_bare = {Path(name).name: person for name, person in by_name.items()}
    known = {file: by_name.get(file, by_bare.get(Path(file).name, "")) for file in files}
    nobody = [file for file, person in known.items() if not person]
    if nobody:
        raise SettingError(
            f"'{path}' names nobody for {len(nobody)} file(s), such as '{nobody[0]}'.",
            "Add a line for each file, or leave --people out.",
        )
    return known
