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


class ShortTimeDft(nn.Module):
    """Power spectra of overlapping windowed frames: a grouped convolution and a matrix product.

    With sample n = S·n1 + n2 of N = R·S and bin k = k1 + R·k2, window w:
    Z[n2, k1] = Σ_n1 w[n]·x[n]·exp(-2πi·n·k1/N), X[k] = Σ_n2 exp(-2πi·n2·k2/S)·Z[n2, k1].
    The sum over n1 is a convolution of every S-th sample, in which framing, window and twiddle
    factors cost nothing of their own.
    Source: J. W. Cooley, J. W. Tukey, Math. Comp. 19, 1965, eq. (6)-(8).
    """

    bins: Tensor

    def __init__(self, window: Tensor, points: int, columns: int, hop: int, parts: int = 1) -> None:
        super().__init__()
        self.count = parts
        self.points, self.columns, self.hop = points, columns, hop
        self.radix = points // columns
        self.half = self.radix // 2 + 1
        # Only the window and counting rows are stored: what follows from them is computed when
        # loaded. Samples of a frame in the order (n2, n1).
        sample = torch.arange(len(window)).reshape(-1, columns).transpose(0, 1)
        self.register_buffer("sample", sample.float())
        self.register_buffer("window", window[sample].float())
        self.register_buffer("low", torch.arange(self.half).float())
        self.register_buffer("column", torch.arange(columns).float())
        # The rows k2 come in pairs that are half a turn apart.
        high = torch.arange(columns).reshape(2, -1).transpose(0, 1).reshape(-1)
        self.register_buffer("high", high.float())
        bins = torch.arange(points // 2 + 1)
        mirrored = torch.where(bins % self.radix > self.radix // 2, points - bins, bins)
        row = torch.argsort(high)[mirrored // self.radix]
        self.register_buffer("bins", row * self.half + mirrored % self.radix)

    def forward(self, samples: Tensor, before: int = 0, after: int = 0) -> Tensor:
        """Samples (n,) → squared magnitudes (S·(R/2 + 1), T), rows (k2, k1); `in_order` sorts them.

        Row (k2, k1) is bin k1 + R·k2, beyond the middle mirrored. `before` and `after` are how
        many samples of silence to add, in whole rows of S.
        """
        phases = samples.reshape(1, -1, self.columns).transpose(1, 2)
        if before or after:
            silence = (before // self.columns, after // self.columns)
            phases = nn.functional.pad(phases, silence)
        cos, sin = _turns(self.low[None, :, None] * self.sample[:, None], self.points)
        inner = torch.stack([cos, -sin], dim=1) * self.window[:, None, None]
        inner = inner.reshape(-1, 1, self.sample.shape[1])
        stride = self.hop // self.columns
        cos, sin = _turns(self.high[:, None] * self.column[None], self.columns)
        real, imaginary = torch.stack([cos, sin], dim=2), torch.stack([-sin, cos], dim=2)
        outer = torch.stack([real, imaginary], dim=1).reshape(2 * self.columns, -1)
        found = []
        for part in self.parts(phases):
            partial = nn.functional.conv1d(part, inner, stride=stride, groups=self.columns)
            both = outer @ partial.reshape(2 * self.columns, -1)
            square = (both * both).reshape(self.columns, 2, -1)
            found.append(square.sum(1).reshape(self.columns * self.half, -1))
        return torch.cat(found, dim=1)

    def parts(self, phases: Tensor) -> list[Tensor]:
        """The frames in a few stretches, each of which fits into a processor's cache."""
        length, stride = self.sample.shape[1], self.hop // self.columns
        size = ((phases.shape[2] - length) // stride + 1) // self.count
        starts = [part * size * stride for part in range(self.count)]
        ends = [start + length - stride for start in starts[1:]]
        parts = [phases[:, :, start:end] for start, end in zip(starts, ends, strict=False)]
        return [*parts, phases[:, :, starts[-1] :]]

    def in_order(self, rows: Tensor, count: int) -> Tensor:
        """The first `count` bins, in order, of the rows that `forward` gives; (count, T)."""
        return rows[self.bins[:count]]

    def as_given(self, weights: Tensor) -> Tensor:
        """Weights of bins (K, N/2 + 1), for the rows as `forward` gives them; (K, S·(R/2 + 1))."""
        spread = torch.zeros(weights.shape[0], self.columns * self.half)
        spread[:, self.bins] = weights
        return spread


def _turns(steps: Tensor, period: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of `steps` parts of a full turn of `period` parts."""
    angle = torch.fmod(steps, float(period)) * (2 * math.pi / period)
    return torch.cos(angle), torch.sin(angle)


def hamming(size: int) -> Tensor:
    """Hamming window, 0.54 - 0.46·cos(2πn/(N-1))."""
    turn = 2 * math.pi * torch.arange(size, dtype=torch.float64) / (size - 1)
    return 0.54 - 0.46 * torch.cos(turn)


def hann(size: int) -> Tensor:
    """Hann window that overlaps itself to a constant, ½ - ½·cos(2π(n + ½)/N)."""
    turn = 2 * math.pi * (torch.arange(size, dtype=torch.float64) + 0.5) / size
    return 0.5 - 0.5 * torch.cos(turn)


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

    def __init__(self, dft: ShortTimeDft) -> None:
        super().__init__()
        self.dft = dft
        bands = mel_bank(26, 257, self.BIN_HZ, 20.0, 8000.0)
        # Below them in one matrix: the sums up to 1 kHz and from 1 to 5 kHz.
        place = torch.arange(257)
        low, high = place < 32, (place >= 32) & (place < 161)
        bank = torch.cat([bands, torch.stack([low, high]).double()], dim=0)
        mels = torch.linspace(float(mel(torch.tensor(20.0))), float(mel(torch.tensor(8000.0))), 28)
        centres = 700.0 * (torch.exp(mels[1:-1].double() / 1127.0) - 1.0)
        band = torch.arange(26, dtype=torch.float64)
        order = torch.arange(1, 5, dtype=torch.float64)[:, None]
        # HTK Book, eq. (5.14) and (5.12): cosine transform, then the lifter with L = 22.
        cosine = math.sqrt(2 / 26) * torch.cos(math.pi * order / 26 * (band[None, :] + 0.5))
        lifter = 1 + 11 * torch.sin(math.pi * order / 22)
        slopes = [slope_weights(49, 0, 16, self.BIN_HZ), slope_weights(49, 16, 48, self.BIN_HZ)]
        self.register_buffer("bank", dft.as_given(bank.float()))
        self.register_buffer("hearing", torch.log(equal_loudness(centres))[:, None].float())
        self.register_buffer("cepstrum", (cosine * lifter).float())
        self.register_buffer("slopes", torch.stack(slopes).float())

    def forward(self, samples: Tensor) -> Tensor:
        """Samples (n,) → the ten descriptors (10, T) of 20 ms frames, unsmoothed."""
        rows = self.dft(samples)
        power = self.dft.in_order(rows, 161)
        summed = torch.log(torch.clamp(self.bank @ rows, min=SPECTRUM_FLOOR))
        bands, sums = summed[:26], summed[26:] * (10.0 / math.log(10.0))
        # Hermansky 1990, eq. (7): the power law of hearing, here with exponent 0.33.
        heard = torch.exp((torch.clamp(bands, min=math.log(1e-8)) + self.hearing) * 0.33)
        loudness = heard.mean(0, keepdim=True)
        # MFCC are of 16-bit samples' bands, at least 1.
        scaled = torch.clamp(bands + 2.0 * math.log(32767.0), min=0.0)
        alpha = sums[1:] - sums[:1]
        peaks = power[:64].amax(0, keepdim=True), power[64:].amax(0, keepdim=True)
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
