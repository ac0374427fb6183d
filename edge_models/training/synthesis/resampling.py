"""Class-conditional resampling with noise: each row a mix of three people's rows of one label.

Rules it upholds: no row of a person leaves as it was; the rows that are mixed come from different
people, so the mix belongs to none. It has no ε: nothing bounds what one person adds.

    row = m + √(1 - h²) · Σ √wᵢ · (xᵢ - m) + h · Σ gⱼ · (xⱼ - m) / √n

with m the mean of the label's n rows; first three people's rows, w on the simplex; then all rows,
g normal, which is noise of the label's own covariance. So mean and covariance stay as they are.

Source: Chawla et al., "SMOTE", JAIR 16, 2002, with people in place of neighbours; the weights and
the noise are of the smoothed bootstrap (Silverman and Young, Biometrika 74, 1987).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_models.training.streams import Places
from edge_models.training.synthesis.table import Labels, Reals, Table, Vocabulary, checked

MIXED: Final = 3
NOISE: Final = 0.4


@dataclass(frozen=True, slots=True)
class Resampling:
    """How many people's rows make one row, and the noise in it (0 to 1)."""

    mixed: int = MIXED
    noise: float = NOISE

    def fit(self, table: Table, rng: np.random.Generator) -> "Resampler":
        """Keep the rows; RecordingError where there are too few people."""
        del rng
        return Resampler(self, checked(table), Vocabulary.of(table.labels))


COPYING: Final = Resampling(mixed=1, noise=0.0)
"""Hands out training rows as they are: the planted leak that every attack must find."""


@dataclass(frozen=True, slots=True, eq=False)
class Resampler:
    """The training rows, and how they are mixed."""

    method: Resampling
    table: Table
    vocabulary: Vocabulary

    def draw(self, labels: Labels, rng: np.random.Generator) -> Table:
        """One mix for each label, in order."""
        asked = self.vocabulary.places(labels)
        own = self.vocabulary.places(self.table.labels)
        values = np.empty((len(labels), self.table.values.shape[1]))
        for place in np.unique(asked):
            rows = np.flatnonzero(own == place)
            wanted = np.flatnonzero(asked == place)
            values[wanted] = self._mixes(rows, len(wanted), rng)
        return Table.synthetic(values, labels)

    def _mixes(self, rows: Places, count: int, rng: np.random.Generator) -> Reals:
        values, people = self.table.values[rows], self.table.person[rows]
        names = np.unique(people)
        mean = values.mean(axis=0)
        noise = self.method.noise
        chosen = np.stack([rng.permutation(len(names))[: self.method.mixed] for _ in range(count)])
        weights = rng.dirichlet(np.ones(chosen.shape[1]), count)
        mixed = np.zeros((count, values.shape[1]))
        for column in range(chosen.shape[1]):
            spoken = [
                rng.choice(np.flatnonzero(people == names[place])) for place in chosen[:, column]
            ]
            mixed += np.sqrt(weights[:, [column]]) * (values[spoken] - mean)
        drawn = rng.normal(size=(count, len(rows))) @ (values - mean) / np.sqrt(len(rows))
        return np.asarray(mean + np.sqrt(1 - noise**2) * mixed + noise * drawn)
