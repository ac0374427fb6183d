"""The head: calibrated probabilities, and nothing but a head is accepted as one."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_models.errors import BundleError, ContractError
from edge_models.head import Head, parse_head, sigmoid


def a_head(size: int = 4) -> Head:
    rows = tuple(
        tuple(0.1 * (task + 1) * (place - 1) for place in range(size)) for task in range(3)
    )
    return Head(
        tasks=("sadness", "fear", "distress"),
        weights=(rows[0], rows[1], rows[2]),
        biases=(0.1, -0.2, 0.3),
        slopes=(1.0, 0.5, 2.0),
        shifts=(0.0, 0.1, -0.1),
    )


def test_a_score_is_the_calibrated_sigmoid_of_the_linear_map() -> None:
    head, embedding = a_head(), np.array([1, -2, 3, 0.5], np.float32)
    plain = sum(w * x for w, x in zip(head.weights[1], embedding, strict=True)) + head.biases[1]
    expected = 1 / (1 + np.exp(-(head.slopes[1] * plain + head.shifts[1])))
    assert head.score(embedding).fear == pytest.approx(expected)


@given(arrays(np.float32, 4, elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_every_finite_embedding_gives_probabilities(embedding: np.ndarray) -> None:
    scores = a_head().score(embedding)
    assert all(0 <= score <= 1 for score in (scores.sadness, scores.fear, scores.distress))


@pytest.mark.parametrize("embedding", [np.zeros(3), np.zeros((1, 4)), np.full(4, np.nan)])
def test_an_embedding_that_is_not_whole_is_refused(embedding: np.ndarray) -> None:
    with pytest.raises(ContractError):
        a_head().score(embedding.astype(np.float32))


def test_the_sigmoid_does_not_overflow() -> None:
    assert sigmoid(np.array([-1e9, 0, 1e9])).tolist() == [0, 0.5, 1]


def test_a_head_reads_back_as_written() -> None:
    assert parse_head(a_head().model_dump_json().encode()) == a_head()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("surplus", 1),
        ("tasks", ["fear", "sadness", "distress"]),
        ("weights", [[1.0], [1.0, 2.0], [1.0]]),
        ("weights", [[], [], []]),
        ("biases", [0, 0]),
        ("slopes", [1, -1, 1]),
        ("shifts", [0, 0, "NaN"]),
        ("shifts", [0, 0, 1e300]),
    ],
)
def test_a_faulty_head_is_refused_with_a_remedy(key: str, value: object) -> None:
    table = json.loads(a_head().model_dump_json())
    table[key] = value
    with pytest.raises(BundleError) as refused:
        parse_head(json.dumps(table).encode())
    assert "head.json" in refused.value.cause and refused.value.remedy


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_refused(raw: bytes) -> None:
    with pytest.raises(BundleError):
        parse_head(raw)


def test_a_huge_head_is_refused_unread() -> None:
    with pytest.raises(BundleError):
        parse_head(b" " * 70_000)
