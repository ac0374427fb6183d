"""Simulated streams: the device's own baseline, one fresh for each stream, never looking ahead."""

import numpy as np
import pytest

from edge_models.baseline import Baseline
from edge_models.training.streams import (
    Kind,
    Windows,
    file_order,
    live_order,
    passed,
    population_of,
    random_order,
)
from tests.synthetic_windows import synthetic_windows


@pytest.fixture(scope="module")
def windows() -> Windows:
    return synthetic_windows(people=4, each=12, seed=3)


def test_windows_pass_through_the_devices_own_baseline(windows: Windows) -> None:
    population = population_of(windows)
    stream = np.array([3, 1, 2])
    z = passed(windows, population, [stream]).z
    baseline = Baseline.empty(population)
    for row, place in zip(z, stream, strict=True):
        assert np.array_equal(row, baseline.normalised(windows.summaries[place]))
        baseline = baseline.including(windows.summaries[place])


def test_a_later_window_changes_no_earlier_one(windows: Windows) -> None:
    population = population_of(windows)
    short = passed(windows, population, [np.array([0, 1])]).z
    long = passed(windows, population, [np.array([0, 1, 5, 9])]).z
    assert np.array_equal(long[:2], short)


def test_streams_do_not_hear_each_other(windows: Windows) -> None:
    population = population_of(windows)
    alone = passed(windows, population, [np.array([4, 5])]).z
    after = passed(windows, population, [np.array([0, 1]), np.array([4, 5])]).z
    assert np.array_equal(after[2:], alone)


def test_forgetting_always_is_having_no_baseline(windows: Windows) -> None:
    population = population_of(windows)
    z = passed(windows, population, [np.arange(6)], forgetting=1.0).z
    fresh = Baseline.empty(population)
    assert np.array_equal(z, np.stack([fresh.normalised(row) for row in windows.summaries[:6]]))


def test_every_window_passes_once_in_live_order_and_people_are_not_mixed(windows: Windows) -> None:
    streams = list(live_order(windows, np.random.default_rng(1)))
    assert sorted(np.concatenate(streams)) == list(range(len(windows)))
    for stream in streams:
        for column in (windows.person, windows.kind, windows.take):
            assert len(set(column[stream].tolist())) <= 1


def test_only_windows_as_recorded_are_tested(windows: Windows) -> None:
    for streams in (
        file_order(windows, Kind.CLIP),
        random_order(windows, Kind.JOINED, np.random.default_rng(1)),
    ):
        assert (windows.take[np.concatenate(list(streams))] == 0).all()
