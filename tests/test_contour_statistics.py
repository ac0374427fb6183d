"""Level 0: statistics of contours, found again by the functionals of the same sound."""

from pathlib import Path

import numpy as np

from edge_models.acoustic import DESCRIPTOR_NAMES
from edge_models.bundle import shipped_bundle
from edge_models.training.contour_statistics import contour_table, statistics
from edge_models.training.corpora import gathered
from edge_models.training.described import FrontEnd, described
from edge_models.training.streams import Kind

COLUMNS = len(DESCRIPTOR_NAMES)


def test_statistics_are_finite_for_speech_of_any_kind() -> None:
    rng = np.random.default_rng(1)
    spoken = rng.normal(1, 1, (200, COLUMNS)).astype(np.float32)
    unvoiced = np.where(np.arange(COLUMNS) < 10, spoken, 0).astype(np.float32)
    for rows in (spoken, unvoiced, spoken[:1], np.zeros((5, COLUMNS), np.float32)):
        told = statistics(rows)
        assert told.shape == (8 * COLUMNS + COLUMNS * (COLUMNS - 1) // 2,)
        assert np.isfinite(told).all()


def test_means_and_correlations_are_those_of_numpy() -> None:
    rows = np.random.default_rng(2).normal(5, 1, (300, COLUMNS)).astype(np.float32)
    told = statistics(rows)
    assert np.allclose(told[: 8 * COLUMNS : 8], rows.mean(axis=0), atol=1e-4)
    expected = np.corrcoef(rows.T)[np.triu_indices(COLUMNS, 1)]
    assert np.allclose(told[8 * COLUMNS :], expected, atol=1e-4)


def test_each_recording_is_found_again_and_joined_windows_are_not(recordings: Path) -> None:
    clips = [clip for clip in gathered(recordings).clips if clip.person == "rav01"][:8]
    front_end = FrontEnd.of_bundle(shipped_bundle())
    windows = described(recordings, clips, front_end, 7)
    table = contour_table(recordings, clips, front_end, windows)
    single = (windows.kind == Kind.CLIP) & (windows.take == 0)
    assert single.sum() == 8
    assert np.array_equal(np.isfinite(table).all(axis=1), single)
