"""Sessions: what a person's own questionnaires say of the weeks around them.

Rules it upholds: a label belongs to a stretch of time, never to one window; it comes from the
person's own answers and from nobody else; a stretch with too few windows says nothing.

The depression task (its stand-in is *sadness*) is labelled by PHQ-8 >= 10, the anxiety task
(*fear*) by GAD-7 >= 10, *distress* by either.

In the life of a federated round: store → **sessions** → update.

Source: Kroenke, Strine, Spitzer, Williams, Berry, Mokdad, "The PHQ-8 as a measure of current
depression in the general population", J Affect Disord 114, 2009 (cut at 10); Spitzer, Kroenke,
Williams, Löwe, "A brief measure for assessing generalized anxiety disorder: the GAD-7", Arch
Intern Med 166, 2006 (cut at 10).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from edge_models.assessment import TASKS
from edge_models.errors import ContractError

PHQ8_FROM: Final = 10
GAD7_FROM: Final = 10
AROUND: Final = timedelta(days=7)
"""A questionnaire speaks of the windows of seven days before and after it."""
LEAST_WINDOWS: Final = 6
MOST_SESSIONS: Final = 64


def labels(phq8: int, gad7: int) -> tuple[bool, bool, bool]:
    """The truth of the three tasks.

    Raises:
        ContractError: a sum is not possible: PHQ-8 has 0 to 24, GAD-7 0 to 21.
    """
    if not (0 <= phq8 <= 24 and 0 <= gad7 <= 21):
        raise ContractError("PHQ-8 sums to 0 to 24, GAD-7 to 0 to 21.")
    low, worried = phq8 >= PHQ8_FROM, gad7 >= GAD7_FROM
    return low, worried, low or worried


@dataclass(frozen=True, slots=True, eq=False)
class Sessions:
    """One person's sessions: `means` float64 (n, E) of embeddings, `truth` bool (n, 3)."""

    means: npt.NDArray[np.float64]
    truth: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.means.ndim != 2 or self.truth.shape != (len(self.means), len(TASKS)):
            raise ContractError("Each session has a mean embedding and three labels.")
        if len(self.means) > MOST_SESSIONS or not np.isfinite(self.means).all():
            raise ContractError(f"A person has at most {MOST_SESSIONS} sessions, all finite.")

    def __len__(self) -> int:
        return len(self.means)

    @classmethod
    def of(
        cls,
        stretches: Sequence[tuple[Sequence[npt.NDArray[np.float32]], tuple[bool, bool, bool]]],
        embedding_size: int,
    ) -> Self:
        """Sessions of stretches: embeddings of windows, float32 (E,) each, and what was answered.

        A stretch of fewer than `LEAST_WINDOWS` is left out; the newest `MOST_SESSIONS` are kept.

        Raises:
            ContractError: embeddings of another size, or not finite.
        """
        told = [(rows, truth) for rows, truth in stretches if len(rows) >= LEAST_WINDOWS]
        told = told[-MOST_SESSIONS:]
        if any(row.shape != (embedding_size,) for rows, _ in told for row in rows):
            raise ContractError("Embeddings are rows of the bundle's size.")
        means = np.zeros((len(told), embedding_size))
        truth = np.zeros((len(told), len(TASKS)), bool)
        for place, (rows, answer) in enumerate(told):
            means[place] = np.asarray(rows, np.float64).mean(axis=0)
            truth[place] = answer
        return cls(means, truth)
