"""Pitch, voicing and harmonicity of 60 ms frames.

Fundamental frequency by sub-harmonic summation: how well a candidate's harmonics are filled in
the spectrum. A few rounds of max-product message passing between neighbouring frames (what a
Viterbi smoother does, within a radius, and without its loop) settle octave ambiguities.

Source: Hermes, "Measurement of pitch by subharmonic summation", JASA 83(1), 1988.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as nn
from torch import Tensor

from edge_models.training.front_end.spectrum import SAMPLE_RATE_HZ

FFT = 1024
BIN_HZ = SAMPLE_RATE_HZ / FFT
BINS = 321
STEPS_PER_OCTAVE = 61.7
LOWEST_HZ = 25.0
FIRST_STEP = 71  # 55.5 Hz
CANDIDATES = 257  # up to 1000 Hz
SCALE_STEPS = 512
HARMONICS = 15
COMPRESSION = 0.85
ROUNDS = 2
NEIGHBOUR_WEIGHT = 0.4
REACH = 4  # steps that pitch may move from one frame to the next: 4/61.7 octave
VOICED_FROM = 0.70
QUIET = 0.001  # RMS of the windowed frame below which nothing is voiced
SHORTEST_LAG, LONGEST_LAG = 15, 292


@dataclass(frozen=True)
class Pitch:
    """Per frame, each (T, 1): `frequency_hz` (0 unvoiced), `voiced` 0 or 1, and `hnr_db`.

    `magnitude` (T, 513) is the spectrum that they were measured in.
    """

    frequency_hz: Tensor
    voiced: Tensor
    hnr_db: Tensor
    magnitude: Tensor


def gauss(size: int) -> Tensor:
    """The Gaussian window with sigma 0.4 of half the frame, (size,)."""
    middle = (size - 1) / 2
    return torch.exp(-0.5 * ((torch.arange(size) - middle) / (0.4 * middle)) ** 2)


def folded_power(frames: Tensor, window: Tensor) -> Tensor:
    """|DFT|² of symmetrically windowed frames (T, size) at half the price: (T, 513).

    A frame is the sum of an even and an odd part; each meets only cosines, or only sines, around
    the frame's middle, and the power does not depend on where time zero is.
    """
    half = frames.shape[1] // 2
    later, earlier = frames[:, half:], torch.flip(frames[:, :half], [1])
    offset = torch.arange(half) + 0.5
    angle = torch.outer(offset, torch.arange(BINS)) * (2 * math.pi / FFT)
    weights = window[half:, None]
    even = (later + earlier) @ (weights * torch.cos(angle))
    odd = (later - earlier) @ (weights * torch.sin(angle))
    return even * even + odd * odd


def harmonic_sum() -> Tensor:
    """From a linear spectrum to the harmonic sums of the candidates, and their mean: (513, C+1).

    Each candidate reads its harmonics by linear interpolation, weighted by 0.85ⁿ⁻¹ and by the
    ear's loss of sensitivity at low frequencies; the last column is the mean over the whole scale.
    """
    steps = torch.arange(SCALE_STEPS)
    frequency = LOWEST_HZ * torch.exp2(steps / STEPS_PER_OCTAVE)
    harmonic = torch.arange(1, HARMONICS + 1)
    place = (frequency[:, None] * harmonic / BIN_HZ)[None]  # (1, S, H)
    bins = torch.arange(BINS)[:, None, None]
    reading = torch.relu(1 - torch.abs(bins - place))
    octave = (steps / STEPS_PER_OCTAVE)[:, None] + torch.log2(harmonic)
    ear = 0.5 + torch.atan(3 * (octave - math.log2(65 / 50) - 1)) / math.pi
    inside = (place[0] < BINS - 1).to(torch.float32)
    weight = COMPRESSION ** (harmonic - 1) * ear * inside / HARMONICS
    sums = (reading * weight).sum(2)
    mean = sums.mean(1, keepdim=True)
    return torch.cat([sums[:, FIRST_STEP : FIRST_STEP + CANDIDATES], mean], dim=1)


def enhanced(magnitude: Tensor) -> Tensor:
    """Keep two bins around each local maximum, then smooth by (¼, ½, ¼): (T, 513)."""
    line = magnitude[:, None]
    peak = (line >= nn.max_pool1d(line, 3, 1, 1)).to(torch.float32)
    kept = line * nn.max_pool1d(peak, 5, 1, 2)
    kernel = torch.tensor([[[0.25, 0.5, 0.25]]])
    return nn.conv1d(kept, kernel, padding=1)[:, 0]


def settled(salience: Tensor) -> Tensor:
    """Salience (T, C) after neighbours have been heard, within reach of each candidate."""
    own = salience / torch.clamp(salience.amax(1, keepdim=True), min=1e-9)
    belief = own
    for _ in range(ROUNDS):
        near = nn.max_pool1d(belief[:, None], 2 * REACH + 1, 1, REACH)[:, 0]
        around = nn.pad(near[:-1], (0, 0, 1, 0)) + nn.pad(near[1:], (0, 0, 0, 1))
        belief = own + NEIGHBOUR_WEIGHT * around
    return belief


def median_of_three(values: Tensor) -> Tensor:
    """The running median of a column (T, 1)."""
    before = torch.cat([values[:1], values[:-1]])
    after = torch.cat([values[1:], values[-1:]])
    low, high = torch.minimum(before, after), torch.maximum(before, after)
    return torch.maximum(low, torch.minimum(values, high))


def pitch_of(frames: Tensor) -> Pitch:
    """Pitch of 60 ms frames (T, 960); rows at either end lack neighbours and are for context."""
    window = gauss(frames.shape[1])
    power = folded_power(frames, window)
    magnitude = torch.sqrt(torch.clamp(power, min=1e-20))
    sums = enhanced(magnitude) @ harmonic_sum()
    salience, mean = sums[:, :CANDIDATES], sums[:, CANDIDATES:]
    # The best candidate, not at the scale's ends, refined by a parabola through three points.
    best = settled(salience)[:, 1:-1].argmax(1, keepdim=True) + 1
    left, here, right = (salience.gather(1, best + step) for step in (-1, 0, 1))
    bend = left - 2 * here + right
    shift = torch.clamp(0.5 * (left - right) / torch.clamp(bend, max=-1e-9), -0.5, 0.5)
    step = best.to(torch.float32) + FIRST_STEP + shift
    frequency = LOWEST_HZ * torch.exp2(step / STEPS_PER_OCTAVE)

    windowed = frames * window
    energy = (windowed * windowed).mean(1, keepdim=True)
    clarity = 1 - mean / torch.clamp(here, min=1e-9)
    clarity = torch.where(energy > QUIET**2, clarity, torch.zeros_like(clarity))
    voiced = (median_of_three(clarity) > VOICED_FROM).to(torch.float32)
    return Pitch(frequency * voiced, voiced, harmonicity(power, frequency, voiced), magnitude)


def harmonicity(power: Tensor, frequency_hz: Tensor, voiced: Tensor) -> Tensor:
    """Harmonics-to-noise ratio in dB from the autocorrelation at the pitch period: (T, 1).

    Source: Boersma, "Accurate short-term analysis of the fundamental frequency and the
    harmonics-to-noise ratio of a sampled sound", IFA Proceedings 17, 1993, equation 4.
    """
    lags = torch.arange(SHORTEST_LAG, LONGEST_LAG + 1)
    phase = torch.outer(torch.arange(BINS), lags).remainder(FFT)
    cosine = torch.cos(phase.to(torch.float32) * (2 * math.pi / FFT))
    correlation = 2 * power @ cosine  # the spectrum's two halves
    whole = 2 * power.sum(1, keepdim=True)
    period = SAMPLE_RATE_HZ / torch.clamp(frequency_hz, min=55.0)
    place = torch.clamp(torch.round(period) - SHORTEST_LAG, 1, LONGEST_LAG - SHORTEST_LAG - 1)
    index = place.to(torch.int64)
    peak = torch.cat([correlation.gather(1, index + step) for step in (-1, 0, 1)], 1)
    strongest = peak.amax(1, keepdim=True)
    ratio = strongest / torch.clamp(whole - strongest, min=1e-12)
    return voiced * 10 / math.log(10) * torch.log(torch.clamp(ratio, 1e-5, 1e5))
