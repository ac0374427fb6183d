"""Faces in `sottovoce evaluate`: told on the page like voices, or left out in a sentence."""

import argparse
import json
import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from edge_models.errors import RecordingError
from edge_models.training.coevaluation import command
from edge_models.training.coevaluation.face_rows import face_chapters
from edge_models.training.coevaluation.markdown import card_chapter, markdown
from edge_models.training.coevaluation.page import page
from edge_models.training.coevaluation.schema import Evaluation, parse_evaluation
from edge_models.training.coevaluation.story import lead
from edge_models.training.coevaluation.with_faces import looked
from edge_models.training.face_levels import Level
from edge_models.training.face_pairs import PAIR_LEVELS
from tests.made_faces import made_faces

HEAD = "path,dataset,licence,identity,label,extra\n"
TITLES = ("Faces", "Voice and face together (simulated pairs)")


def an_evaluation(*, with_faces: bool = True) -> Evaluation:
    return Evaluation(
        format=1,
        subject="models trained anew",
        seed=7,
        quick=False,
        passes=1,
        permutations=1,
        panel=("LDA",),
        corpora=(),
        versions=("numpy 1",),
        seconds=60.0,
        settings=(),
        limits=("Few people.",),
        faces=made_faces() if with_faces else None,
    )


def test_the_json_is_read_back_with_faces_and_without_the_field() -> None:
    evaluation = an_evaluation()
    raw = evaluation.model_dump_json().encode()
    assert parse_evaluation(raw) == evaluation
    before = json.loads(raw)
    del before["faces"]
    assert parse_evaluation(json.dumps(before).encode()) == an_evaluation(with_faces=False)


def test_the_report_has_both_chapters_and_every_level() -> None:
    text = markdown(an_evaluation())
    faces, pairs = (text.split(f"\n## {title}\n")[1].split("\n## ")[0] for title in TITLES)
    assert all(f"| {level} | 0.61" in faces for level in Level)
    assert all(f"| {level} | 0.61" in pairs for level in PAIR_LEVELS)
    assert "simulated" in pairs and "No facial body is shipped" in faces
    for line, below in zip(text.splitlines(), text.splitlines()[1:], strict=False):
        if line.startswith("|") and below.startswith("|"):
            assert line.count("|") == below.count("|")


def test_the_page_shows_one_table_of_each_and_folds_the_rest() -> None:
    html = page(an_evaluation())
    for title in TITLES:
        section = html.split(f"<h2>{title}</h2>")[1].split("</section>")[0]
        above, below = section.split("<details>")
        assert above.count("<table>") == 1 and below.count("<table>") >= 2
        assert "utility beside privacy" in above
    assert "<em>simulated pairs</em>" in html and not re.search(r"(src|href|url\()", html)


def test_an_interval_is_never_broken_and_the_first_level_has_no_reduction() -> None:
    html = page(an_evaluation())
    cells = re.findall(r"<td[^>]*>(.*?)</td>", html)
    assert "0.61 (0.51&nbsp;to&nbsp;0.71)" in cells
    assert not any(" to " in cell for cell in cells)
    for chapter in face_chapters(made_faces()):
        (sheet,) = chapter.sheets
        first, *others = [row[sheet.columns.index(reduced(sheet.columns))] for row in sheet.rows]
        assert first == "–" and set(others) == {"0.88 (0.78 to 0.98)"}


def reduced(columns: tuple[str, ...]) -> str:
    return next(name for name in columns if name.split(": ")[-1] == "R")


def test_the_lead_tells_faces_and_pairs_and_the_card_is_of_voices_alone() -> None:
    faces, pairs = lead(an_evaluation())
    assert "sad is told with balanced accuracy 0.61" in faces and "R = 0.88" in faces
    assert "20 simulated pairs" in pairs and "balanced accuracy 0.84" in pairs
    assert "photographs" not in card_chapter(an_evaluation())


def test_without_faces_nothing_is_said_of_them() -> None:
    evaluation = an_evaluation(with_faces=False)
    assert lead(evaluation) == ()
    for told in (markdown(evaluation), page(evaluation)):
        assert not any(title in told for title in TITLES)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (HEAD + "speech/a.wav,ravdess,CC,p,sad,\n", "no photographs of faces are listed"),
        (HEAD + "faces/a.png,cmu faces,CC,p,sad,\n", "none of 1 photographs and clips shows"),
    ],
)
def test_recordings_without_usable_faces_are_left_out_in_a_sentence(
    tmp_path: Path, manifest: str, said: str
) -> None:
    (tmp_path / "MANIFEST.csv").write_text(manifest)
    shown = StringIO()
    sentence = looked(tmp_path, tmp_path / "cache", Console(file=shown, width=400))
    assert isinstance(sentence, str) and said in sentence
    assert sentence in shown.getvalue() and sentence.startswith("Faces were asked for")


def test_corpora_alone_hold_no_faces() -> None:
    sentence = looked(None, None, Console(file=StringIO()))
    assert isinstance(sentence, str) and "--recordings" in sentence


def test_a_bundle_is_not_judged_by_faces(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    out = tmp_path / "out"
    given = ["--faces", "--bundle", str(tmp_path), "--out", str(out)]
    with pytest.raises(RecordingError, match="no facial body"):
        command.run(parser.parse_args(given))
    assert not out.exists()
