"""The 88 eGeMAPSv02 functionals of one window's descriptors, over its speech rows.

Rules it upholds: the rows that are not speech are taken out before anything is counted; every
number is finite, also without any speech or any voice (then zeros).

Place in the life of a frame: descriptors + speech mask → **summary** → personal baseline.
Source: F. Eyben et al., The Geneva Minimalistic Acoustic Parameter Set, IEEE TAC 7(2), 2016.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn

from edge_models.training.contours import (
    PERIOD_S,
    mean_over,
    percentiles,
    segments_of,
    slopes_of,
)
from edge_models.training.spectrum import equal_loudness, mel

LEVEL_OFFSET_DB: Final = -43.5
"""-45.1 dB for the transform and window (256 · 320 · 0.397), +1.6 dB that the smooth
envelope misses, measured on speech of all four corpora."""


class Functionals(nn.Module):
    """Descriptors (T, 25), speech (T,) → the summary (88,)."""

    def __init__(self) -> None:
        super().__init__()
        edges = torch.linspace(float(mel(torch.tensor(20.0))), float(mel(torch.tensor(8000.0))), 28)
        hertz = 700.0 * (torch.exp(edges.double() / 1127.0) - 1.0)
        band = torch.arange(26, dtype=torch.float64)
        order = torch.arange(1, 5, dtype=torch.float64)[None]
        envelope = torch.cos(math.pi * order / 26 * (band[:, None] + 0.5))
        lifter = 1 + 11 * torch.sin(math.pi * order / 22)
        envelope = envelope * math.sqrt(2 / 26) / lifter
        self.register_buffer("envelope", envelope.float())
        self.register_buffer("hearing", equal_loudness(hertz[1:-1])[:, None].float())

    def forward(self, descriptors: Tensor, speech: Tensor) -> Tensor:
        """See the class."""
        nothing = torch.zeros_like(descriptors[:1])
        rows = descriptors[speech > 0.5]
        # One row of zeros stands in for "no speech": it has no voice and no level.
        empty = (speech.max() < 0.5).long()
        rows = torch.cat([rows, nothing[: empty + 0]], dim=0)
        column = rows.transpose(0, 1)
        voiced = (column[10] > 0).float()
        f0 = torch.cat([column[10][column[10] > 0], torch.zeros_like(column[10, :1])])
        length = torch.clamp(voiced.sum().long(), min=1)
        f0 = f0[:length]
        everywhere = torch.ones_like(voiced)[None]
        parts = [self.contour(f0), self.contour(column[0])]
        parts.append(interleaved(*mean_over(column[5:10], everywhere)))
        voice = column[11:25]
        present = (voice != 0).float()
        # Amplitudes at formants count in unvoiced frames as well (at -201 dB).
        whole = torch.tensor([0.0] * 7 + [1.0] + [0.0] * 2 + [1.0] + [0.0] * 2 + [1.0])[:, None]
        present = present * torch.maximum(voiced[None], whole)
        parts.append(interleaved(*mean_over(voice, present)))
        balance = column[1:10]
        parts.append(interleaved(*mean_over(balance, voiced[None])))
        unvoiced = 1.0 - voiced
        parts.append(mean_over(column[1:6], unvoiced[None])[0])
        seconds = torch.ones_like(voiced).sum()[None] * PERIOD_S
        _, peaks = slopes_of(column[0])
        number, mean, deviation = segments_of(voiced)
        _, pause, pause_deviation = segments_of(unvoiced)
        parts += [peaks / seconds, number / seconds]
        parts += [part * PERIOD_S for part in (mean, deviation, pause, pause_deviation)]
        parts.append(self.sound_level(column[0], column[6:10]))
        summary = torch.cat(parts)
        return summary * (1 - empty).float()

    @staticmethod
    def contour(values: Tensor) -> Tensor:
        """Mean, variation, percentiles and slopes of one contour, (10,)."""
        mean, variation = mean_over(values[None], torch.ones_like(values)[None])
        slopes, _ = slopes_of(values)
        return torch.cat([mean, variation, percentiles(values), slopes])

    def sound_level(self, loudness: Tensor, cepstrum: Tensor) -> Tensor:
        """Equivalent sound level in dB re full scale, (1,).

        Energy is not among the 25 descriptors; it follows from loudness once the shape of the
        spectrum is known, and MFCC 1-4 give that shape: loudness is the mean over bands of
        (w·c·shape)^0.33, so c = (loudness / mean((w·shape)^0.33))^(1/0.33).
        """
        shape = torch.exp(self.envelope @ cepstrum)
        heard = torch.pow(shape * self.hearing, 0.33).mean(0)
        scale = torch.pow(torch.clamp(loudness, min=1e-6) / torch.clamp(heard, min=1e-12), 1 / 0.33)
        energy = (scale * shape.sum(0)).mean()[None]
        return torch.log(torch.clamp(energy, min=1e-12)) * (10 / math.log(10)) + LEVEL_OFFSET_DB


def interleaved(first: Tensor, second: Tensor) -> Tensor:
    """a0 b0 a1 b1 … from (n,) and (n,)."""
    return torch.stack([first, second], dim=1).reshape(-1)
