"""From sums of noised reports to what can honestly be said about the cohort.

Rules upheld here: the estimate is unbiased and shown as it is, also where it is absurd; its
interval is of the *noise* only, whose distribution is known exactly (who happened to take part is
another uncertainty, and not in it); a period with fewer than the minimum of reports gets no
numbers. Each report is already differentially private by itself, so the minimum adds no formal
privacy: it keeps the promise that nobody reads an individual also in the plain sense.

In the life of a report: `store` has summed it with all others; this is the last step before the
page. Everything here is post-processing, so it costs no privacy.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from typing import Final

from edge_models.errors import ContractError
from sync.messages import Histogram
from sync.shared_noise import honest

COVERAGE: Final = 0.95
DEFAULT_MINIMUM: Final = 5
_NORMAL_QUANTILE: Final = 1.959963984540054  # of (1 + COVERAGE) / 2
_TAIL: Final = 12.0  # standard deviations beyond which a discrete Gaussian has no mass to speak of
_AIM_POINTS: Final = 10


@dataclass(frozen=True, slots=True)
class BinEstimate:
    """One answer of one question.

    `people` is unbiased and `low` to `high` its 95 % noise interval: any of them may be negative
    or exceed the cohort. `share` and its bounds are the same divided by the reports.
    `projected_people` is the nearest *possible* histogram (no bin below 0, all together the
    cohort): plausible, but no longer unbiased.
    """

    answer: str
    people: int
    low: int
    high: int
    share: float
    share_low: float
    share_high: float
    projected_people: float


@dataclass(frozen=True, slots=True)
class HistogramEstimate:
    """One question and its answers, in the order of the report's cells."""

    name: str
    question: str
    bins: tuple[BinEstimate, ...]


@dataclass(frozen=True, slots=True)
class Noise:
    """How large the noise of a sum is.

    `sd_people` is its standard deviation in one cell; `half_width_people` the half width of the
    95 % interval; `half_width_points` the same in percentage points of the cohort;
    `people_for_ten_points` how many would be needed for ±10 points.
    """

    sd_people: float
    half_width_people: int
    half_width_points: float
    people_for_ten_points: int


@dataclass(frozen=True, slots=True)
class TooFew:
    """Fewer reports than the minimum: there are no numbers to show."""

    reports: int
    minimum: int


@dataclass(frozen=True, slots=True)
class CohortEstimate:
    """What `reports` noised reports say together."""

    reports: int
    noise: Noise
    histograms: tuple[HistogramEstimate, ...]


def estimate(
    totals: Sequence[int],
    reports: int,
    *,
    sigma2: Fraction,
    histograms: Sequence[Histogram],
    minimum: int,
    in_sum: bool = False,
    people_for_ten_points: int | None = None,
) -> CohortEstimate | TooFew:
    """Estimate each histogram of `reports` people from the cell-wise sum of their reports.

    `totals` int (N,), the cells of `histograms` in order; `sigma2` the parameter of the discrete
    Gaussian that each device added to each cell, or its share of what is `in_sum`.
    `people_for_ten_points` where noise does not grow with every report, as in a secure sum.

    Raises:
        ContractError: the sum has another number of cells than the histograms.
    """
    cells = sum(len(histogram.bins) for histogram in histograms)
    if len(totals) != cells:
        raise ContractError(f"A sum has {cells} cells, not {len(totals)}.")
    if reports < max(1, minimum):
        return TooFew(reports, max(1, minimum))
    noise = noise_of(sigma2, reports, in_sum=in_sum)
    if people_for_ten_points is not None:
        noise = replace(noise, people_for_ten_points=people_for_ten_points)
    starts = accumulate((len(histogram.bins) for histogram in histograms), initial=0)
    return CohortEstimate(
        reports,
        noise,
        tuple(
            _histogram(histogram, totals[start : start + len(histogram.bins)], reports, noise)
            for histogram, start in zip(histograms, starts, strict=False)
        ),
    )


def _histogram(
    histogram: Histogram, values: Sequence[int], reports: int, noise: Noise
) -> HistogramEstimate:
    half = noise.half_width_people
    return HistogramEstimate(
        histogram.name,
        histogram.question,
        tuple(
            BinEstimate(
                answer=answer,
                people=value,
                low=value - half,
                high=value + half,
                share=value / reports,
                share_low=(value - half) / reports,
                share_high=(value + half) / reports,
                projected_people=nearest,
            )
            for answer, value, nearest in zip(
                histogram.bins, values, projected(values, reports), strict=True
            )
        ),
    )


def people_in_a_sum(sigma2: Fraction, minimum: int) -> int:
    """How many people a secure sum needs for ±10 points, all of them surviving.

    `sigma2` is what a report would add for itself, `minimum` the study's least cohort.
    """
    people = minimum
    while True:
        variance = sigma2 * people / honest(people, minimum)
        if _NORMAL_QUANTILE**2 * variance <= (people * _AIM_POINTS / 100) ** 2:
            return people
        people += 1


def noise_of(sigma2: Fraction, reports: int, *, in_sum: bool = False) -> Noise:
    """The noise in one cell of a sum of `reports` reports.

    Shares of noise that is `in_sum` are drawn in fractions of a person and are large there, so that
    their variance is their parameter, however small it is in people.

    A sum of discrete Gaussians is not quite a discrete Gaussian, but within 1e-200 of one at
    the variance of the shipped policy.
    Source: Kairouz, Liu, Steinke, "The Distributed Discrete Gaussian Mechanism", 2021, Thm. 1.
    """
    single = float(sigma2) if in_sum else discrete_gaussian_variance(sigma2)
    half = half_width(single * reports)
    per_person = _NORMAL_QUANTILE**2 * single
    return Noise(
        sd_people=math.sqrt(single * reports),
        half_width_people=half,
        half_width_points=100.0 * half / reports,
        people_for_ten_points=max(1, math.ceil(per_person / (_AIM_POINTS / 100) ** 2)),
    )


@lru_cache(maxsize=64)
def discrete_gaussian_variance(sigma2: Fraction) -> float:
    """Variance of the discrete Gaussian with parameter `sigma2`: a little below it.

    Source: Canonne, Kamath, Steinke, "The Discrete Gaussian", 2020, Definition 1, Corollary 9.
    """
    reach = range(1, math.ceil(_TAIL * math.sqrt(sigma2)) + 2)
    weights = [math.exp(-(k * k) / (2 * float(sigma2))) for k in reach]
    square = sum(k * k * weight for k, weight in zip(reach, weights, strict=True))
    return 2 * square / (1 + 2 * sum(weights))


@lru_cache(maxsize=512)
def half_width(variance: float) -> int:
    """The smallest q for which 95 % of a discrete Gaussian with this variance is in -q..q."""
    if variance > 1e6:  # the lattice no longer shows, and adding it up would take long
        return math.ceil(_NORMAL_QUANTILE * math.sqrt(variance))
    reach = range(1, math.ceil(_TAIL * math.sqrt(variance)) + 2)
    weights = [math.exp(-(k * k) / (2 * variance)) for k in reach]
    wanted = COVERAGE * (1 + 2 * sum(weights))
    inside = accumulate(weights, lambda sofar, weight: sofar + 2 * weight, initial=1.0)
    return next(q for q, mass in enumerate(inside) if mass >= wanted)


def projected(values: Sequence[float], total: float) -> tuple[float, ...]:
    """The nearest histogram (Euclidean) that is nowhere negative and sums to `total` > 0.

    Source: Duchi, Shalev-Shwartz, Singer, Chandra, "Efficient Projections onto the l1-Ball for
    Learning in High Dimensions", 2008, Figure 1.
    """
    ordered = sorted(values, reverse=True)
    shifts = [(sofar - total) / place for place, sofar in enumerate(accumulate(ordered), start=1)]
    kept = [shift for value, shift in zip(ordered, shifts, strict=True) if value > shift]
    return tuple(max(0.0, value - kept[-1]) for value in values)


def in_words(result: CohortEstimate | TooFew, *, pooled: bool = False) -> str:
    """The honest sentence: how large the noise is beside the cohort, and what would help.

    `pooled` when several periods were added up, so that a person is counted once in each.
    """
    many = "reports" if pooled else "people"
    if isinstance(result, TooFew):
        return (
            f"{_counted(result.reports, 'report', 'reports')} so far; numbers are shown from "
            f"{result.minimum} reports on, so that no figure is about one person."
        )
    noise = result.noise
    cohort = _counted(result.reports, "report" if pooled else "person", many)
    size = (
        f"With {cohort} the privacy noise in each bar is ±{noise.half_width_people:,} {many} "
        f"({noise.half_width_points:,.0f} percentage points)"
    )
    needed = f"About {noise.people_for_ten_points:,} {many} are needed for ±{_AIM_POINTS} points."
    if noise.half_width_people >= result.reports:
        return f"{size}, more than the cohort itself: nothing here can be told from noise. {needed}"
    if noise.half_width_points > _AIM_POINTS:
        return f"{size}: only larger differences can be told from noise. {needed}"
    return f"{size}: larger differences can be told from noise."


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
