"""The plane of privacy and utility, drawn by hand as SVG: affect told against identity reduced.

Rules it upholds: each mark carries the box of its two intervals; the corner that the aims ask for
is drawn, reached or not; letters that would lie on each other are moved apart, with a line to
where they belong; colours come from the page, so light and dark both read well.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import combinations
from typing import Final

from edge_models.training.coevaluation.figure import Figure

WIDTH: Final = 640
HEIGHT: Final = 460
LEFT, RIGHT, TOP, BOTTOM = 92, 18, 18, 64
LOWEST: Final = 0.4
COLOURS: Final = 7
_ALPHABET: Final = 26
_RADIUS: Final = 14
_ROUNDS: Final = 200
_TURN: Final = 2.4  # the golden angle: marks in one place leave it in different directions
_MOVED: Final = 3.0


@dataclass(frozen=True, slots=True)
class Mark:
    """One way of describing people: `reduced` is R over six windows, `told` distress.

    `tone` chooses its colour.
    """

    letter: str
    name: str
    reduced: Figure
    told: Figure
    tone: int

    def __str__(self) -> str:
        return f"{self.letter}: {self.name}, R {self.reduced}, distress {self.told}"


@dataclass(frozen=True, slots=True)
class Corner:
    """The corner that is asked for: at least this reduction, and this balanced accuracy."""

    reduced: float
    told: float


def letter(place: int) -> str:
    """A to Z, then A1 to Z1, and so on."""
    rounds, own = divmod(place, _ALPHABET)
    return chr(ord("A") + own) + (str(rounds) if rounds else "")


def front(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """The marks that no other beats in both, from the least reduced on.

    Source: Pareto, Manuale di economia politica, 1906: what can't be bettered in one without
    losing in the other.
    """

    def beaten(one: Mark) -> bool:
        own = (one.reduced.value, one.told.value)
        return any(
            (other.reduced.value, other.told.value) != own
            and other.reduced.value >= own[0]
            and other.told.value >= own[1]
            for other in marks
        )

    kept = [one for one in marks if not beaten(one)]
    return tuple(sorted(kept, key=lambda one: (one.reduced.value, -one.told.value)))


def plane(marks: Sequence[Mark], aim: Corner, name: str, title: str, *, with_front: bool) -> str:
    """The plot as an SVG element; `name` makes its identifiers unique on the page."""
    left = min(-0.1, *(one.reduced.low for one in marks)) if marks else -0.1
    right = max(1.05, *(one.reduced.high for one in marks)) if marks else 1.05
    scale = _Scale(max(left, -0.6), min(right, 1.3))
    own = [(scale.x(one.reduced.value), scale.y(one.told.value)) for one in marks]
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{name}-t {name}-d">',
        f'<title id="{name}-t">{escape(title)}</title>',
        f'<desc id="{name}-d">{escape(". ".join(map(str, marks)))}.</desc>',
        *_frame(scale, aim),
        *(_box(one, scale) for one in marks),
        _front_line(front(marks), scale) if with_front and marks else "",
        *(_mark(one, *spots) for one, *spots in zip(marks, own, _apart(own), strict=True)),
        "</svg>",
    ]
    return "\n".join(part for part in parts if part)


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


def _frame(scale: _Scale, aim: Corner) -> Iterator[str]:
    """Aim, grid, ticks and what the axes say."""
    x, y, edge, foot = scale.x(aim.reduced), scale.y(aim.told), scale.y(1), scale.y(LOWEST)
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


def _box(one: Mark, scale: _Scale) -> str:
    x, y = scale.x(one.reduced.low), scale.y(one.told.high)
    width = max(scale.x(one.reduced.high) - x, 1.5)
    height = max(scale.y(one.told.low) - y, 1.5)
    return (
        f'<rect class="box c{one.tone % COLOURS}" x="{x}" y="{y}" width="{width:.1f}" '
        f'height="{height:.1f}"><title>{escape(str(one))}</title></rect>'
    )


def _front_line(best: Sequence[Mark], scale: _Scale) -> str:
    """Steps through the marks that are not beaten: whatever lies beyond, nothing reached."""
    path = [f"M{LEFT} {scale.y(best[0].told.value)}"]
    for one, following in zip(best, [*best[1:], None], strict=True):
        path.append(f"H{scale.x(one.reduced.value)}")
        path.append(f"V{scale.y(following.told.value) if following else scale.y(LOWEST)}")
    return f'<path class="front" d="{" ".join(path)}"/>'


def _mark(one: Mark, own: tuple[float, float], at: tuple[float, float]) -> str:
    moved = math.dist(own, at) > _MOVED
    line = f'<line x1="{own[0]}" y1="{own[1]}" x2="{at[0]:.1f}" y2="{at[1]:.1f}"/>'
    spot = f'<circle class="spot" cx="{own[0]}" cy="{own[1]}" r="4"/>'
    return (
        f'<g class="mark c{one.tone % COLOURS}">{line + spot if moved else ""}'
        f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{_RADIUS}"/>'
        f'<text x="{at[0]:.1f}" y="{at[1] + 5.5:.1f}" text-anchor="middle">{one.letter}</text></g>'
    )


def _apart(own: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Where the letters go: pushed from each other until none lies on another."""
    places, least = list(own), 2.0 * _RADIUS + 2
    for _ in range(_ROUNDS):
        for first, second in combinations(range(len(places)), 2):
            (x, y), (u, v) = places[first], places[second]
            far = math.hypot(u - x, v - y)
            if far >= least:
                continue
            angle = math.atan2(v - y, u - x) if far > 1e-6 else _TURN * (first + 1)
            push = (least - far) / 2 + 0.1
            across, down = push * math.cos(angle), push * math.sin(angle)
            places[first] = _inside(x - across, y - down)
            places[second] = _inside(u + across, v + down)
    return places


def _inside(x: float, y: float) -> tuple[float, float]:
    return (
        min(max(x, LEFT + _RADIUS), WIDTH - RIGHT - _RADIUS),
        min(max(y, TOP + _RADIUS), HEIGHT - BOTTOM - _RADIUS),
    )
