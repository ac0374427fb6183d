"""The Pareto plot of a setting, drawn by hand as SVG: affect told against identity reduced.

Rules it upholds: each point carries the box of its two intervals; the corner that the aims ask for
is drawn, reached or not; colours come from the page, so light and dark both read well.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Final

from edge_models.training.coevaluation.figure import Figure
from edge_models.training.coevaluation.schema import Setting
from edge_models.training.coevaluation.story import AT_LEAST, REDUCTION
from edge_models.training.identity import SIX

WIDTH: Final = 640
HEIGHT: Final = 460
LEFT, RIGHT, TOP, BOTTOM = 92, 18, 18, 64
LOWEST: Final = 0.4
_NOTHING: Final = Figure(value=0.0, low=0.0, high=0.0)


@dataclass(frozen=True, slots=True)
class Point:
    """A level: `reduced` is R over six windows (0 for the original), `told` distress."""

    letter: str
    level: str
    reduced: Figure
    told: Figure


def points(setting: Setting) -> tuple[Point, ...]:
    """The levels of a setting whose affect was measured, lettered in order."""
    found: list[Point] = []
    for level in setting.levels:
        distress = level.affect_of("distress")
        if distress is not None:
            reduced = level.identity_of(SIX).reduction or _NOTHING
            letter = chr(ord("A") + len(found))
            found.append(Point(letter, level.level, reduced, distress.balanced_accuracy))
    return tuple(found)


def pareto(setting: Setting, name: str) -> str:
    """The plot as an SVG element; `name` makes its identifiers unique on the page."""
    shown = points(setting)
    left = min(-0.1, *(one.reduced.low for one in shown)) if shown else -0.1
    right = max(1.05, *(one.reduced.high for one in shown)) if shown else 1.05
    scale = _Scale(max(left, -0.6), min(right, 1.3))
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{name}-t {name}-d">',
        f'<title id="{name}-t">Affect against identity: {escape(setting.name)}</title>',
        f'<desc id="{name}-d">{escape(_described(shown))}</desc>',
        *_frame(scale),
        *(_box(one, scale, place) for place, one in enumerate(shown)),
        *(_mark(one, scale, place) for place, one in enumerate(shown)),
        "</svg>",
    ]
    return "\n".join(parts)


@dataclass(frozen=True, slots=True)
class _Scale:
    left: float
    right: float

    def x(self, reduced: float) -> float:
        share = (min(max(reduced, self.left), self.right) - self.left) / (self.right - self.left)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, told: float) -> float:
        share = (min(max(told, LOWEST), 1.0) - LOWEST) / (1.0 - LOWEST)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def _frame(scale: _Scale) -> Iterator[str]:
    """Aim, grid, ticks and what the axes say."""
    x, y, edge, foot = (
        scale.x(REDUCTION),
        scale.y(AT_LEAST["distress"]),
        scale.y(1),
        scale.y(LOWEST),
    )
    yield f'<rect class="aim" x="{x}" y="{edge}" width="{WIDTH - RIGHT - x}" height="{y - edge}"/>'
    for tenth in range(4, 11):
        at = scale.y(tenth / 10)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>'
        yield f'<text class="tick" x="{LEFT - 8}" y="{at + 4}" text-anchor="end">'
        yield f"{tenth / 10:.1f}</text>"
    for fifth in range(-3, 7):
        if scale.left <= fifth / 5 <= scale.right:
            at = scale.x(fifth / 5)
            yield f'<line class="grid" x1="{at}" x2="{at}" y1="{edge}" y2="{foot}"/>'
            yield f'<text class="tick" x="{at}" y="{foot + 22}" text-anchor="middle">'
            yield f"{fifth / 5:g}</text>"
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text class="axis" x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">'
    yield "identification reduced by R (1 is all of it) →</text>"
    height = (edge + foot) / 2
    yield f'<text class="axis" transform="translate(20 {height}) rotate(-90)" text-anchor="middle">'
    yield "distress, balanced accuracy →</text>"


def _box(one: Point, scale: _Scale, place: int) -> str:
    x, y = scale.x(one.reduced.low), scale.y(one.told.high)
    width = max(scale.x(one.reduced.high) - x, 1.5)
    height = max(scale.y(one.told.low) - y, 1.5)
    return (
        f'<rect class="box c{place}" x="{x}" y="{y}" width="{width:.1f}" height="{height:.1f}">'
        f"<title>{escape(_said(one))}</title></rect>"
    )


def _mark(one: Point, scale: _Scale, place: int) -> str:
    x, y = scale.x(one.reduced.value), scale.y(one.told.value)
    return (
        f'<g class="mark c{place}"><circle cx="{x}" cy="{y}" r="14"/>'
        f'<text x="{x}" y="{y + 5.5}" text-anchor="middle">{one.letter}</text></g>'
    )


def _said(one: Point) -> str:
    return f"{one.letter}: {one.level}, R {one.reduced}, distress {one.told}"


def _described(shown: tuple[Point, ...]) -> str:
    """The plot in words."""
    return ". ".join(map(_said, shown)) + "."
