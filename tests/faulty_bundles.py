"""Bundles that disagree with themselves: parts of the shipped one, altered and sealed again."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from edge_models.bundle_files import read_manifest
from edge_models.manifest import MANIFEST_NAME, MOMENTS
from edge_models.training.assemble import restate_card

Change = Callable[[Path], object]


def resealed(folder: Path, name: str, raw: bytes) -> None:
    """Replace a file and write its new size and hash into the manifest: a forger would too."""
    (folder / name).write_bytes(raw)
    manifest = json.loads((folder / MANIFEST_NAME).read_bytes())
    for entry in manifest["files"]:
        if entry["name"] == name:
            entry |= {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))


def restated(folder: Path) -> None:
    """Let the card speak of the files that are there: a forger would do that, too."""
    about = read_manifest(folder)
    restate_card(folder, about.name, about.version, about.licence)
    resealed(folder, "CARD.md", (folder / "CARD.md").read_bytes())


def without_moments(folder: Path) -> None:
    """As bundles were before there were own moments, its card too."""
    (folder / MOMENTS).unlink()
    manifest = json.loads((folder / MANIFEST_NAME).read_bytes())
    manifest["files"] = [one for one in manifest["files"] if one["name"] != MOMENTS]
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    restated(folder)


def in_manifest(**fields: object) -> Change:
    """Change fields of the manifest."""

    def change(folder: Path) -> None:
        table = json.loads((folder / MANIFEST_NAME).read_bytes()) | fields
        (folder / MANIFEST_NAME).write_text(json.dumps(table))

    return change


def file(name: str, make: Callable[[bytes], bytes]) -> Change:
    """Change the bytes of a file and seal it."""
    return lambda folder: resealed(folder, name, make((folder / name).read_bytes()))


def table(name: str, edit: Callable[[Any], object]) -> Change:
    """Change what a JSON file says and seal it."""

    def make(raw: bytes) -> bytes:
        said = json.loads(raw)
        edit(said)
        return json.dumps(said).encode()

    return file(name, make)


def graph(name: str, edit: Callable[[Any], object]) -> Change:
    """Change the GraphProto of an ONNX file and seal it."""

    def make(raw: bytes) -> bytes:
        model = onnx.load_from_string(raw)
        edit(model.graph)
        return bytes(model.SerializeToString())

    return file(name, make)


def lite(edit: Callable[[Any], object]) -> Change:
    """Change the ModelT of the TFLite body and seal it."""

    def make(raw: bytes) -> bytes:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(raw, 0))
        edit(model)
        builder = flatbuffers.Builder(32 * 1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    return file("body.tflite", make)


def swapped(one: str, other: str) -> Change:
    """Put each of two files in the place of the other."""

    def change(folder: Path) -> None:
        first, second = (folder / one).read_bytes(), (folder / other).read_bytes()
        resealed(folder, one, second)
        resealed(folder, other, first)

    return change


def turned_weights(model: Any) -> None:
    """Give a TFLite body other numbers: its first weights negated."""
    largest = max(range(len(model.buffers)), key=lambda n: len(_held(model.buffers[n])))
    model.buffers[largest].data = (-_held(model.buffers[largest]).view(np.int8)).view(np.uint8)


def _held(buffer: Any) -> np.ndarray:
    return np.zeros(0, np.uint8) if buffer.data is None else np.asarray(buffer.data, np.uint8)


def plain_body(functionals: int, embedding: int, scale: float = 0.01) -> bytes:
    """A body that nobody trained: a matrix of one number, as ONNX."""
    matrix = np.full((functionals, embedding), scale, np.float32)
    inner = helper.make_graph(
        [helper.make_node("MatMul", ["z", "w"], ["embedding"])],
        "body",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", functionals])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", embedding])],
        [numpy_helper.from_array(matrix, "w")],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(inner, opset_imports=[opset], ir_version=8)
    return bytes(model.SerializeToString())
