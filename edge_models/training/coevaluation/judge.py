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

from edge_models.training.coevaluation import privacy
from edge_models.training.coevaluation.cells import Cells
from edge_models.training.coevaluation.plans import WITHIN, Plan
from edge_models.training.coevaluation.schema import (
    Corpus,
    Evaluation,
)
from edge_models.training.coevaluation.settings import settings_of
from edge_models.training.coevaluation.subjects import Subject
from edge_models.training.coevaluation.tested import (
    Tested,
    carried_out,
    level_names,
    tested_again,
)
from edge_models.training.identity import PANEL
from edge_models.training.identity.attributes import ATTRIBUTE_PANEL
from edge_models.training.identity.panel import Member
from edge_models.training.levels import (
    EMBEDDING,
    FUNCTIONALS,
    NOISES,
    NORMALISED,
    WARM_UP,
)
from edge_models.training.metrics import RESAMPLES
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
    resamples: int = RESAMPLES
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
    limits: Sequence[str] = (),
) -> Evaluation:
    """All figures; `step` is told what comes next, and how many steps there are in all.

    `limits` are told before the usual ones.
    """
    began = time.monotonic()
    judge = _Judge(windows, subject, seed, effort, cells, contours)
    levels = _levels(effort, contours)
    steps = sum(1 + len(levels) + len(plan.inner) for plan in plans) + 1
    done: list[Tested] = []
    inner: dict[str, list[Tested]] = {}
    parts: dict[tuple[str, str], tuple[Kept, Kept]] = {}
    for plan in plans:
        step(f"{plan.name}: training and passing", steps)
        tested = judge.tested(plan)
        done.append(tested)
        for half in plan.inner:
            step(f"{half.name}: training, to calibrate", steps)
            inner.setdefault(plan.setting, []).append(judge.tested(half, with_shuffled=False))
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
        settings=tuple(settings_of(done, inner, parts, windows, seed, effort.resamples)),
        limits=(*limits, *_LIMITS),
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

    def tested(self, plan: Plan, *, with_shuffled: bool = True) -> Tested:
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
            with_shuffled=with_shuffled,
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
                    tested,
                    level,
                    self.windows,
                    self.seed,
                    self.effort.attribute_permutations,
                    tuple(one for one in self.effort.panel if one in ATTRIBUTE_PANEL),
                )
            self.cells.put(f"{name} attributes", attributes)
        return identity, attributes


def _across(plan: Plan) -> bool:
    """Whether one set is judged by a model of another: larger galleries, looked at once."""
    return plan.setting != WITHIN and bool(plan.known.any())


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
    "those first windows tell more of a person. Whoever has them all, in order, can undo the "
    "alignment of level 3, whose raw embeddings tell more, too.",
    "No attacker of the panel is told which emotion a window shows; one who is told names more "
    "people at level 3.",
    "Attackers enrol half of a person's texts and are tested on the other half, both ways; all "
    "windows of a person are of one device. Repetitions of acted sets are of one day, and are not "
    "kept apart where there are several texts: that would only weaken the attackers.",
    "Where somebody has fewer than six windows in a test, that gallery's sessions are as short.",
    "A stronger attacker than the panel may exist: chance in the table is what this panel reaches "
    "when names are permuted within each affect, not a bound.",
    "Session calibration is learned from the other folds' people, by models that had met the "
    "people of the fold judged; across sets from halves of the set that taught, by models of the "
    "other half.",
)
