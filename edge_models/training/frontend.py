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
    VOICED_FROM,
    PitchPath,
    SubharmonicSum,
    nonzero_smoothed,
    peaks_in,
    semitones,
    shifted,
    smoothed,
)
from edge_models.training.spectrum import (
    HOP,
    ShortTimeDft,
    SpectralBalance,
    gaussian,
    hamming,
)
from edge_models.training.voice_quality import Perturbation

CONTEXT_HOPS: Final = 20
JUMP_SEMITONES: Final = 6.0
PARTS: Final = 4
"""Spectra are made of a quarter of a window at a time, which stays in a processor's cache."""


class FrontEnd(nn.Module):
    """All 25 descriptors; see the module's docstring."""

    def __init__(self) -> None:
        super().__init__()
        self.long = ShortTimeDft(gaussian(960, 0.4), 1024, 16, 2 * HOP, PARTS)
        self.balance = SpectralBalance(ShortTimeDft(hamming(320), 512, 8, HOP, PARTS))
        self.candidates = SubharmonicSum()
        self.path = PitchPath()
        self.formants = Formants()
        self.noise = HarmonicsToNoise(self.long)
        self.levels = HarmonicLevels()
        self.perturbation = Perturbation()

    def forward(self, samples: Tensor) -> Tensor:
        """float32 (3200 + m + 3200,) → float32 (m // 160, 25)."""
        frames = samples.shape[0] // HOP - 2 * CONTEXT_HOPS
        # One row more on both sides: smoothing looks there.
        first, last = CONTEXT_HOPS - 1, CONTEXT_HOPS + frames + 1
        formants, widths = self.formants(samples)
        voice = between(*self.voice(samples, formants[:, ::2]))
        parts = [voice[:6]]
        for number in range(3):
            one = slice(number, number + 1)
            parts += [formants[one], widths[one], voice[6 + number : 7 + number]]
        parts = [part[:, first:last] for part in parts]
        balance = smoothed(self.balance(samples)[:, first:last])
        rows = torch.cat([balance, nonzero_smoothed(torch.cat(parts, dim=0))], dim=0)
        return rows[:, 1:-1].transpose(0, 1)

    def voice(self, samples: Tensor, formants: Tensor) -> tuple[Tensor, Tensor]:
        """What needs 60 ms frames, every 20 ms: nine rows, F0 in semitones first, and voicing."""
        power = self.long(samples)
        magnitude = torch.sqrt(self.long.in_order(power, 513))
        is_peak = peaks_in(magnitude)
        hertz, voicing = self.candidates(magnitude, is_peak)
        correlation = self.noise.curve(power)
        # Lag 0 is 1024 times the energy of the 960 windowed samples (Parseval).
        loud = correlation[0] > QUIET_RMS * QUIET_RMS * 1024 * 960
        pitch = self.path(hertz, voicing) * loud.float()
        rows = [
            semitones(pitch)[None],
            self.perturbation(samples, pitch),
            self.noise(correlation, pitch)[None],
            self.levels(magnitude, is_peak, pitch, formants[:, : pitch.shape[0]]),
        ]
        return torch.cat(rows, dim=0), voicing.amax(0, keepdim=True)


def between(rows: Tensor, voicing: Tensor) -> Tensor:
    """Rows every 20 ms → every 10 ms, (9, N) → (9, 2·N).

    Between two voiced rows lies their mean, or across a jump of F0 the one with more voicing;
    at the edge of a voiced stretch the row is like its voiced neighbour if the mean voicing is
    that of a voiced frame, else like the other.
    """
    after, voicing_after = shifted(rows, 1), shifted(voicing, 1)
    voiced, voiced_after = (rows[:1] > 0).float(), (after[:1] > 0).float()
    both = voiced * voiced_after
    smooth = (torch.abs(rows[:1] - after[:1]) < JUMP_SEMITONES).float()
    alike = both * smooth + (1.0 - voiced) * (1.0 - voiced_after)
    strong = (voicing + voicing_after >= 2.0 * VOICED_FROM).float()
    at_edge = strong * voiced + (1.0 - strong) * (1.0 - voiced)
    at_jump = (voicing >= voicing_after).float()
    share = alike * 0.5 + (1.0 - alike) * (both * at_jump + (1.0 - both) * at_edge)
    middle = share * rows + (1.0 - share) * after
    return torch.stack([rows, middle], dim=2).reshape(rows.shape[0], -1)
