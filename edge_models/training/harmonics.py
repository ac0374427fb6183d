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

from edge_models.training.pitch import shifted, vertex

BIN_HZ: Final = 15.625
FLOOR_DB: Final = -201.0
PEAK_BINS: Final = 352
HARMONIC_REACH: Final = 4
LAGS: Final = 304
LAG_REACH: Final = 10


class HarmonicsToNoise(nn.Module):
    """HNR in dB from the autocorrelation of the 60 ms frame at the period."""

    def forward(self, power: Tensor, hertz: Tensor) -> Tensor:
        """Power (513, T), F0 (T,) → dB (T,), 0 where unvoiced."""
        voiced = hertz > 0
        # The autocorrelation is the transform of the power spectrum (Wiener-Khinchin).
        weight = torch.cat([torch.ones(1), torch.full((511,), 2.0), torch.ones(1)])
        turn = (torch.arange(LAGS)[:, None] * torch.arange(513)[None, :]) % 1024
        basis = torch.cos(turn.float() * (2 * math.pi / 1024)) * weight[None]
        curve = torch.abs(basis @ power)
        lag = torch.floor(16_000.0 / torch.clamp(hertz, min=55.0)).long()
        reach = torch.arange(-LAG_REACH - 1, LAG_REACH + 2)[:, None]
        near = torch.gather(curve, 0, torch.clamp(lag[None] + reach, 0, LAGS - 1))
        middle = near[1:-1]
        peak = (middle > near[:-2]) & (middle > near[2:])
        distance = torch.abs(torch.arange(-LAG_REACH, LAG_REACH + 1)).float()[:, None]
        distance = distance + (torch.arange(2 * LAG_REACH + 1)[:, None] > LAG_REACH) * 0.5
        chosen = torch.where(peak, distance, torch.full_like(middle, 99.0))
        chosen[LAG_REACH] = torch.clamp(chosen[LAG_REACH], max=90.0)
        best = torch.gather(middle, 0, chosen.argmin(0, keepdim=True))[0]
        ratio = best / torch.clamp(curve[0] - best, min=1e-30)
        decibels = torch.log(torch.clamp(ratio, 1e-9, 1e11)) * (10 / math.log(10))
        return torch.where(voiced, decibels, torch.zeros_like(decibels))


class HarmonicLevels(nn.Module):
    """H1-H2, H1-A3 and the amplitudes at F1..F3, in dB relative to the fundamental."""

    def forward(self, power: Tensor, hertz: Tensor, formants: Tensor) -> Tensor:
        """Power (513, T), F0 (T,), formants (3, T) → five rows (5, T)."""
        magnitude = torch.sqrt(power[: PEAK_BINS + 2])
        left, here, right = magnitude[:-2], magnitude[1:-1], magnitude[2:]
        is_peak = (here > left) & (here > right)
        _, top = vertex(left, here, right)
        peaks = torch.where(is_peak, top, torch.zeros_like(top))
        fundamental, first, second = (self.harmonic(peaks, here, hertz, n) for n in (1, 2, 3))
        reference = torch.clamp(fundamental, min=1e-12)
        at_formants = self.strongest(peaks * self.harmonic_bins(hertz), formants)
        nothing = torch.zeros_like(hertz)
        levels = [decibels(level / reference) for level in (first, second, *at_formants)]
        voiced = hertz > 0
        found = [level > 0 for level in at_formants]
        difference = torch.where(voiced, levels[0] - levels[1], nothing)
        third = torch.where(found[2], levels[4], torch.full_like(nothing, -FLOOR_DB))
        tilt = torch.clamp(levels[0] - third, -201.0, 201.0)
        rows = [difference, torch.where(voiced, tilt, nothing)]
        for level, there in zip(levels[2:], found, strict=True):
            heard = torch.where(there, level, nothing)
            rows.append(torch.where(voiced, heard, torch.full_like(nothing, FLOOR_DB)))
        return torch.stack(rows, dim=0)

    @staticmethod
    def harmonic_bins(hertz: Tensor) -> Tensor:
        """1 where a bin lies within 0.3·F0 of a multiple of F0, (352, T)."""
        multiple = torch.arange(1, PEAK_BINS + 1).float()[:, None] * BIN_HZ
        multiple = multiple / torch.clamp(hertz, min=55.0)[None]
        return (torch.abs(multiple - torch.round(multiple)) < 0.3).float()

    @staticmethod
    def harmonic(peaks: Tensor, here: Tensor, hertz: Tensor, number: int) -> Tensor:
        """Magnitude of the spectral peak nearest to number·F0, (T,); 0 if there is none."""
        place = torch.round(hertz * (number / BIN_HZ)).long() - 1
        reach = torch.arange(-HARMONIC_REACH, HARMONIC_REACH + 1)[:, None]
        rows = torch.clamp(place[None] + reach, 0, PEAK_BINS - 1)
        source = here if number == 1 else peaks
        near, is_peak = torch.gather(source, 0, rows), torch.gather(peaks, 0, rows) > 0
        distance = torch.abs(reach).float() + (reach < 0) * 0.5
        inside = torch.abs(reach).float() <= torch.round(hertz * (0.5 / BIN_HZ))[None]
        chosen = torch.where(is_peak & inside, distance, torch.full_like(near, 99.0))
        best, which = chosen.min(0, keepdim=True)
        return (torch.gather(near, 0, which) * (best < 90.0).float())[0]

    @staticmethod
    def strongest(peaks: Tensor, formants: Tensor) -> list[Tensor]:
        """Highest spectral peak within ±20 % of each formant: three rows (T,).

        A table of maxima over 2^k bins answers any range with two look-ups.
        """
        tables = [peaks]
        for power_of_two in range(7):
            step = 2**power_of_two
            last = tables[-1]
            ahead = torch.cat([last[step:], last[-1:].expand(step, -1)], dim=0)
            tables.append(torch.maximum(last, ahead))
        stacked = torch.cat(tables, dim=0)
        low = torch.ceil(formants * (0.8 / BIN_HZ)).long() - 1
        high = torch.floor(formants * (1.2 / BIN_HZ)).long() - 1
        low, high = torch.clamp(low, 0, PEAK_BINS - 1), torch.clamp(high, 0, PEAK_BINS - 1)
        high = torch.maximum(low, high)
        width = (high - low + 1).float()
        level = torch.clamp(torch.floor(torch.log(width + 0.01) / math.log(2.0)), 0, 7).long()
        size = torch.exp(level.float() * math.log(2.0)).round().long()
        from_low = torch.gather(stacked, 0, level * PEAK_BINS + low)
        to_high = torch.gather(stacked, 0, level * PEAK_BINS + torch.maximum(low, high - size + 1))
        return list(torch.maximum(from_low, to_high).unbind(0))


def decibels(ratio: Tensor) -> Tensor:
    """20·log10 of a magnitude ratio, at least -200 dB."""
    return torch.clamp(torch.log(torch.clamp(ratio, min=1e-10)) * (20 / math.log(10)), min=-200.0)


__all__ = ["HarmonicLevels", "HarmonicsToNoise", "decibels", "shifted"]
