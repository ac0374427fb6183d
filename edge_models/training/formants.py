"""Formants: linear prediction at 11 kHz by an unrolled Levinson recursion, then its roots.

Rules it upholds: every step is real arithmetic on (…, T) rows; a silent frame has no formant.
The reading of the band (below 3.4 kHz, the first 224 of a frame's 320 samples) and of the
polynomial (prediction terms with the opposite sign, i.e. the roots of 2 - A) are openSMILE's,
kept so that the values line up with fifteen years of published eGeMAPS studies.

Place in the life of a frame: windowed 20 ms frame → **formants** → amplitudes at formants.
Source: J. Makhoul, Linear Prediction: A Tutorial Review, Proc. IEEE 63(4), 1975.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn

ORDER: Final = 11
RATE_HZ: Final = 11_000.0
LOWEST_HZ: Final = 50.0
HIGHEST_HZ: Final = 5_450.0
FORMANTS: Final = 3
ITERATIONS: Final = 10

_FIRST_SAMPLE: Final = 48
_LAST_SAMPLE: Final = 220
_HARMONICS: Final = 109


def resampled(windowed: Tensor) -> Tensor:
    """16 kHz windowed frames (320, T) → band-limited 11 kHz samples (172, T).

    A sum of cosines up to bin 109 is the Dirichlet kernel, so the change of rate is one
    matrix: ½ + sin((109 + ½)θ) / (2·sin(θ/2)), θ = 2π·(i/352 - (n + 96)/512).
    """
    target = torch.arange(_FIRST_SAMPLE, _LAST_SAMPLE)[:, None] * 16
    source = (torch.arange(320)[None, :] + 96) * 11
    half = (target - source).float() * (math.pi / (352 * 16))
    sine = torch.sin(half)
    same = torch.abs(sine) < 1e-6
    ratio = torch.sin(half * (2 * _HARMONICS + 1)) / torch.where(same, torch.ones_like(sine), sine)
    kernel = 0.5 + 0.5 * torch.where(same, torch.full_like(sine, 2.0 * _HARMONICS + 1), ratio)
    return (kernel / 256.0) @ windowed


def autocorrelation(rows: Tensor) -> list[Tensor]:
    """Lags 0..11 of each column, twelve rows (T,). Makhoul 1975, eq. (14).

    In double precision: a band-limited signal's normal equations are nearly singular, and
    single rounding would move the formants by tens of hertz from one machine to the next.
    """
    size = rows.shape[0]
    rows = rows.double()
    return [(rows[lag:] * rows[: size - lag]).sum(0) for lag in range(ORDER + 1)]


def predictor(lags: list[Tensor]) -> list[Tensor]:
    """Levinson-Durbin: A(z) = 1 + Σ a_k z^-k, the a_k as eleven rows (T,).

    Source: Makhoul 1975, eq. (38a)-(38e).
    """
    error = torch.clamp(lags[0], min=1e-30)
    taps: list[Tensor] = []
    for order in range(1, ORDER + 1):
        total = lags[order]
        for tap, lag in zip(taps, reversed(lags[1:order]), strict=True):
            total = total + tap * lag
        reflection = -total / error
        reflection = torch.clamp(reflection, -0.999999, 0.999999)
        taps = [
            tap + reflection * other for tap, other in zip(taps, reversed(taps), strict=True)
        ] + [reflection]
        error = error * (1.0 - reflection * reflection)
    return taps


def roots(taps: list[Tensor]) -> tuple[Tensor, Tensor]:
    """All roots of z^11 + Σ c_k z^(11-k) at once: real and imaginary parts, (11, T).

    Source: O. Aberth, Iteration methods for finding all zeros of a polynomial simultaneously,
    Math. Comp. 27, 1973, eq. (4): w = N / (1 - N·Σ 1/(z_i - z_j)), N = p/p'.
    """
    hertz = torch.tensor([700.0, 1700.0, 2800.0, 3900.0, 4900.0])
    radius = torch.tensor([0.75, 0.80, 0.85, 0.78, 0.75])
    turn = hertz * (2 * math.pi / RATE_HZ)
    # Not quite conjugate: two roots of a pair can then part along the real axis.
    angle = torch.cat([turn, -turn - 0.02, torch.tensor([math.pi])])
    size = torch.cat([radius, radius * 1.02, torch.tensor([0.5])])
    still = torch.zeros_like(taps[0])[None]
    real = (size * torch.cos(angle))[:, None] + still
    imaginary = (size * torch.sin(angle))[:, None] + still
    apart = torch.eye(ORDER)[:, :, None]
    for _ in range(ITERATIONS):
        real, imaginary = _aberth_step(taps, real, imaginary, apart)
    return real, imaginary


def _aberth_step(
    taps: list[Tensor], real: Tensor, imaginary: Tensor, apart: Tensor
) -> tuple[Tensor, Tensor]:
    value_re, value_im, slope_re, slope_im = _horner(taps, real, imaginary)
    gap_re = real[:, None] - real[None] + apart
    gap_im = imaginary[:, None] - imaginary[None]
    size = torch.clamp(gap_re * gap_re + gap_im * gap_im, min=1e-12)
    # The diagonal's own term is 1/1 by construction and is taken off again.
    push_re = (gap_re / size).sum(1) - 1.0
    push_im = -(gap_im / size).sum(1)
    below_re = slope_re - (value_re * push_re - value_im * push_im)
    below_im = slope_im - (value_re * push_im + value_im * push_re)
    norm = torch.clamp(below_re * below_re + below_im * below_im, min=1e-20)
    step_re = (value_re * below_re + value_im * below_im) / norm
    step_im = (value_im * below_re - value_re * below_im) / norm
    return real - torch.clamp(step_re, -2.0, 2.0), imaginary - torch.clamp(step_im, -2.0, 2.0)


def _horner(
    taps: list[Tensor], real: Tensor, imaginary: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """p(z) and p'(z) by real division by z² - 2·Re(z)·z + |z|², twice."""
    double, square = 2.0 * real, real * real + imaginary * imaginary
    one = torch.ones_like(real)
    value, value_before = one, torch.zeros_like(real)
    quotient = [value]
    for tap in taps[:-1]:
        value, value_before = tap + double * value - square * value_before, value
        quotient.append(value)
    # Remainder: last quotient term times (z - …) plus a constant.
    constant = taps[-1] - square * value_before
    p_re, p_im = constant + value * real, value * imaginary
    slope, slope_before = one, torch.zeros_like(real)
    for part in quotient[1:-2]:
        slope, slope_before = part + double * slope - square * slope_before, slope
    # p = Q·D + b·z + c, D(z) = 0 and D'(z) = 2i·Im(z), so p' = 2i·Im(z)·Q(z) + b.
    rest = quotient[-2] - square * slope_before
    q_re, q_im = rest + slope * real, slope * imaginary
    return p_re, p_im, value - 2.0 * imaginary * q_im, 2.0 * imaginary * q_re


def arctangent(rise: Tensor, run: Tensor) -> Tensor:
    """Angle in 0..π of a point in the upper half plane (ONNX has no atan2)."""
    length = torch.sqrt(torch.clamp(rise * rise + run * run, min=1e-30))
    # Half-angle formula: tan(φ/2) = (|z| - x) / y = y / (|z| + x).
    return 2.0 * torch.atan(rise / torch.clamp(length + run, min=1e-12))


class Formants(nn.Module):
    """Frequency and bandwidth of the three lowest formants of 20 ms frames."""

    def forward(self, windowed: Tensor) -> tuple[Tensor, Tensor]:
        """Windowed frames (320, T) → hertz (3, T) ascending, bandwidth (3, T); 0 = none."""
        lags = autocorrelation(resampled(windowed))
        taps = [-tap.float() for tap in predictor(lags)]
        real, imaginary = roots(taps)
        upper = imaginary > 1e-3
        size = torch.clamp(real * real + imaginary * imaginary, 1e-12, 1e12)
        hertz = arctangent(torch.relu(imaginary), real) * (RATE_HZ / (2 * math.pi))
        # |z| > 1 is mirrored into the unit circle: the logarithm changes sign.
        bandwidth = torch.abs(torch.log(size)) * (RATE_HZ / (2 * math.pi))
        fine = upper & (hertz >= LOWEST_HZ) & (hertz <= HIGHEST_HZ) & (lags[0] > 1e-18)
        order = torch.where(fine, hertz, torch.full_like(hertz, 1e6))
        lowest, which = torch.topk(order, FORMANTS, dim=0, largest=False)
        found = lowest < 1e5
        width = torch.gather(bandwidth, 0, which)
        nothing = torch.zeros_like(lowest)
        return torch.where(found, lowest, nothing), torch.where(found, width, nothing)
