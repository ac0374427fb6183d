"""Intervals that know what a person is."""

import numpy as np
import pytest

from edge_models.training.intervals import draws_of_people, over_people, rows_of_people
from edge_models.training.metrics import balanced_accuracy, estimated
from tests.speaking_people import speaking_people


def test_each_row_belongs_to_its_person() -> None:
    people = np.asarray(["b", "a", "b", "c", "a"])
    assert [own.tolist() for own in rows_of_people(people)] == [[1, 4], [0, 2], [3]]


def test_the_interval_is_the_one_that_a_single_metric_gets() -> None:
    rng = np.random.default_rng(1)
    logits, truth, people = speaking_people(rng, 12)
    scores = 1 / (1 + np.exp(-logits))
    single = estimated(balanced_accuracy, scores, truth, people, rng, 2_000)
    (several,) = over_people(
        lambda rows: np.asarray([balanced_accuracy(scores[rows], truth[rows])]), people, rng, 2_000
    )
    assert several.value == single.value
    assert several.low == pytest.approx(single.low, abs=0.01)
    assert several.high == pytest.approx(single.high, abs=0.01)


def test_the_interval_of_a_mean_of_people_covers_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        values = np.repeat(rng.normal(0, 1, 30), 4)
        people = np.repeat(np.arange(30).astype(str), 4)
        (mean,) = over_people(lambda rows, v=values: np.asarray([v[rows].mean()]), people, rng, 200)
        covered += mean.low <= 0 <= mean.high
    assert 0.86 <= covered / 120 <= 0.99  # 0.95 less what percentiles lose; false alarm < 1e-3


def test_no_stratum_vanishes_in_a_draw() -> None:
    people = np.asarray(["a", "a", "b", "c", "d", "e"])
    strata = np.asarray(["few", "few", "many", "many", "many", "many"])
    for rows in draws_of_people(people, np.random.default_rng(2), 50, strata):
        assert rows.tolist().count(0) == rows.tolist().count(1) == 1
        assert len(rows) == 6


def test_what_cannot_be_told_is_not_a_number() -> None:
    people = np.asarray(["a", "b"])
    (never,) = over_people(lambda rows: np.asarray([np.nan]), people, np.random.default_rng(3), 5)
    assert np.isnan([never.value, never.low, never.high]).all()
