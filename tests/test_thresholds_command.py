"""`sottovoce thresholds`: a table of scores in, a readable answer out."""

import json
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pytest

from edge_models.errors import ScoresError, TooFewPeople
from edge_models.head import sigmoid
from edge_models.training import thresholds_command
from edge_models.training.score_table import Columns, read_scores
from edge_models.training.thresholds import Aim
from edge_models.training.thresholds_report import Wish, thresholds_report


def run(*words: str) -> int:
    parser = ArgumentParser()
    thresholds_command.add_arguments(parser)
    return thresholds_command.run(parser.parse_args(words))


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """160 people; scores say twice as much as they know, and women are heard a little worse."""
    rng = np.random.default_rng(1)
    path = tmp_path / "scores.csv"
    lines = ["score,truth,sex"]
    for person in range(160):
        so = person % 2
        log_odds = 2 * (rng.normal(0, 1.6) + (1.28 if so else -1.28))
        lines.append(f"{sigmoid(np.asarray(log_odds)):.6f},{so},{'f' if person % 4 < 2 else 'm'}")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_it_tells_thresholds_values_benefit_abstention_and_gaps(
    scores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--scores", str(scores), "--sensitivity", "0.8", "--by", "sex") == 0
    told = capsys.readouterr().out
    for words in (
        "160 scores of 160 people, 80 of them so",
        "calibrated on other people",
        "sensitivity ≥ 0.8",
        "other half",
        "PPV",
        "Net benefit",
        "told no of those that are so",
        "balanced accuracy",
    ):
        assert words in told
    assert "diagnos" not in told


def test_json_holds_the_same_and_no_number_that_json_has_not(
    scores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--scores", str(scores), "--prevalence", "0.1", "--ppv", "0.97", "--json") == 0
    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert told["people"] == 160
    assert [one["wish"]["aim"] for one in told["thresholds"]] == ["youden", "ppv"]
    assert told["calibrated"]["error"]["value"] < told["as_given"]["error"]["value"]
    assert 0 < told["thresholds"][0]["here"]["ppv"]["value"] < 1


def test_one_seed_gives_one_answer(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = []
    for _ in range(2):
        run("--scores", str(scores), "--prevalence", "0.1", "--json", "--seed", "3")
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]


def test_an_error_rate_beyond_so_few_people_is_told(
    scores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--scores", str(scores), "--prevalence", "0.1", "--error-rate", "0.01")
    assert "99 of each class are needed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ("--prevalence", "0"),
        ("--prevalence", "10"),
        ("--sensitivity", "80"),
        ("--error-rate", "0.5"),
        ("--by", "age"),
    ],
)
def test_an_option_out_of_range_is_explained(scores: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(ScoresError):
        run("--scores", str(scores), *words)


def test_two_people_are_too_few(tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    path.write_text("score,truth\n0.5,1\n0.2,0\n", encoding="utf-8")
    with pytest.raises(TooFewPeople):
        run("--scores", str(path))


def test_real_clinical_scores_are_calibrated_and_thresholds_carry_over(recordings: Path) -> None:
    columns = Columns("whisper_all_score", "target_label", groups=("gender", "age_band"))
    table = read_scores(recordings / "tables" / "depspeech_internal_dataset.csv", columns)
    wish = Wish(Aim.SENSITIVITY, 0.8)
    report = thresholds_report(table, (wish,), (0.1,), np.random.default_rng(7), resamples=60)
    assert report.people == 333
    assert report.calibrated.error.value < report.as_given.error.value
    assert report.calibrated.log_loss.value < report.as_given.log_loss.value
    elsewhere = report.thresholds[0].elsewhere
    assert elsewhere is not None and elsewhere.sensitivity.value == pytest.approx(0.8, abs=0.05)
    assert report.unanswered.missed.value < 0.15 and report.unanswered.false_alarms.value < 0.15
    too_few = {group.name for group in report.groups[1].groups if group.figures is None}
    assert too_few == {"<18"}
