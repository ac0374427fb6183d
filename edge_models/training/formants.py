"""Formants: linear prediction at 11 kHz by an unrolled Levinson recursion, then its roots.

Rules it upholds: every step is real arithmetic on (…, T) rows; a silent frame has no formant.
The reading of the band (below 3.4 kHz, the first 224 of a frame's 320 samples) and of the
polynomial (prediction terms with the opposite sign, i.e. the roots of 2 - A) are openSMILE's,
kept so that the values line up with fifteen years of published eGeMAPS studies.

Place in the life of a frame: windowed 20 ms frame → **formants** → amplitudes at formants.
Source: J. Makhoul, Linear Prediction: A Tutorial Review, Proc. IEEE 63(4), 1975.
"""

import math
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from edge_models.training.spectrum import HOP, hamming

ORDER: Final = 11
RATE_HZ: Final = 11_000.0
FRAME: Final = 320
LOWEST_HZ: Final = 50.0
HIGHEST_HZ: Final = 5_450.0
FORMANTS: Final = 3
HIDDEN: Final = 96
NEWTON_STEPS: Final = 1
NEWTON_REACH: Final = 0.2
GUESS_FILE: Final = Path(__file__).with_name("formant_guess.npz")

_FIRST_SAMPLE: Final = 48
_LAST_SAMPLE: Final = 220
_HARMONICS: Final = 109
_POINTS: Final = 184
"""At least 172 samples and 11 lags, so that the circle never closes."""


def predictor(lags: Tensor) -> Tensor:
    """Levinson-Durbin: lags 0..11 (12, T) → A(z) = 1 + Σ a_k z^-k, the a_k as (11, T).

    Source: Makhoul 1975, eq. (38a)-(38e).
    """
    backwards = lags.flip(0)
    error = torch.clamp(lags[:1], min=1e-30)
    reflection = torch.clamp(-lags[1:2] / error, -0.999999, 0.999999)
    taps = reflection
    for order in range(2, ORDER + 1):
        error = error * (1.0 - reflection * reflection)
        earlier = backwards[ORDER + 1 - order : ORDER]
        total = lags[order : order + 1] + (taps * earlier).sum(0, keepdim=True)
        reflection = torch.clamp(-total / error, -0.999999, 0.999999)
        taps = torch.cat([taps + reflection * taps.flip(0), reflection], dim=0)
    return taps


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


def proposer() -> nn.Sequential:
    """A net that proposes the three lowest formants' roots from eleven coefficients."""
    return nn.Sequential(
        nn.Linear(ORDER, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, 2 * FORMANTS),
    )


class Formants(nn.Module):
    """Frequency and bandwidth of the three lowest formants of 20 ms frames."""

    def __init__(self) -> None:
        super().__init__()
        self.prediction = Prediction()
        self.proposer = proposer()
        with np.load(GUESS_FILE) as weights:
            state = {name: torch.from_numpy(weights[name]).float() for name in weights}
        self.proposer.load_state_dict(state)

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (n,) → hertz (3, T) ascending, bandwidth (3, T); 0 = none."""
        energy, taps = self.prediction(samples)
        real, imaginary = self.roots(taps)
        size = torch.clamp(real * real + imaginary * imaginary, 1e-12, 1e12)
        hertz = arctangent(torch.abs(imaginary), real) * (RATE_HZ / (2 * math.pi))
        # |z| > 1 is mirrored into the unit circle: the logarithm changes sign.
        bandwidth = torch.abs(torch.log(size)) * (RATE_HZ / (2 * math.pi))
        heard = (hertz >= LOWEST_HZ) & (hertz <= HIGHEST_HZ) & (energy > 1e-18)
        order = torch.where(heard, hertz, torch.full_like(hertz, 1e6))
        lowest, which = torch.topk(order, FORMANTS, dim=0, largest=False)
        found = (lowest < 1e5).float()
        return lowest * found, torch.gather(bandwidth, 0, which) * found

    def roots(self, taps: Tensor) -> tuple[Tensor, Tensor]:
        """Eleven coefficients (11, T) → the three lowest upper roots, real and imaginary (3, T).

        A net proposes, Newton's method z - p/p' decides; a step that leaves the neighbourhood
        of the proposal would land on another root and is not taken.
        """
        rows = taps
        each = list(taps.split(1, dim=0))
        for layer in self.proposer:
            if isinstance(layer, nn.Linear):
                rows = layer.weight @ rows + layer.bias[:, None]
            else:
                rows = torch.relu(rows)
        real, imaginary = rows[:FORMANTS], rows[FORMANTS:]
        guess_re, guess_im = real, imaginary
        for _ in range(NEWTON_STEPS):
            value_re, value_im, slope_re, slope_im = _horner(each, real, imaginary)
            norm = 1.0 / torch.clamp(slope_re * slope_re + slope_im * slope_im, min=1e-20)
            step_re = (value_re * slope_re + value_im * slope_im) * norm
            step_im = (value_im * slope_re - value_re * slope_im) * norm
            real = real - torch.clamp(step_re, -NEWTON_REACH, NEWTON_REACH)
            imaginary = imaginary - torch.clamp(step_im, -NEWTON_REACH, NEWTON_REACH)
        away_re, away_im = real - guess_re, imaginary - guess_im
        near = (away_re * away_re + away_im * away_im < NEWTON_REACH**2).float()
        return guess_re + away_re * near, guess_im + away_im * near


class Prediction(nn.Module):
    """The polynomial whose roots are the formants, of windowed 20 ms frames."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", hamming(FRAME).float())
        self.register_buffer("sample", torch.arange(_FIRST_SAMPLE, _LAST_SAMPLE).float())
        self.register_buffer("source", (torch.arange(FRAME)[None] + 96) * 11.0)
        self.register_buffer("bin", torch.arange(_POINTS // 2 + 1).float())
        self.register_buffer("lag", torch.arange(ORDER + 1).float())

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (n,) → energy (1, T) and eleven coefficients (11, T) of a frame every 10 ms."""
        lags = self.autocorrelation(samples)
        return lags[:1], -predictor(lags).float()

    def autocorrelation(self, samples: Tensor) -> Tensor:
        """Samples (n,) → lags 0..11 of the frames at 11 kHz, double (12, T).

        The transform of the power spectrum (Wiener-Khinchin), in double precision: a
        band-limited signal's normal equations are nearly singular, and single rounding would
        move the formants by tens of hertz from one machine to the next.
        """
        angle = _turn(self.bin[:, None] * self.sample[None], _POINTS)
        transform = torch.cat([torch.cos(angle), torch.sin(angle)], dim=0) @ self.resampler()
        windowed = (transform * self.window)[:, None]
        both = nn.functional.conv1d(samples[None, None], windowed, stride=HOP)[0]
        square = both * both
        power = square[: _POINTS // 2 + 1] + square[_POINTS // 2 + 1 :]
        twice = torch.clamp(self.bin + 1.0, max=2.0) * torch.clamp(
            _POINTS / 2 + 1.0 - self.bin, max=2.0
        )
        cosine = torch.cos(_turn(self.lag[:, None] * self.bin[None], _POINTS).double())
        return (cosine * (twice[None].double() / 2.0)) @ power.double()

    def resampler(self) -> Tensor:
        """16 kHz → band-limited 11 kHz as one matrix, (172, 320).

        A sum of cosines up to bin 109 is the Dirichlet kernel:
        ½ + sin((109 + ½)θ) / (2·sin(θ/2)), θ = 2π·(i/352 - (n + 96)/512).
        """
        half = (self.sample[:, None] * 16.0 - self.source) * (math.pi / (352 * 16))
        sine = torch.sin(half)
        same = torch.abs(sine) < 1e-6
        ratio = torch.sin(half * (2 * _HARMONICS + 1)) / torch.where(same, 1.0, sine)
        return (0.5 + 0.5 * torch.where(same, 2.0 * _HARMONICS + 1.0, ratio)) / 256.0


def _turn(steps: Tensor, period: int) -> Tensor:
    return torch.fmod(steps, float(period)) * (2 * math.pi / period)
