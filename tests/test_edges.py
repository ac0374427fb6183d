"""Edges read from a graph's bytes are those that the runtimes see, or the bytes are refused."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_models.bundle import shipped_bundle
from edge_models.edges import MOST_EDGES, Edges, edges_of
from edge_models.errors import BundleError
from edge_models.runner import OnnxGraph, TfliteGraph

BUNDLE = shipped_bundle()
ONNX = ("gate.onnx", "descriptors.onnx", "functionals.onnx", "body.onnx")


@pytest.mark.parametrize("name", ONNX)
def test_onnx_edges_are_those_that_onnx_runtime_sees(name: str) -> None:
    edges = edges_of(name, BUNDLE.raw(name))
    session = OnnxGraph(BUNDLE.raw(name))._session
    for read, seen in (
        (edges.inputs, session.get_inputs()),
        (edges.outputs, session.get_outputs()),
    ):
        assert [edge.name for edge in read] == [edge.name for edge in seen]
        assert {edge.dtype for edge in read} == {"float32"}
        assert {edge.type for edge in seen} == {"tensor(float)"}
        sizes = [[axis if isinstance(axis, int) else None for axis in edge.shape] for edge in seen]
        assert [list(edge.shape) for edge in read] == sizes


def test_tflite_edges_are_those_that_tflite_sees() -> None:
    raw = BUNDLE.raw("body.tflite")
    edges = edges_of("body.tflite", raw)
    graph = TfliteGraph(raw)
    seen = (*graph._inputs.values(), *graph._outputs)
    for edge, entry in zip((*edges.inputs, *edges.outputs), seen, strict=True):
        assert edge.name == entry["name"]
        assert edge.shape == tuple(entry["shape"])
        assert edge.dtype == np.dtype(entry["dtype"]).name
        assert edge.steps == len(entry["quantization_parameters"]["scales"]) == 1


def must_be_edges_or_refused(name: str, raw: bytes) -> None:
    try:
        edges = edges_of(name, raw)
    except BundleError as refused:
        assert name in refused.cause
        return
    assert isinstance(edges, Edges)
    assert max(len(edges.inputs), len(edges.outputs)) <= MOST_EDGES
    assert all(len(str(edge)) < 1_000 for edge in (*edges.inputs, *edges.outputs))


@given(st.sampled_from(["body.onnx", "body.tflite"]), st.binary(max_size=200))
@example("body.onnx", b"\x3a" + b"\xff" * 9 + b"\x01")  # a length of 2^64
@example("body.onnx", b"\x3a\x80")  # a length cut short
@example("body.onnx", b"\x3b\x00\x3c")  # a group
@example("body.tflite", b"\x08\x00\x00\x00TFL3\x00\x00\x00\x80")  # a table far before its file
@example("body.tflite", b"\xff\xff\xff\xffTFL3")
def test_any_bytes_are_edges_or_refused(name: str, raw: bytes) -> None:
    must_be_edges_or_refused(name, raw)


@settings(max_examples=150)
@given(st.sampled_from(["body.onnx", "body.tflite"]), st.data())
def test_damaged_graphs_are_edges_or_refused(name: str, data: st.DataObject) -> None:
    raw = bytearray(BUNDLE.raw(name))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    must_be_edges_or_refused(name, bytes(raw[: data.draw(st.integers(0, len(raw)))] or raw))


def test_a_graph_of_two_readings_is_refused() -> None:
    raw = BUNDLE.raw("body.onnx")
    with pytest.raises(BundleError, match="damaged"):
        edges_of("body.onnx", raw + raw)  # a reader may take the last graph, or both together
