"""The acoustic front end as one module: samples in, 25 descriptors and an energy a frame out.

Row n describes the frames that start at n·10 ms of the window's inner part, as in openSMILE. The
context on both sides is more than the graph looks back or ahead, so rows don't depend on the cut.
"""

import torch
from torch import Tensor, nn

from edge_models.training.front_end.formants import formants_of
from edge_models.training.front_end.pitch import pitch_of
from edge_models.training.front_end.spectrum import HOP, spectral_descriptors
from edge_models.training.front_end.voice import voice_descriptors

CONTEXT_HOPS = 20
MARGIN = 8
"""Extra rows on both sides: pitch looks four rows away, voicing, flux and smoothing one each."""


def smoothed(values: Tensor) -> Tensor:
    """The mean of three rows (`_sma3`): (T + 2, K) → (T, K)."""
    return (values[:-2] + values[1:-1] + values[2:]) / 3


def smoothed_voiced(values: Tensor) -> Tensor:
    """The mean of those of three rows that are not zero; zero stays zero (`_sma3nz`)."""
    present = (values != 0).to(torch.float32)
    total = values[:-2] + values[1:-1] + values[2:]
    count = present[:-2] + present[1:-1] + present[2:]
    return present[1:-1] * total / torch.clamp(count, min=1.0)


class FrontEnd(nn.Module):  # type: ignore[misc]  # torch ships no types we follow
    """Samples float32 (3200 + m + 3200,) in -1..1 → rows float32 (m / 160, 26).

    The last column is the frame's mean square, for the equivalent sound level.
    """

    def forward(self, samples: Tensor) -> Tensor:
        """One stretch of sound; see the class."""
        hops = samples.reshape(-1, HOP)
        first = CONTEXT_HOPS - MARGIN
        short, long = (
            torch.cat([hops[first + part : part - first] for part in range(parts)], 1)
            for parts in (2, 6)
        )
        spectral = spectral_descriptors(short)
        pitch = pitch_of(long)
        formants = formants_of(short)
        differences, amplitudes, perturbation = voice_descriptors(pitch, formants)
        # Semitones above 27.5 Hz; an unvoiced frame has none and reads 0.
        semitones = 12 * torch.log2(torch.clamp(pitch.frequency_hz, min=27.5) / 27.5)
        of_formants = [
            column[:, n : n + 1]
            for n in range(3)
            for column in (formants.frequency_hz, formants.bandwidth_hz, amplitudes)
        ]
        voice = torch.cat(
            [semitones * pitch.voiced, perturbation, pitch.hnr_db, differences, *of_formants], 1
        )
        inner = slice(MARGIN - 1, 1 - MARGIN)
        energy = (short * short).mean(1, keepdim=True)[MARGIN:-MARGIN]
        return torch.cat([smoothed(spectral[inner]), smoothed_voiced(voice[inner]), energy], 1)
