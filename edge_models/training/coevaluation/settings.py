"""From finished parts to figures: every setting, every level.

Rules it upholds: plans of one setting are averaged person by person; a session is calibrated by
the other folds' people, or by halves of the set that taught.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_models.assessment import TASKS
from edge_models.training.coevaluation import affect, privacy
from edge_models.training.coevaluation.plans import WITHIN
from edge_models.training.coevaluation.schema import LevelFigures, Setting
from edge_models.training.coevaluation.tested import Tested, level_names
from edge_models.training.identity.panel import SIZES
from edge_models.training.levels import ORIGINAL
from edge_models.training.metrics import both_sides
from edge_models.training.streams import Windows

Kept = dict[str, npt.NDArray[Any]]
Parts = Mapping[tuple[str, str], tuple[Kept, Kept]]
"""Identity and attributes, by plan and level."""


def settings_of(
    done: Sequence[Tested],
    inner: Mapping[str, Sequence[Tested]],
    parts: Parts,
    windows: Windows,
    seed: int,
    resamples: int,
) -> list[Setting]:
    """Every setting in the order of its plans."""
    names = list(dict.fromkeys(tested.plan.setting for tested in done))
    made = []
    for name in names:
        own = [tested for tested in done if tested.plan.setting == name]
        others = own if name == WITHIN else inner.get(name, ())
        originals = [parts[one.plan.name, ORIGINAL][0] for one in own]
        levels = []
        for level in level_names(own[0]):
            rng = np.random.default_rng(seed)
            found = [parts[one.plan.name, level] for one in own]
            levels.append(
                LevelFigures(
                    level=level,
                    columns=own[0].tables[0].rows[level].shape[1],
                    identity=tuple(
                        privacy.identity_figures(
                            [identity for identity, _ in found],
                            None if level == ORIGINAL else originals,
                            size,
                            rng,
                        )
                        for size in SIZES
                    ),
                    attributes=privacy.attribute_figures([told for _, told in found], rng),
                    affect=affect.affect_figures(level, own, others, windows, rng, resamples),
                )
            )
        people = np.unique(np.concatenate([windows.person[one.plan.tested] for one in own]))
        made.append(
            Setting(
                name=name,
                about=_about(own, _learned(own, windows)),
                people=len(people),
                learned=_learned(own, windows),
                levels=tuple(levels),
            )
        )
    return made


def _learned(own: Sequence[Tested], windows: Windows) -> tuple[str, ...]:
    """The tasks that every plan's training people show both sides of."""

    def told(one: Tested, task: int) -> bool:
        rows = one.plan.known & windows.known[:, task]
        return both_sides(windows.truth[rows, task])

    return tuple(name for task, name in enumerate(TASKS) if all(told(one, task) for one in own))


def _about(own: Sequence[Tested], learned: tuple[str, ...]) -> str:
    if not own[0].plan.known.any():
        return "The bundle as it is, on people whom its maker never met."
    if len(own) > 1:
        return (
            f"{len(own)} folds over people, each judged by a model of the other people; each set "
            "is a gallery of its own in each fold."
        )
    lacking = [task for task in TASKS[:2] if task not in learned]
    said = "One set taught the model, all people of another are judged."
    if lacking:
        said += f" The first holds no {lacking[0]}, so its distress is something else."
    return said
