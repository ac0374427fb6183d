"""A researcher's table of scores: read, or refused with the line that is wrong."""

from pathlib import Path

import numpy as np
import pytest

from edge_models.errors import ScoresError
from edge_models.training.score_table import Columns, read_scores


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "scores.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_scores_truths_people_and_groups_are_read(tmp_path: Path) -> None:
    path = table(tmp_path, "\ufeffscore,truth,person,sex\n0.5,1,a,f\n0.25,0,a,f\n1,TRUE,b,\n")
    read = read_scores(path, Columns(groups=("sex",)))
    assert read.log_odds[:2] == pytest.approx([0, np.log(1 / 3)])
    assert np.isfinite(read.log_odds).all()
    assert read.truth.tolist() == [True, False, True]
    assert read.people.tolist() == ["a", "a", "b"]
    assert read.groups["sex"].tolist() == ["f", "f", ""]
    assert read.skipped == 0


def test_without_people_each_row_is_one_and_empty_cells_are_counted(tmp_path: Path) -> None:
    path = table(tmp_path, "s,y\n-3,0\n,1\n2, \n4,1\n")
    read = read_scores(path, Columns(score="s", truth="y", log_odds=True))
    assert read.log_odds.tolist() == [-3, 4]
    assert len(set(read.people)) == 2 and read.skipped == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column 'score'; it has none"),
        ("score\n0.5\n", "no column 'truth'"),
        ("score,truth\nmuch,1\n", "Line 2: 'score' is not a probability"),
        ("score,truth\n0.1,0\n1.5,1\n", "Line 3: 'score' is not a probability"),
        ("score,truth\nnan,1\n", "Line 2"),
        ("score,truth\n0.5,2\n", "Line 2: the truth is not 0 or 1"),
        ("score,truth\n0.5,1\n0.2,1\n", "only people of one class"),
        ("score,truth\n,1\n", "only people of one class"),
        ("score,truth,person,sex\n0.5,1,a,f\n0.2,0,a,m\n", "two groups of 'sex'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    groups = ("sex",) if "sex" in text else ()
    with pytest.raises(ScoresError, match=said) as failure:
        read_scores(table(tmp_path, text), Columns(groups=groups))
    assert failure.value.remedy


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScoresError, match="can't be read"):
        read_scores(tmp_path / "absent.csv", Columns())
    (tmp_path / "picture.csv").write_bytes(b"\xff\xfe\x00\x89")
    with pytest.raises(ScoresError, match="can't be read"):
        read_scores(tmp_path / "picture.csv", Columns())
