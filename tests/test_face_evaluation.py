"""The face evaluation on made-up people: leaks that were planted are found, and told."""

import json
from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from edge_models.errors import ContractError, RecordingError
from edge_models.training import face_encoder, face_levels, face_utility
from edge_models.training.corpora import EMOTIONS
from edge_models.training.face_attacks import FACE_PANEL, attacked, sides_of
from edge_models.training.face_evaluation import acted_faces, evaluated_faces
from edge_models.training.face_figures import FaceEvaluation
from edge_models.training.face_levels import FaceSpace, Level
from edge_models.training.face_lines import fold_of
from edge_models.training.face_pair_evaluation import pair_figures
from edge_models.training.face_pairs import PAIR_LEVELS, bound, moments, spoken
from edge_models.training.face_report import as_json, as_markdown
from edge_models.training.face_utility import Answered, macro_f1, two_sided
from edge_models.training.face_verification import verified_by_pairs
from edge_models.training.faces import Photograph, face_folds
from edge_models.training.identity import Samples, equal_error_rate, figures, told_apart
from edge_models.training.int8_model import Int8Model, trained
from edge_models.training.seen_faces import Faces, Skipped
from edge_models.training.streams import Windows
from tests.synthetic_faces import joined, synthetic_faces
from tests.synthetic_windows import synthetic_windows

QUICK = tuple(member for member in FACE_PANEL if member.name == "LDA")


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


def an_evaluation(identity: float) -> FaceEvaluation:
    faces = a_world(identity)
    chosen = [
        Photograph(f"faces/{row}.png", str(name), "CC0", "p")
        for row, name in enumerate(faces.dataset)
    ]
    skipped = Skipped(no_face=("faces/wall.png",))
    with threadpool_limits(1):
        return evaluated_faces(faces, skipped, chosen, 3, lambda some, _: iter(some), panel=QUICK)


@pytest.fixture(scope="module")
def leaking() -> FaceEvaluation:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(face_levels, "STREAMS", 2)
        patch.setattr(figures, "RESAMPLES", 20)
        patch.setattr(face_utility, "RESAMPLES", 20)
        return an_evaluation(identity=1.0)


def test_a_planted_identity_is_found_and_the_embedding_hides_it(leaking: FaceEvaluation) -> None:
    raw, hidden = leaking.at(Level.LANDMARKS), leaking.at(Level.EMBEDDING)
    for before, after in zip(raw.privacy, hidden.privacy, strict=True):
        assert before.top1.value > 0.9 and before.reduction.value == pytest.approx(0.0)
        assert after.top1.value < before.top1.value - 0.2
        assert after.reduction.value > 0.2
    assert [(one.gallery, one.size) for one in raw.privacy] == [
        ("acted", 1),
        ("acted", 6),
        ("gallery", 1),
        ("gallery", 6),
    ]
    assert raw.verification is not None and hidden.verification is not None
    assert raw.verification.equal_error_rate.value < 0.1
    assert hidden.verification.equal_error_rate.value > raw.verification.equal_error_rate.value


def test_planted_expressions_are_recognised_and_shuffled_ones_are_not(
    leaking: FaceEvaluation,
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
    told = told_apart([attacked(samples, 3, 3, QUICK)], 1)
    # 128 questions of 8 people: four standard errors of a share of 1/8 are 0.12.
    assert abs(told.top1.mean() - 1 / 8) < 0.12 and abs(told.chance.mean() - 1 / 8) < 0.12


def test_the_report_says_what_falls_short(leaking: FaceEvaluation) -> None:
    text = as_markdown(leaking)
    assert all(f"| {level} |" in text for level in Level)
    assert "affect figures" in text and "faces/wall.png" in text
    assert leaking.unmoved == 1 and "so 1 of the summary's 22 numbers" in text
    assert ("No facial body is shipped" in text) is not leaking.good_enough
    assert not leaking.good_enough
    tables = [line for line in text.splitlines() if line.startswith("|")]
    widths = {}
    for before, line in zip(["", *tables], tables, strict=False):
        if line.startswith("|---"):
            widths[before] = line.count("|")
            assert before.count("|") == line.count("|")
    assert len(widths) == 4
    told = json.loads(as_json(leaking))
    assert [line["level"] for line in told["levels"]] == [str(level) for level in Level]
    assert told["no_face"] == ["faces/wall.png"]


def test_too_few_people_are_told() -> None:
    faces = synthetic_faces(people=7)
    assert len(acted_faces(faces)) == len(faces)
    with pytest.raises(RecordingError, match="Fewer than 8 people"):
        evaluated_faces(faces, Skipped(), [], 0, lambda some, _: iter(some), panel=QUICK)


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


def test_pairs_are_told_at_every_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_encoder, "EPOCHS", 8)
    monkeypatch.setattr(figures, "RESAMPLES", 20)
    monkeypatch.setattr(face_utility, "RESAMPLES", 20)
    faces, voices = synthetic_faces(), synthetic_windows(people=12, signal=4.0)
    trained_without: list[set[str]] = []

    def training(windows: Windows, seed: int) -> Int8Model:
        trained_without.append(set(voices.person) - set(windows.person))
        return trained(windows, seed, 2)

    place = face_folds(faces.person, 4)
    with threadpool_limits(1):
        folds = [fold_of(faces, place == fold, 1) for fold in range(4)]
        lines = pair_figures(
            faces, voices, folds, 1, lambda some, _: iter(some), training=training, panel=QUICK
        )
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
