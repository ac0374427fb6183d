"""Writes the ε–utility curve: `curve.json`, `curve.csv`, and `curve.md` for people to read.

Rules it upholds: a file is written beside and then renamed, so half a curve never looks like one;
the unit of privacy, the accountant, the noise's source and what the simulation can't say stand on
the same page as the figures.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from edge_models.training.private_accounting import RELATION, UNIT, accountant
from edge_models.training.private_cohort import Labels
from edge_models.training.private_curve import RECIPES, Kind
from edge_models.training.private_figures import METRICS, WITHIN, Figure, enough
from edge_models.training.private_ground import Body

NAMES: Final = ("curve.json", "curve.csv", "curve.md")


@dataclass(frozen=True, slots=True)
class Made:
    """How a curve was made: everything but its figures."""

    body: Body
    labels: Labels
    embedding_size: int
    speakers: int
    private_speakers: int
    delta: float
    repeats: int
    noise: str
    is_simulated_noise: bool
    setting: str


def write(folder: Path, made: Made, figures: Sequence[Figure]) -> None:
    """Write all three files, each in one step."""
    for name, text in zip(
        NAMES, (_json(made, figures), _csv(figures), markdown(made, figures)), strict=True
    ):
        beside = folder / f"{name}.new"
        beside.write_text(text, "utf-8")
        beside.replace(folder / name)


def caveats(made: Made) -> tuple[str, ...]:
    """What has to be known beside the figures."""
    shared = (
        f"Simulated people speak with the voices of {made.private_speakers} real speakers "
        f"(of {made.speakers}) in each repeat: a *person* here is a simulated participant. "
        "No epsilon here says how well a speaker is hidden."
    )
    body = {
        Body.PUBLIC: "The frozen body, the population and the frame were made of other, public "
        "speakers in each repeat; tested speakers were met by nobody.",
        Body.SHIPPED: "The frozen body is the shipped bundle's, trained on every speaker, tested "
        "ones included: figures of heads are too good, and epsilon covers the head alone.",
    }[made.body]
    labels = {
        Labels.ACTED: "Each window of a person is labelled by the emotion that was acted in it. No "
        "study has such labels: with questionnaires' (--labels answers) more people are needed.",
        Labels.ANSWERS: "Each window is labelled by its person's answers around it (PHQ-8 or "
        "GAD-7 from 10), as in a study; tested is the acted emotion, which training never saw.",
    }[made.labels]
    return (
        "Affect figures on acted speech: not a diagnosis, not a clinical figure.",
        shared,
        labels,
        body,
        f"Unit of privacy: the {UNIT}; neighbours differ by {RELATION}. Clipping is by person, "
        f"whatever the number of windows. Epsilon at delta {made.delta:.0e} by {accountant()}. "
        "It is of one training; several on the same people add up.",
        "Sizes, steps, clips, rates and class weights are public constants, chosen on made-up "
        "voices: nothing was tuned on these people, and training stops at a fixed step.",
        f"Sampling and noise come from {made.noise}.",
        "Noise is floating-point: the sum of four normals, rounded to a grid of a millionth of "
        "its deviation. That blunts the known attack on low bits and is no proof; the exact "
        "discrete noise of federated rounds is.",
    )


def markdown(made: Made, figures: Sequence[Figure]) -> str:
    """The whole page."""
    lines = ["# Private training: what a person's privacy costs", ""]
    lines += [*(f"- {line}" for line in caveats(made)), ""]
    lines += list(_works(figures))
    for level in ("session", "window"):
        for metric in METRICS:
            lines += list(_table(figures, "distress", level, metric))
    for task in ("sadness", "fear"):
        lines += list(_table(figures, task, "session", METRICS[0]))
    lines += [*_costs(made, figures)]
    return "\n".join(lines) + "\n"


def _works(figures: Sequence[Figure]) -> Iterator[str]:
    found = enough(figures)
    if not found:
        return
    yield "## The least epsilon that works"
    yield ""
    yield (
        f"Distress over sessions of six windows: within {WITHIN:.2f} of the same training "
        "without privacy, at this and every larger epsilon tried, its interval above 0.5."
    )
    yield ""
    sizes = sorted({people for _, people in found})
    yield "| trained | " + " | ".join(f"{size:,} people" for size in sizes) + " |"
    yield "|---" * (len(sizes) + 1) + "|"
    for scope in dict.fromkeys(scope for scope, _ in found):
        told = [found.get((scope, size)) for size in sizes]
        words = ["none of these" if one is None else f"{one:g}" for one in told]
        yield f"| {scope} | " + " | ".join(words) + " |"
    yield ""


def _table(figures: Sequence[Figure], task: str, level: str, metric: str) -> Iterator[str]:
    chosen = [f for f in figures if (f.task, f.level, f.metric) == (task, level, metric)]
    where = "over six windows of a person" if level == "session" else "a window"
    yield f"## {task.capitalize()}, {where}: {metric}"
    yield ""
    constant = f"A constant answer: {chosen[0].constant:.2f}."
    public = [f"The public head alone: {f.estimate}." for f in chosen if not f.people]
    yield " ".join([constant, *public])
    yield ""
    columns = list(dict.fromkeys(_label(f) for f in chosen if f.people))
    cells = {(f.scope, f.people, _label(f)): str(f.estimate) for f in chosen}
    yield "| trained | people | " + " | ".join(columns) + " |"
    yield "|---" * (len(columns) + 2) + "|"
    for scope, people in dict.fromkeys((f.scope, f.people) for f in chosen if f.people):
        row = [cells.get((scope, people, column), "") for column in columns]
        yield f"| {scope} | {people:,} | " + " | ".join(row) + " |"
    yield ""


def _label(figure: Figure) -> str:
    if figure.kind is Kind.PRIVATE:
        return f"ε = {figure.epsilon:g}"
    return "no privacy" if figure.kind is Kind.OPEN else "no privacy, shuffled labels"


def _costs(made: Made, figures: Sequence[Figure]) -> Iterator[str]:
    yield "## What was spent"
    yield ""
    if made.is_simulated_noise:
        yield "Nothing is claimed: noise of a known seed can be taken off. Fresh, it would be:"
        yield ""
    spent = dict.fromkeys((f.scope, f.spent.statement) for f in figures if f.spent is not None)
    yield from (f"- {scope}: {statement}" for scope, statement in spent)
    yield ""


def _json(made: Made, figures: Sequence[Figure]) -> str:
    recipes = {str(scope): asdict(recipe) for scope, recipe in RECIPES[made.labels].items()}
    works = [
        {"scope": scope, "people": people, "epsilon": epsilon}
        for (scope, people), epsilon in enough(figures).items()
    ]
    told = {
        "format": 1,
        "unit": UNIT,
        "neighbours": RELATION,
        "accountant": accountant(),
        "made": asdict(made),
        "caveats": caveats(made),
        "recipes": recipes,
        "least_epsilon_that_works": works,
        "figures": [_row(figure) for figure in figures],
    }
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def _csv(figures: Sequence[Figure]) -> str:
    rows = [_row(figure) for figure in figures]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(figure: Figure) -> Mapping[str, Any]:
    spent = figure.spent
    return {
        "trained": figure.scope,
        "people": figure.people,
        "kind": str(figure.kind),
        "epsilon": figure.epsilon or None,
        "task": figure.task,
        "level": figure.level,
        "metric": figure.metric,
        "value": round(figure.estimate.value, 4),
        "low": round(figure.estimate.low, 4),
        "high": round(figure.estimate.high, 4),
        "constant": round(figure.constant, 4),
        "repeats": figure.repeats,
        "numbers": figure.numbers,
        "delta": spent and spent.delta,
        "epsilon_pld": spent and round(spent.epsilon, 4),
        "epsilon_rdp": spent and round(spent.epsilon_rdp, 4),
        "noise_multiplier": spent and round(spent.noise_multiplier, 4),
    }
