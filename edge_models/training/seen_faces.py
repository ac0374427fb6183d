"""Faces as the device's own facial code sees them: landmarks, blendshapes, the summary.

Rules it upholds: training looks through the same mesh, blendshapes and summary as the device; a
picture of nobody, or of two, is skipped and named; what is remembered on disk goes by the hash of
the picture and of the code that looked at it, and is never pixels.

A still photograph is one window in which nothing moves: it is looked at for some frames, and the
last of them is held for 2.5 s. So blinks, ranges, paths and changes, half of the summary, are
zero there and tell nothing. A clip is cut into windows of ten seconds, as on the device.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import NoFaces, RecordingError
from edge_models.facial import FaceObservation, summarise
from edge_models.raw import RawImage
from edge_models.training.faces import Photograph
from edge_models.training.landmarked import LandmarkedMesh
from edge_models.training.look_cache import LookCache
from edge_models.training.looks import Look
from edge_models.training.pictures import frames, picture

Floats = npt.NDArray[np.float32]
Words = npt.NDArray[np.str_]

LOOKS: Final = 3
"""Frames for which a photograph is looked at: the mesh settles as it follows a face."""

WINDOW_S: Final = 10.0
_HELD_S: Final = 2.5
_HELD_EVERY_S: Final = 0.1
_APART_S: Final = 1.0  # more than the mesh's rest between two searches for faces
_KNOWN_WORDS: Final = ("expression", "person", "dataset", "pose", "eyes")


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """N windows of one face each, and what is known of them.

    `landmarks` float32 (N, 478, 3) in pixels, of the window's last picture; `shapes` float32
    (N, 52), mean blendshapes in 0..1; `summaries` float32 (N, 22), the device's facial summary;
    `expression`, `person`, `dataset`, `pose`, `eyes` are words (N,), "" where unknown.
    """

    landmarks: Floats
    shapes: Floats
    summaries: Floats
    expression: Words
    person: Words
    dataset: Words
    pose: Words
    eyes: Words

    def __len__(self) -> int:
        return len(self.summaries)

    def at(self, rows: npt.NDArray[Any]) -> "Faces":
        """Some of the windows, by places or a mask."""
        return Faces(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Skipped:
    """The photographs and clips that were left out, by name."""

    no_face: tuple[str, ...] = ()
    two_faces: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.no_face) + len(self.two_faces) + len(self.unreadable)


Told = Callable[[Sequence[Photograph]], Iterator[Photograph]]


def seen_faces(
    folder: Path, chosen: Sequence[Photograph], cache: Path | None = None, told: Told = iter
) -> tuple[Faces, Skipped]:
    """Look at every photograph and clip, or remember it from the folder `cache`.

    An interrupted look is remembered as far as it came. `told` wraps them to show progress.

    Raises:
        NoFaces: none of them shows one face.
        RecordingError: the cache can't be written.
    """
    looks: list[tuple[Look, ...]] = []
    with LookCache(cache) as known, _Eye(folder) as eye:
        for one in told(chosen):
            looks.append(known.of(folder, one, eye.looks))
    return _table(looks, chosen)


class _Eye:
    """The mesh, made when something has to be looked at; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mesh: LandmarkedMesh | None = None

    def __enter__(self) -> "_Eye":
        return self

    def __exit__(self, *_: object) -> None:
        if self._mesh is not None:
            self._mesh.__exit__(None, None, None)

    def looks(self, one: Photograph) -> tuple[Look, ...]:
        """What it shows; a file that can't be decoded is a look of -1 faces."""
        self._mesh = self._mesh or LandmarkedMesh()
        try:
            return (
                _clip(self._mesh, self._folder, one)
                if one.moves
                else _still(self._mesh, self._folder, one)
            )
        except RecordingError:
            return (Look.of_no(-1),)


def _still(mesh: LandmarkedMesh, folder: Path, one: Photograph) -> tuple[Look, ...]:
    pixels = picture(folder, one)
    mesh.forget(pixels.shape)
    for look in range(LOOKS):
        seen = mesh.observe(RawImage(pixels, _APART_S * (look + 1)))
    pixels.fill(0)
    times_s = np.arange(0.0, _HELD_S, _HELD_EVERY_S)
    held = [replace(seen, time_s=float(time_s)) for time_s in times_s]
    return (_look(held, mesh, 0.0, _HELD_S),)


def _clip(mesh: LandmarkedMesh, folder: Path, one: Photograph) -> tuple[Look, ...]:
    """Windows of ten seconds; one at the end that is too short for values counts as no face."""
    windows: list[Look] = []
    track: list[FaceObservation] = []
    start_s, time_s = 0.0, 0.0
    for time_s, pixels in frames(folder, one):
        if not track and not windows:
            mesh.forget(pixels.shape)
        if time_s >= start_s + WINDOW_S:
            windows.append(_look(track, mesh, start_s, start_s + WINDOW_S))
            start_s, track = start_s + WINDOW_S, []
        track.append(mesh.observe(RawImage(pixels, time_s)))
        pixels.fill(0)
    windows.append(_look(track, mesh, start_s, time_s + _HELD_EVERY_S))
    return tuple(windows)


def _look(
    track: Sequence[FaceObservation], mesh: LandmarkedMesh, start_s: float, end_s: float
) -> Look:
    summary = summarise(track, start_s, end_s)
    if summary.alone is False:
        return Look.of_no(2)
    shapes = [seen.blendshapes for seen in track if seen.blendshapes is not None]
    landmarks = mesh.landmarks()
    if summary.values is None or landmarks is None:
        return Look.of_no(0)
    mean = np.mean(shapes, axis=0, dtype=np.float64).astype(np.float32)
    return Look(1, landmarks, mean, summary.values)


def _table(
    looks: Sequence[tuple[Look, ...]], chosen: Sequence[Photograph]
) -> tuple[Faces, Skipped]:
    told = [(one, look) for one, found in zip(chosen, looks, strict=True) for look in found]
    named = {
        faces: tuple(dict.fromkeys(one.name for one, look in told if look.faces == faces))
        for faces in (-1, 0, 2)
    }
    kept = [(one, look) for one, look in told if look.faces == 1]
    if not kept:
        raise NoFaces(
            f"None of {len(chosen)} photographs and clips shows one face.",
            "Look at the manifest's rows below 'faces/' and 'clips/'.",
        )
    words = {name: np.asarray([getattr(one, name) for one, _ in kept]) for name in _KNOWN_WORDS}
    skipped = Skipped(no_face=named[0], two_faces=named[2], unreadable=named[-1])
    table = Faces(
        landmarks=np.asarray([look.landmarks for _, look in kept], np.float32),
        shapes=np.asarray([look.shapes for _, look in kept], np.float32),
        summaries=np.asarray([look.summary for _, look in kept], np.float32),
        **words,
    )
    return table, skipped
