"""CSV and Parquet hold the same numbers, absent ones included."""

import csv
import math
from pathlib import Path

import pytest

from agent.errors import SettingError
from agent.tables import open_table

COLUMNS = ["file", "start_s", "sadness", "abstained"]
ROWS = [["a.wav", 0.0, 0.123456789, False], ["b, c.wav", 1.5, math.nan, True]]


def test_csv_and_parquet_hold_the_same_rows(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: sottovoce[dev]")
    for name in ("x.csv", "x.parquet"):
        with open_table(tmp_path / name, COLUMNS) as table:
            table.add(ROWS[:1])
            table.add(ROWS[1:])
    with (tmp_path / "x.csv").open(newline="") as lines:
        as_text = list(csv.DictReader(lines))
    stored = parquet.read_table(tmp_path / "x.parquet").to_pylist()
    for text, typed in zip(as_text, stored, strict=True):
        assert text["file"] == typed["file"]
        assert text["abstained"] == str(typed["abstained"])
        number = float(text["sadness"]) if text["sadness"] else math.nan
        assert number == pytest.approx(typed["sadness"], rel=1e-6, nan_ok=True)


def test_a_table_without_rows_still_names_its_columns(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: sottovoce[dev]")
    with open_table(tmp_path / "x.parquet", COLUMNS):
        pass
    assert parquet.read_table(tmp_path / "x.parquet").column_names == COLUMNS


@pytest.mark.parametrize(("name", "word"), [("x.xlsx", ".parquet"), ("no/x.csv", "doesn't exist")])
def test_an_unusable_name_is_refused_with_the_remedy(tmp_path: Path, name: str, word: str) -> None:
    with pytest.raises(SettingError, match=word):
        open_table(tmp_path / name, COLUMNS)
