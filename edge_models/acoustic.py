"""The acoustic graphs and their contract: sound to descriptors, descriptors to a window's summary.

The names are eGeMAPSv02's, so that oracles line up. What each number is, and how near it comes to
openSMILE's, is in the bundle's card; how it is computed, in `training/front_end/`.

Place in the life of a frame: speech gate → **descriptors → functionals** → personal baseline.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError
from edge_models.runner import Graph
from edge_models.windows import AudioWindow

_VOICE: Final = (
    "jitterLocal",
    "shimmerLocaldB",
    "HNRdBACF",
    "logRelF0-H1-H2",
    "logRelF0-H1-A3",
    *(
        f"F{number}{what}"
        for number in (1, 2, 3)
        for what in ("frequency", "bandwidth", "amplitudeLogRelF0")
    ),
)
_BALANCE: Final = ("alphaRatio", "hammarbergIndex", "slope0-500", "slope500-1500", "spectralFlux")
_MFCC: Final = ("mfcc1", "mfcc2", "mfcc3", "mfcc4")
_COURSE: Final = (
    "amean",
    "stddevNorm",
    "percentile20.0",
    "percentile50.0",
    "percentile80.0",
    "pctlrange0-2",
    "meanRisingSlope",
    "stddevRisingSlope",
    "meanFallingSlope",
    "stddevFallingSlope",
)


def _in_state(name: str, state: str) -> str:
    """`slope0-500` in voiced frames is called `slopeV0-500`, `mfcc1` is `mfcc1V`."""
    if name.startswith("slope"):
        return f"slope{state}{name.removeprefix('slope')}"
    return f"{name}{state}"


DESCRIPTOR_NAMES: Final = (
    "Loudness_sma3",
    *(f"{name}_sma3" for name in (*_BALANCE, *_MFCC)),
    "F0semitoneFrom27.5Hz_sma3nz",
    *(f"{name}_sma3nz" for name in _VOICE),
)
"""The 25 low-level descriptors, 100 rows a second."""

SUMMARY_NAMES: Final = (
    *(f"F0semitoneFrom27.5Hz_sma3nz_{what}" for what in _COURSE),
    *(f"loudness_sma3_{what}" for what in _COURSE),
    *(f"{n}_sma3_{what}" for n in ("spectralFlux", *_MFCC) for what in _COURSE[:2]),
    *(f"{n}_sma3nz_{what}" for n in _VOICE for what in _COURSE[:2]),
    *(f"{_in_state(n, 'V')}_sma3nz_{what}" for n in (*_BALANCE, *_MFCC) for what in _COURSE[:2]),
    *(f"{_in_state(n, 'UV')}_sma3nz_amean" for n in _BALANCE),
    "loudnessPeaksPerSec",
    "VoicedSegmentsPerSec",
    "MeanVoicedSegmentLengthSec",
    "StddevVoicedSegmentLengthSec",
    "MeanUnvoicedSegmentLength",
    "StddevUnvoicedSegmentLength",
    "equivalentSoundLevel_dBp",
)
"""The 88 functionals of a window."""

_ROW: Final = len(DESCRIPTOR_NAMES) + 1

Array = npt.NDArray[np.float32]


class AcousticFrontEnd:
    """The two acoustic graphs of a bundle."""

    def __init__(self, descriptors: Graph, functionals: Graph) -> None:
        self._descriptors = descriptors
        self._functionals = functionals

    def descriptors(self, window: AudioWindow) -> Array:
        """Describe a window: float32 (T, 26), the 25 descriptors and each frame's mean square.

        Row n is of the frames that start n·10 ms into the window's inner part.
        """
        rows: Array = self._descriptors.run({"samples": window.sound.samples})[0]
        if rows.shape != (window.frames, _ROW):
            raise ContractError("The descriptors graph gives one row of 26 for each 10 ms.")
        return rows

    def summary(self, descriptors: Array, speech: npt.NDArray[np.bool_]) -> Array:
        """Functionals over the speech rows: float32 (88,), finite whatever the rows hold.

        `descriptors` is float32 (T, 26) as `descriptors()` gives it, `speech` bool (T,).

        Raises:
            ContractError: the two don't have the same number of rows.
        """
        if descriptors.ndim != 2 or descriptors.shape != (len(speech), _ROW):
            raise ContractError("Descriptors and speech mask have a row for each 10 ms.")
        if len(speech) < 2:  # a slope takes two rows
            return np.zeros(len(SUMMARY_NAMES), np.float32)
        summary: Array = self._functionals.run(
            {"descriptors": descriptors, "speech": speech.astype(np.float32)}
        )[0]
        return summary
