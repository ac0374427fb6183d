"""The evaluation as one HTML page: nothing is loaded, light and dark, for phones and for print.

Rules it upholds: every plot has its table beside it; a table that is wider than the screen scrolls
by itself and can be reached by keyboard; no script.
"""

import re
from html import escape
from typing import Final

from edge_models.training.coevaluation.face_rows import Chapter, face_chapters
from edge_models.training.coevaluation.markdown import HOW, how
from edge_models.training.coevaluation.pareto import pareto, points
from edge_models.training.coevaluation.rows import Sheet, aims_sheet, corpora_sheet, sheets_of
from edge_models.training.coevaluation.schema import Evaluation, Setting
from edge_models.training.coevaluation.story import lead

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #56616c; --paper: #fdfcfa;
  --line: #d9d5cd; --shade: #f2efe9; --aim: #2f7d4f; --no: #a63d2f;
  --c0: #6b4c9a; --c1: #b0413e; --c2: #c47a16; --c3: #1f6f8b; --c4: #2f7d4f; --c5: #5a7d2f;
  --c6: #7d5a2f; --on: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e4dc; --soft: #a7adb4; --paper: #14181c; --line: #343b43; --shade: #1c2228;
    --aim: #6cc391; --no: #ef9486; --c0: #b79be0; --c1: #ee8f8c; --c2: #eab35f; --c3: #74c3df;
    --c4: #7fd0a0; --c5: #b3d47c; --c6: #d9b68a; --on: #14181c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem 1rem 4rem; max-width: 68rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .3rem 0 1rem; }
h2 { margin: 2.6rem 0 .4rem; padding-top: .8rem; border-top: 1px solid var(--line);
  font-size: 1.25rem; }
p, li { max-width: 44rem; }
.soft, figcaption, caption { color: var(--soft); }
.lead { padding: 0; list-style: none; font-size: 1.06rem; }
.lead li { margin: 0 0 .8rem; padding-left: .8rem; border-left: 3px solid var(--c3); }
.plot { display: grid; gap: .5rem 1.5rem; grid-template-columns: minmax(0, 1fr); margin: 1rem 0; }
@media (min-width: 56rem) { .plot { grid-template-columns: 3fr 2fr; align-items: center; } }
figure { margin: 0; } svg { width: 100%; height: auto; display: block; }
.grid { stroke: var(--line); } .tick { fill: var(--soft); font-size: 14px; }
.axis { fill: var(--ink); font-size: 15px; }
.aim { fill: var(--aim); fill-opacity: .16; stroke: var(--aim); stroke-dasharray: 4 3; }
.box { fill: var(--c); fill-opacity: .13; stroke: var(--c); stroke-opacity: .55; }
.mark circle { fill: var(--c); stroke: var(--paper); stroke-width: 1.5; }
.mark text { fill: var(--on); font: 600 16px system-ui, sans-serif; }
@media (max-width: 40rem) { .tick, .axis { font-size: 23px; } .mark text { font-size: 18px; } }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); }
.c4 { --c: var(--c4); } .c5 { --c: var(--c5); } .c6 { --c: var(--c6); }
.wide { overflow-x: auto; margin: 1rem 0 1.6rem; }
.wide:focus-visible { outline: 2px solid var(--c3); outline-offset: 2px; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 0 0 .4rem; max-width: min(44rem, 100vw - 2rem);
  position: sticky; left: 0; }
th, td { text-align: left; padding: .34rem .7rem .34rem 0; border-top: 1px solid var(--line);
  vertical-align: top; min-width: 4.4rem; }
thead th { border-top: 0; color: var(--soft); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; position: sticky; left: 0; background: var(--paper);
  min-width: 8.5rem; max-width: 24rem; }
.long { min-width: 17rem; }
.yes { color: var(--aim); font-weight: 600; } .no { color: var(--no); font-weight: 600; }
.key { display: inline-block; min-width: 1.4rem; margin-right: .3rem; border-radius: 1rem;
  background: var(--c); color: var(--on); text-align: center; font-weight: 600; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--soft); }
@media print { .wide { overflow: visible; } details > * { display: block; } }
"""

_LONG: Final = 32
_INTERVAL: Final = re.compile(r"\([-−\d.]+ to [-−\d.]+\)")


def page(evaluation: Evaluation) -> str:
    """The whole page."""
    title = f"Privacy beside utility: {evaluation.subject}"
    quick = "<p class=soft>A quick look: fewer attackers and repetitions.</p>"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>",
        "<p class=soft>Sotto voce, co-evaluation</p>",
        "<h1>Privacy beside utility</h1>",
        f"<p>{escape(evaluation.subject.capitalize())}</p>",
        quick if evaluation.quick else "",
        "<ul class=lead>",
        *(f"<li>{escape(line)}</li>" for line in lead(evaluation)),
        "</ul>",
        _table(aims_sheet(evaluation)),
        f"<details><summary>What the words mean</summary><p>{_plain(HOW)}</p></details>",
        *(_chapter(setting, place) for place, setting in enumerate(evaluation.settings)),
        *map(_face_chapter, face_chapters(evaluation.faces)),
        "<h2>How it was done</h2>",
        f"<p>{escape(how(evaluation))}</p>",
        _table(corpora_sheet(evaluation)),
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
            _table(first),
            *map(_table, open_sheets),
            "<details><summary>One window alone, and every attacker</summary>",
            *map(_table, folded),
            "</details></section>",
        ]
    )


def _face_chapter(chapter: Chapter) -> str:
    return "\n".join(
        [
            f"<section><h2>{escape(chapter.title)}</h2>",
            *(f"<p>{_plain(text)}</p>" for text in chapter.about),
            *map(_table, chapter.sheets),
            f"<details><summary>{escape(chapter.summary)}</summary>",
            *map(_table, chapter.details),
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
        f"{escape(one.level)}</th>{_cell(str(one.reduced))}{_cell(str(one.told))}</tr>"
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


def _table(sheet: Sheet) -> str:
    names = (escape(name).replace("top-1", "top&#8209;1") for name in sheet.columns)
    heads = "".join(f"<th scope=col>{name}</th>" for name in names)
    rows = "".join(
        f"<tr><th scope=row>{escape(row[0])}</th>{''.join(map(_cell, row[1:]))}</tr>"
        for row in sheet.rows
    )
    return (
        f'<div class=wide tabindex=0 role=region aria-label="{escape(sheet.caption, quote=True)}">'
        f"<table><caption>{escape(sheet.caption)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    mark = f' class="{text}"' if text in ("yes", "no") else ""
    if len(text) > _LONG:
        mark = ' class="long"'
    return f"<td{mark}>{_unbroken(escape(text))}</td>"


def _unbroken(text: str) -> str:
    """An interval stays on one line."""
    return _INTERVAL.sub(lambda found: found[0].replace(" ", "&nbsp;"), text)


def _plain(text: str) -> str:
    """Markdown's emphasis as HTML's."""
    pieces = escape(text).split("*")
    return "".join(
        f"<em>{piece}</em>" if place % 2 else piece for place, piece in enumerate(pieces)
    )
