"""The card: no figure without its baselines and interval, no claim beyond what was measured."""

import re

import pytest

from edge_models.bundle import shipped_bundle
from edge_models.card_statement import MEASURED, statement_of, text_of
from edge_models.golden import Agreement
from edge_models.manifest import FileEntry
from edge_models.session import Sessions
from edge_models.training.assemble import THRESHOLDS
from edge_models.training.calibration import Platt
from edge_models.training.card import Made, card, gate_chapter, main_figure
from edge_models.training.corpora import Clip, Sex
from edge_models.training.evaluate import Affect, Condition, Evaluation
from edge_models.training.gate import GateFigures
from edge_models.training.gate_figures import SNRS_DB, Counted, Outcome
from edge_models.training.gate_sounds import NoiseKind
from edge_models.training.metrics import Estimate

NO_SESSIONS = Sessions(format=1, error_rate=0.1, tasks=((), (), ()))


def a_figure(task: str, six: Estimate | None) -> Affect:
    some = Estimate(0.71, 0.62, 0.8)
    return Affect(
        task,
        Condition.CLIPS,
        "acted",
        "everyone",
        9,
        120,
        some,
        some,
        some,
        some,
        six,
        six,
        0.41,
        0.52,
    )


@pytest.fixture
def text() -> str:
    made = Made(
        name="affect-9",
        version="1.2.3",
        licence="CC BY-NC-SA 4.0",
        notice="Trained on acted (CC BY-NC-SA 4.0).",
        made_with=("torch 2",),
        thresholds=THRESHOLDS,
        seed=3,
        clips=[Clip("x", "acted", "CC BY-NC-SA 4.0", "p", "sad", Sex.FEMALE)],
        used=1,
        joined=2,
        files=tuple(
            FileEntry(name=name, bytes=9_876, sha256=f"{number:x}" * 64)
            for number, name in enumerate(MEASURED)
        ),
        agreement=Agreement(12, 0, 0, 1, 1, 0.0123),
    )
    figures = tuple(
        a_figure(task, six)
        for task, six in (
            ("sadness", None),
            ("fear", Estimate(0.9, 0.8, 1.0)),
            ("distress", Estimate(0.9, 0.8, 1.0)),
        )
    )
    return card(
        made,
        Evaluation(figures, Platt((1, 1, 1), (0, 0, 0)), NO_SESSIONS),
        ["### Gate\n\nF1 table", "# Agreement\n\n## F0\n"],
    )


def test_every_figure_stands_beside_its_interval_and_baselines(text: str) -> None:
    rows = [line for line in text.splitlines() if line.startswith("| acted | clips")]
    assert len(rows) == 3
    for row in rows:
        assert "0.71 (0.62 to 0.80)" in row and "0.41" in row and "0.52" in row
    assert "too few windows" in rows[0]


def test_the_card_says_what_it_is_not(text: str) -> None:
    assert "never a diagnosis" in text
    assert "affect figure" in text
    assert "NC-SA" in text
    assert "not scored" in text
    assert "acted holds no fear" in text and "acted holds no sadness" not in text


def test_its_first_lines_state_what_the_figures_belong_to(text: str) -> None:
    statement = statement_of(text.encode())
    assert statement is not None
    assert (statement.name, statement.version) == ("affect-9", "1.2.3")
    assert statement.files["body.onnx"] == f"{MEASURED.index('body.onnx')}" * 64
    assert set(statement.files) == set(MEASURED)
    told = {figure.of: figure.value for figure in statement.figures}
    assert told["balanced accuracy, fear, acted, one clip"] == "0.71 (0.62 to 0.80)"
    assert told["balanced accuracy, fear, acted, 6 clips"] == "0.90 (0.80 to 1.00)"
    assert told["balanced accuracy, sadness, acted, 6 clips"] == "too few windows"
    assert text_of(text).startswith("# affect-9 1.2.3\n")


def test_the_other_parts_tables_are_included(text: str) -> None:
    assert "### Gate\n\nF1 table" in text
    assert "### Agreement\n\n#### F0" in text
    assert "| body.onnx | 9,876 |" in text
    assert "0.0123" in text


def test_a_newly_trained_gate_gets_its_own_table() -> None:
    outcomes = tuple(
        Outcome(detector, NoiseKind.MUSIC, snr_db, Counted(hits, 10, 10, 80))
        for snr_db in SNRS_DB
        for detector, hits in (("gate", 90), ("webrtcvad mode 0", 40))
    )
    chapter = gate_chapter(GateFigures(outcomes, 1))
    assert chapter.startswith("### Speech gate")
    assert chapter.count("0.900 / 0.900 / **0.900**") == len(SNRS_DB)
    assert chapter.count("0.800 / 0.800 / **0.800**") == len(SNRS_DB)


def test_the_first_figure_is_distress_of_clips() -> None:
    evaluation = Evaluation(
        (a_figure("sadness", None), a_figure("distress", None)),
        Platt((1,) * 3, (0,) * 3),
        NO_SESSIONS,
    )
    assert main_figure(evaluation, "acted").task == "distress"
    only = Evaluation((a_figure("sadness", None),), evaluation.platt, NO_SESSIONS)
    assert main_figure(only, "acted").task == "sadness"


def test_the_shipped_card_has_figures_for_every_task_with_intervals() -> None:
    shipped = shipped_bundle().card
    for heading in ("Sadness", "Fear", "Distress", "Limits", "Licence", "Intended use"):
        assert re.search(rf"^##+ {heading}$", shipped, re.M)
    figures = re.findall(r"0\.\d\d \(0\.\d\d to [01]\.\d\d\)", shipped)
    assert len(figures) > 30
