"""Spectral descriptors of 20 ms frames: loudness, MFCC, alpha ratio, Hammarberg, slopes, flux.

Written as plain torch, exported to ONNX: bases are made in the graph (from ranges and cosines)
and folded when it is loaded, so that the file stays small.

Source for the definitions: Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS)
for Voice Research and Affective Computing", IEEE Trans. Affective Computing 7(2), 2016, as
openSMILE's eGeMAPSv02 computes them.
"""

import math
from typing import Final

import torch
from torch import Tensor

SAMPLE_RATE_HZ: Final = 16_000
HOP: Final = 160
FFT: Final = 512
BIN_HZ: Final = SAMPLE_RATE_HZ / FFT
MEL_BANDS: Final = 26
LOUDNESS_SCALE: Final = 0.069
"""Brings the sum of compressed bands to openSMILE's scale (its own unit, not sone)."""

_LOWEST_MEL: Final = 1127 * math.log(1 + 20 / 700)
_MEL_STEP: Final = (1127 * math.log(1 + 8000 / 700) - _LOWEST_MEL) / (MEL_BANDS + 1)


def hamming(size: int) -> Tensor:
    """The symmetric Hamming window, float32 (size,)."""
    return 0.54 - 0.46 * torch.cos(2 * math.pi * torch.arange(size) / (size - 1))


def fourier_basis(size: int, bins: int, fft: int) -> Tensor:
    """Cosines and sines of the first `bins` bins, float32 (size, 2·bins)."""
    phase = torch.outer(torch.arange(size), torch.arange(bins)).remainder(fft)
    angle = phase.to(torch.float32) * (2 * math.pi / fft)
    return torch.cat([torch.cos(angle), torch.sin(angle)], dim=1)


def power_spectrum(frames: Tensor, window: Tensor, bins: int, fft: int) -> Tensor:
    """|DFT|² of windowed frames (T, size), float32 (T, bins)."""
    both = frames @ (window[:, None] * fourier_basis(frames.shape[1], bins, fft))
    cosine, sine = both[:, :bins], both[:, bins:]
    return cosine * cosine + sine * sine


def mel_centres() -> Tensor:
    """Centres of the bands in mel, 1127·ln(1 + f/700), (26,)."""
    return _LOWEST_MEL + _MEL_STEP * (1 + torch.arange(MEL_BANDS))


def mel_filters() -> Tensor:
    """26 triangles from 20 to 8000 Hz on the mel scale: (257, 26).

    Source: Young et al., The HTK Book, section 5.6.
    """
    bins = torch.arange(FFT // 2 + 1) * BIN_HZ
    mel = 1127 * torch.log(1 + bins / 700)[:, None]
    return torch.relu(1 - torch.abs(mel - mel_centres()[None, :]) / _MEL_STEP)


def equal_loudness() -> Tensor:
    """The ear's sensitivity at the mel centres, (26,).

    Source: Hermansky, "Perceptual linear predictive analysis of speech", JASA 87(4), 1990,
    equation 7 with the correction for wide bandwidths.
    """
    # In units of 1000 rad/s, so that the sixth power stays within float32.
    w2 = (2 * math.pi * 0.7 * (torch.exp(mel_centres() / 1127) - 1)) ** 2
    narrow = (w2 + 56.8) * w2**2 / ((w2 + 6.3) ** 2 * (w2 + 380))
    return narrow * 9.58e8 / (w2**3 + 9.58e8)


def band_slope(first_bin: int, last_bin: int) -> Tensor:
    """Weights that turn the band's levels in dB into their slope in dB/Hz, (bins,).

    Least squares as in openSMILE, which counts one bin fewer than it sums.
    """
    frequency = torch.arange(first_bin, last_bin + 1) * BIN_HZ
    count = last_bin - first_bin
    total, squares = frequency.sum(), (frequency**2).sum()
    return (count * frequency - total) / (count * squares - total**2)


def decibel(ratio: Tensor) -> Tensor:
    """10·log10 of a positive power ratio."""
    return 10 / math.log(10) * torch.log(ratio)


def spectral_descriptors(frames: Tensor) -> Tensor:
    """Ten descriptors of 20 ms frames (T, 320), in the order of `acoustic.DESCRIPTOR_NAMES`.

    The first frame's flux is against itself. Returns float32 (T, 10).
    """
    power = power_spectrum(frames, hamming(frames.shape[1]), FFT // 2 + 1, FFT)
    mel = power @ mel_filters()
    weights = equal_loudness() ** 0.33
    loudness = LOUDNESS_SCALE * (torch.clamp(mel, min=1e-12) ** 0.33 @ weights[:, None])

    low = torch.clamp(power[:, :161], min=1e-12)  # 0 to 5000 Hz
    alpha = decibel(low[:, 32:].sum(1, keepdim=True) / low[:, :32].sum(1, keepdim=True))
    peaks = low[:, :65].amax(1, keepdim=True) / low[:, 64:].amax(1, keepdim=True)
    levels = decibel(low[:, :49])
    slope_low = levels[:, :17] @ band_slope(0, 16)[:, None]
    slope_high = levels[:, 16:49] @ band_slope(16, 48)[:, None]

    magnitude = torch.sqrt(low)
    before = torch.cat([magnitude[:1], magnitude[:-1]])
    change = magnitude - before
    flux = torch.sqrt((change * change).mean(1, keepdim=True))
    return torch.cat(
        [loudness, alpha, decibel(peaks), slope_low, slope_high, flux, cepstrum(mel)], dim=1
    )


def cepstrum(mel: Tensor) -> Tensor:
    """MFCC 1 to 4 of mel energies (T, 26), liftered by 22, on the 16-bit scale: (T, 4).

    Source: The HTK Book, equations 5.14 and 5.20.
    """
    energy = torch.clamp(mel * 32767.0**2, min=1.0)
    order = torch.arange(1, 5)
    basis = torch.cos(math.pi / MEL_BANDS * torch.outer(torch.arange(MEL_BANDS) + 0.5, order))
    lifter = 1 + 11 * torch.sin(math.pi * order / 22)
    return torch.log(energy) @ (math.sqrt(2 / MEL_BANDS) * basis * lifter)
