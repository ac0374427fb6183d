"""Two runtimes behind one protocol: the same names in, the same kind of answer out."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_models.bundle import shipped_bundle
from edge_models.errors import BundleError, ContractError
from edge_models.runner import Graph, OnnxGraph, TfliteGraph


@pytest.fixture(scope="module", params=["onnx", "tflite"])
def body(request: pytest.FixtureRequest) -> Graph:
    return shipped_bundle().graph("body", request.param)


def test_a_body_takes_float_z_and_gives_a_float_embedding(body: Graph) -> None:
    bundle = shipped_bundle()
    (embedding,) = body.run({"z": np.zeros((1, len(bundle.population)), np.float32)})
    assert embedding.shape == (1, bundle.head.embedding_size)
    assert embedding.dtype == np.float32


@pytest.mark.parametrize("names", [(), ("y",), ("z", "y")])
def test_wrong_names_are_our_bug(body: Graph, names: tuple[str, ...]) -> None:
    with pytest.raises(ContractError):
        body.run({name: np.zeros((1, 88), np.float32) for name in names})


def test_an_input_of_another_shape_is_our_bug(body: Graph) -> None:
    for shape in ((88,), (1, 87), (1, 1, 88)):
        with pytest.raises(ContractError):
            body.run({"z": np.zeros(shape, np.float32)})


def test_an_answer_does_not_change_when_the_next_is_asked_for(body: Graph) -> None:
    one = body.run({"z": np.full((1, 88), 0.5, np.float32)})[0]
    kept = one.copy()
    body.run({"z": np.full((1, 88), -0.5, np.float32)})
    assert np.array_equal(one, kept)


@pytest.mark.parametrize("kind", [OnnxGraph, TfliteGraph])
@pytest.mark.parametrize("raw", [b"", b"graph", b"\0" * 100], ids=["none", "word", "zeros"])
def test_bytes_that_are_no_graph_are_refused_with_a_remedy(kind: type, raw: bytes) -> None:
    with pytest.raises(BundleError) as refused:
        kind(raw)
    assert refused.value.remedy


def test_a_graph_that_fails_while_it_runs_is_the_bundles_fault(
    capfd: pytest.CaptureFixture[str],
) -> None:
    into = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n"])
    wide = helper.make_tensor_value_info("wide", TensorProto.FLOAT, [2, "m"])
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [2, -1])
    halves = helper.make_node("Reshape", ["z", "shape"], ["wide"])
    model = helper.make_model(
        helper.make_graph([halves], "halves", [into], [wide], [shape]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    graph = OnnxGraph(model.SerializeToString())
    assert graph.run({"z": np.zeros(4, np.float32)})[0].shape == (2, 2)
    with pytest.raises(BundleError, match="fails while it runs"):
        graph.run({"z": np.zeros(3, np.float32)})
    assert capfd.readouterr().err == ""
