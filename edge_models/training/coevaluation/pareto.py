"""The Pareto plot of a setting: its levels on the plane of affect told and identity reduced."""

from typing import Final

from edge_models.training.coevaluation.figure import Figure
from edge_models.training.coevaluation.plane import Corner, Mark, letter, plane
from edge_models.training.coevaluation.schema import Setting
from edge_models.training.coevaluation.story import AT_LEAST, REDUCTION
from edge_models.training.identity import SIX

AIM: Final = Corner(REDUCTION, AT_LEAST["distress"])
_NOTHING: Final = Figure(value=0.0, low=0.0, high=0.0)


def points(setting: Setting) -> tuple[Mark, ...]:
    """The levels of a setting whose affect was measured, lettered in order; R of the original 0."""
    found: list[Mark] = []
    for level in setting.levels:
        distress = level.affect_of("distress")
        if distress is not None:
            reduced = level.identity_of(SIX).reduction or _NOTHING
            place = len(found)
            told = distress.balanced_accuracy
            found.append(Mark(letter(place), level.level, reduced, told, place))
    return tuple(found)


def pareto(setting: Setting, name: str) -> str:
    """The plot as an SVG element; `name` makes its identifiers unique on the page."""
    title = f"Affect against identity: {setting.name}"
    return plane(points(setting), AIM, name, title, with_front=False)
