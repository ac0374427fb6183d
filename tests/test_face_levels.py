"""The levels of a face: what each takes out, and what it keeps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from edge_models.baseline import Baseline, Population
from edge_models.errors import ContractError
from edge_models.training import face_encoder
from edge_models.training.face_encoder import fitted_encoder
from edge_models.training.face_levels import (
    FaceSpace,
    Level,
    by_own_baseline,
    fitted_levels,
    summaries_of,
    with_shuffled_expressions,
)
from edge_models.training.faces import EXPRESSIONS
from edge_models.training.seen_faces import Faces
from tests.synthetic_faces import synthetic_faces

FACES = synthetic_faces()
SPACE = FaceSpace.of(FACES.landmarks)


@settings(max_examples=25)
@given(
    angles=st.tuples(*[st.floats(-1.0, 1.0)] * 3),
    size=st.floats(0.2, 5.0),
    place=st.tuples(*[st.floats(-300, 300)] * 3),
)
def test_place_size_and_direction_of_a_mesh_say_nothing(
    angles: tuple[float, ...], size: float, place: tuple[float, ...]
) -> None:
    x, y, z = angles
    about = [
        np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]),
        np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]),
        np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]),
    ]
    meshes = FACES.landmarks[:6]
    turned = size * meshes @ np.linalg.multi_dot(about) + np.asarray(place)
    np.testing.assert_allclose(
        SPACE.places(turned.astype(np.float32)), SPACE.places(meshes), atol=2e-4
    )


def test_a_mirrored_mesh_is_another_mesh() -> None:
    meshes = FACES.landmarks[:6]
    mirrored = meshes * np.array([-1, 1, 1], np.float32)
    assert np.abs(SPACE.places(mirrored) - SPACE.places(meshes)).max() > 0.05


def test_a_window_is_measured_against_earlier_ones_of_the_same_person_only() -> None:
    rows, person = summaries_of(FACES), FACES.person
    population = Population.of(rows)
    z = by_own_baseline(rows, person, population, np.random.default_rng(5))
    alone = Baseline.empty(population)
    first = [np.array_equal(z[place], alone.normalised(rows[place])) for place in range(len(rows))]
    assert sum(first) == len(np.unique(person))  # one each: nothing came before it
    other = rows.copy()
    other[person != person[0]] += 1.0
    again = by_own_baseline(other, person, population, np.random.default_rng(5))
    np.testing.assert_array_equal(again[person == person[0]], z[person == person[0]])
    assert np.abs(z).max() <= 4.0


def _share_between_people(rows: np.ndarray, person: np.ndarray) -> float:
    means = np.stack([rows[person == one].mean(axis=0) for one in np.unique(person)])
    return float(means.var(axis=0).sum() / rows.var(axis=0).sum())


def test_suppression_leaves_less_of_the_person_and_keeps_the_expression() -> None:
    known = synthetic_faces(people=10, seed=1)
    unmet = synthetic_faces(people=10, seed=2, dataset="other")
    rows = summaries_of(known)
    spread = np.maximum(rows.std(axis=0), 1e-6)

    def without_baseline(faces: Faces) -> np.ndarray:
        apart = (summaries_of(faces) - rows.mean(axis=0)) / spread
        return np.clip(apart, -4, 4).astype(np.float32)

    truth = np.asarray([EXPRESSIONS.index(word) for word in known.expression])
    people = np.unique(known.person, return_inverse=True)[1]
    seen, asked = without_baseline(known), without_baseline(unmet)
    left = {}
    for suppression in (0.0, 0.5):
        encoder = fitted_encoder([seen], truth, people, 3, suppression)
        rule = LogisticRegression().fit(encoder.embedding(seen), known.expression)
        embedding = encoder.embedding(asked)
        # Four expressions: 0.25 by chance; half-way from there to certainty.
        assert rule.score(embedding, unmet.expression) > 0.625
        left[suppression] = _share_between_people(embedding, unmet.person)
    assert left[0.5] < left[0.0] < _share_between_people(asked, unmet.person)


def test_one_seed_gives_one_set_of_levels(monkeypatch) -> None:
    monkeypatch.setattr(face_encoder, "EPOCHS", 4)
    first, second = (fitted_levels(FACES, 4) for _ in range(2))
    for level in Level:
        rows = [one.seen(FACES, level, np.random.default_rng(0)) for one in (first, second)]
        np.testing.assert_array_equal(*rows)
        assert rows[0].dtype == np.float32 and len(rows[0]) == len(FACES)


def test_levels_are_learnt_from_known_expressions_only() -> None:
    happy = FACES.at(FACES.expression == "happy")
    with pytest.raises(ContractError, match="two or more"):
        fitted_levels(happy, 0)


def test_shuffling_keeps_each_persons_expressions() -> None:
    shuffled = with_shuffled_expressions(FACES, np.random.default_rng(1))
    assert (shuffled.expression != FACES.expression).any()
    for person in np.unique(FACES.person):
        own = FACES.person == person
        assert sorted(shuffled.expression[own]) == sorted(FACES.expression[own])
