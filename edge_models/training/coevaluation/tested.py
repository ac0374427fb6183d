"""One plan carried out: levels of its people, and log-odds of affect at each of them.

Rules it upholds: what is attacked and what is scored are the same rows; a plan's parts are kept
on disk as soon as they are made, and taken from there when a run resumes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_models.training.coevaluation.plans import Plan
from edge_models.training.coevaluation.subjects import Subject, level_logits
from edge_models.training.levels import EMBEDDING, LevelTable, Reals, spread_of, tables
from edge_models.training.streams import Floats, Windows

_SHUFFLED = "shuffled"


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """A plan's level tables (one for each pass), and of the first pass the log-odds (M, 3).

    `shuffled` (M, 3) are those of a model of shuffled labels at level 3, or None.
    """

    plan: Plan
    tables: tuple[LevelTable, ...]
    logits: Mapping[str, Reals]
    shuffled: Reals | None

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything but the plan, to be kept."""
        kept: dict[str, npt.NDArray[Any]] = {}
        for number, table in enumerate(self.tables):
            kept[f"{number}/places"], kept[f"{number}/warm"] = table.places, table.warm
            kept[f"{number}/run"] = table.run
            for level, rows in table.rows.items():
                kept[f"{number}/rows/{level}"] = rows
        kept.update({f"logits/{level}": said for level, said in self.logits.items()})
        if self.shuffled is not None:
            kept[_SHUFFLED] = self.shuffled
        return kept


def tested_again(plan: Plan, kept: Mapping[str, npt.NDArray[Any]]) -> Tested:
    """What `Tested.arrays` kept."""
    passes = len({name.split("/")[0] for name in kept if name.endswith("/places")})
    return Tested(
        plan,
        tuple(
            LevelTable(
                kept[f"{number}/places"],
                kept[f"{number}/run"],
                kept[f"{number}/warm"],
                _below(kept, f"{number}/rows/"),
            )
            for number in range(passes)
        ),
        _below(kept, "logits/"),
        kept.get(_SHUFFLED),
    )


def _below(kept: Mapping[str, npt.NDArray[Any]], start: str) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(start): one for name, one in kept.items() if name.startswith(start)}


def carried_out(
    plan: Plan,
    subject: Subject,
    windows: Windows,
    seed: int,
    passes: int,
    noises: Sequence[float],
    contours: Floats | None,
    *,
    with_shuffled: bool = True,
) -> Tested:
    """Train (or take) the model, let everybody pass, and score every level."""
    rng = np.random.default_rng(seed)
    scorer = subject.scorer(windows, plan)
    measured = plan.known if plan.known.any() else plan.tested
    spread = spread_of(scorer, windows.at(measured), rng)
    heard = plan.known | plan.tested
    made = tables(scorer, windows, heard, spread, passes, rng, noises, contours)
    logits = level_logits(scorer, made[0])
    logits.update(subject.logits(scorer, windows, plan, made[0], contours))
    wrong = subject.shuffled(windows, plan, made[0]) if with_shuffled else None
    return Tested(plan, made, logits, wrong)


def level_names(tested: Tested) -> tuple[str, ...]:
    """The levels in their order: 0 to 3, then 3 with rising noise."""

    def place(level: str) -> tuple[str, float]:
        return level[:1], float(level.rsplit(" ", 1)[1]) if level.startswith(EMBEDDING + " ") else 0

    return tuple(sorted(tested.tables[0].rows, key=place))
