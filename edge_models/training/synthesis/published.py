"""The folder that a comparison leaves: page, figures, and the winner's table if one won.

Rules it upholds: files are written beside and then renamed, the page last; every row says that
it is synthetic, and the file beside it says from what, at which ε, under which licence; an older
table never stays beside a page that publishes none.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from edge_models.assessment import TASKS
from edge_models.training.streams import Windows
from edge_models.training.synthesis import report
from edge_models.training.synthesis.comparison import ROWS_EACH, Comparison, Figures
from edge_models.training.synthesis.contenders import Contender
from edge_models.training.synthesis.levels import Frame, Level, parted
from edge_models.training.synthesis.table import Table, Vocabulary
from edge_models.training.whole import written_whole

TABLE: Final = "synthetic.csv"
BESIDE: Final = "synthetic.json"


def publish(
    out: Path,
    windows: Windows,
    background: Windows | None,
    comparison: Comparison,
    won: Figures | None,
    chosen: Contender | None,
    told: report.Told,
    rng: np.random.Generator,
) -> None:
    """Fit the winner on everybody, draw, and write; without one, write the page alone."""
    for old in (TABLE, BESIDE):
        (out / old).unlink(missing_ok=True)
    if chosen is not None:
        nobody = np.zeros(len(windows), bool)
        part = parted(windows, nobody, background, told.level, told.seed)
        synthesiser = chosen.method.fit(part.train, rng)
        labels = Vocabulary.of(part.train.labels).evenly(ROWS_EACH)
        _write_table(out / TABLE, synthesiser.draw(labels, rng), part.frame)
        people = len(np.unique(part.train.person))
        _write(out / BESIDE, json.dumps(_about(chosen, told, people), indent=1) + "\n")
    _write(out / "comparison.json", report.as_json(comparison, won, told))
    _write(out / "comparison.md", report.markdown(comparison, won, told))


def _about(chosen: Contender, told: report.Told, people: int) -> dict[str, object]:
    budget = chosen.budget
    whole = budget is not None and told.level is not Level.EMBEDDING
    return {
        "format": 1,
        "synthetic": True,
        "method": chosen.name,
        "level": str(told.level),
        "people": people,
        "synthesiser_epsilon": budget.epsilon if budget else None,
        "epsilon": budget.epsilon if budget and whole else None,
        "delta": budget.delta if budget and whole else None,
        "privacy": report.promise(
            budget.epsilon if budget else None, budget.delta if budget else 0.0, told.level
        ),
        "licence": told.licence,
        "notice": told.notice,
    }


def _write_table(path: Path, table: Table, frame: Frame) -> None:
    with written_whole(path) as beside, beside.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows(_rows(table, frame))


def _rows(table: Table, frame: Frame) -> Iterator[Sequence[str]]:
    """A row each, "" for a task that its set doesn't know; five digits a number."""
    yield ["synthetic", "dataset", "kind", "emotion", *TASKS, *frame.names]
    labels = table.labels
    words = labels.emotion_words()
    for place, values in enumerate(frame.real(table.values)):
        tasks = [
            str(int(truth)) if known else ""
            for truth, known in zip(labels.truth[place], labels.known[place], strict=True)
        ]
        told = [str(labels.dataset[place]), str(labels.kind[place]), str(words[place])]
        yield ["yes", *told, *tasks, *(f"{value:.5g}" for value in values)]


def _write(path: Path, text: str) -> None:
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8")
