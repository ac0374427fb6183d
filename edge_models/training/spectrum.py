"""Short-time spectra as matrix products, and the descriptors that are read from them.

Rules it upholds: frame n starts at sample n·160 and bins come first, time last, so that every
slice is a contiguous copy and every transform a matrix product; all constants are made from
their formulas when the graph is loaded, which keeps the exported file small.

Place in the life of a frame: samples → **spectra** → loudness, spectral balance, flux, MFCC.
Source: F. Eyben et al., The Geneva Minimalistic Acoustic Parameter Set, IEEE TAC 7(2), 2016.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn

HOP: Final = 160
RATE_HZ: Final = 16_000
SPECTRUM_FLOOR: Final = 1e-14
"""Power below this reads as -140 dB."""


def columns(samples: Tensor, size: int) -> Tensor:
    """Whole stretches of `size` samples side by side: (n,) → (size, n // size)."""
    return samples[: samples.shape[0] // size * size].reshape(-1, size).transpose(0, 1)


def overlapping_frames(stretches: Tensor, count: int) -> Tensor:
    """Frames of `count` stretches, one a stretch: (S, N) → (count·S, N - count + 1)."""
    rows = stretches.shape[1] - count + 1
    return torch.cat([stretches[:, first : first + rows] for first in range(count)], dim=0)


class ShortTimeDft(nn.Module):
    """|DFT| of real frames in two stages of small matrix products.

    With sample n = S·n1 + n2 and bin k = k1 + R·k2, N = R·S:
    X[k] = Σ_n2 exp(-2πi·n2·k/N) · Σ_n1 x[n]·exp(-2πi·n1·k1/R).
    Source: J. W. Cooley, J. W. Tukey, Math. Comp. 19, 1965, eq. (6)-(8).
    """

    bins: Tensor

    def __init__(self, window: Tensor, points: int, columns: int) -> None:
        super().__init__()
        self.points, self.columns, self.radix = points, columns, points // columns
        self.half = self.radix // 2 + 1
        rows = len(window) // columns
        self.register_buffer("window", window[:, None].float())
        # Only the counting rows are stored: what follows from them is computed when loaded.
        self.register_buffer("first", torch.arange(self.half).float())
        self.register_buffer("row", torch.arange(rows).float())
        self.register_buffer("column", torch.arange(columns).float())
        bins = torch.arange(points // 2 + 1)
        mirrored = torch.where(bins % self.radix > self.radix // 2, points - bins, bins)
        self.register_buffer("bins", mirrored % self.radix * columns + mirrored // self.radix)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(L, T) → windowed frames (L, T), power spectrum (N/2+1, T)."""
        windowed = frames * self.window
        cos, sin = _turns(self.first[:, None] * self.row[None], self.radix)
        inner = torch.stack([cos, -sin], dim=1).reshape(2 * self.half, -1)
        partial = inner @ windowed.reshape(self.row.shape[0], -1)
        partial = partial.reshape(self.half, 2 * self.columns, -1)
        bin_of = self.first[:, None] + self.radix * self.column[None]
        cos, sin = _turns(bin_of[:, :, None] * self.column[None, None], self.points)
        outer = torch.cat([torch.cat([cos, sin], dim=2), torch.cat([-sin, cos], dim=2)], dim=1)
        both = outer @ partial
        square = (both * both).reshape(self.half, 2, -1)
        power = square.sum(1).reshape(self.half * self.columns, -1)
        return windowed, power[self.bins]


def _turns(steps: Tensor, period: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of `steps` parts of a full turn of `period` parts."""
    angle = torch.fmod(steps, float(period)) * (2 * math.pi / period)
    return torch.cos(angle), torch.sin(angle)


def hamming(size: int) -> Tensor:
    """Hamming window, 0.54 - 0.46·cos(2πn/(N-1))."""
    turn = 2 * math.pi * torch.arange(size, dtype=torch.float64) / (size - 1)
    return 0.54 - 0.46 * torch.cos(turn)


def gaussian(size: int, sigma: float) -> Tensor:
    """Gaussian window whose standard deviation is `sigma` half-lengths."""
    centre = (size - 1) / 2
    distance = (torch.arange(size, dtype=torch.float64) - centre) / (sigma * centre)
    return torch.exp(-0.5 * distance * distance)


def mel(hertz: Tensor) -> Tensor:
    """Mel scale, 1127·ln(1 + f/700) (D. O'Shaughnessy, Speech Communication, 1987)."""
    return 1127.0 * torch.log(1.0 + hertz / 700.0)


def mel_bank(bands: int, bins: int, bin_hz: float, low_hz: float, high_hz: float) -> Tensor:
    """Triangular filters equally spaced in mel, (bands, bins).

    Source: S. Young et al., The HTK Book, section 5.6.
    """
    edges = torch.linspace(
        float(mel(torch.tensor(low_hz))), float(mel(torch.tensor(high_hz))), bands + 2
    ).double()
    place = mel(torch.arange(bins, dtype=torch.float64) * bin_hz)[None, :]
    rising = (place - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - place) / (edges[2:] - edges[1:-1])[:, None]
    bank = torch.clamp(torch.minimum(rising, falling), min=0.0)
    bank[:, : round(low_hz / bin_hz) + 1] = 0.0
    bank[:, round(high_hz / bin_hz) :] = 0.0
    return bank


def equal_loudness(hertz: Tensor) -> Tensor:
    """Sensitivity of hearing at about 40 dB, largest value near 1.

    Source: H. Hermansky, J. Acoust. Soc. Am. 87(4), 1990, eq. (5), with the term for
    frequencies above 5 kHz (w in place of w² to the third power, as openSMILE has it).
    """
    w = 2 * math.pi * hertz
    square = w * w
    gain = (square + 56.8e6) * square * square
    loss = (square + 6.3e6) ** 2 * (square + 0.38e9) * (square**3 * w + 1.7e31)
    return 1e32 * gain / loss


def slope_weights(bins: int, first: int, last: int, bin_hz: float) -> Tensor:
    """Least-squares slope over bins first..last as weights, (bins,).

    The count is `last - first`, one less than the bins summed: openSMILE's reading of the
    band limits, kept so that values line up.
    """
    hertz = torch.arange(first, last + 1, dtype=torch.float64) * bin_hz
    count = last - first
    divisor = count * (hertz * hertz).sum() - hertz.sum() ** 2
    weights = torch.zeros(bins, dtype=torch.float64)
    weights[first : last + 1] = (count * hertz - hertz.sum()) / divisor
    return weights


class SpectralBalance(nn.Module):
    """Loudness, alpha ratio, Hammarberg index, two slopes, flux and MFCC 1-4 of 20 ms frames."""

    BIN_HZ: Final = 31.25

    def __init__(self) -> None:
        super().__init__()
        bank = mel_bank(26, 257, self.BIN_HZ, 20.0, 8000.0)
        mels = torch.linspace(float(mel(torch.tensor(20.0))), float(mel(torch.tensor(8000.0))), 28)
        centres = 700.0 * (torch.exp(mels[1:-1].double() / 1127.0) - 1.0)
        band = torch.arange(26, dtype=torch.float64)
        order = torch.arange(1, 5, dtype=torch.float64)[:, None]
        # HTK Book, eq. (5.14) and (5.12): cosine transform, then the lifter with L = 22.
        cosine = math.sqrt(2 / 26) * torch.cos(math.pi * order / 26 * (band[None, :] + 0.5))
        lifter = 1 + 11 * torch.sin(math.pi * order / 22)
        slopes = [slope_weights(49, 0, 16, self.BIN_HZ), slope_weights(49, 16, 48, self.BIN_HZ)]
        self.register_buffer("bank", bank.float())
        self.register_buffer("hearing", equal_loudness(centres)[:, None].float())
        self.register_buffer("cepstrum", (cosine * lifter).float())
        self.register_buffer("slopes", torch.stack(slopes).float())

    def forward(self, power: Tensor) -> Tensor:
        """Power spectrum (257, T) → the ten descriptors (10, T), unsmoothed."""
        bands = self.bank @ power
        # Hermansky 1990, eq. (7): the power law of hearing, here with exponent 0.33.
        heard = torch.pow(torch.clamp(bands, min=1e-8) * self.hearing, 0.33)
        loudness = heard.mean(0, keepdim=True)
        scaled = torch.log(torch.clamp(bands * (32767.0 * 32767.0), min=1.0))
        low, high = power[:32].sum(0, keepdim=True), power[32:161].sum(0, keepdim=True)
        alpha = decibels(high) - decibels(low)
        peaks = power[:64].amax(0, keepdim=True), power[64:161].amax(0, keepdim=True)
        hammarberg = decibels(peaks[0]) - decibels(peaks[1])
        slopes = self.slopes @ decibels(power[:49])
        magnitude = torch.sqrt(power[:160])
        change = magnitude[:, 1:] - magnitude[:, :-1]
        flux = torch.sqrt((change * change).mean(0, keepdim=True))
        flux = torch.cat([flux[:, :1] * 0.0, flux], dim=1)
        return torch.cat([loudness, alpha, hammarberg, slopes, flux, self.cepstrum @ scaled], dim=0)


def decibels(power: Tensor) -> Tensor:
    """10·log10 of a power, floored at -140 dB."""
    return torch.log(torch.clamp(power, min=SPECTRUM_FLOOR)) * (10.0 / math.log(10.0))
