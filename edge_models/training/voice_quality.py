"""Jitter and shimmer: how much neighbouring periods differ in length and in size.

Rules it upholds: frame-level approximations, said so in the card: openSMILE follows single
periods through the whole recording, which no window-wise graph can; unvoiced frames give 0.

Place in the life of a frame: samples, F0 → **perturbation**.
Source: F. Eyben et al., IEEE TAC 7(2), 2016, section 3.1 (local jitter and shimmer).
"""

import math
from typing import Final

import torch
from torch import Tensor, nn

from edge_models.training.pitch import shifted

RATE_HZ: Final = 16_000.0
BLOCK: Final = 16
STRETCH: Final = 320
BLOCKS_A_FRAME: Final = STRETCH // BLOCK
LEVELS: Final = 5
"""Windows of 16 to 256 samples by doubling; two of them cover any period up to 512."""


class Perturbation(nn.Module):
    """Frame-level jitter (relative) and shimmer (dB)."""

    def forward(self, samples: Tensor, hertz: Tensor) -> Tensor:
        """Samples (n,), F0 (T,) → jitter and shimmer (2, T); 0 where unvoiced."""
        voiced = (hertz > 0).float()
        period = RATE_HZ / torch.clamp(hertz, min=55.0)
        steady = voiced * (shifted(voiced, -1) > 0).float()
        change = torch.abs(period - shifted(period, -1))
        jitter = steady * torch.clamp(change / period, max=1.0)
        return torch.stack([jitter, self.shimmer(samples, period) * voiced], dim=0)

    @staticmethod
    def shimmer(samples: Tensor, period: Tensor) -> Tensor:
        """20·log10(1 + |A0 - A1| / mean(A0, A1)) of two periods' peak-to-peak sizes, (T,)."""
        blocks = samples.reshape(-1, BLOCK)
        line = torch.stack([blocks.amax(1), -blocks.amin(1)], dim=0)
        tables = [line]
        for level in range(LEVELS - 1):
            step = 2**level
            ahead = torch.cat([line[:, step:], line[:, -step:]], dim=1)
            line = torch.maximum(line, ahead)
            tables.append(line)
        stacked = torch.cat(tables, dim=1)
        size = torch.ones_like(tables[0][0]).sum()
        count = torch.round(period / BLOCK)
        level = torch.clamp(torch.floor(torch.log(count + 0.01) / math.log(2.0)), 0, LEVELS - 1)
        width = torch.round(torch.exp(level * math.log(2.0)))
        start = (torch.cumsum(torch.ones_like(period), 0) - 1.0) * BLOCKS_A_FRAME
        amplitudes = []
        for first in (start, start + count):
            last = first + torch.maximum(count - width, torch.zeros_like(count))
            place = torch.stack([first, last], dim=0)
            rows = torch.clamp(place, max=size - 1.0) + level * size
            index = rows.long().reshape(1, -1).expand(2, -1)
            extremes = torch.gather(stacked, 1, index).reshape(2, 2, -1)
            amplitudes.append(extremes.amax(1).sum(0))
        one, other = amplitudes
        ratio = 2.0 * torch.abs(one - other) / torch.clamp(one + other, min=1e-12)
        return torch.log(1.0 + torch.clamp(ratio, max=1.0)) * (20.0 / math.log(10.0))
