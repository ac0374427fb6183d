"""The co-evaluation end to end on made-up people, and how it is told."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_models.baseline import Population
from edge_models.bundle import shipped_bundle
from edge_models.errors import RecordingError
from edge_models.training.coevaluation import affect, subjects
from edge_models.training.coevaluation.cells import Cells
from edge_models.training.coevaluation.command import write
from edge_models.training.coevaluation.judge import Effort, evaluated
from edge_models.training.coevaluation.markdown import card_chapter, markdown
from edge_models.training.coevaluation.page import page
from edge_models.training.coevaluation.plans import (
    WITHIN,
    Plan,
    folds_of_people,
    galleries,
    plans_of,
)
from edge_models.training.coevaluation.schema import Evaluation, parse_evaluation
from edge_models.training.coevaluation.story import aims, headline
from edge_models.training.coevaluation.subjects import GivenBundle, TrainedAnew
from edge_models.training.coevaluation.tested import carried_out, level_names
from edge_models.training.coevaluation.tested import tested_again as carried_out_before
from edge_models.training.identity import PANEL, SIX
from edge_models.training.levels import (
    EMBEDDING,
    FUNCTIONALS,
    NORMALISED,
    WARM_UP,
    LevelTable,
    Reals,
    Scorer,
    noisy,
)
from edge_models.training.streams import Floats, Kind, Passed, Windows
from edge_models.training.utility import Fold, HeldOut, held_out_sessions
from tests.synthetic_windows import synthetic_windows

TINY = Effort(passes=1, permutations=1, noises=(2.0,), panel=PANEL[:1], resamples=20)


def people_who_speak(people: int, each: int, seed: int = 0, functionals: int = 20) -> Windows:
    """Single recordings only, all as recorded."""
    made = synthetic_windows(people, each, functionals, signal=3.0, seed=seed)
    return replace(
        made,
        kind=np.full(len(made), str(Kind.CLIP)),
        take=np.zeros(len(made), np.intp),
    )


@dataclass(frozen=True)
class Affect:
    """A scorer that keeps what sadness and fear move, and forgets the rest."""

    population: Population

    def embeddings(self, stream: Passed) -> Floats:
        z = stream.z
        return np.stack([z[:, :5].mean(axis=1), z[:, 5:10].mean(axis=1)], axis=1)

    def scored(self, embeddings: Floats) -> Reals:
        sad, fearful = embeddings.T.astype(np.float64)
        return np.stack([sad, fearful, np.maximum(sad, fearful)], axis=1) * 4 - 2


class KnowsAffect:
    """A subject that needs no training."""

    name = "a known answer"

    def scorer(self, windows: Windows, plan: Plan) -> Scorer:
        return Affect(Population.of(windows.at(plan.known).summaries))

    def logits(
        self,
        scorer: Scorer,
        windows: Windows,
        plan: Plan,
        table: LevelTable,
        contours: Floats | None,
    ) -> dict[str, Reals]:
        stream = Passed(table.places, table.rows[NORMALISED], table.run)
        return {NORMALISED: scorer.scored(scorer.embeddings(stream))}

    def shuffled(self, windows: Windows, plan: Plan, table: LevelTable) -> Reals | None:
        return np.random.default_rng(0).normal(0, 1, (len(table.places), 3))


@pytest.fixture(scope="module")
def windows() -> Windows:
    return people_who_speak(18, 48)


@pytest.fixture(scope="module")
def plans(windows: Windows) -> tuple[Plan, ...]:
    """Two folds are enough here; sets of six and twelve people."""
    first = np.isin(windows.person, np.unique(windows.person)[:9])
    return Plan("a", WITHIN, first, ~first), Plan("b", WITHIN, ~first, first)


def judged(
    windows: Windows, plans: tuple[Plan, ...], out: Path, steps: list[str], stop: int = 99
) -> Evaluation:
    def step(text: str, _: int) -> None:
        if len(steps) >= stop:
            raise KeyboardInterrupt
        steps.append(text)

    licences = (("one", "CC0"), ("two", "CC0"))
    return evaluated(windows, KnowsAffect(), plans, licences, 7, TINY, Cells(out, "key"), step)


@pytest.fixture(scope="module")
def evaluation(
    windows: Windows, plans: tuple[Plan, ...], tmp_path_factory: pytest.TempPathFactory
) -> Evaluation:
    return judged(windows, plans, tmp_path_factory.mktemp("out"), [])


def test_what_keeps_affect_and_forgets_the_person_is_found_to_do_so(evaluation: Evaluation) -> None:
    (setting,) = evaluation.settings
    original, embedding = setting.level(FUNCTIONALS), setting.level(EMBEDDING)
    assert original is not None and embedding is not None
    assert original.identity_of(SIX).top1.value > 0.9
    told = embedding.identity_of(SIX)
    assert told.reduction is not None and told.reduction.value > 0.6
    assert told.equal_error_rate.value > 0.3
    distress = embedding.affect_of("distress")
    assert distress is not None and distress.balanced_accuracy.value > 0.9
    assert distress.shuffled == pytest.approx(0.5, abs=0.15)
    fear = embedding.affect_of("fear")
    assert fear is not None and fear.people == 12  # the other set holds none


def test_across_sets_halves_of_the_set_that_taught_calibrate(tmp_path: Path) -> None:
    windows = people_who_speak(18, 48, seed=5)
    across = [plan for plan in plans_of(windows) if plan.name == "one-to-two"]
    (setting,) = judged(windows, tuple(across), tmp_path, []).settings
    embedding = setting.level(EMBEDDING)
    assert embedding is not None and setting.learned == ("sadness", "fear", "distress")
    sadness = embedding.affect_of("sadness")
    assert sadness is not None and sadness.people == 6
    assert sadness.balanced_accuracy.value > 0.9 and sadness.calibration_error.value < 0.2
    assert embedding.affect_of("fear") is None


def test_noise_costs_both(evaluation: Evaluation) -> None:
    (setting,) = evaluation.settings
    plain, loud = setting.level(EMBEDDING), setting.level(noisy(2.0))
    assert plain is not None and loud is not None
    before, after = plain.affect_of("distress"), loud.affect_of("distress")
    assert before is not None and after is not None
    assert after.one_window.value < before.one_window.value - 0.05
    assert loud.identity_of(SIX).top1.value < plain.identity_of(SIX).top1.value + 0.1


def test_the_json_is_read_back_as_it_was(evaluation: Evaluation) -> None:
    assert parse_evaluation(evaluation.model_dump_json().encode()) == evaluation
    other = json.loads(evaluation.model_dump_json()) | {"format": 2}
    with pytest.raises(RecordingError):
        parse_evaluation(json.dumps(other).encode())


def test_an_interrupted_run_resumes_with_the_same_figures(
    windows: Windows, plans: tuple[Plan, ...], evaluation: Evaluation, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        judged(windows, plans, tmp_path, [], stop=7)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "unfinished").iterdir()}
    assert len(kept) > 6
    again = judged(windows, plans, tmp_path, [])
    assert again.settings == evaluation.settings
    for name, time in kept.items():
        assert (tmp_path / "unfinished" / name).stat().st_mtime_ns == time


def test_parts_of_another_run_are_never_mixed_in(tmp_path: Path) -> None:
    Cells(tmp_path, "one").put("part", {"x": np.arange(3)})
    kept = Cells(tmp_path, "one").get("part")
    assert kept is not None and kept["x"].tolist() == [0, 1, 2]
    assert Cells(tmp_path, "two").get("part") is None
    Cells(tmp_path, "two").remove()
    assert not list(tmp_path.iterdir())


def test_nobody_is_on_both_sides_of_a_plan_and_every_fold_has_both_sexes() -> None:
    windows = people_who_speak(27, 16)
    fold = folds_of_people(windows)
    for plan in plans_of(windows):
        assert not set(windows.person[plan.known]) & set(windows.person[plan.tested])
        for half in plan.inner:
            assert not set(windows.person[half.known]) & set(windows.person[half.tested])
            assert not ((half.known | half.tested) & ~plan.known).any()
    names = [plan.name for plan in plans_of(windows)]
    assert names == ["fold-1", "fold-2", "fold-3", "one-to-two", "two-to-one"]
    for one in range(3):
        assert set(windows.sex[fold == one]) == {"female", "male"}
        assert set(windows.dataset[fold == one]) == {"one", "two"}


def test_too_few_people_are_refused() -> None:
    with pytest.raises(RecordingError, match="too few"):
        plans_of(people_who_speak(6, 16))


def test_people_with_too_few_recordings_to_be_told_apart_are_refused_with_a_remedy(
    tmp_path: Path,
) -> None:
    windows = people_who_speak(18, 8)
    first = np.isin(windows.person, np.unique(windows.person)[:9])
    with pytest.raises(RecordingError, match="at least 14 recordings"):
        judged(windows, (Plan("a", WITHIN, first, ~first),), tmp_path, [])


def test_a_large_set_is_several_galleries_and_a_small_one_none() -> None:
    windows = people_who_speak(81, 4)
    sizes = [len(people) for people in galleries(windows, np.ones(len(windows), bool))]
    assert sizes == [18, 18, 18, 14, 13]
    assert not list(galleries(windows, np.isin(windows.person, ["p00", "p01"])))


def test_every_level_has_the_same_windows_and_the_first_ones_are_not_attacked() -> None:
    windows = people_who_speak(8, 16)
    known = np.isin(windows.person, ["p00", "p01", "p02", "p03", "p04"])
    plan = Plan("x", WITHIN, known, ~known)
    tested = carried_out(plan, TrainedAnew(7, 1), windows, 7, 2, (1.0,), None)
    assert level_names(tested) == (FUNCTIONALS, NORMALISED, EMBEDDING, noisy(1.0))
    assert set(tested.logits) == {FUNCTIONALS, NORMALISED, EMBEDDING, noisy(1.0)}
    for table in tested.tables:
        assert {len(rows) for rows in table.rows.values()} == {len(windows)}
        samples = table.samples(EMBEDDING, windows, np.asarray(["p06"]))
        assert len(samples) == 16 - WARM_UP
        assert not np.array_equal(table.rows[EMBEDDING], table.rows[noisy(1.0)])
    again = carried_out_before(plan, tested.arrays())
    assert np.array_equal(again.tables[1].rows[NORMALISED], tested.tables[1].rows[NORMALISED])
    assert again.shuffled is not None


def test_a_given_bundle_is_judged_by_its_own_graphs_and_head(tmp_path: Path) -> None:
    bundle = shipped_bundle()
    windows = people_who_speak(6, 24, functionals=len(bundle.population))
    scale = bundle.population.spread
    inside = windows.summaries * scale / 2 + bundle.population.median
    windows = replace(windows, summaries=inside.astype(np.float32))
    everybody = np.ones(len(windows), bool)
    plan = Plan("given", "people of these recordings", ~everybody, everybody)
    told = evaluated(
        windows,
        GivenBundle(bundle),
        (plan,),
        (),
        7,
        TINY,
        Cells(tmp_path, "k"),
        lambda *_: None,
    )
    (setting,) = told.settings
    assert bundle.name in told.subject
    embedding = setting.level(EMBEDDING)
    assert embedding is not None and embedding.columns == bundle.head.embedding_size
    assert embedding.identity_of(SIX).reduction is not None
    assert setting.learned == ()
    assert "people of these recordings" in headline(told)[0].lower()


def test_the_report_tells_every_aim_and_calls_a_miss_a_miss(evaluation: Evaluation) -> None:
    text = markdown(evaluation)
    for aim in aims(evaluation):
        row = next(line for line in text.splitlines() if line.startswith(f"| {aim.text} "))
        assert row.endswith("| yes |" if aim.reached else "| no |")
    assert "R = " in headline(evaluation)[0] and "balanced accuracy" in headline(evaluation)[0]
    assert "affect figures" in text and "1 − (top-1" in text
    chapter = card_chapter(evaluation)
    assert "### Unseen people" in chapter and not re.search(r"^##? ", chapter, re.M)


def test_the_page_loads_nothing_and_has_a_table_beside_each_plot(evaluation: Evaluation) -> None:
    html = page(evaluation)
    assert not re.search(r"(src|href|@import|url\()", html)
    assert "http" not in html and "<script" not in html
    assert html.count("<svg") == html.count("The plot as a table") == len(evaluation.settings)
    for part in ("prefers-color-scheme: dark", 'name="viewport"', 'lang="en"', "<title id="):
        assert part in html


def test_the_three_files_are_written_and_no_part_is_left(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    write(tmp_path, evaluation)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["evaluation.html", "evaluation.json", "evaluation.md"]
    assert parse_evaluation((tmp_path / "evaluation.json").read_bytes()) == evaluation


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_only_tables_scroll_sideways(
    browser: Any, evaluation: Evaluation, tmp_path: Path, scheme: str
) -> None:
    path = tmp_path / "evaluation.html"
    path.write_text(page(evaluation), encoding="utf-8")
    phone = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    phone.goto(path.as_uri())
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    ink, paper = (
        phone.evaluate(f"getComputedStyle(document.body).{name}")
        for name in ("color", "backgroundColor")
    )
    brightness = [sum(map(int, re.findall(r"\d+", one)[:3])) for one in (ink, paper)]
    assert (brightness[0] < brightness[1]) == (scheme == "light")
    assert abs(brightness[0] - brightness[1]) > 400
    phone.close()


class Heard(Exception):
    """What was to be learnt from is known."""


def test_whoever_is_tested_taught_no_model_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = people_who_speak(9, 12)
    plan = next(iter(plans_of(windows)))
    table = LevelTable(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, bool), {})
    taught: list[tuple[str, set[str]]] = []

    def seen(kind: str) -> Callable[..., Any]:
        def spy(*given: Any, **_: Any) -> Any:
            found = next(one for one in given if isinstance(one, Windows))
            taught.append((kind, set(found.person)))
            raise Heard

        return spy

    subject, scorer = subjects.TrainedAnew(7), Affect(Population.of(windows.summaries))
    monkeypatch.setattr(subjects, "trained", seen("trained"))
    monkeypatch.setattr(subjects, "training_rows", seen("plain"))
    for ask in (
        lambda: subject.scorer(windows, plan),
        lambda: subject.shuffled(windows, plan, table),
        lambda: subject.logits(scorer, windows, plan, table, None),
    ):
        with pytest.raises(Heard):
            ask()
    assert [kind for kind, _ in taught] == ["trained", "trained", "plain"]
    for _, people in taught:
        assert people == set(windows.person[plan.known])
        assert not people & set(windows.person[plan.tested])


def test_nobody_calibrates_their_own_sessions(
    windows: Windows, plans: tuple[Plan, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[set[str], set[str]]] = []

    def spy(folds: list[Fold], rng: np.random.Generator) -> HeldOut:
        heard.extend((set(one.others.people), set(one.held.people)) for one in folds)
        return held_out_sessions(folds, rng)

    monkeypatch.setattr(affect, "held_out_sessions", spy)
    rng = np.random.default_rng(0)
    done = [carried_out(plan, KnowsAffect(), windows, 7, 1, (), None) for plan in plans]
    affect.affect_figures(EMBEDDING, done, done, windows, rng, 2)
    assert len(heard) == 6
    assert all(others and held and not others & held for others, held in heard)


def test_a_model_of_shuffled_labels_learns_from_shuffled_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    windows = people_who_speak(9, 12)
    plan = next(iter(plans_of(windows)))
    table = LevelTable(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, bool), {})
    taught: list[Windows] = []

    def spy(known: Windows, *_: Any) -> None:
        taught.append(known)
        raise Heard

    monkeypatch.setattr(subjects, "trained", spy)
    with pytest.raises(Heard):
        subjects.TrainedAnew(7).shuffled(windows, plan, table)
    assert np.mean(taught[0].truth == windows.at(plan.known).truth) < 0.9
