"""The acoustic front end's contract: what the two graphs take, give, and are called.

Rules it upholds: names and order are openSMILE's eGeMAPSv02, so that published findings line
up; a window goes in as it was cut, and only numbers at 100 Hz come out; no runtime is named.

Place in the life of a frame: window → speech gate → **descriptors → summary** → baseline.
Source: F. Eyben et al., The Geneva Minimalistic Acoustic Parameter Set, IEEE TAC 7(2), 2016.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError
from edge_models.runner import Graph
from edge_models.windows import CONTEXT_SAMPLES, HOP_SAMPLES, AudioWindow

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
_CEPSTRUM: Final = ("mfcc1", "mfcc2", "mfcc3", "mfcc4")
_F0: Final = "F0semitoneFrom27.5Hz"

DESCRIPTOR_NAMES: Final[tuple[str, ...]] = (
    *(f"{name}_sma3" for name in ("Loudness", *_BALANCE, *_CEPSTRUM)),
    *(f"{name}_sma3nz" for name in (_F0, *_VOICE)),
)
"""The 25 low-level descriptors, one column each."""


def _contour(name: str) -> tuple[str, ...]:
    return tuple(
        f"{name}_{what}"
        for what in (
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
    )


def _moments(name: str) -> tuple[str, str]:
    return f"{name}_amean", f"{name}_stddevNorm"


def _in_voice(name: str, kind: str) -> str:
    """`slope0-500` becomes `slopeV0-500`, the others `alphaRatioV`."""
    return name.replace("slope", f"slope{kind}") if "slope" in name else f"{name}{kind}"


SUMMARY_NAMES: Final[tuple[str, ...]] = (
    *_contour(f"{_F0}_sma3nz"),
    *_contour("loudness_sma3"),
    *(part for name in ("spectralFlux", *_CEPSTRUM) for part in _moments(f"{name}_sma3")),
    *(part for name in _VOICE for part in _moments(f"{name}_sma3nz")),
    *(
        part
        for name in (*_BALANCE, *_CEPSTRUM)
        for part in _moments(f"{_in_voice(name, 'V')}_sma3nz")
    ),
    *(f"{_in_voice(name, 'UV')}_sma3nz_amean" for name in _BALANCE),
    "loudnessPeaksPerSec",
    "VoicedSegmentsPerSec",
    "MeanVoicedSegmentLengthSec",
    "StddevVoicedSegmentLengthSec",
    "MeanUnvoicedSegmentLength",
    "StddevUnvoicedSegmentLength",
    "equivalentSoundLevel_dBp",
)
"""The 88 functionals of a window."""


class AcousticFrontEnd:
    """The two graphs of the bundle behind names: samples → descriptors → summary."""

    def __init__(self, descriptors: Graph, functionals: Graph) -> None:
        self._descriptors = descriptors
        self._functionals = functionals

    def descriptors(self, window: AudioWindow) -> npt.NDArray[np.float32]:
        """Describe a window: float32 (T, 25), a row every 10 ms, `DESCRIPTOR_NAMES` columns.

        Row n covers openSMILE's frame n, which starts n·10 ms into the window. F0 is in
        semitones above 27.5 Hz, 0 where unvoiced.

        Raises:
            ContractError: the window is empty or has another context than 0.2 s, or the graph
                did not give one row a hop.
        """
        if window.frames < 1 or window.inner_samples % HOP_SAMPLES:
            raise ContractError("A window to be described is one or more whole hops.")
        if window.context_samples != CONTEXT_SAMPLES:
            raise ContractError(f"The front end looks at {CONTEXT_SAMPLES} samples of context.")
        (rows,) = self._descriptors.run({"samples": window.sound.samples})
        if rows.shape != (window.frames, len(DESCRIPTOR_NAMES)):
            raise ContractError("The descriptor graph gives 25 numbers for each hop.")
        described: npt.NDArray[np.float32] = rows
        return described

    def summary(
        self, descriptors: npt.NDArray[np.float32], speech: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        """Functionals of the rows that are speech: float32 (88,), `SUMMARY_NAMES` in order.

        Always finite; all zeros where there is no speech.

        Raises:
            ContractError: the shapes or types are not (T, 25) float32 and (T,) bool.
        """
        if descriptors.ndim != 2 or descriptors.shape[1] != len(DESCRIPTOR_NAMES):
            raise ContractError("Descriptors have 25 columns.")
        if speech.shape != descriptors.shape[:1] or speech.dtype != np.bool_:
            raise ContractError("The speech mask is one bool for each descriptor row.")
        if len(speech) == 0:
            raise ContractError("A window to be summarised has at least one row.")
        mask = speech.astype(np.float32)
        (values,) = self._functionals.run({"descriptors": descriptors, "speech": mask})
        summary: npt.NDArray[np.float32] = values
        return summary
