"""A bundle whose card, hashes, golden vectors or contracts disagree does not load."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from edge_models.bundle import load_bundle, shipped_bundle, shipped_folder
from edge_models.bundle_files import read_manifest
from edge_models.card_statement import MEASURED, text_of
from edge_models.errors import BundleError
from edge_models.manifest import LARGEST_BODY_BYTES, MANIFEST_NAME
from tests.faulty_bundles import (
    Change,
    file,
    graph,
    in_manifest,
    lite,
    plain_body,
    resealed,
    restated,
    swapped,
    table,
    turned_weights,
    without_moments,
)

F, E = len(shipped_bundle().population), shipped_bundle().head.embedding_size
STILL_THE_SAME = {
    "onnx": b"\x32\x01x",  # a doc string
    "tflite": bytes(4),
    "json": b" ",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped bundle that a test may damage."""
    copy = tmp_path / "bundle"
    shutil.copytree(shipped_folder(), copy)
    return copy


def refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as refused:
        load_bundle(folder)
    assert refused.value.remedy and "\n" not in refused.value.cause
    assert len(str(refused.value)) < 500
    return refused.value.cause


# The card.


@pytest.mark.parametrize("name", MEASURED)
def test_a_card_of_another_file_is_refused_even_where_the_answers_are_the_same(
    folder: Path, name: str
) -> None:
    more = STILL_THE_SAME[name.rpartition(".")[2]]
    resealed(folder, name, (folder / name).read_bytes() + more)
    assert refusal(folder) == f"The bundle's card speaks of another '{name}'."
    restated(folder)
    load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (in_manifest(version="1.0.9"), "card is of the version"),
        (in_manifest(name="affect-2"), "card is of the name 'affect-1'"),
        (in_manifest(licence="CC BY 4.0"), "card is of the licence 'CC BY-NC-SA 4.0'"),
        (file("CARD.md", lambda raw: raw.replace(b'"format":1', b'"format":2', 1)), "'format'"),
        (file("CARD.md", lambda raw: raw.replace(b'"files"', b'"filed"', 1)), "not valid"),
        (file("CARD.md", lambda raw: raw.replace(b'"gate.onnx"', b'"gates.onnx"', 1)), "'files'"),
        (file("CARD.md", lambda raw: raw.replace(b" -->", b"", 1)), "no end"),
        (file("CARD.md", lambda raw: raw[:200]), "no end"),
        (file("CARD.md", lambda raw: raw[:20] + b" " * 70_000 + raw[20:]), "no end"),
    ],
)
def test_a_card_that_says_something_else_is_refused(
    folder: Path, change: Change, said: str
) -> None:
    change(folder)
    assert said in refusal(folder)


def test_a_card_without_moments_is_not_one_of_a_bundle_that_has_them(folder: Path) -> None:
    with_moments, whole = (folder / "moments.json").read_bytes(), read_manifest(folder)
    without_moments(folder)
    card = (folder / "CARD.md").read_bytes()
    (folder / "moments.json").write_bytes(with_moments)
    (folder / MANIFEST_NAME).write_bytes(whole.to_bytes())
    resealed(folder, "CARD.md", card)
    assert refusal(folder) == "The bundle's card speaks of another 'moments.json'."


def test_a_card_from_before_cards_stated_anything_is_taken(folder: Path) -> None:
    resealed(folder, "CARD.md", text_of((folder / "CARD.md").read_text()).encode())
    bundle = load_bundle(folder)
    assert bundle.statement is None and bundle.card.startswith("# affect-1")


# Contracts.


def first_dimension(edge: Any) -> Any:
    return edge.type.tensor_type.shape.dim[0]


def renamed_output(inner: Any) -> None:
    for node in inner.node:
        node.output[:] = ["vector" if name == "embedding" else name for name in node.output]
    inner.output[0].name = "vector"


def another_output(inner: Any) -> None:
    name = inner.node[0].output[0]
    inner.output.append(helper.make_tensor_value_info(name, TensorProto.INT8, ["N", F]))


def another_input(inner: Any) -> None:
    inner.input.append(helper.make_tensor_value_info("age", TensorProto.FLOAT, ["N"]))


def dtype(edge: Any, kind: int) -> None:
    edge.type.tensor_type.elem_type = kind


def lite_edge(model: Any, name: bytes) -> Any:
    return next(tensor for tensor in model.subgraphs[0].tensors if tensor.name == name)


def lite_shape(name: bytes, *shape: int) -> Change:
    return lite(lambda model: setattr(lite_edge(model, name), "shape", list(shape)))


def lite_output_too(model: Any) -> None:
    inner = model.subgraphs[0]
    inner.outputs = [*inner.outputs, inner.operators[0].outputs[0]]


FREE = "N"
ONNX_BODY = "body.onnx"
CONTRACTS: list[tuple[str, Change, str]] = [
    ("the bodies swapped", swapped("body.onnx", "body.tflite"), "'body.onnx' is damaged"),
    ("gate and descriptors swapped", swapped("gate.onnx", "descriptors.onnx"), "'gate.onnx'"),
    (
        "functionals and body swapped",
        swapped("functionals.onnx", "body.onnx"),
        "'functionals.onnx' never takes 'descriptors'",
    ),
    (
        "a body for fewer functionals",
        file(ONNX_BODY, lambda _: plain_body(F - 8, E)),
        f"takes 'z' float32 (any, {F - 8}), where it must be 'z' float32 (any, {F})",
    ),
    (
        "a body of a wider embedding",
        file(ONNX_BODY, lambda _: plain_body(F, E + 1)),
        f"gives 'embedding' float32 (any, {E + 1}), where it must be",
    ),
    (
        "a body of any width",
        graph(ONNX_BODY, lambda inner: setattr(
            inner.input[0].type.tensor_type.shape.dim[1], "dim_param", FREE)),
        "takes 'z' float32 (any, any)",
    ),
    (
        "a body for seven windows at once",
        graph(ONNX_BODY, lambda inner: setattr(first_dimension(inner.input[0]), "dim_value", 7)),
        "takes 'z' float32 (7,",
    ),
    (
        "an axis too many",
        graph(ONNX_BODY, lambda inner: inner.input[0].type.tensor_type.shape.dim.add()),
        "takes 'z' float32 (any,",
    ),
    (
        "doubles",
        graph(ONNX_BODY, lambda inner: dtype(inner.input[0], TensorProto.DOUBLE)),
        "takes 'z' float64",
    ),
    (
        "integers out",
        graph(ONNX_BODY, lambda inner: dtype(inner.output[0], TensorProto.INT8)),
        "gives 'embedding' int8",
    ),
    ("a type of no name", graph(ONNX_BODY, lambda inner: dtype(inner.input[0], 77)), "type 77"),
    ("another name", graph(ONNX_BODY, renamed_output), "never gives 'embedding'"),
    ("an output too many", graph(ONNX_BODY, another_output), "also gives"),
    ("an input too many", graph(ONNX_BODY, another_input), "also takes 'age'"),
    (
        "the same output twice",
        graph(ONNX_BODY, lambda inner: inner.output.append(inner.output[0])),
        "also gives 'embedding'",
    ),
    (
        "no output",
        graph(ONNX_BODY, lambda inner: inner.ClearField("output")),
        "never gives 'embedding'",
    ),
    (
        "more edges than any graph",
        graph(ONNX_BODY, lambda inner: inner.output.extend([inner.output[0]] * 40)),
        "can't be read as ONNX",
    ),
    (
        "a gate without votes",
        graph("gate.onnx", lambda inner: inner.input.pop()),
        "'gate.onnx' never takes 'votes'",
    ),
    (
        "descriptors of whole seconds only",
        graph("descriptors.onnx", lambda inner: setattr(
            first_dimension(inner.input[0]), "dim_value", 16_000)),
        "'descriptors.onnx' takes 'samples' float32 (16000)",
    ),
    (
        "functionals of fewer descriptors",
        graph("functionals.onnx", lambda inner: setattr(
            inner.input[0].type.tensor_type.shape.dim[1], "dim_value", 24)),
        "'functionals.onnx' takes 'descriptors' float32 (any, 24)",
    ),
    (
        "fewer functionals",
        graph("functionals.onnx", lambda inner: setattr(
            first_dimension(inner.output[0]), "dim_value", 87)),
        "'functionals.onnx' gives 'summary' float32 (87)",
    ),
    (
        "TFLite of another width",
        lite_shape(b"z", 1, F - 1),
        f"'body.tflite' takes 'z' int8 (1, {F - 1})",
    ),
    (
        "TFLite of another embedding",
        lite_shape(b"embedding", 1, E + 3),
        f"'body.tflite' gives 'embedding' int8 (1, {E + 3})",
    ),
    (
        "TFLite of any batch",
        lite(lambda model: setattr(lite_edge(model, b"z"), "shapeSignature", [-1, F])),
        f"'body.tflite' takes 'z' int8 (any, {F})",
    ),
    (
        "TFLite of half floats",
        lite(lambda model: setattr(lite_edge(model, b"z"), "type", 1)),
        "takes 'z' float16",
    ),
    (
        "TFLite without a scale",
        lite(lambda model: setattr(lite_edge(model, b"embedding"), "quantization", None)),
        "without its one step",
    ),
    ("TFLite with two outputs", lite(lite_output_too), "'body.tflite' also gives"),
    (
        "TFLite with two graphs",
        lite(lambda model: model.subgraphs.append(model.subgraphs[0])),
        "can't be read as TFLite",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"), [c[1:] for c in CONTRACTS], ids=[c[0] for c in CONTRACTS]
)
def test_a_graph_with_other_edges_is_refused_by_its_name_and_edge(
    folder: Path, change: Change, said: str
) -> None:
    change(folder)
    restated(folder)
    assert said in refusal(folder)


# Numbers.


def first(key: str, value: object) -> Any:
    return lambda said: said[key].__setitem__(0, value)


def in_first_vector(key: str, edit: Any) -> Any:
    return lambda said: edit(said["vectors"][0][key])


NUMBERS: list[tuple[str, Change, str]] = [
    ("NaN in the head", table("head.json", first("biases", float("nan"))), "head.json"),
    ("infinity in the head", table("head.json", first("shifts", float("inf"))), "head.json"),
    ("a slope of zero", table("head.json", first("slopes", 0.0)), "head.json"),
    (
        "a head of two lengths",
        table("head.json", lambda said: said["weights"][0].pop()),
        "head.json",
    ),
    (
        "a head of another size",
        table("head.json", lambda said: [row.pop() for row in said["weights"]]),
        "'body.onnx' gives 'embedding'",
    ),
    ("another head", table("head.json", first("biases", 0.5)), "golden scores"),
    ("NaN in the population", table("population.json", first("mean", float("nan"))), "population"),
    ("a spread of zero", table("population.json", first("spread", 0.0)), "population"),
    (
        "functionals in another order",
        table("population.json", lambda said: said["functionals"].reverse()),
        "population",
    ),
    (
        "fewer functionals",
        table("population.json", lambda said: [
            said[key].pop() for key in ("functionals", "median", "spread", "mean", "deviation")]),
        "population",
    ),
    (
        "another population",
        table("population.json", lambda said: said.update(
            mean=[one + 1 for one in said["mean"]])),
        "golden vectors are off",
    ),
    (
        "NaN in a golden vector",
        table("golden.json", in_first_vector("embedding", lambda row: row.append(float("nan")))),
        "golden.json",
    ),
    (
        "a golden vector of another width",
        table("golden.json", in_first_vector("summary", lambda row: row.pop())),
        "golden vectors don't fit",
    ),
    (
        "golden vectors of another embedding",
        table("golden.json", lambda said: [one["embedding"].pop() for one in said["vectors"]]),
        "golden vectors don't fit",
    ),
    (
        "a golden sound of another width",
        table("golden.json", lambda said: said["sound"].pop()),
        "golden vectors don't fit",
    ),
    (
        "golden vectors of another body",
        table("golden.json", lambda said: said["vectors"][0].update(
            summary=[one + 2 for one in said["vectors"][0]["summary"]])),
        "golden vectors are off",
    ),
    ("no golden vector", table("golden.json", lambda said: said["vectors"].clear()), "golden.json"),
    ("another body", file(ONNX_BODY, lambda _: plain_body(F, E)), "golden vectors are off"),
    (
        "a body that gives no numbers",
        file(ONNX_BODY, lambda _: plain_body(F, E, scale=float("nan"))),
        "golden vectors are off",
    ),
    (
        "a body that can't be built",
        graph(ONNX_BODY, lambda inner: setattr(inner.node[0], "op_type", "Unheard")),
        "can't be loaded by ONNX Runtime",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), [c[1:] for c in NUMBERS], ids=[c[0] for c in NUMBERS])
def test_numbers_that_disagree_are_refused(folder: Path, change: Change, said: str) -> None:
    change(folder)
    restated(folder)
    assert said in refusal(folder)


@pytest.mark.parametrize(
    "name", ["gate.onnx", "descriptors.onnx", "functionals.onnx", "body.onnx", "body.tflite",
             "head.json", "population.json", "golden.json"],
)  # fmt: skip
@pytest.mark.parametrize("share", [0.0, 0.5, 0.97])
def test_a_file_cut_short_and_sealed_is_refused(folder: Path, name: str, share: float) -> None:
    raw = (folder / name).read_bytes()
    resealed(folder, name, raw[: max(1, int(share * len(raw)))])
    restated(folder)
    assert name in refusal(folder)


def test_tflite_with_other_numbers_is_another_file_to_the_card_and_to_golden_vectors(
    folder: Path,
) -> None:
    lite(turned_weights)(folder)
    assert "speaks of another 'body.tflite'" in refusal(folder)
    restated(folder)
    bundle = load_bundle(folder)
    with pytest.raises(BundleError, match=r"golden vectors are off .*\(TFLite\)"):
        bundle.check()


def test_the_shipped_bodies_are_smaller_than_the_largest() -> None:
    for name in ("body.onnx", "body.tflite"):
        assert len(shipped_bundle().raw(name)) < LARGEST_BODY_BYTES


def test_the_statement_of_the_shipped_card_has_figures_that_stand_in_its_tables() -> None:
    bundle = shipped_bundle()
    assert bundle.statement is not None and len(bundle.statement.figures) > 4
    rows = [line for line in text_of(bundle.card).splitlines() if line.startswith("|")]
    for figure in bundle.statement.figures:
        assert any(figure.value in row for row in rows), figure
    assert json.loads(bundle.card.partition("-card ")[2].partition(" -->")[0])["name"] == "affect-1"
