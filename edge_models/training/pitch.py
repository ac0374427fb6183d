"""F0 by sub-harmonic summation, its candidates joined by a short look along time.

Rules it upholds: a frame is decided from the six before it and the six after it only, so the
answer is the same however the stream was windowed; without a candidate a frame is unvoiced, and
silence is silent. Frames of 60 ms are taken every 20 ms; the rows between are interpolated.

Place in the life of a frame: 60 ms spectrum → **F0 and voicing** → harmonics, HNR, jitter.
Source: D. J. Hermes, Measurement of pitch by subharmonic summation, J. Acoust. Soc. Am. 83(1),
1988; the path costs follow openSMILE's pitch smoother (I. Luengo et al., ICASSP 2007).
"""

import math
from typing import Final

import torch
from torch import Tensor, nn

from edge_models.training import octave_scale

HARMONICS: Final = 15
COMPRESSION: Final = 0.85
CANDIDATES: Final = 6
LOWEST_HZ: Final = 55.0
HIGHEST_HZ: Final = 1_000.0
VOICED_FROM: Final = 0.7
HOPS_A_FRAME: Final = 2
FRAMES_BACK: Final = 6
FRAMES_AHEAD: Final = 6
QUIET_RMS: Final = 1e-3
HEAD_BINS: Final = 24

_FIRST: Final = math.floor(math.log2(50.0 / octave_scale.LOWEST_HZ) / octave_scale.STEP_OCTAVES)
_LAST: Final = math.ceil(math.log2(1_050.0 / octave_scale.LOWEST_HZ) / octave_scale.STEP_OCTAVES)
_MIDDLE: Final = (_FIRST + _LAST) // 2
_REACH: Final = math.ceil(octave_scale.POINTS_PER_OCTAVE * math.log2(HARMONICS))


def shifted(rows: Tensor, frames: int) -> Tensor:
    """The value `frames` later (negative: earlier) along time, edges held; (…, T)."""
    if frames > 0:
        edge = [rows[..., -1:]] * frames
        return torch.cat([rows[..., frames:], *edge], dim=-1)
    edge = [rows[..., :1]] * -frames
    return torch.cat([*edge, rows[..., :frames]], dim=-1)


class SubharmonicSum(nn.Module):
    """Six F0 candidates a frame with their voicing score, from the 60 ms magnitude spectrum."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = octave_scale.spline_blocks()
        for number, block in enumerate(self.blocks):
            weights = torch.from_numpy(block.weights).half()
            self.register_buffer(f"spline{number}", weights)
        weight = torch.from_numpy(octave_scale.auditory_weight()).float()
        # Hermes 1988, eq. (1): H(f) = Σ_n h^(n-1) P(n·f); a product is a shift on this scale.
        taps = torch.zeros(octave_scale.POINTS + 1)
        for harmonic in range(1, HARMONICS + 1):
            shift = math.floor(octave_scale.POINTS_PER_OCTAVE * math.log2(harmonic))
            taps[shift + 1] = COMPRESSION ** (harmonic - 1) / HARMONICS
        self.register_buffer("weight", weight)
        self.register_buffer("taps", taps)
        self.register_buffer("average", torch.cumsum(taps[1:], 0) / octave_scale.POINTS)
        ends = torch.zeros(_LAST - _FIRST + 2, 1)
        ends[0] = ends[-1] = 1e30  # the first and the last point only show who is a peak
        self.register_buffer("ends", ends)
        self.register_buffer("point", torch.arange(octave_scale.POINTS).float())
        self.register_buffer("head", torch.tril(torch.ones(HEAD_BINS, HEAD_BINS)))

    def forward(self, magnitude: Tensor, is_peak: Tensor) -> tuple[Tensor, Tensor]:
        """(513, T) → candidates in Hz (6, T), 0 where there is none; voicing 0..1 (6, T)."""
        octaves = self.octaves(magnitude, is_peak)
        average = (self.average * self.weight)[None] @ octaves
        parts = []
        for first, last in ((_FIRST - 1, _MIDDLE), (_MIDDLE, _LAST + 1)):
            # A sum at point i reaches from i up to fifteen times its frequency.
            end = min(octave_scale.POINTS, last + _REACH)
            row, column = self.point[first:last, None], self.point[None, first:end]
            summing = self.taps[torch.clamp(column - row + 1.0, min=0.0).long()]
            parts.append((summing * self.weight[None, first:end]) @ octaves[first:end])
        total = torch.cat(parts, dim=0)
        peaks = total * (total >= highest_near(total, 1) + self.ends).float()
        height, place = torch.topk(peaks, CANDIDATES, dim=0)
        last = total.shape[0] - 1
        below = torch.gather(total, 0, torch.clamp(place - 1, min=0))
        above = torch.gather(total, 0, torch.clamp(place + 1, max=last))
        offset, top = vertex(below, height, above)
        octave = (place.float() + float(_FIRST - 1) + offset) * octave_scale.STEP_OCTAVES
        hertz = octave_scale.LOWEST_HZ * torch.exp(octave * math.log(2.0))
        found = (height > 0) & (hertz >= LOWEST_HZ) & (hertz <= HIGHEST_HZ)
        voicing = torch.clamp(1.0 - average / torch.clamp(top, min=1e-30), min=0.0)
        return hertz * found.float(), voicing * found.float()

    def octaves(self, magnitude: Tensor, is_peak: Tensor) -> Tensor:
        """The enhanced, smoothed spectrum on the octave scale, (513, T).

        Kept is what lies within two bins of a local maximum, and the rise to the first one.
        Source: Hermes 1988, section I.B, step 2.
        """
        spectrum = magnitude * highest_near(is_peak, 2)
        before = self.head @ is_peak[:HEAD_BINS]
        rise = torch.maximum(magnitude[:HEAD_BINS] * (before < 0.5).float(), spectrum[:HEAD_BINS])
        low = torch.cat([rise, spectrum[HEAD_BINS : 3 * HEAD_BINS]], dim=0)
        scaled = []
        for number, block in enumerate(self.blocks):
            source = low if block.bin_first < HEAD_BINS else spectrum
            bins = source[block.bin_first : block.bin_first + block.weights.shape[1]]
            scaled.append(getattr(self, f"spline{number}").float() @ bins)
        return torch.relu(torch.cat(scaled, dim=0))


def highest_near(rows: Tensor, bins: int) -> Tensor:
    """The largest value within `bins` bins, (K, T)."""
    pooled = torch.nn.functional.max_pool2d(
        rows[None, None], (2 * bins + 1, 1), stride=1, padding=(bins, 0)
    )
    return pooled.reshape(rows.shape[0], -1)


def peaks_in(magnitude: Tensor) -> Tensor:
    """1 where a bin is not below its neighbours, else 0; (K, T)."""
    return (magnitude >= highest_near(magnitude, 1)).float()


def vertex(left: Tensor, middle: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Place (in steps from the middle) and height of the parabola through three points."""
    bend = 2.0 * middle - left - right
    offset = 0.5 * (right - left) / torch.clamp(bend, min=1e-20)
    offset = torch.clamp(offset, -0.5, 0.5)
    return offset, middle + 0.25 * (right - left) * offset


class PitchPath(nn.Module):
    """Chooses a candidate, or none, by the cheapest path through the frames around each one.

    Costs of each 10 ms: weak voicing 2·(-ln v + 4·[v < 0.7]), an unusual F0 up to 1.2, staying
    unvoiced 1, and unvoiced where some candidate is voiced 8. Costs of a change: of F0 by r
    (natural logarithm) 10·|r|, between voiced and unvoiced 10.
    """

    def forward(self, hertz: Tensor, voicing: Tensor) -> Tensor:
        """Candidates and voicing (6, T) → F0 in Hz (T,), 0 = unvoiced."""
        local = self.local_cost(hertz, voicing)
        moves = self.transition_cost(hertz)
        ahead = shifted(moves, 1)
        forward = local
        for _ in range(FRAMES_BACK):
            forward = local + (moves + shifted(forward, -1)[None]).amin(1)
        backward = torch.zeros_like(local)
        for _ in range(FRAMES_AHEAD):
            arriving = shifted(local + backward, 1)
            backward = (ahead + arriving[:, None]).amin(0)
        cost = forward + backward
        best = cost.argmin(0, keepdim=True)
        choices = torch.cat([hertz, torch.zeros_like(hertz[:1])], dim=0)
        return torch.gather(choices, 0, best)[0]

    @staticmethod
    def local_cost(hertz: Tensor, voicing: Tensor) -> Tensor:
        """(7, T): what it costs to be in each candidate, and (last) to be unvoiced."""
        weak = (voicing < VOICED_FROM).float()
        likely = -torch.log(torch.clamp(voicing, 0.01, 1.0)) + 4.0 * weak
        low = torch.clamp(1.0 - hertz / 100.0, min=0.0)
        high = torch.clamp((hertz - 350.0) / 250.0, 0.0, 1.0) + 0.2 * (hertz >= 600.0).float()
        absent = (hertz <= 0).float()
        voiced = 2.0 * likely + low + high + absent
        unvoiced = 8.0 * (voicing >= VOICED_FROM).float().amax(0, keepdim=True)
        return HOPS_A_FRAME * torch.cat([voiced, unvoiced], dim=0)

    @staticmethod
    def transition_cost(hertz: Tensor) -> Tensor:
        """(to 7, from 7, T): from the frame before to this one."""
        present = hertz > 0
        pitch = torch.log(torch.clamp(hertz, min=1.0))
        before, was_present = shifted(pitch, -1), shifted(present.float(), -1) > 0
        jump = torch.abs(pitch[:, None] - before[None])
        # The smoother adds the distance between neighbouring candidates of the frame before;
        # for its first candidate it adds the jump again.
        spread = torch.abs(before[:-1] - before[1:])
        again = torch.cat([jump[:, :1], spread[None].expand(CANDIDATES, -1, -1)], dim=1)
        both = present[:, None] & was_present[None]
        # A candidate that is none is as good as out of reach.
        voiced = 10.0 * (jump + again) + 999.0 * (1.0 - both.float())
        change = torch.full_like(hertz[:1], 10.0)
        to_voiced = torch.cat([voiced, change[None].expand(CANDIDATES, -1, -1)], dim=1)
        from_voiced = change.expand(CANDIDATES, -1)
        to_unvoiced = torch.cat(
            [from_voiced, torch.full_like(hertz[:1], 1.0 * HOPS_A_FRAME)], dim=0
        )
        return torch.cat([to_voiced, to_unvoiced[None]], dim=0)


def semitones(hertz: Tensor) -> Tensor:
    """Semitones above 27.5 Hz; 0 stays 0 (unvoiced)."""
    tones = torch.log(torch.clamp(hertz, min=27.5) / 27.5) * (12.0 / math.log(2.0))
    return torch.where(hertz > 0, torch.clamp(tones, min=1.0), torch.zeros_like(tones))


def nonzero_smoothed(rows: Tensor) -> Tensor:
    """Mean of a value and its neighbours that are not zero; zero stays zero. (…, T)."""
    kept = (rows != 0).float()
    total = shifted(rows, -1) + rows + shifted(rows, 1)
    count = shifted(kept, -1) + kept + shifted(kept, 1)
    return total / torch.clamp(count, min=1.0) * kept


def smoothed(rows: Tensor) -> Tensor:
    """Mean of a value and its two neighbours, (…, T)."""
    return (shifted(rows, -1) + rows + shifted(rows, 1)) / 3.0
