"""The classifier: scores where there is evidence, an abstention that says why where there isn't."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_models.acoustic import AcousticFrontEnd
from edge_models.assessment import Abstention
from edge_models.bundle import shipped_bundle
from edge_models.classifier import Classifier
from edge_models.errors import ContractError
from edge_models.own import Own
from edge_models.recordings import read_recording
from edge_models.speech_gate import SpeechGate
from edge_models.windows import windows_of

BUNDLE = shipped_bundle()
CLASSIFIER = Classifier(BUNDLE)
F = len(BUNDLE.population)


@settings(max_examples=50)
@given(arrays(np.float32, F, elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_every_finite_window_is_scored_with_probabilities(z: np.ndarray) -> None:
    embedding = CLASSIFIER.embedding(z)
    assert embedding.shape == (CLASSIFIER.embedding_size,) and embedding.dtype == np.float32
    scores = CLASSIFIER.assess(embedding, alone=None).scores
    assert scores is not None and 0 <= scores.distress <= 1


def test_two_faces_are_not_scored() -> None:
    embedding = CLASSIFIER.embedding(np.zeros(F, np.float32))
    assert CLASSIFIER.assess(embedding, alone=False).abstained is Abstention.NOT_ALONE
    assert CLASSIFIER.assess(embedding, alone=True).scores is not None
    assert CLASSIFIER.assess(embedding, alone=None).scores is not None


def test_too_little_speech_is_not_scored() -> None:
    assert CLASSIFIER.abstain_for_speech().abstained is Abstention.TOO_LITTLE_SPEECH


@pytest.mark.parametrize("z", [np.zeros(F - 1), np.full(F, np.nan), np.zeros((1, F))])
def test_z_scores_that_are_not_whole_are_refused(z: np.ndarray) -> None:
    with pytest.raises(ContractError):
        CLASSIFIER.embedding(z.astype(np.float32))


def test_z_scores_beyond_the_bound_count_as_the_bound() -> None:
    far = np.full(F, 4.0, np.float32)
    assert np.array_equal(CLASSIFIER.embedding(far), CLASSIFIER.embedding(100 * far))


def test_fearful_actors_score_higher_than_calm_ones(recordings: Path) -> None:
    """The chain is wired: these people were in the training, so this is no measure of quality."""
    with (recordings / "MANIFEST.csv").open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["dataset"] == "ravdess"]
    people = sorted({row["identity"] for row in rows})[:2]
    gate = SpeechGate(BUNDLE.graph("gate"))
    acoustic = AcousticFrontEnd(BUNDLE.graph("descriptors"), BUNDLE.graph("functionals"))
    scores: dict[str, list[float]] = {"calm": [], "fearful": []}
    for person in people:
        own = Own.empty(BUNDLE)
        chosen = [row for row in rows if row["identity"] == person and row["label"] in scores]
        for row in sorted(chosen, key=lambda row: row["sha256"]):  # mixed: hashes know no label
            (window,) = windows_of(read_recording(recordings / row["path"]))
            summary = acoustic.summary(acoustic.descriptors(window), gate.speech(window))
            embedding, own = own.heard(summary, CLASSIFIER.embedding)
            answer = CLASSIFIER.assess(embedding)
            assert answer.scores is not None
            scores[row["label"]].append(answer.scores.fear)
    assert min(map(len, scores.values())) >= 12
    assert np.mean(scores["fearful"]) > np.mean(scores["calm"]) + 0.3
    accuracy = np.mean(
        [np.mean(np.array(scores["fearful"]) >= 0.5), np.mean(np.array(scores["calm"]) < 0.5)]
    )
    assert accuracy > 0.7  # a constant answer: 0.5
