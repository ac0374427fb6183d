"""A table of words, as Markdown and as HTML: what every report of this project is made of.

Rules it upholds: a table that is wider than the screen scrolls by itself and can be reached by
keyboard; an interval stays on one line; a table without rows is not shown.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Final

YES_OR_NO: Final = {"yes": "yes", "no": "no"}
_LONG: Final = 32
_INTERVAL: Final = re.compile(r"\([-−\d.]+ to [-−\d.]+\)")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table: its caption, its columns, and rows of words as long as the columns."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def in_markdown(sheet: Sheet) -> str:
    """The sheet as Markdown, its caption in bold above."""
    lines = [
        f"**{sheet.caption}**",
        "",
        "| " + " | ".join(sheet.columns) + " |",
        "|---" * len(sheet.columns) + "|",
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in sheet.rows),
    ]
    return "\n".join(lines)


def in_html(sheet: Sheet, classes: Mapping[str, str] = YES_OR_NO) -> str:
    """The sheet as HTML; a cell that is a key of `classes` word for word gets that class."""
    names = (escape(name).replace("top-1", "top&#8209;1") for name in sheet.columns)
    heads = "".join(f"<th scope=col>{name}</th>" for name in names)
    rows = "".join(
        f"<tr><th scope=row>{escape(row[0])}</th>"
        f"{''.join(html_cell(text, classes) for text in row[1:])}</tr>"
        for row in sheet.rows
    )
    return (
        f'<div class=wide tabindex=0 role=region aria-label="{escape(sheet.caption, quote=True)}">'
        f"<table><caption>{escape(sheet.caption)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def html_cell(text: str, classes: Mapping[str, str] = YES_OR_NO) -> str:
    """One cell of a table's body."""
    kind = "long" if len(text) > _LONG else classes.get(text, "")
    mark = f' class="{kind}"' if kind else ""
    return f"<td{mark}>{unbroken(escape(text))}</td>"


def unbroken(text: str) -> str:
    """An interval stays on one line."""
    return _INTERVAL.sub(lambda found: found[0].replace(" ", "&nbsp;"), text)
