"""Simulated streams: the device's own baseline, one fresh for each stream, never looking ahead."""

import numpy as np
import pytest

from edge_models.alignment import Alignment, Moments
from edge_models.baseline import Baseline
from edge_models.training.streams import (
    FIRST_OTHER_SPEED,
    Kind,
    Windows,
    aligned,
    file_order,
    live_order,
    moments_of,
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


def test_a_run_is_counted_for_each_stream_and_each_forgetting(windows: Windows) -> None:
    population = population_of(windows)
    streams = [np.array([0, 1]), np.array([4, 5])]
    assert passed(windows, population, streams).run.tolist() == [0, 0, 1, 1]
    forgetful = passed(windows, population, streams, forgetting=1.0).run
    assert len(set(forgetful.tolist())) == 4


def test_embeddings_are_aligned_by_the_devices_own_code_and_runs_do_not_mix() -> None:
    rng = np.random.default_rng(0)
    rows, run = rng.normal(2, 3, (9, 3)).astype(np.float32), np.array([0] * 5 + [1] * 4)
    moments = Moments(np.zeros(3), np.eye(3))
    moved = aligned(rows, run, moments)
    own = Alignment.empty(moments)
    for row, answer in zip(rows[:5], moved[:5], strict=True):
        assert np.array_equal(own.aligned(row), answer)
        own = own.including(row)
    assert np.array_equal(moved[5:], aligned(rows[5:], run[5:], moments))
    assert np.array_equal(aligned(rows, run, None), rows)


def test_everybodys_moments_are_the_average_of_peoples_own() -> None:
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(-5, 1, (4000, 2)), rng.normal(5, 3, (4000, 2))])
    moments = moments_of(rows.astype(np.float32), np.repeat([0, 1], 4000))
    assert np.allclose(moments.mean, 0, atol=0.2)
    assert np.allclose(np.diag(moments.covariance), (1 + 9) / 2, rtol=0.1)


def test_another_speed_is_no_part_of_the_population(windows: Windows) -> None:
    fast = windows.at(windows.take == 0)
    fast.take[:] = FIRST_OTHER_SPEED
    fast.summaries[:] += 100
    both = Windows(*(np.concatenate([getattr(windows, n), getattr(fast, n)]) for n in names()))
    assert np.array_equal(population_of(both).median, population_of(windows).median)


def names() -> tuple[str, ...]:
    return tuple(Windows.__slots__)
