"""Reads the small tables that come with a corpus: comma or tab separated, or one Excel sheet.

Rules it upholds: a column that is needed and absent is named; a number that is none is told, not
taken for 0; a file is read as UTF-8 with or without a mark.

Source: Office Open XML, ECMA-376 part 1, clauses 18.3 (sheet) and 18.4 (shared strings).
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from edge_models.errors import RecordingError
from edge_models.training.corpora.records import LabelError

_LARGEST_BYTES: Final = 64_000_000
_SPACE: Final = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def rows_of(path: Path, needed: Iterable[str]) -> list[dict[str, str]]:
    """The rows of a table with a header, by column name.

    Raises:
        RecordingError: the file can't be read, or lacks one of the `needed` columns.
    """
    lines = sheet_of(path) if path.suffix.lower() == ".xlsx" else lines_of(path)
    header = [name.strip() for name in lines[0]] if lines else []
    lacking = sorted(set(needed) - set(header))
    if lacking:
        raise RecordingError(
            f"'{path}' lacks the columns {', '.join(lacking)}.", "Take the corpus's own file."
        )
    return [
        dict(zip(header, (*(cell.strip() for cell in line), *[""] * len(header)), strict=False))
        for line in lines[1:]
        if any(cell.strip() for cell in line)
    ]


def lines_of(path: Path) -> list[list[str]]:
    """The cells of a text table, line by line; tabs part them where the first line has one.

    Raises:
        RecordingError: the file can't be read as text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise RecordingError(
            f"'{path}' can't be read.", "Copy it again from the corpus."
        ) from fault
    apart = "\t" if "\t" in text.partition("\n")[0] else ","
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=apart))
    except csv.Error as fault:
        raise RecordingError(
            f"'{path}' is not a table.", "Copy it again from the corpus."
        ) from fault


def sheet_of(path: Path) -> list[list[str]]:
    """The cells of the first sheet of an Excel workbook, line by line.

    Raises:
        RecordingError: the file is no such workbook.
    """
    try:
        with zipfile.ZipFile(path) as book:
            if sum(part.file_size for part in book.infolist()) > _LARGEST_BYTES:
                raise RecordingError(f"'{path}' is too large for a table.", "Save it as CSV.")
            strings = _strings(book)
            sheet = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
        return [_cells(row, strings) for row in sheet.iter(f"{_SPACE}row")]
    except (OSError, KeyError, IndexError, ValueError, zipfile.BadZipFile) as fault:
        raise RecordingError(f"'{path}' is no Excel sheet.", "Save it as CSV.") from fault
    except ElementTree.ParseError as fault:
        raise RecordingError(f"'{path}' is damaged.", "Save it as CSV.") from fault


def number(text: str) -> float | None:
    """A number, None for an empty cell.

    Raises:
        LabelError: it is something else.
    """
    if text.strip().lower() in ("", "nan", "na", "n/a"):
        return None
    try:
        return float(text)
    except ValueError:
        raise LabelError("A label is not a number.", "Correct the table.") from None


def whole(text: str) -> int | None:
    """A whole number, None for an empty cell.

    Raises:
        LabelError: it is something else.
    """
    value = number(text)
    if value is not None and not value.is_integer():
        raise LabelError("A sum is a whole number.", "Correct the table.")
    return None if value is None else int(value)


def _strings(book: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in book.namelist():
        return []
    root = ElementTree.fromstring(book.read("xl/sharedStrings.xml"))
    return ["".join(part.text or "" for part in one.iter(f"{_SPACE}t")) for one in root]


def _cells(row: ElementTree.Element, strings: list[str]) -> list[str]:
    """Cells by their letters; those left out of the file are empty."""
    cells: list[str] = []
    for cell in row.iter(f"{_SPACE}c"):
        place = _column(cell.get("r", ""), len(cells))
        cells += [""] * (place + 1 - len(cells))
        value = cell.findtext(f"{_SPACE}v") or ""
        if cell.get("t") == "s" and value:
            value = strings[int(value)]
        elif cell.get("t") == "inlineStr":
            value = "".join(part.text or "" for part in cell.iter(f"{_SPACE}t"))
        cells[place] = value
    return cells


def _column(reference: str, otherwise: int) -> int:
    letters = re.match(r"[A-Z]{1,3}", reference)
    if letters is None:
        return otherwise
    place = 0
    for letter in letters.group():
        place = 26 * place + ord(letter) - ord("A") + 1
    return place - 1
