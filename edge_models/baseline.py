"""A person's own running baseline: each window is measured against what came before it.

Rules it upholds: the baseline is causal (a window never takes part in its own normalisation);
it starts at the population and moves to the person as windows come in; training and the device
run this same code; what it holds are 88 means and 88 sums of squares, never a window.

Place in the life of a frame: functionals → **personal baseline** → int8 body.
"""

import struct
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError

Row = npt.NDArray[np.float32]
_Wide = npt.NDArray[np.float64]

OUTLIER_SPREADS: Final = 5.0
"""A functional further than this from the population's median counts as this far: some of them
(coefficients of variation around a mean near zero) have no finite variance."""

Z_BOUND: Final = 4.0
"""The z-scores' range, which is also the range of the body's int8 input."""

MEAN_WEIGHT: Final = 1.0
SPREAD_WEIGHT: Final = 4.0
"""How many windows the population counts for: a spread takes more windows to know than a mean.

Both are small, because what is left of the population's mean tells who somebody is."""

LONGEST_MEMORY: Final = 360.0
"""Windows (an hour of speech) after which older ones fade: voices change with season and age."""

_HEADER: Final = struct.Struct("<4sIId")
_MAGIC: Final = b"SVB1"


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """What functionals look like among the people of the training: each float32 (F,).

    `median` and `spread` (robust, positive) scale a functional; `mean` and `deviation`
    (positive: how one person's windows scatter) describe the scaled ones, outliers held at
    `OUTLIER_SPREADS`.
    """

    median: Row
    spread: Row
    mean: Row
    deviation: Row

    def __post_init__(self) -> None:
        rows = (self.median, self.spread, self.mean, self.deviation)
        if any(row.ndim != 1 or row.shape != self.median.shape for row in rows):
            raise ContractError("A population has four rows of one length.")
        if not all(np.isfinite(row).all() for row in rows):
            raise ContractError("A population is made of finite numbers.")
        if (self.spread <= 0).any() or (self.deviation <= 0).any():
            raise ContractError("A population's spreads are positive.")

    @classmethod
    def of(cls, summaries: Row, people: npt.NDArray[np.str_] | None = None) -> Self:
        """The population of a table of windows, float32 (N, F), N ≥ 2, of people (N,).

        Without `people` all windows count as one person's.

        Raises:
            ContractError: the table is empty or holds numbers that aren't finite.
        """
        if summaries.ndim != 2 or len(summaries) < 2 or not np.isfinite(summaries).all():
            raise ContractError("A population is drawn from at least two finite windows.")
        low, median, high = np.percentile(summaries.astype(np.float64), [25, 50, 75], axis=0)
        spread = (high - low) / 1.349  # of a normal distribution: one standard deviation
        fallback = np.maximum(summaries.std(axis=0), 1e-6 + 1e-6 * np.abs(median))
        spread = np.where(spread > 1e-9, spread, fallback)
        scaled = _held(summaries.astype(np.float64), median, spread)
        apart = scaled - _means(scaled, people)
        deviation = np.maximum(apart.std(axis=0), 1e-3)
        rows = (median, spread, scaled.mean(axis=0), deviation)
        return cls(*(row.astype(np.float32) for row in rows))

    def __len__(self) -> int:
        return len(self.median)

    def scaled(self, summary: Row) -> _Wide:
        """A window's functionals in spreads from the median, outliers held: float64 (F,)."""
        return _held(summary.astype(np.float64), self.median, self.spread)


def _means(scaled: _Wide, people: npt.NDArray[np.str_] | None) -> _Wide:
    """The mean of each window's person, float64 (N, F)."""
    if people is None:
        return np.broadcast_to(scaled.mean(axis=0), scaled.shape)
    _, owner, counts = np.unique(people, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), scaled.shape[1]))
    np.add.at(sums, owner, scaled)
    return np.asarray((sums / counts[:, None])[owner])


def _held(values: _Wide, median: npt.ArrayLike, spread: npt.ArrayLike) -> _Wide:
    scaled: _Wide = (values - np.asarray(median)) / np.asarray(spread)
    return np.clip(scaled, -OUTLIER_SPREADS, OUTLIER_SPREADS)


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """The running mean and sum of squared deviations of one person's scaled functionals.

    `windows` is how many windows are remembered (it stops growing at `LONGEST_MEMORY`);
    `mean` and `squares` are float64 (F,).
    """

    population: Population
    windows: float
    mean: _Wide
    squares: _Wide

    @classmethod
    def empty(cls, population: Population) -> Self:
        """Nobody's baseline yet: windows are measured against the population."""
        nothing = np.zeros(len(population))
        return cls(population, 0.0, nothing, nothing)

    def normalised(self, summary: Row) -> Row:
        """How a window differs from this person's earlier ones: z-scores, float32 (F,), in ±4.

        Raises:
            ContractError: the summary has another length or holds numbers that aren't finite.

        Source: the mean is the posterior mean of a normal with a conjugate prior worth
        `MEAN_WEIGHT` observations; the variance is shrunk likewise (Gelman et al., Bayesian
        Data Analysis, 3rd ed., section 3.3, without the term that couples the two).
        """
        scaled = self._scaled(summary)
        prior = self.population
        mean = MEAN_WEIGHT * prior.mean + self.windows * self.mean
        mean = mean / (MEAN_WEIGHT + self.windows)
        squares = SPREAD_WEIGHT * prior.deviation.astype(np.float64) ** 2 + self.squares
        deviation = np.sqrt(squares / (SPREAD_WEIGHT + self.windows))
        z: Row = np.clip((scaled - mean) / deviation, -Z_BOUND, Z_BOUND).astype(np.float32)
        return z

    def including(self, summary: Row) -> "Baseline":
        """The baseline after this window; the one before it is left as it was.

        Raises:
            ContractError: the summary has another length or holds numbers that aren't finite.

        Source: Welford, "Note on a method for calculating corrected sums of squares and
        products", Technometrics 4(3), 1962; the oldest memory fades at `LONGEST_MEMORY`.
        """
        scaled = self._scaled(summary)
        kept = min(self.windows, LONGEST_MEMORY - 1)
        fade = kept / self.windows if self.windows else 1.0
        step = scaled - self.mean
        mean = self.mean + step / (kept + 1)
        squares = fade * self.squares + step * (scaled - mean)
        return Baseline(self.population, kept + 1, mean, squares)

    def _scaled(self, summary: Row) -> _Wide:
        if summary.shape != (len(self.population),) or not np.isfinite(summary).all():
            raise ContractError("A window's summary is one finite number for each functional.")
        return self.population.scaled(summary)

    def to_bytes(self) -> bytes:
        """The baseline without its population, for the encrypted store."""
        header = _HEADER.pack(_MAGIC, 1, len(self.population), self.windows)
        body = np.concatenate([self.mean, self.squares]).astype("<f8")
        return header + body.tobytes()

    @classmethod
    def from_bytes(cls, raw: bytes, population: Population) -> Self:
        """Read back what `to_bytes` wrote, for the same bundle's population.

        Raises:
            ContractError: the bytes are not a baseline, or one of another length or version.
        """
        size = len(population)
        if len(raw) != _HEADER.size + 16 * size:
            raise ContractError("These bytes are not a baseline of this bundle.")
        magic, version, length, windows = _HEADER.unpack_from(raw)
        if (magic, version, length) != (_MAGIC, 1, size):
            raise ContractError("These bytes are not a baseline of this bundle.")
        body = np.frombuffer(raw, "<f8", offset=_HEADER.size).astype(np.float64)
        mean, squares = body[:size], body[size:]
        whole = np.isfinite(body).all() and 0 <= windows <= LONGEST_MEMORY
        if not whole or (squares < 0).any() or (np.abs(mean) > OUTLIER_SPREADS).any():
            raise ContractError("These bytes are a damaged baseline.")
        return cls(population, windows, mean, squares)
