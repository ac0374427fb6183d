"""The face evaluation on made-up people: leaks that were planted are found, and told."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from edge_models.errors import ContractError, NoFaces
from edge_models.training import face_encoder, face_evaluation, face_levels, face_utility
from edge_models.training.coevaluation.cells import Cells
from edge_models.training.coevaluation.face_rows import face_chapters
from edge_models.training.coevaluation.face_schema import FaceFigures, FaceIdentity
from edge_models.training.coevaluation.face_story import face_headline, good_enough
from edge_models.training.coevaluation.figure import Figure
from edge_models.training.corpora import EMOTIONS
from edge_models.training.face_attacks import FACE_PANEL, FaceEffort, attacked, sides_of
from edge_models.training.face_evaluation import LookedAt, acted_faces, evaluated_faces, looked_at
from edge_models.training.face_levels import FaceSpace, Level
from edge_models.training.face_lines import Line, fold_of, line
from edge_models.training.face_pair_evaluation import pair_figures
from edge_models.training.face_pairs import PAIR_LEVELS, bound, moments, spoken
from edge_models.training.face_utility import Answered, macro_f1, two_sided
from edge_models.training.face_verification import verified_by_pairs
from edge_models.training.faces import Photograph, face_folds
from edge_models.training.identity import Samples, equal_error_rate, figures, told_apart
from edge_models.training.int8_model import Int8Model, trained
from edge_models.training.seen_faces import Faces, Skipped
from edge_models.training.streams import Windows
from tests.synthetic_faces import joined, synthetic_faces
from tests.synthetic_windows import synthetic_windows

LDA_ONLY = FaceEffort(tuple(member for member in FACE_PANEL if member.name == "LDA"))
FEW_VOICES = synthetic_windows(people=4)


def a_world(identity: float) -> Faces:
    acted = synthetic_faces(identity=identity)
    gallery = synthetic_faces(identity=identity, seed=1, dataset="gallery")
    gallery = Faces(
        *(
            np.full(len(gallery), "") if name == "expression" else getattr(gallery, name)
            for name in Faces.__slots__
        )
    )
    paired = synthetic_faces(people=12, each=1, identity=identity, seed=2, dataset="paired")
    paired = paired.at(np.isin(paired.expression, ["happy", "neutral"]))
    return joined(acted, gallery, paired)


def walked(some: Sequence[Any], _: str) -> Iterator[Any]:
    yield from some


def an_evaluation(identity: float, voices: Windows, kept: Cells) -> FaceFigures:
    faces = a_world(identity)
    chosen = tuple(
        Photograph(f"faces/{row}.png", str(name), "CC0", "p")
        for row, name in enumerate(faces.dataset)
    )
    seen = LookedAt(chosen, faces, Skipped(no_face=("faces/wall.png",)))
    made = evaluated_faces(seen, 3, walked, voices, LDA_ONLY, kept)
    return FaceFigures.model_validate(made)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Cells:
    return Cells(tmp_path_factory.mktemp("parts"), "key")


@pytest.fixture(scope="module")
def leaking(parts: Cells) -> FaceFigures:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(face_levels, "STREAMS", 2)
        patch.setattr(figures, "RESAMPLES", 20)
        patch.setattr(face_utility, "RESAMPLES", 20)
        return an_evaluation(1.0, FEW_VOICES, parts)


def test_a_planted_identity_is_found_and_the_embedding_hides_it(leaking: FaceFigures) -> None:
    raw, hidden = leaking.at(Level.LANDMARKS), leaking.at(Level.EMBEDDING)
    for before, after in zip(raw.privacy, hidden.privacy, strict=True):
        assert before.top1.value > 0.9 and before.reduction.value == pytest.approx(0.0)
        assert after.top1.value < before.top1.value - 0.2
        assert after.reduction.value > 0.2
    assert [(one.gallery, one.windows) for one in raw.privacy] == [
        ("acted", 1),
        ("acted", 6),
        ("gallery", 1),
        ("gallery", 6),
    ]
    assert raw.verification is not None and hidden.verification is not None
    assert raw.verification.equal_error_rate.value < 0.1
    assert hidden.verification.equal_error_rate.value > raw.verification.equal_error_rate.value


def test_planted_expressions_are_recognised_and_shuffled_ones_are_not(
    leaking: FaceFigures,
) -> None:
    line = leaking.at(Level.EMBEDDING)
    # A constant answer has 0.50 and 0.10; what is planted is met half-way to certainty at least.
    assert line.sets.sad.value > 0.75 and line.sets.expressions.value > 0.75
    assert line.single.sad.low <= line.single.sad.value <= line.single.sad.high
    assert line.shuffled.expressions.value < 0.5
    assert line.transfer is not None and line.transfer.value > 0.8


def test_nobody_to_find_is_found_as_nobody() -> None:
    faces = synthetic_faces(identity=0.0)
    rows = FaceSpace.of(faces.landmarks).places(faces.landmarks)
    sides = sides_of(faces.expression)
    samples = Samples(rows, faces.person, sides, faces.pose, faces.expression)
    told = told_apart([attacked(samples, 3, 3, LDA_ONLY.panel)], 1)
    # 128 questions of 8 people: four standard errors of a share of 1/8 are 0.12.
    assert abs(told.top1.mean() - 1 / 8) < 0.12 and abs(told.chance.mean() - 1 / 8) < 0.12


def test_an_evaluation_resumes_with_the_levels_that_were_finished(
    leaking: FaceFigures, parts: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face_levels, "STREAMS", 1)
    monkeypatch.setattr(face_encoder, "EPOCHS", 1)  # whatever is learnt now, must not matter
    monkeypatch.setattr(figures, "RESAMPLES", 20)
    monkeypatch.setattr(face_utility, "RESAMPLES", 20)
    made: list[Level] = []

    def counting(level: Level, *others: Any) -> Line:
        made.append(level)
        return line(level, *others)

    monkeypatch.setattr(face_evaluation, "line", counting)
    assert an_evaluation(1.0, FEW_VOICES, parts) == leaking
    assert not made


def test_the_chapter_says_what_falls_short(leaking: FaceFigures) -> None:
    (chapter,) = face_chapters(leaking)
    (beside,) = chapter.sheets
    assert [row[0] for row in beside.rows] == [str(level) for level in Level]
    sheets = (*chapter.sheets, *chapter.details)
    assert all(len(row) == len(sheet.columns) for sheet in sheets for row in sheet.rows)
    text = " ".join(chapter.about)
    assert "affect figures" in text and leaking.unmoved == 1 and "so 1 of the summary's" in text
    assert ("No facial body is shipped:" in text) is not good_enough(leaking)
    assert not good_enough(leaking)
    lost = next(sheet for sheet in sheets if sheet.caption.startswith("Left out"))
    assert lost.rows == (("show no face", "1", "faces/wall.png"),)


def test_utility_stands_beside_privacy_of_both_galleries(leaking: FaceFigures) -> None:
    (chapter,) = face_chapters(leaking)
    (sheet,) = chapter.sheets
    level = leaking.at(Level.EMBEDDING)
    row = dict(zip(sheet.columns, sheet.rows[-1], strict=False))
    assert row["sad"] == str(level.sets.sad)
    assert row["gallery: R"] == str(level.identity_of("gallery", 6).reduction)
    assert row["acted: top-1"] == str(level.identity_of("acted", 6).top1)
    (said,) = face_headline(leaking)
    lowest = min(one.reduction.value for one in level.privacy)
    assert f"R = {lowest:.2f}" in said and str(level.sets.sad) in said


def test_good_enough_needs_the_worse_end_of_every_interval(leaking: FaceFigures) -> None:
    good = Figure(value=0.99, low=0.95, high=1.0)
    level = leaking.at(Level.EMBEDDING)
    sets = level.sets.model_copy(update={"sad": good})
    privacy = tuple(one.model_copy(update={"reduction": good}) for one in level.privacy)

    def with_privacy(some: tuple[FaceIdentity, ...]) -> FaceFigures:
        new = level.model_copy(update={"sets": sets, "privacy": some})
        return leaking.model_copy(update={"levels": (*leaking.levels[:-1], new)})

    assert good_enough(with_privacy(privacy))
    worse = privacy[0].model_copy(update={"reduction": Figure(value=0.99, low=0.9, high=1.0)})
    assert not good_enough(with_privacy((worse, *privacy[1:])))


def test_too_few_people_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = synthetic_faces(people=7)
    assert len(acted_faces(faces)) == len(faces)
    monkeypatch.setattr(face_evaluation, "photographs", lambda _: ())
    monkeypatch.setattr(face_evaluation, "seen_faces", lambda *_: (faces, Skipped()))
    with pytest.raises(NoFaces, match="Fewer than 8 people"):
        looked_at(tmp_path, None, walked)


def test_people_with_too_few_windows_of_a_half_are_not_attacked() -> None:
    faces = synthetic_faces()
    rare = (faces.person == "acted03") & np.isin(faces.expression, ["happy", "sad"])
    lost = np.zeros(len(faces), bool)
    lost[np.flatnonzero(rare)[3:]] = True
    assert "acted03" not in acted_faces(faces.at(~lost)).person
    assert "acted03" in acted_faces(faces).person


def test_a_set_without_an_expression_is_not_acted() -> None:
    paired = synthetic_faces(dataset="paired")
    paired = paired.at(paired.expression != "sad")
    assert set(acted_faces(joined(synthetic_faces(), paired)).dataset) == {"acted"}


def test_verification_needs_pairs_of_ten_people() -> None:
    rows = np.zeros((12, 3), np.float32)
    person = np.repeat([f"p{n}" for n in range(6)], 2)
    with pytest.raises(ContractError, match="ten people"):
        verified_by_pairs(rows, person, np.tile([True, False], 6))


def test_verification_tells_who_is_alike() -> None:
    rng = np.random.default_rng(0)
    own = np.repeat(rng.normal(size=(30, 5)), 2, axis=0)
    person = np.repeat([f"p{n:02d}" for n in range(30)], 2)
    neutral = np.tile([True, False], 30)
    near = (own + 0.05 * rng.normal(size=own.shape)).astype(np.float32)
    told = verified_by_pairs(near, person, neutral)
    error = equal_error_rate(*map(np.concatenate, (told.own, told.others)))
    assert error < 0.05 and told.top1.mean() > 0.9


def test_balanced_figures_of_known_answers() -> None:
    truth = np.array([True, True, False, False, False, False])
    assert two_sided(truth, truth) == 1.0
    assert two_sided(np.ones(6, bool), truth) == 0.5
    assert np.isnan(two_sided(truth, np.ones(6, bool)))
    assert macro_f1(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])) == pytest.approx(
        (2 / 3 + 4 / 5) / 2
    )


def test_a_set_is_the_mean_of_its_windows() -> None:
    log = np.log(np.full((4, 4), 0.25))
    words = np.array(["sad", "sad", "happy", "sad"])
    people = np.array(["a", "a", "a", "b"])
    sets = Answered(np.array([1.0, -3.0, 2.0, 5.0]), log, words, people).sets()
    told = dict(zip(zip(sets.person, sets.expression, strict=True), sets.sad, strict=True))
    assert told == {("a", "sad"): -1.0, ("a", "happy"): 2.0, ("b", "sad"): 5.0}


def test_a_pair_keeps_one_voice_and_joins_the_same_emotion() -> None:
    faces = synthetic_faces()
    clips = spoken(synthetic_windows(people=12))
    rng = np.random.default_rng(0)
    binding = bound(faces, clips, rng)
    assert len(binding) == 8 == len(set(binding.values()))
    met = moments(faces, clips, binding, rng)
    said = np.asarray(EMOTIONS)[clips.emotion[met.voice]]
    assert len(met.face) and (said == met.expression).all()
    assert (faces.expression[met.face] == met.expression).all()
    for person, voice in binding.items():
        assert set(clips.person[met.voice][met.pair == person]) == {voice}


def test_a_text_of_a_voice_is_on_one_side_only() -> None:
    faces, voices = synthetic_faces(), synthetic_windows(people=12)
    half = np.arange(len(voices)) // 16 % 2  # each emotion is said in both texts
    clips = spoken(replace(voices, sentence=np.where(half == 1, "02", "01")))
    rng = np.random.default_rng(0)
    met = moments(faces, clips, bound(faces, clips, rng), rng)
    texts = np.char.add(clips.dataset, clips.sentence)[met.voice]
    sides = sides_of(met.expression)
    for person in np.unique(met.pair):
        own = met.pair == person
        for text in np.unique(texts[own]):
            assert len(np.unique(sides[own & (texts == text)])) == 1


def test_pairs_are_told_at_every_level_and_their_parts_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(face_encoder, "EPOCHS", 8)
    monkeypatch.setattr(figures, "RESAMPLES", 20)
    monkeypatch.setattr(face_utility, "RESAMPLES", 20)
    faces, voices = synthetic_faces(), synthetic_windows(people=12, signal=4.0)
    trained_without: list[set[str]] = []

    def training(windows: Windows, seed: int) -> Int8Model:
        trained_without.append(set(voices.person) - set(windows.person))
        return trained(windows, seed, 2)

    place, kept = face_folds(faces.person, 4), Cells(tmp_path, "key")
    with threadpool_limits(1):
        folds = [fold_of(faces, place == fold, 1) for fold in range(4)]
        lines = pair_figures(faces, voices, folds, 1, walked, LDA_ONLY, kept, training)
        again = pair_figures(faces, voices, folds, 1, walked, LDA_ONLY, kept, training)
    assert again == lines
    assert [line.level for line in lines] == list(PAIR_LEVELS)
    raw = lines[0]
    assert raw.people == 8 and raw.voice.value > 0.75 and raw.privacy[0].top1.value > 0.75
    assert [len(own) for own in trained_without] == [2, 2, 2, 2]
    assert len(set.union(*trained_without)) == 8


def test_the_two_halves_of_the_expressions_share_none() -> None:
    words = np.array(["neutral", "happy", "sad", "angry"])
    sides = sides_of(words)
    assert len(np.unique(sides)) == 2
    assert sorted(words[sides == sides[0]]) == ["angry", "neutral"]
