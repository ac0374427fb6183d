"""The acoustic front end in one module: samples → the 25 eGeMAPSv02 descriptors at 100 Hz.

Rules it upholds: row n starts at sample n·160 of the window's inner part; 0.2 s of context on
both sides is all that any step looks at, so rows do not depend on how the stream was cut.

Place in the life of a frame: window of samples → **descriptors** (raw sound ends here).
Source: F. Eyben et al., The Geneva Minimalistic Acoustic Parameter Set, IEEE TAC 7(2), 2016.
"""

from typing import Final

import torch
from torch import Tensor, nn

from edge_models.training.formants import Formants
from edge_models.training.harmonics import HarmonicLevels, HarmonicsToNoise
from edge_models.training.pitch import (
    QUIET_RMS,
    PitchPath,
    SubharmonicSum,
    nonzero_smoothed,
    peaks_in,
    semitones,
    smoothed,
)
from edge_models.training.spectrum import (
    ShortTimeDft,
    SpectralBalance,
    gaussian,
    hamming,
    hop_columns,
    overlapping_frames,
)
from edge_models.training.voice_quality import Perturbation

CONTEXT_HOPS: Final = 20


class FrontEnd(nn.Module):
    """All 25 descriptors; see the module's docstring."""

    def __init__(self) -> None:
        super().__init__()
        self.short = ShortTimeDft(hamming(320), 512, 16)
        self.long = ShortTimeDft(gaussian(960, 0.4), 1024, 32)
        self.balance = SpectralBalance()
        self.candidates = SubharmonicSum()
        self.path = PitchPath()
        self.formants = Formants()
        self.noise = HarmonicsToNoise()
        self.levels = HarmonicLevels()
        self.perturbation = Perturbation()

    def forward(self, samples: Tensor) -> Tensor:
        """float32 (3200 + m + 3200,) → float32 (m // 160, 25)."""
        hops = hop_columns(samples)
        windowed, power = self.short(overlapping_frames(hops, 2))
        balance = smoothed(self.balance(power))
        _, long_power = self.long(overlapping_frames(hops, 6))
        magnitude = torch.sqrt(long_power)
        is_peak = peaks_in(magnitude)
        hertz, voicing = self.candidates(magnitude, is_peak)
        correlation = self.noise.curve(long_power)
        # Lag 0 is 1024 times the energy of the 960 windowed samples (Parseval).
        loud = correlation[0] > QUIET_RMS * QUIET_RMS * 1024 * 960
        pitch = self.path(hertz, voicing) * loud.float()
        formants, widths = self.formants(windowed)
        levels = self.levels(magnitude, is_peak, pitch, formants)
        voice = [
            semitones(pitch)[None],
            self.perturbation(hops, pitch),
            self.noise(correlation, pitch)[None],
            levels[:2],
        ]
        for number in range(3):
            voice += [
                formants[number : number + 1],
                widths[number : number + 1],
                levels[2 + number : 3 + number],
            ]
        rows = torch.cat([balance, nonzero_smoothed(torch.cat(voice, dim=0))], dim=0)
        frames = samples.shape[0] // 160 - 2 * CONTEXT_HOPS
        return rows[:, CONTEXT_HOPS : CONTEXT_HOPS + frames].transpose(0, 1)
