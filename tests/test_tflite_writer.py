"""The int8 body: two files with the same integers, against an oracle in exact integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_models.runner import OnnxGraph, TfliteGraph
from edge_models.training.quantise import (
    WEIGHT_STEPS,
    Dense,
    QuantisedBody,
    Scale,
    onnx_body,
    quantised,
)
from edge_models.training.tflite_writer import tflite_body

INPUTS, HIDDEN, OUTPUTS = 24, 16, 6


def a_body(seed: int) -> tuple[Dense, Dense, QuantisedBody]:
    rng = np.random.default_rng(seed)
    hidden = Dense(
        rng.normal(0, 0.3, (HIDDEN, INPUTS)).astype(np.float32),
        rng.normal(0, 0.2, HIDDEN).astype(np.float32),
        relu=True,
    )
    embed = Dense(
        rng.normal(0, 0.4, (OUTPUTS, HIDDEN)).astype(np.float32),
        rng.normal(0, 0.2, OUTPUTS).astype(np.float32),
        relu=False,
    )
    return hidden, embed, quantised(hidden, embed, some_z(rng, 2_000))


def some_z(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.clip(rng.normal(0, 1.2, (count, INPUTS)), -4, 4).astype(np.float32)


def in_both(body: QuantisedBody, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    graphs = OnnxGraph(onnx_body(body)), TfliteGraph(tflite_body(body))
    one, two = (np.stack([graph.run({"z": row[None]})[0][0] for row in z]) for graph in graphs)
    return one, two


@pytest.mark.parametrize("seed", range(5))
def test_both_runtimes_agree_with_exact_integers_within_one_step(seed: int) -> None:
    _, _, body = a_body(seed)
    z = some_z(np.random.default_rng(100 + seed), 300)
    expected, step = body.run(z), body.embed.leaving.step
    for answer in in_both(body, z):
        off = np.abs(answer - expected) / step
        assert off.max() <= 1.001
        assert (off > 0.5).mean() < 0.03


def test_both_runtimes_agree_where_everything_saturates() -> None:
    _, _, body = a_body(9)
    z = np.where(np.random.default_rng(9).random((64, INPUTS)) < 0.5, -4, 4).astype(np.float32)
    one, two = in_both(body, z)
    assert np.abs(one - two).max() <= 1.001 * body.embed.leaving.step


@pytest.mark.parametrize("seed", range(3))
def test_rounding_costs_little(seed: int) -> None:
    hidden, embed, body = a_body(seed)
    z = some_z(np.random.default_rng(50 + seed), 500)
    exact = embed.run(hidden.run(z))
    off = np.abs(body.run(z) - exact)
    assert np.percentile(off, 99) < 0.08 * exact.std() * 3


def test_weights_leave_room_for_sixteen_bit_sums() -> None:
    _, _, body = a_body(1)
    for layer in (body.hidden, body.embed):
        assert np.abs(layer.weights).max() == WEIGHT_STEPS
    assert np.iinfo(np.int16).max >= 2 * 255 * WEIGHT_STEPS


def test_one_seed_gives_the_same_files() -> None:
    _, _, body = a_body(2)
    assert onnx_body(body) == onnx_body(a_body(2)[2])
    assert tflite_body(body) == tflite_body(a_body(2)[2])


def test_the_tflite_file_has_int8_edges_and_no_float_operator() -> None:
    from tflite_runtime.interpreter import Interpreter

    _, _, body = a_body(3)
    interpreter = Interpreter(model_content=tflite_body(body))
    interpreter.allocate_tensors()
    edges = interpreter.get_input_details() + interpreter.get_output_details()
    assert [edge["name"] for edge in edges] == ["z", "embedding"]
    assert {edge["dtype"] for edge in edges} == {np.int8}
    assert edges[0]["quantization"] == (pytest.approx(4 / 127), 0)
    kinds = {entry["dtype"] for entry in interpreter.get_tensor_details()}
    assert kinds == {np.int8, np.int32}


@settings(max_examples=60)
@given(st.floats(2.0**-10, 10, width=32), st.integers(-128, 127), st.integers(-128, 127))
def test_integers_survive_a_round_trip(step: float, zero: int, integer: int) -> None:
    scale = Scale(float(np.float32(step)), zero)
    kept = np.array([integer], np.int8)
    assert scale.integers(scale.reals(kept)) == kept


def test_zero_is_exact_in_every_range() -> None:
    _, _, body = a_body(4)
    for scale in (body.hidden.entering, body.hidden.leaving, body.embed.leaving):
        assert scale.reals(scale.integers(np.zeros(1, np.float32))) == 0
