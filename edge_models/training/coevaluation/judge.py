"""Carries out every plan at every level, part by part, and puts the figures together.

Rules it upholds: finished parts are kept until the evaluation is complete, so an interrupted run
resumes and gives the same figures; one seed gives one evaluation.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_models.assessment import TASKS
from edge_models.training.coevaluation import affect, privacy
from edge_models.training.coevaluation.cells import Cells
from edge_models.training.coevaluation.plans import WITHIN, Plan
from edge_models.training.coevaluation.schema import (
    Corpus,
    Evaluation,
    LevelFigures,
    Setting,
)
from edge_models.training.coevaluation.subjects import Subject
from edge_models.training.coevaluation.tested import (
    Tested,
    carried_out,
    level_names,
    tested_again,
)
from edge_models.training.identity import PANEL
from edge_models.training.identity.panel import SIZES, Member
from edge_models.training.levels import (
    EMBEDDING,
    FUNCTIONALS,
    NOISES,
    NORMALISED,
    ORIGINAL,
    WARM_UP,
)
from edge_models.training.metrics import both_sides
from edge_models.training.streams import Floats, Kind, Windows

Kept = dict[str, npt.NDArray[Any]]

ATTRIBUTE_LEVELS: Final = (FUNCTIONALS, NORMALISED, EMBEDDING)
"""Where sex, age band and language are attacked."""

_PACKAGES: Final = ("sottovoce", "torch", "scikit-learn", "numpy", "scipy")


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done: the rest of what a run depends on is the recordings and the seed."""

    passes: int = 2
    permutations: int = 2
    attribute_permutations: int = 1
    noises: tuple[float, ...] = NOISES
    panel: tuple[Member, ...] = PANEL
    quick: bool = False

    def __str__(self) -> str:
        names = ", ".join(member.name for member in self.panel)
        return (
            f"{self.passes} {self.permutations} {self.attribute_permutations} {self.noises} {names}"
        )


def evaluated(
    windows: Windows,
    subject: Subject,
    plans: Sequence[Plan],
    licences: Sequence[tuple[str, str]],
    seed: int,
    effort: Effort,
    cells: Cells,
    step: Callable[[str, int], None],
    contours: Floats | None = None,
) -> Evaluation:
    """All figures; `step` is told what comes next, and how many steps there are in all."""
    began = time.monotonic()
    judge = _Judge(windows, subject, seed, effort, cells, contours)
    levels = _levels(effort, contours)
    steps = len(plans) * (1 + len(levels)) + 1
    done: list[Tested] = []
    parts: dict[tuple[str, str], tuple[Kept, Kept]] = {}
    for plan in plans:
        step(f"{plan.name}: training and passing", steps)
        tested = judge.tested(plan)
        done.append(tested)
        for level in level_names(tested):
            step(f"{plan.name}: attacking {level}", steps)
            parts[plan.name, level] = judge.attacked(tested, level)
    step("Figures and their intervals", steps)
    return Evaluation(
        format=1,
        subject=subject.name,
        seed=seed,
        quick=effort.quick,
        passes=effort.passes,
        permutations=effort.permutations,
        panel=tuple(member.name for member in effort.panel),
        corpora=_corpora(windows, licences),
        versions=tuple(f"{name} {version(name)}" for name in _PACKAGES),
        settings=tuple(_settings(done, parts, windows, seed)),
        limits=_LIMITS,
        seconds=round(time.monotonic() - began, 1),
    )


def _levels(effort: Effort, contours: Floats | None) -> range:
    return range(3 + len(effort.noises) + (contours is not None))


@dataclass(frozen=True, slots=True, eq=False)
class _Judge:
    windows: Windows
    subject: Subject
    seed: int
    effort: Effort
    cells: Cells
    contours: Floats | None

    def tested(self, plan: Plan) -> Tested:
        kept = self.cells.get(plan.name)
        if kept is not None:
            return tested_again(plan, kept)
        tested = carried_out(
            plan,
            self.subject,
            self.windows,
            self.seed,
            1 if _across(plan) else self.effort.passes,
            self.effort.noises,
            self.contours,
        )
        self.cells.put(plan.name, tested.arrays())
        return tested

    def attacked(self, tested: Tested, level: str) -> tuple[Kept, Kept]:
        """Identity and attributes of one level."""
        name = f"{tested.plan.name} {level}"
        identity, attributes = self.cells.get(name), self.cells.get(f"{name} attributes")
        if identity is None:
            identity = privacy.identity_part(
                tested,
                level,
                self.windows,
                self.seed,
                self.effort.permutations,
                self.effort.panel,
            )
            self.cells.put(name, identity)
        if attributes is None:
            attributes = {}
            if level in ATTRIBUTE_LEVELS and not (self.effort.quick and _across(tested.plan)):
                attributes = privacy.attribute_part(
                    tested, level, self.windows, self.seed, self.effort.attribute_permutations
                )
            self.cells.put(f"{name} attributes", attributes)
        return identity, attributes


def _across(plan: Plan) -> bool:
    """Whether one set is judged by a model of another: larger galleries, looked at once."""
    return plan.setting != WITHIN and bool(plan.known.any())


def _settings(
    done: Sequence[Tested],
    parts: dict[tuple[str, str], tuple[Kept, Kept]],
    windows: Windows,
    seed: int,
) -> list[Setting]:
    names = list(dict.fromkeys(tested.plan.setting for tested in done))
    folds = [tested for tested in done if tested.plan.setting == WITHIN]
    within = folds if any(tested.plan.known.any() for tested in folds) else []
    made = []
    for name in names:
        own = [tested for tested in done if tested.plan.setting == name]
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
                    affect=affect.affect_figures(level, own, within, windows, rng),
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


def _corpora(windows: Windows, licences: Sequence[tuple[str, str]]) -> tuple[Corpus, ...]:
    told = dict(licences)
    heard = (windows.kind == Kind.CLIP) & (windows.take == 0)
    return tuple(
        Corpus(
            name=str(name),
            licence=told.get(str(name), ""),
            people=len(np.unique(windows.person[windows.dataset == name])),
            windows=int((heard & (windows.dataset == name)).sum()),
        )
        for name in np.unique(windows.dataset)
    )


_LIMITS: Final = (
    "Acted emotions of few people in quiet rooms: affect figures, never of a diagnosis. Everyday "
    "speech and other languages are untested.",
    "Few people: read the intervals, not the values. A bootstrap over so few people is a little "
    "too narrow.",
    f"Attackers see each person's windows after the first {WARM_UP}, which no baseline knows yet; "
    "those first windows tell more of a person.",
    "Attackers enrol half of a person's texts and are tested on the other half, both ways; all "
    "windows of a person are of one device. A baseline learned anew tells less of a person.",
    "A stronger attacker than the panel may exist: chance in the table is what this panel reaches "
    "when names are permuted within each affect, not a bound.",
    "Session calibration is learned from the other folds' people, by models that had met the "
    "people of the fold judged.",
)
