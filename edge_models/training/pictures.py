"""Decodes photographs and clips of faces into small RGB pictures.

Rules it upholds: pictures live in memory only; a file that can't be decoded is told by name.
"""

import io
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import scipy.io

from edge_models.errors import RecordingError
from edge_models.training.faces import OLIVETTI, Photograph

Pixels = npt.NDArray[np.uint8]

FRAMES_PER_S: Final = 10.0
"""As the device looks."""

_SIDE: Final = 64  # of Olivetti's pictures
_MARGIN: Final = 16  # they are filled by the face, and the detector wants some air around one
_SHORTEST_SIDE: Final = 256  # smaller pictures are enlarged to it
_NOMINAL_PER_S: Final = 25.0


def picture(folder: Path, photograph: Photograph) -> Pixels:
    """The photograph as RGB, uint8 (height, width, 3); a small one enlarged.

    Raises:
        RecordingError: the file is absent or no picture.
    """
    path = folder / photograph.path
    if photograph.dataset == OLIVETTI:
        return _enlarged(_olivetti(path)[photograph.place])
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as fault:
        raise _unreadable(photograph) from fault
    decoded = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
    if decoded is None:
        raise _unreadable(photograph)
    return _enlarged(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))


def frames(folder: Path, clip: Photograph) -> Iterator[tuple[float, Pixels]]:
    """A clip's pictures with their time in seconds, at most `FRAMES_PER_S`.

    Raises:
        RecordingError: the file is absent or no clip.
    """
    capture = cv2.VideoCapture(str(folder / clip.path))
    try:
        told = capture.get(cv2.CAP_PROP_FPS)
        rate = told if 0.5 <= told <= 250.0 else _NOMINAL_PER_S
        due_s, count = 0.0, 0
        while capture.grab():
            time_s = count / rate
            count += 1
            if time_s + 1e-6 < due_s:
                continue
            due_s += 1 / FRAMES_PER_S
            whole, frame = capture.retrieve()
            if whole:
                yield time_s, _enlarged(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        if not count:
            raise _unreadable(clip)
    finally:
        capture.release()


def _enlarged(rgb: npt.NDArray[np.uint8]) -> Pixels:
    short = min(rgb.shape[:2])
    if short < _SHORTEST_SIDE:
        times = _SHORTEST_SIDE / short
        rgb = cv2.resize(rgb, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(rgb, np.uint8)


@lru_cache(maxsize=1)
def _olivetti(path: Path) -> Pixels:
    """Grey pictures in RGB with a margin, uint8 (400, 96, 96, 3)."""
    try:
        rows = np.asarray(scipy.io.loadmat(io.BytesIO(path.read_bytes()))["faces"], np.uint8)
        upright = rows.T.reshape(-1, _SIDE, _SIDE).transpose(0, 2, 1)
    except (OSError, KeyError, ValueError, TypeError, NotImplementedError) as fault:
        raise RecordingError(
            f"'{path.name}' can't be read.", "Copy the recordings again."
        ) from fault
    margin = (_MARGIN, _MARGIN)
    framed = np.pad(upright, ((0, 0), margin, margin), mode="edge")
    return np.repeat(framed[..., np.newaxis], 3, axis=3)


def _unreadable(photograph: Photograph) -> RecordingError:
    return RecordingError(
        f"'{photograph.name}' can't be decoded.", "Copy it again, or take it off the manifest."
    )
