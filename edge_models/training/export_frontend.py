"""Writes the acoustic front end as two ONNX graphs: `descriptors.onnx` and `functionals.onnx`.

Rules it upholds: the same source gives the same bytes; a graph is only kept if ONNX Runtime
agrees with torch on sounds of several lengths; constants that have a formula stay formulas.

Run as `python -m edge_models.training.export_frontend OUT_DIR`.
"""

import io
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn

from edge_models.errors import BundleError
from edge_models.runner import OnnxGraph
from edge_models.training.frontend import CONTEXT_HOPS, FrontEnd
from edge_models.training.functionals import Functionals

OPSET: Final = 17
TOLERANCE: Final = 2e-3
"""Largest difference from torch, relative to a column's spread, for 99 % of the values."""


def export_frontend(folder: Path) -> None:
    """Write both graphs into `folder` and check them against torch.

    Raises:
        BundleError: ONNX Runtime and torch disagree.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        front_end, functionals = FrontEnd().eval(), Functionals().eval()
        descriptors = _exported(
            front_end, (_sound(300),), ["samples"], "descriptors", {"samples": ["n"]}
        )
        summary = _exported(
            functionals,
            (front_end(_sound(300)), torch.ones(300)),
            ["descriptors", "speech"],
            "summary",
            {"descriptors": ["frames"], "speech": ["frames"]},
        )
        _check(OnnxGraph(descriptors), OnnxGraph(summary), front_end, functionals)
    (folder / "descriptors.onnx").write_bytes(descriptors)
    (folder / "functionals.onnx").write_bytes(summary)


def _exported(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    output: str,
    dynamic: Mapping[str, Sequence[str]],
) -> bytes:
    buffer = io.BytesIO()
    axes: dict[str, Any] = {name: dict(enumerate(axis)) for name, axis in dynamic.items()}
    if output == "descriptors":
        axes[output] = {0: "frames"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            example,
            buffer,
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
            do_constant_folding=False,
        )
    return _compact(onnx.load_from_string(buffer.getvalue()), {*inputs, output})


def _compact(model: onnx.ModelProto, kept: set[str]) -> bytes:
    """The same graph with each constant once, short names and no trace of its source lines."""
    graph = model.graph
    names: dict[str, str] = {name: name for name in kept} | {"": ""}
    constants: dict[bytes, str] = {}
    nodes = []
    for initializer in graph.initializer:
        names[initializer.name] = initializer.name = f"w{len(names):x}"
    for node in graph.node:
        if node.op_type == "Constant":
            value = node.attribute[0].SerializeToString()
            if value in constants:
                names[node.output[0]] = constants[value]
                continue
        for place, name in enumerate(node.input):
            node.input[place] = names[name]
        for place, name in enumerate(node.output):
            node.output[place] = names.setdefault(name, f"{len(names):x}")
        if node.op_type == "Constant":
            constants[value] = node.output[0]
        node.name, node.doc_string = "", ""
        nodes.append(node)
    whole = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(whole)
    del graph.value_info[:]
    model.doc_string, graph.doc_string = "", ""
    onnx.checker.check_model(model)
    compact: bytes = model.SerializeToString(deterministic=True)
    return compact


def _sound(frames: int) -> Tensor:
    """A gliding, noisy buzz with a pause: voiced and unvoiced rows of `frames` hops."""
    count = (frames + 2 * CONTEXT_HOPS) * 160
    random = np.random.default_rng(20250207)
    time = np.arange(count) / 16_000.0
    phase = np.cumsum(120.0 + 40.0 * np.sin(2.0 * time)) / 16_000.0
    buzz = sum(np.sin(2 * np.pi * k * phase) / k for k in range(1, 25))
    loud = 0.1 * (np.sin(3.0 * time) > -0.3)
    sound = buzz * loud + 0.01 * random.standard_normal(count)
    return torch.from_numpy(sound.astype(np.float32))


def _check(
    descriptors: OnnxGraph, functionals: OnnxGraph, front_end: nn.Module, summary: nn.Module
) -> None:
    for frames in (1, 37, 1000):
        sound = _sound(frames)
        want = front_end(sound).numpy()
        got = descriptors.run({"samples": sound.numpy()})[0]
        speech = (torch.arange(frames) % 7 < 6).float()
        want_summary = summary(torch.from_numpy(got), speech).numpy()
        inputs = {"descriptors": got, "speech": speech.numpy()}
        got_summary = functionals.run(inputs)[0]
        for one, other in ((got, want), (got_summary, want_summary)):
            if one.shape != other.shape or not _agree(one, other):
                raise BundleError(
                    "The exported front end differs from its torch source.",
                    "Use the pinned versions of torch and onnxruntime, then export again.",
                )


def _agree(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> bool:
    if not np.isfinite(one).all():
        return False
    spread = np.maximum(np.abs(other).max(axis=0), 1.0)
    return bool(np.mean(np.abs(one - other) / spread < TOLERANCE) > 0.99)


if __name__ == "__main__":
    export_frontend(Path(sys.argv[1]))
