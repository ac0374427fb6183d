"""The private curve: who is public, private and tested; cells, figures, resuming and the page."""

import argparse
import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from edge_models.bundle import shipped_bundle
from edge_models.errors import ContractError, Explained, RecordingError
from edge_models.head import sigmoid
from edge_models.training import private, private_curve, private_ground
from edge_models.training.int8_model import Int8Model
from edge_models.training.metrics import balanced_accuracy, constant_macro_f1, macro_f1
from edge_models.training.private_accounting import Schedule, spent
from edge_models.training.private_book import CELLS, Book
from edge_models.training.private_cohort import Labels, cohort_of
from edge_models.training.private_curve import RECIPES, Cell, Kind, Scope, Terms, Tried, counted
from edge_models.training.private_figures import enough, figures_of, measured
from edge_models.training.private_ground import TURNS, Ground, ground_of, whole_speakers
from edge_models.training.private_source import SeededSource
from edge_models.training.streams import Windows
from tests.synthetic_windows import synthetic_windows

TERMS = Terms(delta=1e-6, seed=7)
WINDOWS = synthetic_windows(people=9, each=160, signal=2.5)
FEW = synthetic_windows(people=9, each=24)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def ground() -> Ground:
    return ground_of(WINDOWS, 0, seed=7)


def a_cell(
    kind: Kind = Kind.PRIVATE, epsilon: float = 2.0, scope: Scope = Scope.HEAD, repeat: int = 0
) -> Cell:
    return Cell(scope, 100, kind, epsilon if kind is Kind.PRIVATE else 0.0, repeat)


def accuracy(cell: Cell, ground: Ground, terms: Terms = TERMS) -> float:
    done = private_curve.tried(cell, ground, terms, SeededSource(3))
    return float(measured(done.counts.sum(axis=0))[2, 1, 0])  # distress, sessions


def test_each_speaker_is_tested_in_one_turn_and_never_with_those_who_train(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    public: list[set[str]] = []
    real = private_ground.trained

    def noted(windows: Windows, seed: int) -> Int8Model:
        public.append(set(windows.person.tolist()))
        return real(windows, seed, 1)

    monkeypatch.setattr(private_ground, "trained", noted)
    grounds = [ground_of(FEW, turn, seed=7) for turn in range(TURNS)]
    tested = [set(ground.tested.speaker.tolist()) for ground in grounds]
    private_ones = [set(ground.private.speaker.tolist()) for ground in grounds]
    assert set.union(*tested) == set(whole_speakers(FEW).tolist())
    assert sum(map(len, tested)) == len(set.union(*tested))
    for three in zip(public, private_ones, tested, strict=True):
        assert all(three)
        assert sum(map(len, three)) == len(set.union(*three))


def test_a_private_head_and_body_learn_what_is_there_and_nothing_from_shuffled_labels(
    ground: Ground,
) -> None:
    for scope in Scope:
        assert accuracy(a_cell(Kind.OPEN, scope=scope), ground) > 0.85
        assert accuracy(a_cell(epsilon=8.0, scope=scope), ground) > 0.75
    # Three numbers that tell all: a head of shuffled labels is right or wrong in nearly all of it.
    shuffled = [accuracy(a_cell(Kind.SHUFFLED, repeat=turn), ground) for turn in range(16)]
    assert abs(np.mean(shuffled) - 0.5) < 0.25
    assert min(shuffled) < 0.5 < max(shuffled)
    by_answers = replace(TERMS, labels=Labels.ANSWERS)
    assert accuracy(a_cell(Kind.OPEN), ground, by_answers) > 0.6


def test_a_cell_is_charged_what_it_was_asked_for(ground: Ground) -> None:
    told = private_curve.tried(a_cell(epsilon=2.0), ground, TERMS, SeededSource(3)).spent
    assert told is not None
    assert 1.98 < told.epsilon <= 2.0 < told.epsilon_rdp
    assert told.delta == TERMS.delta
    assert told.schedule == RECIPES[Labels.ACTED][Scope.HEAD].schedule
    assert private_curve.tried(a_cell(Kind.OPEN), ground, TERMS, SeededSource(3)).spent is None


def test_simulated_people_are_so_many_and_keep_to_voices_of_the_private_group(
    ground: Ground,
) -> None:
    rng = np.random.default_rng(1)
    marks = np.arange(len(ground.private.z), dtype=np.float32)[:, None]
    people = cohort_of(ground.private, marks, 200, rng)
    assert len(people) == 200
    for one in range(len(people)):
        own = people.rows[people.first[one] : people.first[one] + people.count[one]]
        assert len(np.unique(ground.private.speaker[own])) == 1


def test_answers_label_all_windows_of_a_questionnaire_alike(ground: Ground) -> None:
    rng = np.random.default_rng(1)
    people = cohort_of(ground.private, ground.private.z, 300, rng, Labels.ANSWERS)
    assert set(np.unique(people.truth).tolist()) == {0.0, 1.0}
    low, worried, either = people.truth.T.astype(bool)
    assert np.array_equal(either, low | worried)
    assert low.mean() == pytest.approx(0.108, abs=0.05)
    kinds = [
        len(np.unique(people.truth[people.rows[start : start + count]], axis=0))
        for start, count in zip(people.first, people.count, strict=True)
    ]
    assert max(kinds) <= 2  # two questionnaires
    assert np.mean(kinds) < 1.3


def test_counts_give_the_metrics_of_scores(ground: Ground) -> None:
    rng = np.random.default_rng(2)
    heard = ground.tested
    logits = rng.normal(size=(len(heard.speaker), 3)) + heard.truth
    figures = measured(counted(logits, heard, 1).sum(axis=0))
    for task in range(3):
        scores, truth = sigmoid(logits[:, task]), heard.truth[:, task]
        assert figures[task, 0, 0] == pytest.approx(balanced_accuracy(scores, truth))
        assert figures[task, 0, 1] == pytest.approx(macro_f1(scores, truth))


def some_tried(hits: int, speakers: int = 6) -> Tried:
    """Each speaker with 100 positives and 300 others, `hits` of them right in a hundred."""
    row = [hits, 100 - hits, 3 * (100 - hits), 3 * hits]
    counts = np.broadcast_to(np.asarray(row, np.int64), (speakers, 3, 2, 4))
    return Tried(counts, spent(Schedule(10, 0.5), 5.0, 1e-6), 51)


def test_figures_stand_beside_a_constant_answer_and_intervals_are_over_people() -> None:
    even = figures_of({a_cell(): some_tried(80)}, seed=1)
    assert len(even) == 3 * 2 * 2
    (figure,) = (f for f in even if (f.task, f.level, f.metric) == ("fear", "window", "macro-F1"))
    truth = np.repeat([True, False], [100, 300])
    assert figure.constant == pytest.approx(constant_macro_f1(truth))
    assert figure.estimate.low == figure.estimate.high  # speakers don't differ
    mixed = np.concatenate([some_tried(60).counts[:3], some_tried(100).counts[:3]])
    (wide, *_) = figures_of({a_cell(): replace(some_tried(0), counts=mixed)}, seed=1)
    assert wide.estimate.value == pytest.approx(0.8)
    assert wide.estimate.low < 0.7 and wide.estimate.high > 0.9


def worked(accuracies: dict[float, int]) -> float | None:
    cells = {a_cell(epsilon=epsilon): some_tried(hits) for epsilon, hits in accuracies.items()}
    cells[a_cell(Kind.OPEN)] = some_tried(90)
    return enough(figures_of(cells, seed=1))[("head", 100)]


def test_the_epsilon_that_works_is_the_least_from_which_all_larger_ones_do() -> None:
    assert worked({1.0: 86, 2.0: 88, 4.0: 90}) == 1.0
    assert worked({1.0: 60, 2.0: 88, 4.0: 90}) == 2.0
    assert worked({1.0: 88, 2.0: 60, 4.0: 90}) == 4.0
    assert worked({1.0: 88, 2.0: 88, 4.0: 60}) is None


def test_finished_cells_are_found_again_and_torn_or_foreign_ones_are_not(tmp_path: Path) -> None:
    first, second = a_cell(), a_cell(Kind.OPEN)
    book = Book(tmp_path, "this setting")
    book.keep(first, some_tried(70))
    book.keep(second, replace(some_tried(90), spent=None))
    path = tmp_path / CELLS
    path.write_text(path.read_text("utf-8")[:-40], "utf-8")
    again = Book(tmp_path, "this setting")
    assert list(again.cells) == [first]
    assert np.array_equal(again.cells[first].counts, some_tried(70).counts)
    assert again.cells[first].spent == some_tried(70).spent
    again.keep(second, some_tried(80))
    assert set(Book(tmp_path, "this setting").cells) == {first, second}
    assert not Book(tmp_path, "another").cells


def test_a_folder_that_can_not_be_used_is_explained(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", "utf-8")
    with pytest.raises(RecordingError, match="--out"):
        Book(tmp_path / "taken", "a setting")


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    private.add_arguments(parser)
    return parser.parse_args(words)


def drawn(*words: str, windows: Windows = WINDOWS) -> None:
    arguments = parsed(*words)
    console = Console(file=io.StringIO(), width=80)
    private.draw(windows, private.asked(arguments), arguments, console)


@pytest.fixture
def small(tmp_path: Path) -> tuple[str, ...]:
    people = ("--people", "20", "--train", "head", "narrow", "--repeats", "1")
    return (*people, "--epsilon", "2", "inf", "--seed", "1", "--out", str(tmp_path))


def test_an_interrupted_curve_goes_on_and_is_written_when_whole(
    small: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Cell] = []
    real = private_curve.tried

    def stopped(cell: Cell, *rest: object) -> Tried:
        if len(trained) == 4:
            raise KeyboardInterrupt
        trained.append(cell)
        return real(cell, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(private, "tried", stopped)
    with pytest.raises(KeyboardInterrupt):
        drawn(*small)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CELLS]
    first = trained.copy()
    trained.clear()
    drawn(*small)
    assert len(first) == 4 and len(trained) == 2 and not set(first) & set(trained)

    told = json.loads((tmp_path / "curve.json").read_text("utf-8"))
    assert told["unit"] == "person" and told["made"]["is_simulated_noise"]
    page = (tmp_path / "curve.md").read_text("utf-8")
    for word in ("simulated participant", "seed 1", "dp-accounting", "Nothing is claimed", "ε = 2"):
        assert word in page
    with (tmp_path / "curve.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == (1 + 2 * 3) * 12
    bounded = [row for row in rows if row["kind"] == "private"]
    assert all(1.9 < float(row["epsilon_pld"]) <= 2.0 for row in bounded)
    assert not any(row["epsilon_pld"] for row in rows if row["kind"] != "private")


def test_the_shipped_body_has_heard_everybody_and_the_page_says_so(
    small: tuple[str, ...], tmp_path: Path
) -> None:
    wide = synthetic_windows(people=9, each=160, functionals=len(shipped_bundle().population))
    drawn(*small[:-4], "--body", "shipped", "--out", str(tmp_path), windows=wide)
    page = (tmp_path / "curve.md").read_text("utf-8")
    assert "too good" in page
    assert "cryptographic generator" in page and "Nothing is claimed" not in page


@pytest.mark.parametrize(
    "words",
    [
        ("--people", "19"),
        ("--people", "100", "5001"),
        ("--epsilon", "0"),
        ("--epsilon", "nan"),
        ("--epsilon", "-1"),
        ("--delta", "0.5"),
        ("--repeats", "0"),
    ],
)
def test_numbers_out_of_bounds_are_explained(words: tuple[str, ...]) -> None:
    with pytest.raises(Explained) as told:
        private.asked(parsed(*words))
    assert "--" in told.value.remedy


def test_too_few_speakers_are_explained() -> None:
    with pytest.raises(RecordingError, match="six speakers"):
        whole_speakers(synthetic_windows(people=6))


def test_recordings_too_few_for_sessions_are_explained() -> None:
    little = ground_of(FEW, 0, seed=7)
    with pytest.raises(RecordingError, match="six windows"):
        counted(np.zeros((len(little.tested.speaker), 3)), little.tested, 1)


def test_a_cell_without_a_bound_has_no_epsilon() -> None:
    with pytest.raises(ContractError):
        Cell(Scope.HEAD, 100, Kind.OPEN, 1.0, 0)
    with pytest.raises(ContractError):
        Cell(Scope.HEAD, 100, Kind.PRIVATE, 0.0, 0)
