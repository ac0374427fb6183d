"""A sound made of arithmetic, to show that the acoustic graphs hear on this device as in training.

It is nobody's voice: a gliding harmonic tone through three resonances, with pauses and breath.
Place in the life of a bundle: beside the golden vectors, which begin where this ends.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.acoustic import AcousticFrontEnd
from edge_models.raw import SAMPLE_RATE_HZ, RawAudio
from edge_models.windows import CONTEXT_SAMPLES, AudioWindow

_INNER_SAMPLES: Final = 3 * SAMPLE_RATE_HZ
_RESONANCES_HZ: Final = (620.0, 1_450.0, 2_600.0)
_WIDTH_HZ: Final = 140.0
_HARMONICS: Final = 30


def golden_window() -> AudioWindow:
    """Three seconds of the sound, with its context."""
    count = _INNER_SAMPLES + 2 * CONTEXT_SAMPLES
    time_s = np.arange(count) / SAMPLE_RATE_HZ
    pitch_hz = 150 + 35 * np.sin(2 * np.pi * 0.8 * time_s)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    voice = np.zeros(count)
    for harmonic in range(1, _HARMONICS + 1):
        hertz = harmonic * pitch_hz
        colour = sum(1 / (1 + ((hertz - peak) / _WIDTH_HZ) ** 2) for peak in _RESONANCES_HZ)
        voice += (0.05 + colour) / harmonic * np.sin(harmonic * phase)
    loud = np.clip(2 * np.sin(2 * np.pi * 1.5 * time_s), 0, 1) ** 2
    breath = np.sin(1e4 * np.arange(count) ** 2 % (2 * np.pi))  # noise without a generator
    sound = 0.12 * loud * voice + 0.002 * breath
    return AudioWindow(0, RawAudio(sound.astype(np.float32), -CONTEXT_SAMPLES))


def golden_summary(front_end: AcousticFrontEnd) -> npt.NDArray[np.float32]:
    """The functionals of the whole sound, float32 (88,), every row counting as speech."""
    window = golden_window()
    descriptors = front_end.descriptors(window)
    return front_end.summary(descriptors, np.ones(window.frames, np.bool_))
