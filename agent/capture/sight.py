"""What is made of each picture: nothing to see, or a face, upright; then the picture is wiped.

Rules it upholds: pixels end here, overwritten whatever happens; a black, blank or frozen
camera is noticed after a moment and named; a camera that hangs sideways or upside down is
turned upright once and remembered.

Place in the life of a frame: camera → **sight** (face mesh) → log → facial summary.
"""

import zlib
from typing import Final, Protocol

import numpy as np

from agent.capture.frames import GapReason
from agent.capture.looked import SightLog
from edge_models.facial import FaceObservation
from edge_models.raw import RawImage

BLANK_AFTER_S: Final = 2.0
"""So long a camera may be black (starting up, a hand passing) before it is a gap."""

FROZEN_AFTER_S: Final = 3.0
"""So long a live camera may repeat one picture to the bit: a real sensor has noise."""

_GRID: Final = 8  # every 8th pixel of every 8th row decides whether a picture is blank
_DARK_MEAN: Final = 8
_DARK_MOST: Final = 32
_ONE_COLOUR: Final = 3

_BLANK_DETAIL: Final = (
    "The camera shows only black or one colour. Open its cover, or give it some light."
)
_FROZEN_DETAIL: Final = (
    "The camera keeps showing the same picture. It is opened again; if that does not help, "
    "unplug it and plug it in again."
)


class Mesh(Protocol):
    """What looks at a picture: `edge_models.face_mesh.FaceMesh`."""

    def observe(self, image: RawImage) -> FaceObservation:
        """The largest face and the number of faces."""
        ...

    def upright_turns(self, image: RawImage) -> int | None:
        """Quarter turns anticlockwise that make it upright; None without a face."""
        ...


class Orientation:
    """Which way up the camera hangs, asked seldom and believed when it says so repeatedly.

    Asked twice a second until a face has been seen, once a second after 2 s without a face,
    and every 10 s otherwise. The first answer counts at once; a change needs three in a row.
    """

    _VOTES: Final = 3

    def __init__(self) -> None:
        self.turns = 0
        self._known = False
        self._ask_at_s = 0.0
        self._face_at_s = 0.0
        self._rival = 0
        self._votes = 0

    def ask(self, mesh: Mesh, image: RawImage) -> int:
        """Quarter turns anticlockwise for this picture."""
        if image.time_s >= self._ask_at_s:
            self._hear(mesh.upright_turns(image))
            self._ask_at_s = image.time_s + self._pause_s(image.time_s)
        return self.turns

    def saw_face(self, time_s: float) -> None:
        """A face was found in the picture of this moment."""
        self._face_at_s = time_s

    def _hear(self, answer: int | None) -> None:
        if answer is None or answer == self.turns:
            self._votes = 0
            self._known = self._known or answer is not None
            return
        self._votes = self._votes + 1 if answer == self._rival else 1
        self._rival = answer
        if not self._known or self._votes >= self._VOTES:
            self.turns, self._known, self._votes = answer, True, 0

    def _pause_s(self, time_s: float) -> float:
        if not self._known or self._votes:
            return 0.5
        return 1.0 if time_s - self._face_at_s > 2.0 else 10.0


class Sight:
    """Looks at the pictures of one camera, in order, and writes what it saw into a log.

    `frozen_after_s` is None for a recording, whose author may well repeat a picture.
    """

    def __init__(self, mesh: Mesh, log: SightLog, *, frozen_after_s: float | None) -> None:
        self._mesh = mesh
        self._log = log
        self._frozen_after_s = frozen_after_s
        self._orientation = Orientation()
        self._blank_since_s: float | None = None
        self._same_since_s = 0.0
        self._last_mark = -1

    def look(self, image: RawImage) -> bool:
        """Look at one picture and wipe it; False when the camera has to be opened again."""
        try:
            if _is_blank(image):
                self._note_blank(image.time_s)
                return True
            self._blank_since_s = None
            if self._is_frozen(image):
                self._log.saw_nothing(GapReason.STALLED, self._same_since_s, _FROZEN_DETAIL)
                return False
            self._log.saw(self._observe(image))
            return True
        finally:
            image.wipe()

    def _observe(self, image: RawImage) -> FaceObservation:
        turns = self._orientation.ask(self._mesh, image)
        if turns == 0:
            seen = self._mesh.observe(image)
        else:
            upright = RawImage(np.rot90(image.pixels, turns).copy(), image.time_s)
            try:
                seen = self._mesh.observe(upright)
            finally:
                upright.wipe()
        if seen.faces:
            self._orientation.saw_face(image.time_s)
        return seen

    def _note_blank(self, time_s: float) -> None:
        if self._blank_since_s is None:
            self._blank_since_s = time_s
        if time_s - self._blank_since_s >= BLANK_AFTER_S:
            self._log.saw_nothing(GapReason.SILENT, self._blank_since_s, _BLANK_DETAIL)

    def _is_frozen(self, image: RawImage) -> bool:
        if self._frozen_after_s is None:
            return False
        mark = zlib.crc32(np.ascontiguousarray(image.pixels[::_GRID, ::_GRID]).data)
        if mark != self._last_mark:
            self._last_mark, self._same_since_s = mark, image.time_s
        return image.time_s - self._same_since_s >= self._frozen_after_s


def _is_blank(image: RawImage) -> bool:
    """Whether a picture is black, or of one colour to the last bits."""
    some = image.pixels[::_GRID, ::_GRID]
    dark = some.mean() < _DARK_MEAN and some.max() < _DARK_MOST
    return bool(dark or np.ptp(some, axis=(0, 1)).max() <= _ONE_COLOUR)
