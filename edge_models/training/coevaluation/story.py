"""The evaluation in plain words: what came out, and which aims were reached.

Rules it upholds: utility and privacy are told in one breath; an aim that is missed is called
missed; a figure is judged by its value, and its interval stands beside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from edge_models.training.coevaluation.face_story import face_headline
from edge_models.training.coevaluation.figure import Figure
from edge_models.training.coevaluation.plans import WITHIN
from edge_models.training.coevaluation.schema import Evaluation, Identity, LevelFigures, Setting
from edge_models.training.identity import SIX
from edge_models.training.levels import EMBEDDING, ORIGINAL

AT_LEAST: Final = {"sadness": 0.88, "fear": 0.90, "distress": 0.90}
CALIBRATION: Final = 0.05
ACROSS: Final = 0.80
REDUCTION: Final = 0.95
SEX: Final = 0.60


@dataclass(frozen=True, slots=True)
class Aim:
    """An aim of this project, what was measured, and whether the value reaches it."""

    text: str
    measured: Figure
    reached: bool


def headline(evaluation: Evaluation) -> tuple[str, ...]:
    """A sentence for each setting: how well affect is told, and how much of the person is."""
    return tuple(
        _sentence(setting, level)
        for setting in evaluation.settings
        if (level := setting.level(EMBEDDING)) is not None
    )


def lead(evaluation: Evaluation) -> tuple[str, ...]:
    """The headline, and a sentence for faces and for simulated pairs where they were judged."""
    faces = evaluation.faces
    return (*headline(evaluation), *(face_headline(faces) if faces else ()))


def _sentence(setting: Setting, level: LevelFigures) -> str:
    told = level.identity_of(SIX)
    parts = [f"{setting.name.capitalize()} ({setting.people} people), level 3:"]
    task = "sadness" if setting.learned and "fear" not in setting.learned else "distress"
    affect = level.affect_of(task)
    if affect is not None:
        said = f"{task} over six windows is told with balanced accuracy"
        parts.append(f"{said} {affect.balanced_accuracy};")
    parts.append(_named(setting, told))
    return " ".join(parts)


def _named(setting: Setting, told: Identity) -> str:
    """How often people are named, in words."""
    said = f"the person is named {told.top1} of the time where chance is {told.chance.value:.2f}"
    original = setting.level(ORIGINAL)
    if original is not None:
        said += f" and the functionals give {original.identity_of(SIX).top1.value:.2f}"
    if told.reduction is None:
        return said + "."
    return said + f": identification is reduced by R = {told.reduction}."


def aims(evaluation: Evaluation) -> tuple[Aim, ...]:
    """Every aim that this evaluation can speak of, at level 3."""
    return tuple(_aims(evaluation))


def _aims(evaluation: Evaluation) -> Iterator[Aim]:
    for setting in evaluation.settings:
        level = setting.level(EMBEDDING)
        if level is None:
            continue
        where = setting.name
        if setting.name.startswith("trained on"):
            task = "distress" if "fear" in setting.learned else "sadness"
            told = level.affect_of(task)
            if told is not None:
                yield _least(f"{task}, {where}", told.balanced_accuracy, ACROSS)
        else:
            yield from _own_people(level, where)
        reduced = level.identity_of(SIX).reduction
        if reduced is not None:
            yield _least(f"R over six windows, {where}", reduced, REDUCTION)
        sex = level.attribute_of("sex", SIX)
        if sex is not None and setting.name == WITHIN:
            yield _most(f"sex recognised from six windows, {where}", sex.balanced_accuracy, SEX)


def _own_people(level: LevelFigures, where: str) -> Iterator[Aim]:
    for task, least in AT_LEAST.items():
        told = level.affect_of(task)
        if told is not None:
            yield _least(f"{task} over six windows, {where}", told.balanced_accuracy, least)
    for task in AT_LEAST:
        told = level.affect_of(task)
        if told is not None:
            text = f"calibration error of {task}, {where}"
            yield _most(text, told.calibration_error, CALIBRATION)


def _least(text: str, measured: Figure, bound: float) -> Aim:
    return Aim(f"{text}: at least {bound:.2f}", measured, measured.value >= bound)


def _most(text: str, measured: Figure, bound: float) -> Aim:
    return Aim(f"{text}: at most {bound:.2f}", measured, measured.value <= bound)
