"""What the harmonics of the voice say: noise, tilt, and how strong they are at the formants.

Rules it upholds: unvoiced frames give 0 (amplitudes: -201 dB), never a guess; "H1" and "H2"
are counted as in openSMILE, whose H0 is the fundamental.

Place in the life of a frame: F0, formants, 60 ms spectrum → **harmonics**.
Source: F. Eyben et al., IEEE TAC 7(2), 2016, section 3.2; P. Boersma, Proc. IFA 17, 1993 (HNR).
"""

import math
from typing import Final

import torch
from torch import Tensor, nn

from edge_models.training.pitch import vertex
from edge_models.training.spectrum import ShortTimeDft

BIN_HZ: Final = 15.625
FLOOR_DB: Final = -201.0
HARMONICS: Final = 48
REACH: Final = 3
LAG_STEP: Final = 2
LAGS: Final = 152
LAG_REACH: Final = 6


class HarmonicsToNoise(nn.Module):
    """HNR in dB from the autocorrelation of the 60 ms frame at the period."""

    def __init__(self, dft: ShortTimeDft) -> None:
        super().__init__()
        self.register_buffer("lag", torch.arange(LAGS).float()[:, None] * LAG_STEP)
        self.columns = dft.columns
        # Rows (k2, k1) are bins k1 + R·k2; those with 0 < k1 < R/2 have a mirror image.
        low, high = torch.arange(dft.half), torch.arange(dft.columns // 2)
        self.register_buffer("bin", (low[None] + dft.radix * high[:, None]).float().reshape(1, -1))
        images = 2.0 - (low % (dft.half - 1) == 0).float()
        self.register_buffer("images", images.repeat(dft.columns // 2)[None])

    def curve(self, power: Tensor) -> Tensor:
        """Autocorrelation at every second lag, (152, T), from the long transform's rows (544, T).

        The one is the transform of the other (Wiener-Khinchin); it is smooth, so every second
        lag and a parabola are enough. At even lags bins 512 apart have the same cosine.
        """
        pairs = power.reshape(self.columns // 2, 2, -1).sum(1)
        folded = pairs.reshape(self.images.shape[1], -1)
        turn = torch.fmod(self.lag * self.bin, 1024.0) * (2 * math.pi / 1024)
        return (torch.cos(turn) * self.images) @ folded

    def forward(self, curve: Tensor, hertz: Tensor) -> Tensor:
        """Autocorrelation (152, T), F0 (T,) → dB (T,), 0 where unvoiced."""
        curve = torch.abs(curve)
        period = torch.floor(16_000.0 / torch.clamp(hertz, min=55.0)) / LAG_STEP
        start = torch.clamp(torch.round(period).long(), LAG_REACH + 1, LAGS - LAG_REACH - 2)
        near = torch.cat(
            [
                torch.gather(curve, 0, (start + step)[None])
                for step in range(-LAG_REACH - 1, LAG_REACH + 2)
            ],
            dim=0,
        )
        left, middle, right = near[:-2], near[1:-1], near[2:]
        steps = torch.arange(-LAG_REACH, LAG_REACH + 1).float()[:, None]
        away = torch.abs(steps + (start.float() - period)[None])
        away = torch.where((middle > left) & (middle > right), away, 50.0 + torch.abs(steps))
        which = away.argmin(0, keepdim=True)
        parts = [torch.gather(part, 0, which)[0] for part in (left, middle, right)]
        top = torch.maximum(vertex(*parts)[1], parts[1])
        ratio = top / torch.clamp(curve[0] - top, min=1e-30)
        decibels = torch.log(torch.clamp(ratio, 1e-9, 1e11)) * (10 / math.log(10))
        return torch.where(hertz > 0, decibels, torch.zeros_like(decibels))


class HarmonicLevels(nn.Module):
    """H1-H2, H1-A3 and the amplitudes at F1..F3, in dB relative to the fundamental."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("number", torch.arange(1, HARMONICS + 1).float()[:, None])
        # Nearer is better, and of two equally near the right one (openSMILE's order).

    def forward(
        self, magnitude: Tensor, is_peak: Tensor, hertz: Tensor, formants: Tensor
    ) -> Tensor:
        """Magnitude and 1 at peaks (513, T), F0 (T,), formants (3, T) → five rows (5, T)."""
        place, plain, top = self.peaks(magnitude, is_peak, hertz)
        reference = torch.clamp(plain[:1], min=1e-12)
        # The fundamental is 0 dB by definition; so is a formant without a harmonic near it.
        ratio = torch.cat([torch.ones_like(reference), top[1:] / reference], dim=0)
        level = decibels(ratio[1:3])
        voiced = (hertz > 0).float()
        at_formants = []
        for number in range(3):
            centre = formants[number : number + 1] * (1.0 / BIN_HZ)
            inside = (place >= 0.8 * centre) & (place <= 1.2 * centre)
            size = plain * inside.float()
            which = size.argmax(0, keepdim=True)
            heard = (torch.gather(size, 0, which) > 0).float()
            at_formants.append(decibels(torch.gather(ratio, 0, which)) * heard)
        missing = (at_formants[2] == 0).float() * -FLOOR_DB
        tilt = torch.clamp(level[:1] - at_formants[2] - missing, -201.0, 201.0)
        rows = torch.cat([level[:1] - level[1:], tilt], dim=0) * voiced
        unheard = (1.0 - voiced) * FLOOR_DB
        return torch.cat([rows, torch.cat(at_formants, dim=0) * voiced + unheard], dim=0)

    def peaks(
        self, magnitude: Tensor, is_peak: Tensor, hertz: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The spectral peak nearest to each harmonic: bin, magnitude, height; each (48, T).

        The height is the parabola's; all are 0 where there is no peak within half an F0.
        """
        ideal = torch.round(self.number * hertz * (1.0 / BIN_HZ))
        first = torch.clamp(ideal, REACH + 1.0, 511.0 - REACH).long()
        # Nearer is better, and of two equally near the right one (openSMILE's order): the rank
        # is 8 - 2·|step|, one more to the right.
        rank = torch.zeros_like(ideal)
        for step in range(-REACH, REACH + 1):
            there = torch.gather(is_peak, 0, first + step)
            rank = torch.maximum(rank, there * float(8 - 2 * abs(step) + (step > 0)))
        found = torch.clamp(rank, min=2.0)
        right = found - 2.0 * torch.floor(found * 0.5)
        step = (4.0 + 0.5 * (right - found)) * (2.0 * right - 1.0)
        widest = torch.round(hertz * (0.5 / BIN_HZ))[None]
        real = (rank > 0.5) & (torch.abs(step) <= widest) & (ideal <= 511.0 - REACH)
        nearest = first + step.long()
        middle = torch.gather(magnitude, 0, nearest)
        left, right = (torch.gather(magnitude, 0, nearest + side) for side in (-1, 1))
        offset, top = vertex(left, middle, right)
        kept = real.float()
        return (nearest.float() + offset) * kept, middle * kept, top * kept


def decibels(ratio: Tensor) -> Tensor:
    """20·log10 of a magnitude ratio, at least -200 dB."""
    return torch.clamp(torch.log(torch.clamp(ratio, min=1e-10)) * (20 / math.log(10)), min=-200.0)
