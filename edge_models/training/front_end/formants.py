"""Formants of 20 ms frames: linear prediction at 11 kHz, and the polynomial's roots.

All of it is unrolled: Levinson's recursion by its eleven orders, and the roots by a fixed number
of Aberth rounds in real arithmetic, so that standard operators suffice.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from edge_models.training.front_end.spectrum import hamming

ORDER = 11
RATE_HZ = 11_000
FFT_IN, FFT_OUT = 512, 352  # one spectrum, seen at 16 kHz and at 11 kHz
SPECTRUM_BINS = 110
ANALYSED, BEFORE = 220, 66
"""What linear prediction sees: 220 samples at 11 kHz that start 66 samples (6 ms) before the frame,
holding nothing above 3437 Hz, and the constant component twice. So does openSMILE 2.6.0, whose
resampler was identified from its output to seven digits."""

ROUNDS = 6
START_RADIUS = 0.75
LONGEST_STEP = 4.0
LOWEST_HZ, HIGHEST_HZ = 50.0, 5450.0
COUNT = 3


@dataclass(frozen=True)
class Formants:
    """The three lowest resonances of each frame, (T, 3): frequency and bandwidth, both in Hz."""

    frequency_hz: Tensor
    bandwidth_hz: Tensor


def resampling() -> Tensor:
    """Hamming window and band-limited resampling to 11 kHz in one matrix: (320, 220)."""
    bins = torch.arange(SPECTRUM_BINS)
    into = torch.outer(torch.arange(320), bins).remainder(FFT_IN) * (2 * math.pi / FFT_IN)
    later = torch.arange(ANALYSED) - BEFORE
    out = torch.outer(bins, later).remainder(FFT_OUT) * (2 * math.pi / FFT_OUT)
    matrix = 2 * (torch.cos(into) @ torch.cos(out) + torch.sin(into) @ torch.sin(out))
    return hamming(320)[:, None] * matrix / FFT_IN


def linear_prediction(signal: Tensor) -> list[Tensor]:
    """Coefficients 1, a₁ … a₁₁ of frames (T, N), each a column (T, 1).

    Source: Levinson's recursion; Makhoul, "Linear prediction: a tutorial review", Proc. IEEE
    63(4), 1975, equation 38.
    """
    size = signal.shape[1]
    lags = [
        (signal[:, : size - lag] * signal[:, lag:]).sum(1, keepdim=True) for lag in range(ORDER + 1)
    ]
    error = torch.clamp(lags[0], min=1e-9)
    past: list[Tensor] = []
    for order in range(1, ORDER + 1):
        reflection = lags[order]
        for place, coefficient in enumerate(past):
            reflection = reflection + coefficient * lags[order - 1 - place]
        reflection = -reflection / error
        past = [a + reflection * b for a, b in zip(past, reversed(past), strict=True)]
        past.append(reflection)
        error = torch.clamp(error * (1 - reflection * reflection), min=1e-12)
    return [torch.ones_like(error), *past]


def roots(coefficients: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Real and imaginary parts of the polynomial's eleven roots, (T, 11) each.

    Source: Aberth, "Iteration methods for finding all zeros of a polynomial simultaneously",
    Mathematics of Computation 27, 1973, equation 1.6; in real arithmetic. The first guesses lie on
    a circle turned a little, so that no two are conjugates and real roots may part.
    """
    angle = 2 * math.pi / ORDER * torch.arange(ORDER) + 0.1
    ones = torch.ones_like(coefficients[0])
    real = ones * (START_RADIUS * torch.cos(angle))
    imaginary = ones * (START_RADIUS * torch.sin(angle))
    itself = torch.eye(ORDER)[None] * 1e9
    for _ in range(ROUNDS):
        # Horner's scheme for the polynomial and its derivative, both complex.
        value_r, value_i = real + coefficients[1], imaginary
        slope_r, slope_i = torch.ones_like(real), torch.zeros_like(real)
        for coefficient in coefficients[2:]:
            slope_r, slope_i = (
                slope_r * real - slope_i * imaginary + value_r,
                slope_r * imaginary + slope_i * real + value_i,
            )
            value_r, value_i = (
                value_r * real - value_i * imaginary + coefficient,
                value_r * imaginary + value_i * real,
            )
        # The sum over the other roots of 1 / (z - other).
        apart_r = real[:, :, None] - real[:, None, :] + itself
        apart_i = imaginary[:, :, None] - imaginary[:, None, :]
        nearness = 1 / torch.clamp(apart_r * apart_r + apart_i * apart_i, min=1e-18)
        pull_r, pull_i = (apart_r * nearness).sum(2), -(apart_i * nearness).sum(2)
        below_r = slope_r - (value_r * pull_r - value_i * pull_i)
        below_i = slope_i - (value_r * pull_i + value_i * pull_r)
        size = torch.clamp(below_r * below_r + below_i * below_i, min=1e-18)
        step_r = (value_r * below_r + value_i * below_i) / size
        step_i = (value_i * below_r - value_r * below_i) / size
        # A guess where the derivative vanishes would be thrown far away: steps have a bound.
        real = real - torch.clamp(step_r, -LONGEST_STEP, LONGEST_STEP)
        imaginary = imaginary - torch.clamp(step_i, -LONGEST_STEP, LONGEST_STEP)
    return real, imaginary


def formants_of(frames: Tensor) -> Formants:
    """The lowest three formants of 20 ms frames (T, 320); 0 where there are fewer.

    openSMILE 2.6.0 solves zⁿ − Σ aₖ zⁿ⁻ᵏ with the coefficients of zⁿ + Σ aₖ zⁿ⁻ᵏ. The names say
    eGeMAPSv02 and published models were trained on that, so we do as it does (DECISIONS.md, 11).
    """
    one, *rest = linear_prediction(frames @ resampling())
    real, imaginary = roots([one, *(-coefficient for coefficient in rest)])
    frequency = torch.atan2(imaginary, real) * (RATE_HZ / (2 * math.pi))
    bandwidth = -torch.log(torch.clamp(real * real + imaginary * imaginary, min=1e-12)) * (
        RATE_HZ / (2 * math.pi)
    )
    is_resonance = (imaginary > 1e-4) & (frequency > LOWEST_HZ) & (frequency < HIGHEST_HZ)
    nowhere = torch.full_like(frequency, 2 * RATE_HZ)
    ordered, place = torch.topk(
        torch.where(is_resonance, frequency, nowhere), COUNT, dim=1, largest=False, sorted=True
    )
    found = ordered < RATE_HZ
    nothing = torch.zeros_like(ordered)
    return Formants(
        torch.where(found, ordered, nothing),
        torch.where(found, torch.clamp(bandwidth.gather(1, place), min=0.0), nothing),
    )
