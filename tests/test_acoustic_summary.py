"""The 88 functionals against openSMILE, and the rows that they may not look at."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import opensmile
import pytest

from edge_models.acoustic import DESCRIPTOR_NAMES, SUMMARY_NAMES, AcousticFrontEnd
from edge_models.recordings import read_recording
from edge_models.runner import OnnxGraph
from edge_models.training.export_frontend import export_frontend

BUNDLE = Path(__file__).resolve().parent.parent / "edge_models" / "bundles" / "affect-1"
NAMES = ("descriptors.onnx", "functionals.onnx")
Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def front_end() -> AcousticFrontEnd:
    graphs = [OnnxGraph((BUNDLE / name).read_bytes()) for name in NAMES]
    return AcousticFrontEnd(*graphs)


def contour(frames: int) -> Floats:
    """Descriptors of a made-up voice: F0 and loudness go up and down, three pauses."""
    time = np.arange(frames) * 0.01
    rows = np.ones((frames, len(DESCRIPTOR_NAMES)), np.float32)
    rows[:, 0] = 1.0 + 0.5 * np.sin(2 * np.pi * 3.0 * time)
    rows[:, 10] = (30 + 2 * np.sin(2 * np.pi * 1.5 * time)) * (np.sin(2 * np.pi * time) > -0.5)
    return rows


def test_functionals_agree_with_opensmile_on_its_own_descriptors(
    front_end: AcousticFrontEnd, recordings: Path
) -> None:
    levels = opensmile.FeatureLevel.LowLevelDescriptors, opensmile.FeatureLevel.Functionals
    smiles = [opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, level) for level in levels]
    ours, theirs = [], []
    for corpus, every in (("libri_multi", 12), ("ravdess", 130), ("emodb", 60)):
        for path in sorted((recordings / "speech" / corpus).rglob("*.flac"))[::every]:
            sound = np.concatenate([block.samples for block in read_recording(path)])
            rows = smiles[0].process_signal(sound, 16_000).to_numpy().astype(np.float32)
            ours.append(front_end.summary(rows, np.ones(len(rows), bool)))
            theirs.append(smiles[1].process_signal(sound, 16_000).to_numpy()[0])
    found = {
        name: np.corrcoef(np.array(ours)[:, i], np.array(theirs)[:, i])[0, 1]
        for i, name in enumerate(SUMMARY_NAMES)
        # A coefficient of variation means nothing where the mean crosses zero.
        if "slope500-1500" not in name and "mfcc" not in name.replace("amean", "")
    }
    assert {name: r for name, r in found.items() if not r > 0.9} == {}
    assert np.median(list(found.values())) > 0.99


def test_only_speech_rows_count(front_end: AcousticFrontEnd) -> None:
    rows, speech = contour(600), np.ones(600, bool)
    speech[200:350] = False
    disturbed = rows.copy()
    disturbed[200:350] = 99.0
    alone = np.delete(rows, slice(200, 350), axis=0)
    expected = front_end.summary(alone, np.ones(450, bool))
    np.testing.assert_allclose(front_end.summary(disturbed, speech), expected, rtol=1e-5)


def test_a_known_contour_has_its_known_statistics(front_end: AcousticFrontEnd) -> None:
    summary = dict(
        zip(SUMMARY_NAMES, front_end.summary(contour(1_000), np.ones(1_000, bool)), strict=True)
    )
    assert summary["loudness_sma3_amean"] == pytest.approx(1.0, abs=1e-3)
    assert summary["loudness_sma3_stddevNorm"] == pytest.approx(0.5 / 2**0.5, abs=1e-3)
    assert summary["loudnessPeaksPerSec"] == pytest.approx(3.0, abs=0.11)
    assert summary["loudness_sma3_meanRisingSlope"] == pytest.approx(6.0, rel=0.05)
    assert summary["VoicedSegmentsPerSec"] == pytest.approx(1.0, abs=0.11)
    assert summary["MeanVoicedSegmentLengthSec"] == pytest.approx(2 / 3, abs=0.08)


def test_no_speech_and_no_voice_give_zeros(front_end: AcousticFrontEnd) -> None:
    rows = contour(300)
    assert not front_end.summary(rows, np.zeros(300, bool)).any()
    rows[:, 10:] = 0.0
    silent = front_end.summary(rows, np.ones(300, bool))
    assert not silent[:10].any()
    assert silent[SUMMARY_NAMES.index("VoicedSegmentsPerSec")] == 0


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 7])
def test_the_shortest_windows_give_finite_numbers(front_end: AcousticFrontEnd, frames: int) -> None:
    assert np.isfinite(front_end.summary(contour(frames), np.ones(frames, bool))).all()


def test_the_shipped_graphs_come_from_this_source(tmp_path: Path) -> None:
    export_frontend(tmp_path)
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == (BUNDLE / name).read_bytes(), name


def test_graphs_are_small_and_use_standard_operators_only() -> None:
    for name in NAMES:
        assert (BUNDLE / name).stat().st_size < 350_000
        model = onnx.load(BUNDLE / name)
        assert all(entry.domain == "" and entry.version <= 18 for entry in model.opset_import)
        assert {node.domain for node in model.graph.node} == {""}
