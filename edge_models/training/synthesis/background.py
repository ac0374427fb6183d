"""Background speakers: speech of sets without affect labels, by people whom no table is made of.

Rules it upholds: a set that holds a single affect clip gives no background, so nobody is on both
sides; sound is described by the same front end.
"""

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from edge_models.errors import RecordingError
from edge_models.training.corpora import Clip, Sex, affect_clips

MOST: Final = 250
FEWEST_PEOPLE: Final = 10


def background_clips(folder: Path) -> tuple[Clip, ...]:
    """Clips of speakers of other sets, each speaker once, then again, up to MOST; () if too few.

    Raises:
        RecordingError: the manifest can't be read.
    """
    affect = affect_clips(folder)
    taken = {clip.dataset for clip in affect}
    people = {clip.person for clip in affect}
    clips = [
        replace(
            affect[0],
            path=row["path"],
            dataset=row["dataset"],
            licence=row["licence"],
            person=row["identity"],
            emotion="neutral",
            sex=Sex.UNKNOWN,
        )
        for row in _rows(folder)
        if row["path"].startswith("speech/")
        and row["identity"]
        and row["identity"] not in people
        and row["dataset"] not in taken
    ]
    if len({clip.person for clip in clips}) < FEWEST_PEOPLE:
        return ()
    return tuple(_in_turns(clips))[:MOST]


def _rows(folder: Path) -> list[dict[str, str]]:
    try:
        with (folder / "MANIFEST.csv").open(newline="", encoding="utf-8") as lines:
            return list(csv.DictReader(lines))
    except OSError as fault:
        raise RecordingError(
            f"'{folder / 'MANIFEST.csv'}' can't be read.", "Name the recordings' folder."
        ) from fault


def _in_turns(clips: list[Clip]) -> Iterator[Clip]:
    seen: dict[str, int] = {}
    turns = []
    for clip in clips:
        seen[clip.person] = seen.get(clip.person, -1) + 1
        turns.append((seen[clip.person], clip.person, clip))
    for _, _, clip in sorted(turns, key=lambda turn: turn[:2]):
        yield clip
