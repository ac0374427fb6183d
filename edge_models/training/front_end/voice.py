"""Harmonic differences, formant amplitudes, and frame-level jitter and shimmer.

Each is read off the 60 ms spectrum at the pitch's harmonics. Jitter and shimmer are approximations:
the true ones follow single glottal periods in the waveform, these compare neighbouring frames.
"""

import math

import torch
from torch import Tensor

from edge_models.training.front_end.formants import Formants
from edge_models.training.front_end.pitch import BIN_HZ, BINS, Pitch

UNVOICED_DB = -201.0
"""What openSMILE writes for a relative amplitude where nothing is voiced."""


def amplitude_near(magnitude: Tensor, frequency_hz: Tensor) -> Tensor:
    """The largest of three bins around frequencies (T, K) in a spectrum (T, 513): (T, K)."""
    place = torch.clamp(torch.round(frequency_hz / BIN_HZ), 1, BINS - 2).to(torch.int64)
    sides = [magnitude.gather(1, place + step) for step in (-1, 0, 1)]
    return torch.maximum(torch.maximum(sides[0], sides[1]), sides[2])


def level_difference(one: Tensor, other: Tensor) -> Tensor:
    """20·log10 of an amplitude ratio."""
    return (
        20
        / math.log(10)
        * (torch.log(torch.clamp(one, min=1e-9)) - torch.log(torch.clamp(other, min=1e-9)))
    )


def voice_descriptors(pitch: Pitch, formants: Formants) -> tuple[Tensor, Tensor, Tensor]:
    """H1-H2, H1-A3 (T, 2); amplitudes of F1 to F3 over H1 (T, 3); jitter and shimmer (T, 2)."""
    voiced = pitch.voiced
    frequency = torch.clamp(pitch.frequency_hz, min=55.0)
    first = amplitude_near(pitch.magnitude, frequency)
    second = amplitude_near(pitch.magnitude, 2 * frequency)
    harmonic = torch.clamp(torch.round(formants.frequency_hz / frequency), min=1.0)
    beside = [
        amplitude_near(pitch.magnitude, torch.clamp(harmonic + step, min=1.0) * frequency)
        for step in (-1, 0, 1)
    ]
    at_formant = torch.maximum(torch.maximum(beside[0], beside[1]), beside[2])
    relative = level_difference(at_formant, first)
    differences = torch.cat([level_difference(first, second), -relative[:, 2:3]], 1) * voiced
    amplitudes = torch.where(voiced > 0, relative, torch.full_like(relative, UNVOICED_DB))

    period = 1 / frequency
    before = torch.cat([period[:1], period[:-1]])
    loudness_before = torch.cat([first[:1], first[:-1]])
    both = voiced * torch.cat([voiced[:1], voiced[:-1]])
    jitter = both * torch.abs(period - before) / (0.5 * (period + before))
    shimmer = both * torch.abs(level_difference(first, loudness_before))
    return differences, amplitudes, torch.cat([jitter, shimmer], 1)
