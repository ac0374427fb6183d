"""The evaluation in Markdown: a page of its own, and the card's chapter of figures."""

from pathlib import Path

from edge_models.errors import RecordingError
from edge_models.training.coevaluation.face_rows import face_chapters
from edge_models.training.coevaluation.rows import (
    abstention_sheet,
    affect_sheet,
    aims_sheet,
    attributes_sheet,
    corpora_sheet,
    gaps_sheet,
    identity_sheet,
    sheets_of,
)
from edge_models.training.coevaluation.schema import Evaluation, parse_evaluation
from edge_models.training.coevaluation.sheet import in_markdown
from edge_models.training.coevaluation.story import headline, lead

HOW = (
    "In brackets: 95 % bootstrap intervals over people. *Top-1*: how often the attacker names the "
    "right person of a closed set. *Chance*: the same panel of attackers, its choice included, "
    "under identities permuted within each affect. *R* = 1 − (top-1 − chance) / (top-1 of level 1 "
    "− its chance). *EER*: equal error rate of verification, 0.50 is ideal. *TPR at FPR*: true "
    "claims accepted where at most that share of false ones is. *Worst decile*: the tenth of "
    "people who are named most often. All affect figures are of acted emotions, under equal "
    "priors, and never say how well an illness would be recognised."
)


def markdown(evaluation: Evaluation) -> str:
    """The whole report."""
    parts = [
        f"# Privacy beside utility: {evaluation.subject}",
        *(f"- {line}" for line in lead(evaluation)),
        in_markdown(aims_sheet(evaluation)),
        HOW,
    ]
    for setting in evaluation.settings:
        parts.append(f"## {setting.name.capitalize()}")
        parts.append(setting.about)
        parts += [in_markdown(sheet) for sheet in sheets_of(setting)]
    for chapter in face_chapters(evaluation.faces):
        parts += [f"## {chapter.title}", *chapter.about]
        parts += [in_markdown(sheet) for sheet in (*chapter.sheets, *chapter.details)]
    parts += [
        "## How",
        how(evaluation),
        in_markdown(corpora_sheet(evaluation)),
        "## Limits",
        "\n".join(f"- {limit}" for limit in evaluation.limits),
    ]
    return "\n\n".join(parts) + "\n"


def how(evaluation: Evaluation) -> str:
    """Seeds, panel and versions in a paragraph."""
    quick = "A quick look, with fewer attackers and repetitions. " if evaluation.quick else ""
    return (
        f"{quick}Seed {evaluation.seed}; {evaluation.passes} passes of every person's windows in "
        f"random order; {evaluation.permutations} permutations for each gallery, pass and "
        f"direction; attackers: {', '.join(evaluation.panel)}. "
        f"{', '.join(evaluation.versions)}. {evaluation.seconds / 60:.0f} minutes."
    )


def card_chapter(evaluation: Evaluation) -> str:
    """The figures that a bundle's model card shows, headings of the third level."""
    parts = [
        "\n".join(f"- {line}" for line in headline(evaluation)),
        in_markdown(aims_sheet(evaluation)),
        HOW,
    ]
    for setting in evaluation.settings:
        parts.append(f"### {setting.name.capitalize()}")
        sheets = (
            identity_sheet(setting, 6),
            affect_sheet(setting),
            attributes_sheet(setting),
            abstention_sheet(setting),
            gaps_sheet(setting),
        )
        parts += [in_markdown(sheet) for sheet in sheets if sheet.rows]
    parts.append(how(evaluation))
    return "\n\n".join(parts)


def chapter_of(path: Path) -> str:
    """The card's chapter of a finished `evaluation.json`.

    Raises:
        RecordingError: it can't be read, is no evaluation, or only a quick look.
    """
    try:
        told = parse_evaluation(path.read_bytes())
    except OSError as fault:
        raise RecordingError(
            f"'{path}' can't be read.", "Give the evaluation.json that `sottovoce evaluate` wrote."
        ) from fault
    if told.quick:
        raise RecordingError(
            f"'{path}' is of a quick look.", "Run `sottovoce evaluate` without --quick for a card."
        )
    return card_chapter(told) + "\n"
