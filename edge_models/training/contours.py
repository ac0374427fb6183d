"""Peaks, slopes and segments of a contour, without a loop over time.

Rules it upholds: an empty or flat contour gives zeros; nothing here divides by a count of none.

Place in the life of a frame: descriptors of the speech rows → **contour statistics** → summary.
Source: F. Eyben et al., IEEE TAC 7(2), 2016, section 3.3. A peak counts if it rises and falls by
a tenth of the range (topological persistence: H. Edelsbrunner et al., Discrete Comput. Geom. 28,
2002), which is what openSMILE's sequential peak picker amounts to on smooth contours.
"""

from typing import Final

import torch
from torch import Tensor

PERIOD_S: Final = 0.01
LEAST_RELATIVE_RISE: Final = 0.1
_HUGE: Final = 1e9


def mean_over(values: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and coefficient of variation along time of what is kept; (…, T) → (…), (…)."""
    count = torch.clamp(kept.sum(-1), min=1.0)
    mean = (values * kept).sum(-1) / count
    distance = (values - mean[..., None]) * kept
    deviation = torch.sqrt((distance * distance).sum(-1) / count)
    safe = torch.where(mean == 0, torch.ones_like(mean), mean)
    return mean, deviation / safe


def percentiles(values: Tensor) -> Tensor:
    """20th, 50th and 80th percentile, interpolated, and the range of the outer two; (4,)."""
    ordered = torch.sort(values).values
    last = (torch.ones_like(values).sum() - 1.0)[None]
    place = torch.tensor([0.2, 0.5, 0.8]) * last
    low = torch.floor(place)
    weight = place - low
    high = torch.minimum(low + 1.0, last).long()
    points = ordered[low.long()] * (1.0 - weight) + ordered[high] * weight
    return torch.cat([points, points[2:] - points[:1]])


def _valleys(values: Tensor, peaks: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest value, and its place, before, between and after the peaks: (K+1,), (K+1,)."""
    size = torch.ones_like(values).sum()[None]
    bounds = torch.cat([-torch.ones_like(size), peaks, size])
    place = torch.cumsum(torch.ones_like(values), 0) - 1.0
    between = (place[None] > bounds[:-1, None]) & (place[None] < bounds[1:, None])
    low, where = torch.where(between, values[None], torch.full_like(values, _HUGE)[None]).min(1)
    return low, where.float()


def peaks_of(values: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the significant peaks (K,) as float, and the least rise that counts, (1,)."""
    size = torch.ones_like(values).sum()[None]
    place = torch.cumsum(torch.ones_like(values), 0) - 1.0
    before = torch.cat([values[:1], values[:-1]])
    after = torch.cat([values[1:], values[-1:]])
    local = (values > before) & (values > after) & (place >= 2.0) & (place < size - 2.0)
    least = LEAST_RELATIVE_RISE * (values.max() - values.min())[None]
    found = place[local]
    low, _ = _valleys(values, found)
    # A last peak of -huge keeps every list below at least one long.
    height = torch.cat([values[local], torch.full_like(size, -_HUGE)])
    order = torch.cumsum(torch.ones_like(height), 0) - 1.0
    row, column = order[:, None], order[None]
    higher = height[None] > height[:, None]
    beyond = torch.full_like(height, _HUGE)[None]
    nearest_left = torch.where(higher & (column < row), column, -torch.ones_like(beyond)).amax(1)
    nearest_right = torch.where(higher & (column > row), column, beyond).amin(1)
    left = (column > nearest_left[:, None]) & (column <= row)
    right = (column > row) & (column <= nearest_right[:, None])
    rise = height - torch.where(left, low[None], beyond).amin(1)
    fall = height - torch.where(right, low[None], beyond).amin(1)
    kept = (rise >= least) & ((fall >= least) | (nearest_right > _HUGE / 2)) & (rise > 0)
    return torch.cat([found, size])[kept], least


def slopes_of(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of rising, then falling slopes per second (4,); peaks (1,)."""
    peaks, least = peaks_of(values)
    low, low_place = _valleys(values, peaks)
    size = torch.ones_like(values).sum()[None]
    start, end = values[:1], values[-1:]
    nowhere = torch.zeros_like(size)
    peak_height = values[peaks.long()]
    high = torch.cat([start, peak_height])
    high_place = torch.cat([nowhere, peaks])
    is_low = (high - low >= least) & (low_place >= 2.0) & (low_place < size - 2.0) & (high > low)
    used = is_low.float()
    falling = (high - low) / (torch.clamp(low_place - high_place, min=1.0) * PERIOD_S)
    # Each peak rises from the valley before it, or from the contour's start.
    from_low = torch.where(is_low, low, start)[:-1]
    from_place = torch.where(is_low, low_place, nowhere)[:-1]
    rising = (peak_height - from_low) / (torch.clamp(peaks - from_place, min=1.0) * PERIOD_S)
    ends_low = used[-1:]
    any_peak = (torch.ones_like(high).sum()[None] > 1.5).float()
    ends_high = (1.0 - ends_low) * any_peak
    to_end = torch.clamp(size - 1.0 - low_place[-1:], min=1.0) * PERIOD_S
    last_rise = ends_low * (end - low[-1:]) / to_end
    to_end = torch.clamp(size - 1.0 - high_place[-1:], min=1.0) * PERIOD_S
    last_fall = ends_high * (end - high[-1:]) / to_end
    whole = (1.0 - ends_low) * (1.0 - any_peak) * (end - start) / size
    statistics = [
        *_mean_and_deviation(
            rising, torch.ones_like(rising), last_rise + torch.relu(whole), ends_low
        ),
        *_mean_and_deviation(falling, used, last_fall - torch.relu(-whole), ends_high),
    ]
    return torch.cat(statistics), torch.ones_like(peaks).sum()[None]


def _mean_and_deviation(
    slopes: Tensor, used: Tensor, extra: Tensor, extra_count: Tensor
) -> tuple[Tensor, Tensor]:
    count = torch.clamp(used.sum()[None] + extra_count, min=1.0)
    mean = ((slopes * used).sum()[None] + extra) / count
    distance = (slopes - mean) * used
    return mean, torch.sqrt((distance * distance).sum()[None] / count)


def segments_of(inside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Number, mean length and deviation of length (frames) of runs of ones; each (1,).

    Single holes are closed, runs of fewer than three frames don't count, and a run of n frames
    has length n - 1, as in openSMILE.
    """
    nothing = torch.zeros_like(inside[:1])
    before, after = torch.cat([nothing, inside[:-1]]), torch.cat([inside[1:], nothing])
    closed = torch.maximum(inside, torch.minimum(before, after))
    before, after = torch.cat([nothing, closed[:-1]]), torch.cat([closed[1:], nothing])
    place = torch.cumsum(torch.ones_like(closed), 0)
    first = place[(closed > 0.5) & (before < 0.5)]
    last = place[(closed > 0.5) & (after < 0.5)]
    length = last - first
    counted = (length >= 2.0).float()
    number = counted.sum()[None]
    mean = (length * counted).sum()[None] / torch.clamp(number, min=1.0)
    distance = (length - mean) * counted
    deviation = torch.sqrt((distance * distance).sum()[None] / torch.clamp(number, min=1.0))
    return number, mean, deviation
