"""What the camera contributes to a window: how the face moved, never what it looks like.

Rules it upholds: an observation holds expression, direction, place and size of a face, no pixel
and no landmark; a second face in more than a brief flicker makes the window "not alone"; every
number is per second or per share of time, so that 10 and 25 frames a second say about the same.

Place in the life of a frame: camera → face mesh → **observation → summary** → a record of the
window (`WindowRecord.facial`), and whether it may be scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.blendshapes import BLENDSHAPE_NAMES
from edge_models.blinks import blinks_in
from edge_models.errors import ContractError

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

FACIAL_NAMES: Final = (
    "blink_rate_per_min",  # blinks per minute of seen face; in 10 s each blink counts 6
    "blink_duration_s",  # mean length of a blink at half its depth; 0 without blinks
    "eyes_closed_share",  # share of time, 0..1, with the eyes closed, blinks included
    "gaze_x_mean",  # -1..1, > 0 to the person's own left, relative to the head, eyes open
    "gaze_y_mean",  # -1..1, > 0 up
    "gaze_movement_per_s",  # path of the gaze per second
    "head_yaw_mean_deg",  # degrees, > 0 to the person's own left
    "head_pitch_mean_deg",  # degrees, > 0 up
    "head_roll_mean_deg",  # degrees, > 0 towards the person's own left shoulder
    "head_yaw_range_deg",  # degrees between the 5th and the 95th percentile
    "head_pitch_range_deg",
    "head_roll_range_deg",
    "head_movement_deg_per_s",  # path of the three angles per second
    "smile_mean",  # 0..1, mean of mouthSmileLeft and mouthSmileRight
    "smile_share",  # share of time, 0..1, with a smile above 0.35
    "mouth_frown_mean",  # 0..1, mouthFrown
    "brow_raise_mean",  # 0..1, browInnerUp and browOuterUp
    "brow_lower_mean",  # 0..1, browDown
    "brow_movement_per_s",  # change of raise and lower per second
    "mouth_open_mean",  # 0..1, jawOpen
    "mouth_movement_per_s",  # change of jawOpen per second
    "expressivity_per_s",  # mean change per second of all shapes but blinks and gaze
)
"""Names of a summary's values, in order; what each counts, and in which unit."""

MINIMUM_FACE_S: Final = 2.0
"""Below this much seen face a window has no facial values."""

_HOLD_S: Final = 0.5  # one observation speaks for at most this long after it was made
_BIN_S: Final = 0.2  # movement is measured between means over such bins, whatever the frame rate
_SMILING: Final = 0.35
_COMPANY_S: Final = 0.5  # an unbroken stretch of two faces that is no flicker any more
_COMPANY_TOTAL_S: Final = 1.0
_ROUNDING_S: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class FaceObservation:
    """What one camera frame said of the (largest) face; every array is None without a face.

    `blendshapes` float32 (52,) in 0..1; `head_deg` float32 (3,) yaw, pitch, roll in degrees;
    `gaze` float32 (2,) in -1..1, to the person's left and up; `centre` float32 (2,), fractions
    of the picture's width and height; `size`, the face's height as a fraction of the picture's.
    """

    time_s: float
    faces: int
    blendshapes: Floats | None = None
    head_deg: Floats | None = None
    gaze: Floats | None = None
    centre: Floats | None = None
    size: float = 0.0

    def __post_init__(self) -> None:
        shapes = (self.blendshapes, self.head_deg, self.gaze, self.centre)
        if self.faces < 0 or any((values is None) != (self.faces == 0) for values in shapes):
            raise ContractError("An observation of a face is complete, one of no face is empty.")
        for values, length in zip(shapes, (len(BLENDSHAPE_NAMES), 3, 2, 2), strict=True):
            if values is not None and values.shape != (length,):
                raise ContractError("An observation's arrays have fixed lengths.")


@dataclass(frozen=True, slots=True, eq=False)
class FacialSummary:
    """A window as the camera saw it.

    `values` float32 (len(FACIAL_NAMES),), None when a face was seen for less than
    `MINIMUM_FACE_S`; `face_s` seconds with a face; `alone` False when a second face stayed,
    None when no camera looked.
    """

    values: Floats | None
    face_s: float
    alone: bool | None

    @staticmethod
    def nobody_looked() -> "FacialSummary":
        """A window without a camera."""
        return FacialSummary(None, 0.0, None)


def gaze_of(blendshapes: Floats) -> Floats:
    """Where the eyes turn within the head, float32 (2,) in -1..1: to the person's left, and up."""
    left = _mean_of(blendshapes, "eyeLookOutLeft", "eyeLookInRight")
    right = _mean_of(blendshapes, "eyeLookInLeft", "eyeLookOutRight")
    up = _mean_of(blendshapes, "eyeLookUpLeft", "eyeLookUpRight")
    down = _mean_of(blendshapes, "eyeLookDownLeft", "eyeLookDownRight")
    return np.array([left - right, up - down], np.float32)


def summarise(
    observations: Sequence[FaceObservation], start_s: float, end_s: float
) -> FacialSummary:
    """Summarise the observations of one window, from `start_s` to `end_s` of the stream.

    Each observation speaks for the time until the next one, at most 0.5 s. "Not alone" means
    two or more faces for an unbroken 0.5 s (in two observations at least), or 1.0 s in all.

    Raises:
        ContractError: the window is empty, or the observations are not in order.
    """
    if end_s <= start_s:
        raise ContractError("A window ends after it starts.")
    inside = [seen for seen in observations if start_s <= seen.time_s < end_s]
    if not inside:
        return FacialSummary.nobody_looked()
    times = np.array([seen.time_s for seen in inside])
    if (np.diff(times) < 0).any():
        raise ContractError("Observations come in the order in which they were made.")
    held_s = np.minimum(np.diff(times, append=end_s), _HOLD_S)
    if len(times) > 1:  # the last frame speaks for one frame more, not for a hole after it
        held_s[-1] = min(held_s[-1], float(np.median(held_s[:-1])))
    faces = np.array([seen.faces for seen in inside])
    face_s = float(held_s[faces > 0].sum())
    alone = not _in_company(faces >= 2, held_s)
    if face_s < MINIMUM_FACE_S:
        return FacialSummary(None, face_s, alone)
    with_face = faces > 0
    track = _Track(
        times[with_face] - start_s,
        held_s[with_face],
        _stacked([seen.blendshapes for seen in inside]),
        _stacked([seen.head_deg for seen in inside]),
        _stacked([seen.gaze for seen in inside]),
    )
    return FacialSummary(_values_of(track, face_s), face_s, alone)


@dataclass(frozen=True, slots=True, eq=False)
class _Track:
    """The n frames with a face: float64 (n,), (n,), (n, 52), (n, 3), (n, 2)."""

    times_s: Doubles
    held_s: Doubles
    shapes: Doubles
    head_deg: Doubles
    gaze: Doubles


def _values_of(track: _Track, face_s: float) -> Floats:
    closure = _mean_of(track.shapes, "eyeBlinkLeft", "eyeBlinkRight")
    blinks = blinks_in(track.times_s, closure, longest_hole_s=_HOLD_S)
    share = track.held_s / track.held_s.sum()
    open_eyes = ~blinks.closed
    gaze_share = track.held_s * open_eyes
    gaze_mean = gaze_share @ track.gaze / gaze_share.sum() if gaze_share.any() else np.zeros(2)
    smile = _mean_of(track.shapes, "mouthSmileLeft", "mouthSmileRight")
    brow_raise = _mean_of(track.shapes, "browInnerUp", "browOuterUpLeft", "browOuterUpRight")
    brow_lower = _mean_of(track.shapes, "browDownLeft", "browDownRight")
    jaw = _mean_of(track.shapes, "jawOpen")
    expression = track.shapes[:, _EXPRESSION]
    spread = np.percentile(track.head_deg, [5, 95], axis=0)
    values = [
        60.0 * blinks.count / face_s,
        blinks.mean_duration_s,
        share @ blinks.closed,
        *gaze_mean,
        _path_per_s(track.times_s[open_eyes], track.gaze[open_eyes]),
        *(share @ track.head_deg),
        *(spread[1] - spread[0]),
        _path_per_s(track.times_s, track.head_deg),
        share @ smile,
        share @ (smile > _SMILING),
        share @ _mean_of(track.shapes, "mouthFrownLeft", "mouthFrownRight"),
        share @ brow_raise,
        share @ brow_lower,
        _path_per_s(track.times_s, np.stack([brow_raise, brow_lower], axis=1)),
        share @ jaw,
        _path_per_s(track.times_s, jaw[:, np.newaxis]),
        _change_per_s(track.times_s, expression).mean(),
    ]
    return np.array(values, np.float32)


_COLUMN: Final = {name: column for column, name in enumerate(BLENDSHAPE_NAMES)}
_EXPRESSION: Final = [
    column for name, column in _COLUMN.items() if not name.startswith(("_", "eyeBlink", "eyeLook"))
]


def _mean_of(shapes: Floats | Doubles, *names: str) -> Doubles:
    chosen: Doubles = shapes[..., [_COLUMN[name] for name in names]].mean(axis=-1, dtype=float)
    return chosen


def _stacked(rows: list[Floats | None]) -> Doubles:
    return np.array([row for row in rows if row is not None], np.float64)


def _in_company(company: npt.NDArray[np.bool_], held_s: Doubles) -> bool:
    """Whether a second face stayed: the module's rule for "not alone"."""
    stretch_s, frames, longest_s = 0.0, 0, 0.0
    for together, for_s in zip(company, held_s, strict=True):
        stretch_s, frames = (stretch_s + for_s, frames + 1) if together else (0.0, 0)
        if frames >= 2:
            longest_s = max(longest_s, stretch_s)
    total_s = float(held_s[company].sum())
    return longest_s + _ROUNDING_S >= _COMPANY_S or total_s + _ROUNDING_S >= _COMPANY_TOTAL_S


def _binned(times_s: Doubles, values: Doubles) -> tuple[Doubles, Doubles]:
    """Mean time (b,) and mean value (b, k) of each filled bin of `_BIN_S`."""
    bins, place = np.unique(np.floor(times_s / _BIN_S).astype(int), return_inverse=True)
    counts = np.bincount(place).astype(float)
    sums = np.zeros((len(bins), values.shape[1]))
    np.add.at(sums, place, values)
    return np.bincount(place, times_s) / counts, sums / counts[:, np.newaxis]


def _steps(times_s: Doubles, values: Doubles) -> tuple[Doubles, Doubles]:
    """Time (b,) and change (b, k) from bin to bin, across no hole longer than `_HOLD_S`."""
    if not len(times_s):
        return np.zeros(0), np.zeros((0, values.shape[1]))
    when, mean = _binned(times_s, values)
    apart, change = np.diff(when), np.diff(mean, axis=0)
    near = apart <= _HOLD_S + _BIN_S
    return apart[near], change[near]


def _path_per_s(times_s: Doubles, values: Doubles) -> float:
    """Length of the path through `values`, float64 (n, k), per second."""
    apart, change = _steps(times_s, values)
    return float(np.linalg.norm(change, axis=1).sum() / apart.sum()) if len(apart) else 0.0


def _change_per_s(times_s: Doubles, values: Doubles) -> Doubles:
    """Absolute change per second of each column, float64 (k,)."""
    apart, change = _steps(times_s, values)
    total: Doubles = np.abs(change).sum(axis=0)
    return total / apart.sum() if len(apart) else total
