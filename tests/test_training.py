"""Training: it learns what is there, nothing from noise, and one command makes a sound bundle."""

import csv
import shutil
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from edge_models.bundle import load_bundle, shipped_bundle, shipped_folder
from edge_models.training import encoder, train
from edge_models.training.assemble import licence_of, write_bundle
from edge_models.training.corpora import Clip, Sex
from edge_models.training.encoder import task_weights
from edge_models.training.evaluate import Affect, Condition, Evaluation, evaluated
from edge_models.training.int8_model import trained
from edge_models.training.streams import Windows
from tests.corpus_folders import emodb_folder
from tests.synthetic_windows import synthetic_windows

EPOCHS = 1


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluated(synthetic_windows(), seed=1, epochs=EPOCHS)


def a_figure(evaluation: Evaluation, task: str, condition: Condition) -> Affect:
    return next(
        figure
        for figure in evaluation.figures
        if (figure.task, figure.condition, figure.dataset, figure.group)
        == (task, condition, "one", "everyone")
    )


def test_what_is_there_is_learnt_on_people_never_met(evaluation: Evaluation) -> None:
    figure = a_figure(evaluation, "distress", Condition.CLIPS)
    assert figure.balanced_accuracy.value > 0.75
    assert figure.auroc.value > 0.85
    assert figure.shuffled is not None and abs(figure.shuffled - 0.5) < 0.2


def test_a_persons_own_baseline_helps_where_voices_differ(evaluation: Evaluation) -> None:
    own = a_figure(evaluation, "distress", Condition.CLIPS_IN_FILE_ORDER)
    none = a_figure(evaluation, "distress", Condition.STRANGERS)
    assert own.auroc.value > none.auroc.value + 0.02


def test_every_condition_and_group_is_reported_and_unknown_labels_are_not(
    evaluation: Evaluation,
) -> None:
    told = {(f.task, f.dataset, f.condition) for f in evaluation.figures}
    for condition in Condition:
        assert ("distress", "two", condition) in told
        assert ("fear", "two", condition) not in told
    groups = {f.group for f in evaluation.figures if f.condition is Condition.CLIPS}
    assert groups == {"everyone", "female", "male"}


def test_nothing_is_learnt_where_nothing_is() -> None:
    figures = evaluated(synthetic_windows(signal=0.0), seed=1, epochs=EPOCHS).figures
    aurocs = [f.auroc.value for f in figures if f.group == "everyone" and f.windows > 80]
    assert abs(np.mean(aurocs) - 0.5) < 0.06


def test_the_evaluation_never_trains_on_the_people_it_tests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[frozenset[str]] = []
    real = encoder.fitted

    def noted(windows: Windows, seed: int, **rest: int | None) -> encoder.Fitted:
        seen.append(frozenset(windows.person.tolist()))
        return real(windows, seed, **rest)

    monkeypatch.setattr("edge_models.training.int8_model.fitted", noted)
    windows = synthetic_windows(people=5, each=16)
    evaluated(windows, seed=1, epochs=1)
    everybody = frozenset(windows.person.tolist())
    assert everybody not in seen
    outer = [people for people in seen if len(people) == 4]
    inner = [people for people in seen if len(people) == 3]
    assert len(outer) == 10 and len(set(outer)) == 5  # once with true, once with shuffled labels
    assert len(inner) == 20


def test_one_seed_gives_one_model() -> None:
    windows = synthetic_windows(people=4, each=16)
    one, two = trained(windows, 5, epochs=2), trained(windows, 5, epochs=2)
    assert np.array_equal(one.body.hidden.weights, two.body.hidden.weights)
    assert np.array_equal(one.weights, two.weights)
    assert not np.array_equal(one.weights, trained(windows, 6, epochs=2).weights)


def test_classes_weigh_the_same_in_each_set_and_unknown_ones_nothing() -> None:
    windows = synthetic_windows()
    weights = task_weights(windows)
    for dataset in ("one", "two"):
        rows = windows.dataset == dataset
        truth = windows.truth[rows, 2]
        assert weights[rows, 2][truth].sum() == pytest.approx(weights[rows, 2][~truth].sum())
        assert weights[rows, 2].sum() == pytest.approx(rows.sum())
    assert (weights[windows.dataset == "two", 1] == 0).all()


@pytest.mark.parametrize(
    ("licences", "carried"),
    [
        (("CC BY-NC-SA 4.0", "CC BY 4.0"), "CC BY-NC-SA 4.0"),
        (("CC BY-NC 4.0",), "CC BY-NC 4.0"),
        (("CC BY-NC 4.0", "CC BY-NC-SA 4.0"), "CC BY-NC-SA 4.0"),
        (("CC BY 4.0", "public research release"), "As its training data"),
    ],
)
def test_a_model_carries_the_licence_of_its_data(licences: tuple[str, ...], carried: str) -> None:
    clips = [Clip("x", f"set{n}", name, "p", "sad", Sex.UNKNOWN) for n, name in enumerate(licences)]
    licence, notice = licence_of(clips)
    assert licence == carried
    assert all(name in notice for name in licences)


def test_a_bundle_is_sealed_again_after_a_file_was_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(shipped_folder(), folder)
    (folder / "CARD.md").write_text("Another card.\n", encoding="utf-8")
    assert write_bundle(folder).card == "Another card.\n"
    assert load_bundle(folder).manifest.name == shipped_bundle().manifest.name


@pytest.fixture(scope="module")
def few_recordings(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose manifest lists few clips of ten people, the sound being linked."""
    folder = tmp_path_factory.mktemp("few")
    (folder / "speech").symlink_to(recordings / "speech")
    with (recordings / "MANIFEST.csv").open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["dataset"] == "ravdess"]
    people = sorted({row["identity"] for row in rows})[:10]
    words = ("calm", "sad", "fearful", "happy")
    chosen = [row for row in rows if row["identity"] in people and row["label"] in words]
    chosen = [row for row in chosen if "intensity=02" in row["extra"] and "rep=01" in row["extra"]]
    with (folder / "MANIFEST.csv").open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, rows[0].keys())
        writer.writeheader()
        writer.writerows(chosen)
    return folder


def test_corpora_are_learned_from_beside_the_recordings_or_alone(
    few_recordings: Path, tmp_path: Path
) -> None:
    parser = ArgumentParser()
    train.add_arguments(parser)
    acted = f"emodb={emodb_folder(tmp_path / 'emodb')}"
    alone = parser.parse_args(["--corpus", acted, "--keep-front-end"])
    assert {clip.dataset for clip in train.spoken(alone, Console())[1]} == {"emodb"}
    words = ["--recordings", str(few_recordings), "--corpus", acted]
    folder, clips = train.spoken(parser.parse_args(words), Console())
    assert {clip.dataset for clip in clips} == {"emodb", "ravdess"}
    assert folder == few_recordings and all((folder / clip.path).is_file() for clip in clips)


@pytest.mark.slow
def test_one_command_makes_a_sound_bundle_from_recordings(
    few_recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "EPOCHS", 2)
    out = tmp_path / "new"
    parser = ArgumentParser()
    train.add_arguments(parser)
    words = ["--recordings", str(few_recordings), "--out", str(out), "--keep-front-end"]
    words += ["--cache", str(tmp_path / "cache")]
    arguments: Namespace = parser.parse_args(words)
    assert train.run(arguments) == 0
    bundle = load_bundle(out)
    assert bundle.check().tflite_steps <= 1.001
    assert "## Affect figures" in bundle.card and "ravdess" in bundle.card
    assert bundle.manifest.licence == "CC BY-NC-SA 4.0"
