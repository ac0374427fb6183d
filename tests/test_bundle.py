"""The bundle: nothing is parsed before it is verified; the shipped one answers as in training."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_models import bundle as bundle_module
from edge_models.alignment import Moments, written
from edge_models.bundle import load_bundle, shipped_bundle, shipped_folder
from edge_models.errors import BundleError
from edge_models.golden import parse_golden
from edge_models.golden_sound import golden_window
from edge_models.manifest import (
    BODY,
    FRONT_END,
    LARGEST_BUNDLE_BYTES,
    MANIFEST_NAME,
    MOMENTS,
    NEEDED,
    POPULATION,
)
from tests.faulty_bundles import resealed, restated, without_moments

Break = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped bundle that a test may damage."""
    copy = tmp_path / "bundle"
    shutil.copytree(shipped_folder(), copy)
    return copy


def test_the_shipped_bundle_is_small_and_whole() -> None:
    total = sum(path.stat().st_size for path in shipped_folder().iterdir())
    assert total < 1_000_000
    assert {path.name for path in shipped_folder().iterdir()} >= NEEDED | {MANIFEST_NAME}
    assert shipped_bundle().name == "affect-1"


def test_the_shipped_bundle_answers_as_in_training_in_both_runtimes() -> None:
    agreement = shipped_bundle().check()
    assert agreement.vectors >= 8
    assert agreement.sound_spreads < 0.1
    assert agreement.onnx_steps < 1e-3
    assert agreement.tflite_steps <= 1 + 1e-3
    assert agreement.between_scores < 0.02


def test_the_shipped_bundle_says_that_it_is_non_commercial_and_no_diagnosis() -> None:
    bundle = shipped_bundle()
    assert "NC" in bundle.manifest.licence and "non-commercial" in bundle.manifest.notice
    assert "never a diagnosis" in bundle.card
    assert "ravdess" in bundle.manifest.notice


@pytest.mark.parametrize("name", sorted(NEEDED | {MANIFEST_NAME}))
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=name) as refused:
        load_bundle(folder)
    assert refused.value.remedy


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_an_altered_file_is_named(folder: Path, name: str) -> None:
    raw = bytearray((folder / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / name).write_bytes(raw)
    with pytest.raises(BundleError, match=name):
        load_bundle(folder)


def test_a_longer_file_is_named_and_not_read_to_its_end(folder: Path) -> None:
    with (folder / "head.json").open("ab") as file:
        file.truncate(1 << 34)  # sparse: sixteen gigabytes would be felt
    with pytest.raises(BundleError, match=r"head\.json"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("named", "add"),
    [
        ("extra.bin", lambda folder: (folder / "extra.bin").write_bytes(b"x")),
        (".hidden", lambda folder: (folder / ".hidden").write_bytes(b"x")),
        ("sub", lambda folder: (folder / "sub").mkdir()),
    ],
)
def test_a_file_that_the_manifest_does_not_list_is_named(
    folder: Path, named: str, add: Break
) -> None:
    add(folder)
    with pytest.raises(BundleError, match=named):
        load_bundle(folder)


def test_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "head.json"
    (folder / "head.json").rename(elsewhere)
    (folder / "head.json").symlink_to(elsewhere)
    with pytest.raises(BundleError, match="plain file"):
        load_bundle(folder)


def test_a_pipe_in_place_of_a_file_does_not_hang(folder: Path) -> None:
    (folder / "head.json").unlink()
    os.mkfifo(folder / "head.json")
    with pytest.raises(BundleError, match="plain file"):
        load_bundle(folder)


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=MANIFEST_NAME):
        load_bundle(tmp_path / "nowhere")


def test_no_graph_is_built_from_an_altered_bundle(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[int] = []
    monkeypatch.setattr(bundle_module, "OnnxGraph", lambda raw: built.append(len(raw)))
    monkeypatch.setattr(bundle_module, "parse_head", lambda raw: built.append(len(raw)))
    (folder / "policy.json").write_bytes(b"{}")
    with pytest.raises(BundleError):
        load_bundle(folder)
    assert built == []


@pytest.mark.parametrize("name", ["body.onnx", "body.tflite"])
@pytest.mark.parametrize("raw", [b"x", b"\0" * 4_000, b"\x08\x08TFL3" * 300])
def test_a_graph_that_is_none_is_refused(folder: Path, name: str, raw: bytes) -> None:
    resealed(folder, name, raw)
    with pytest.raises(BundleError, match=name):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["head.json", "population.json", "moments.json"])
@pytest.mark.parametrize("raw", [b"{}", b"[]", b"\xff", b"null", b" " * 70_000])
def test_a_sealed_file_of_the_wrong_form_is_refused(folder: Path, name: str, raw: bytes) -> None:
    resealed(folder, name, raw)
    with pytest.raises(BundleError, match=name):
        load_bundle(folder)


def test_a_bundle_larger_than_allowed_is_refused(folder: Path) -> None:
    resealed(folder, "CARD.md", b"x" * (LARGEST_BUNDLE_BYTES - 10))
    with pytest.raises(BundleError, match="larger"):
        load_bundle(folder)


def test_a_bundle_from_before_there_were_moments_loads_and_lies_where_it_did(folder: Path) -> None:
    now = load_bundle(folder)
    without_moments(folder)
    before = load_bundle(folder)
    assert before.moments is None and now.moments is not None
    digest = before.manifest.digest_of(*FRONT_END, POPULATION, *BODY)
    assert before.space == f"affect-1-{digest}" != now.space
    assert before.hearing == now.hearing
    before.check()


def test_other_moments_are_another_space_for_the_same_hearing(folder: Path) -> None:
    before = load_bundle(folder)
    assert before.moments is not None
    other = Moments(before.moments.mean + 0.5, before.moments.covariance)
    resealed(folder, MOMENTS, written(other))
    with pytest.raises(BundleError, match=r"card speaks of another 'moments\.json'"):
        load_bundle(folder)
    restated(folder)
    after = load_bundle(folder)
    assert after.hearing == before.hearing and after.space != before.space
    assert after.moments is not None and np.array_equal(after.moments.mean, other.mean)


def test_moments_must_be_of_the_heads_size(folder: Path) -> None:
    size = shipped_bundle().head.embedding_size + 1
    resealed(folder, MOMENTS, written(Moments(np.zeros(size), np.eye(size))))
    restated(folder)
    with pytest.raises(BundleError, match=r"moments\.json"):
        load_bundle(folder)


def test_golden_vectors_notice_another_head(folder: Path) -> None:
    head = json.loads((folder / "head.json").read_bytes())
    head["biases"][0] += 0.01
    resealed(folder, "head.json", json.dumps(head).encode())
    restated(folder)
    with pytest.raises(BundleError, match="golden scores"):
        load_bundle(folder)


def test_golden_vectors_notice_another_body(folder: Path) -> None:
    golden = json.loads((folder / "golden.json").read_bytes())
    golden["vectors"][0]["embedding"][0] += 3 * golden["step"]
    resealed(folder, "golden.json", json.dumps(golden).encode())
    with pytest.raises(BundleError, match="golden scores"):
        load_bundle(folder)


def test_the_golden_sound_notices_another_front_end(folder: Path) -> None:
    golden = json.loads((folder / "golden.json").read_bytes())
    loudness = float(shipped_bundle().population.spread[10])
    golden["sound"][10] += 0.5 * loudness
    resealed(folder, "golden.json", json.dumps(golden).encode())
    with pytest.raises(BundleError, match="golden sound"):
        load_bundle(folder).check()


def test_the_golden_sound_is_the_same_everywhere_and_within_range() -> None:
    one, two = golden_window(), golden_window()
    assert np.array_equal(one.sound.samples, two.sound.samples)
    assert 0.1 < np.abs(one.sound.samples).max() < 1


def test_golden_vectors_that_do_not_fit_are_refused() -> None:
    bundle = shipped_bundle()
    raw = (
        b'{"format":1,"step":0.1,"allowed_steps":1,"sound":[1],"allowed_spreads":0.1,"vectors":[]}'
    )
    fitting = raw.replace(b"[]", b'[{"summary":[1],"embedding":[1],"scores":[0.5,0.5,0.5]}]')
    for faulty in (raw, fitting, b"", b"x" * 300_000):
        with pytest.raises(BundleError):
            parse_golden(faulty, bundle.population, bundle.head)


def test_the_runtimes_agree_on_windows_of_any_kind() -> None:
    bundle = shipped_bundle()
    onnx, tflite = bundle.graph("body", "onnx"), bundle.graph("body", "tflite")
    rng = np.random.default_rng(11)
    z = np.clip(rng.normal(0, 1.5, (300, len(bundle.population))), -4, 4).astype(np.float32)
    answers = [
        np.stack([graph.run({"z": row[None]})[0][0] for row in z]) for graph in (onnx, tflite)
    ]
    step = np.unique(np.round(np.diff(np.unique(answers[0])), 7))[0]
    assert np.abs(answers[0] - answers[1]).max() <= 1.01 * step
    scores = [[bundle.head.score(row) for row in answer] for answer in answers]
    apart = [
        max(abs(a.sadness - b.sadness), abs(a.fear - b.fear), abs(a.distress - b.distress))
        for a, b in zip(*scores, strict=True)
    ]
    assert max(apart) < 0.05


def test_the_tflite_runtime_is_loaded_only_when_asked_for() -> None:
    code = (
        "import sys; from edge_models.bundle import shipped_bundle;"
        "from edge_models.classifier import Classifier; Classifier(shipped_bundle());"
        "sys.exit('tflite_runtime' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
