"""A seed is a whole number that generators can start from, or one sentence says so."""

from argparse import ArgumentParser

import pytest

from edge_models.training import private, thresholds_command, train
from edge_models.training.coevaluation import command as evaluate
from edge_models.training.cohort import command as cohort
from edge_models.training.synthesis import synthesise


@pytest.mark.parametrize("command", [train, evaluate, cohort, synthesise, private])
@pytest.mark.parametrize("words", ["-1", "4294967296", "x", "1.5"])
def test_what_is_no_seed_is_refused_before_anything_is_heard(
    command: object, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--out", "here", f"--seed={words}"])
    assert "whole number from 0 to" in capsys.readouterr().err


def test_a_seed_is_taken() -> None:
    parser = ArgumentParser()
    thresholds_command.add_arguments(parser)
    assert parser.parse_args(["--scores", "x.csv", "--seed", "12"]).seed == 12


@pytest.mark.parametrize("words", ["-1", "0", "nan", "inf", "x"])
def test_what_is_no_epsilon_is_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = ArgumentParser()
    synthesise.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--out", "here", f"--epsilon={words}"])
    assert "no number above 0" in capsys.readouterr().err
