"""Level 0: what the 25 descriptors' contours tell of a window, as many statistics as it allows.

Rules it upholds: contours never leave memory; a window is found again by its functionals, which
the same front end makes of the same contours.

Of speech rows only: means, spreads, percentiles, movement, and how descriptors move together; F0,
formants and the like over voiced rows.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.acoustic import DESCRIPTOR_NAMES
from edge_models.errors import RecordingError
from edge_models.training.corpora import Clip
from edge_models.training.hearing import WINDOW_ROWS, FrontEnd, Source, heard_rows
from edge_models.training.streams import Floats, Windows

PERCENTILES: Final = (5, 25, 50, 75, 95)
_LEAST_ROWS: Final = 8
_VOICED: Final = np.asarray([name.endswith("nz") for name in DESCRIPTOR_NAMES])
_F0: Final = next(n for n, name in enumerate(DESCRIPTOR_NAMES) if name.startswith("F0"))


def contour_table(
    folder: Path, clips: Iterable[Clip], front_end: FrontEnd, windows: Windows
) -> Floats:
    """Level 0 of every window of a single recording, float32 (N, C); NaN for all others."""
    found = {row.tobytes(): place for place, row in enumerate(windows.summaries)}
    table: Floats | None = None
    for clip in clips:
        try:
            rows = heard_rows(front_end, Source(folder / clip.path, 0.0, clip.turns))
        except RecordingError:
            continue  # told when it was described
        for start in range(0, len(rows.speech), WINDOW_ROWS):
            piece = slice(start, start + WINDOW_ROWS)
            descriptors, speech = rows.descriptors[piece], rows.speech[piece]
            place = found.get(front_end.acoustic.summary(descriptors, speech).tobytes())
            if place is None or not speech.any():
                continue
            told = statistics(descriptors[speech])
            if table is None:
                table = np.full((len(windows), len(told)), np.nan, np.float32)
            table[place] = told
    if table is None:
        raise RecordingError("None of the recordings could be heard again.", "Describe them anew.")
    return table


def statistics(descriptors: Floats) -> Floats:
    """Statistics float32 (C,) of the contours of speech rows, float32 (T, 25), T ≥ 1."""
    voiced = descriptors[:, _F0] > 0
    pitched = descriptors[voiced] if np.count_nonzero(voiced) >= _LEAST_ROWS else descriptors
    parts = []
    for column in range(descriptors.shape[1]):
        rows = (pitched if _VOICED[column] else descriptors)[:, column].astype(np.float64)
        moved = np.abs(np.diff(rows)) if len(rows) > 1 else np.zeros(1)
        parts.append([rows.mean(), rows.std(), *np.percentile(rows, PERCENTILES), moved.mean()])
    return np.asarray(np.concatenate([np.ravel(parts), _together(pitched)]), np.float32)


def _together(rows: Floats) -> npt.NDArray[np.float64]:
    """Correlations of all pairs of descriptors; 0 where one does not move."""
    apart = rows.astype(np.float64) - rows.mean(axis=0)
    scaled = apart / np.maximum(np.sqrt((apart**2).sum(axis=0)), 1e-9)
    left, right = np.triu_indices(rows.shape[1], 1)
    return np.asarray((scaled.T @ scaled)[left, right])
