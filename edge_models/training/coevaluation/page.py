"""The evaluation as one HTML page: nothing is loaded, light and dark, for phones and for print.

Rules it upholds: every plot has its table beside it; a table that is wider than the screen scrolls
by itself and can be reached by keyboard; no script.
"""

from html import escape

from edge_models.training.coevaluation.face_rows import Chapter, face_chapters
from edge_models.training.coevaluation.markdown import HOW, how
from edge_models.training.coevaluation.pareto import pareto, points
from edge_models.training.coevaluation.rows import aims_sheet, corpora_sheet, sheets_of
from edge_models.training.coevaluation.schema import Evaluation, Setting
from edge_models.training.coevaluation.sheet import html_cell, in_html
from edge_models.training.coevaluation.story import lead
from edge_models.training.coevaluation.style import STYLE


def page(evaluation: Evaluation) -> str:
    """The whole page."""
    title = f"Privacy beside utility: {evaluation.subject}"
    quick = "<p class=soft>A quick look: fewer attackers and repetitions.</p>"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>",
        "<p class=soft>Sotto voce, co-evaluation</p>",
        "<h1>Privacy beside utility</h1>",
        f"<p>{escape(evaluation.subject.capitalize())}</p>",
        quick if evaluation.quick else "",
        "<ul class=lead>",
        *(f"<li>{escape(line)}</li>" for line in lead(evaluation)),
        "</ul>",
        in_html(aims_sheet(evaluation)),
        f"<details><summary>What the words mean</summary><p>{_plain(HOW)}</p></details>",
        *(_chapter(setting, place) for place, setting in enumerate(evaluation.settings)),
        *map(_face_chapter, face_chapters(evaluation.faces)),
        "<h2>How it was done</h2>",
        f"<p>{escape(how(evaluation))}</p>",
        in_html(corpora_sheet(evaluation)),
        "<h2>Limits</h2><ul>",
        *(f"<li>{escape(limit)}</li>" for limit in evaluation.limits),
        "</ul></main></body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _chapter(setting: Setting, place: int) -> str:
    first, *others = sheets_of(setting)
    folded, open_sheets = others[-3:], others[:-3]
    return "\n".join(
        [
            f"<section><h2>{escape(setting.name.capitalize())}</h2>",
            f"<p>{escape(setting.about)} {setting.people} people.</p>",
            _plot(setting, f"plot{place}"),
            in_html(first),
            *map(in_html, open_sheets),
            "<details><summary>One window alone, and every attacker</summary>",
            *map(in_html, folded),
            "</details></section>",
        ]
    )


def _face_chapter(chapter: Chapter) -> str:
    return "\n".join(
        [
            f"<section><h2>{escape(chapter.title)}</h2>",
            *(f"<p>{_plain(text)}</p>" for text in chapter.about),
            *map(in_html, chapter.sheets),
            f"<details><summary>{escape(chapter.summary)}</summary>",
            *map(in_html, chapter.details),
            "</details></section>",
        ]
    )


def _plot(setting: Setting, name: str) -> str:
    """The Pareto plot, and its table beside it."""
    shown = points(setting)
    if not shown:
        return ""
    rows = "".join(
        f'<tr><th scope=row><span class="key c{place}">{one.letter}</span> '
        f"{escape(one.name)}</th>{html_cell(str(one.reduced))}{html_cell(str(one.told))}</tr>"
        for place, one in enumerate(shown)
    )
    return (
        f"<div class=plot><figure>{pareto(setting, name)}<figcaption class=soft>Boxes are 95 % "
        "intervals over people; the dashed corner is the aim. Level 1 is what R is measured "
        "against.</figcaption></figure>"
        '<div class=wide tabindex=0 role=region aria-label="The plot as a table"><table>'
        "<thead><tr><th scope=col>level</th><th scope=col>R</th><th scope=col>distress</th></tr>"
        f"</thead><tbody>{rows}</tbody></table></div></div>"
    )


def _plain(text: str) -> str:
    """Markdown's emphasis as HTML's."""
    pieces = escape(text).split("*")
    return "".join(
        f"<em>{piece}</em>" if place % 2 else piece for place, piece in enumerate(pieces)
    )
