"""Functionals of a window: descriptors and the speech mask in, the 88 numbers of eGeMAPSv02 out.

Everything is taken over speech rows only, and pitch-dependent ones over voiced speech rows, as
weighted sums, sorts and scatters, so that any number of rows, or none, gives finite numbers.

Source: Eyben et al., GeMAPS, IEEE Trans. Affective Computing 7(2), 2016, sections 3 and 4. Slopes
and loudness peaks follow the plain definition (differences between neighbouring rows, local
maxima above a tenth of the window's range) instead of openSMILE's peak-picking state machine.
"""

import math
from typing import Final

import torch
import torch.nn.functional as nn
from torch import Tensor

ROWS_PER_S: Final = 100.0
_TINY: Final = 1e-9

# Columns of the descriptors graph.
LOUDNESS, ALPHA, HAMMARBERG, SLOPE_LOW, SLOPE_HIGH, FLUX, MFCC1, PITCH = 0, 1, 2, 3, 4, 5, 6, 10
FRAME_ENERGY: Final = 25


def mean_of(values: Tensor, weight: Tensor) -> Tensor:
    """The weighted mean of each column: (T, K), (T, 1) → (K,)."""
    return (values * weight).sum(0) / torch.clamp(weight.sum(), min=1.0)


def mean_and_spread(values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and coefficient of variation of each column, (K,) each; the latter held in ±100."""
    mean = mean_of(values, weight)
    centred = (values - mean) * weight
    deviation = torch.sqrt((centred * centred).sum(0) / torch.clamp(weight.sum(), min=1.0))
    safe = torch.where(mean.abs() > _TINY, mean, torch.full_like(mean, _TINY))
    return mean, torch.clamp(deviation / safe, -100.0, 100.0)


def interleaved(values: Tensor, weight: Tensor) -> Tensor:
    """Mean, spread, mean, spread … of each column: (2·K,)."""
    return torch.stack(mean_and_spread(values, weight), 1).reshape(-1)


def percentiles(column: Tensor, weight: Tensor) -> Tensor:
    """The 20th, 50th and 80th percentile of the rows with weight 1, interpolated: (3,)."""
    present = weight[:, 0] > 0
    absent_last = torch.where(present, column[:, 0], torch.full_like(column[:, 0], 1e9))
    ordered = torch.sort(absent_last)[0]
    last = torch.clamp(weight.sum() - 1, min=0.0)
    place = torch.tensor([0.2, 0.5, 0.8]) * last
    below = torch.floor(place)
    low = ordered.gather(0, below.to(torch.int64))
    high = ordered.gather(0, torch.minimum(below + 1, last).to(torch.int64))
    value = low + (place - below) * (high - low)
    return torch.where(weight.sum() > 0, value, torch.zeros_like(value))


def slopes(column: Tensor, weight: Tensor) -> Tensor:
    """Mean and deviation of rising, then of falling slopes, in units a second: (4,)."""
    step = (column[1:] - column[:-1]) * ROWS_PER_S
    both = weight[1:] * weight[:-1]
    found = []
    for sign in (1.0, -1.0):
        share = both * (sign * step > 0).to(torch.float32)
        mean = mean_of(sign * step, share)
        centred = (sign * step - mean) * share
        count = torch.clamp(share.sum(), min=1.0)
        found += [mean, torch.sqrt((centred * centred).sum(0) / count)]
    return torch.cat(found)


def course(column: Tensor, weight: Tensor) -> Tensor:
    """The ten functionals of pitch and of loudness: (10,)."""
    low_mid_high = percentiles(column, weight)
    extent = low_mid_high[2:] - low_mid_high[:1]
    return torch.cat([interleaved(column, weight), low_mid_high, extent, slopes(column, weight)])


def segments(inside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Runs of ones in (T,): number, mean length and its deviation in seconds, (1,) each."""
    before = nn.pad(inside[:-1], (1, 0))
    starts = inside * (1 - before)
    run = torch.clamp(torch.cumsum(starts, 0) - 1, min=0.0).to(torch.int64)
    lengths = torch.zeros_like(inside).scatter_add(0, run, inside) / ROWS_PER_S
    count = starts.sum(0, keepdim=True)
    total = torch.clamp(count, min=1.0)
    mean = lengths.sum(0, keepdim=True) / total
    squares = (lengths * lengths).sum(0, keepdim=True) / total
    return count, mean, torch.sqrt(torch.clamp(squares - mean * mean, min=0.0))


def loudness_peaks(loudness: Tensor, weight: Tensor) -> Tensor:
    """Local maxima of loudness that stand out by a tenth of its range, a speech second: (1,)."""
    # Pooled in two dimensions: torch's exporter fixes the length of what it pools in one.
    line = (loudness * weight)[None, None]
    beside = nn.max_pool2d(line, (11, 1), (1, 1), (5, 0))
    valley = -nn.max_pool2d(-line, (21, 1), (1, 1), (10, 0))
    stands_out = line - valley > 0.1 * line.amax(dim=(2, 3), keepdim=True)
    peak = ((line >= beside) & stands_out & (line > 0)).to(torch.float32)
    return peak.sum(dim=(1, 2, 3)) / torch.clamp(weight.sum() / ROWS_PER_S, min=0.1)


class Functionals(torch.nn.Module):  # type: ignore[misc]  # torch ships no types we follow
    """Rows float32 (T, 26), speech float32 (T,) of 0 and 1 → summary float32 (88,)."""

    def forward(self, descriptors: Tensor, speech: Tensor) -> Tensor:
        """One window; see the class."""
        spoken = speech[:, None]
        pitch = descriptors[:, PITCH : PITCH + 1]
        voiced = spoken * (pitch > 0).to(torch.float32)
        unvoiced = spoken - voiced
        loudness = descriptors[:, LOUDNESS : LOUDNESS + 1]
        quality = descriptors[:, PITCH + 1 : FRAME_ENERGY]
        balance = descriptors[:, ALPHA : FLUX + 1]
        seconds = torch.clamp(speech.sum(0, keepdim=True) / ROWS_PER_S, min=0.1)
        voiced_count, *voiced_length = segments(voiced[:, 0])
        _, *unvoiced_length = segments(unvoiced[:, 0])
        energy = mean_of(descriptors[:, FRAME_ENERGY:], spoken)
        return torch.cat(
            [
                course(pitch, voiced),
                course(loudness, spoken),
                interleaved(descriptors[:, FLUX : MFCC1 + 4], spoken),
                interleaved(quality, voiced),
                interleaved(torch.cat([balance, descriptors[:, MFCC1 : MFCC1 + 4]], 1), voiced),
                mean_of(balance, unvoiced),
                loudness_peaks(loudness, spoken),
                voiced_count / seconds,
                *voiced_length,
                *unvoiced_length,
                10 / math.log(10) * torch.log(torch.clamp(energy, min=1e-12)),
            ]
        )
