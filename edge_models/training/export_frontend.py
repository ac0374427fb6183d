"""Export the acoustic front end from torch to the two ONNX graphs of a bundle.

    python -m edge_models.training.export_frontend FOLDER

Standard operators only, opset 18, so that ONNX Runtime Web runs them too. Bases stay formulas in
the file and are folded when it is loaded: it holds the front end's text, not its tables.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxscript.optimizer
import torch

from edge_models.errors import ContractError
from edge_models.runner import OnnxGraph
from edge_models.training.front_end.descriptors import CONTEXT_HOPS, FrontEnd
from edge_models.training.front_end.functionals import Functionals
from edge_models.training.front_end.spectrum import HOP

OPSET: Final = 18
_LARGEST_FOLDED: Final = 256  # elements; anything larger stays a formula
_ROWS: Final = 300


def export_frontend(folder: Path) -> None:
    """Write `descriptors.onnx` and `functionals.onnx`, and check both against torch.

    Raises:
        ContractError: ONNX Runtime and torch disagree.
    """
    torch.set_num_threads(1)
    noise = np.random.default_rng(1).normal(0, 0.1, (_ROWS + 2 * CONTEXT_HOPS) * HOP)
    samples = torch.from_numpy(noise.astype(np.float32))
    hops = torch.export.Dim("hops", min=2 * CONTEXT_HOPS + 2, max=1_000_000)
    front_end = FrontEnd().eval()
    _export(
        folder / "descriptors.onnx",
        front_end,
        {"samples": samples},
        "rows",
        lambda: {"samples": {0: HOP * hops}},
    )
    with torch.no_grad():
        rows = front_end(samples)
    speech = (torch.arange(_ROWS) % 50 < 40).to(torch.float32)
    row = torch.export.Dim("rows", min=4, max=1_000_000)
    _export(
        folder / "functionals.onnx",
        Functionals().eval(),
        {"descriptors": rows, "speech": speech},
        "summary",
        lambda: {"descriptors": {0: row}, "speech": {0: row}},
    )


def _export(
    path: Path,
    module: torch.nn.Module,
    inputs: dict[str, torch.Tensor],
    output: str,
    dynamic: Callable[[], dict[str, Any]],
) -> None:
    program = torch.onnx.export(
        module,
        (),
        kwargs=inputs,
        dynamo=True,
        opset_version=OPSET,
        input_names=list(inputs),
        output_names=[output],
        dynamic_shapes=dynamic(),
        optimize=False,
        verbose=False,
    )
    assert program is not None
    onnxscript.optimizer.optimize_ir(
        program.model, input_size_limit=_LARGEST_FOLDED, output_size_limit=_LARGEST_FOLDED
    )
    model = program.model_proto
    _forget_where_it_came_from(model)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))
    _agree(path, module, inputs)


def _forget_where_it_came_from(model: onnx.ModelProto) -> None:
    """Drop stack traces, docs, long names and shapes: most of the file, and machine paths."""
    graph = model.graph
    del graph.value_info[:]
    del graph.metadata_props[:], model.metadata_props[:]
    model.doc_string = graph.doc_string = ""
    kept = {entry.name for entry in (*graph.input, *graph.output)}
    short: dict[str, str] = {}

    def renamed(name: str) -> str:
        if not name or name in kept:
            return name
        return short.setdefault(name, f"v{len(short)}")

    for tensor in graph.initializer:
        tensor.name = renamed(tensor.name)
    for node in graph.node:
        node.name = node.doc_string = ""
        del node.metadata_props[:]
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]


def _agree(path: Path, module: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        expected = module(**inputs).numpy()
    found = OnnxGraph(path.read_bytes()).run(
        {name: value.numpy() for name, value in inputs.items()}
    )
    # Roots of noise are ill-conditioned: medians are compared where single rows may part.
    apart = np.median(np.abs(found[0] - expected).reshape(len(expected), -1), axis=0)
    if not (apart <= 1e-3 + 1e-3 * np.abs(expected).max()).all():
        raise ContractError(f"'{path.name}' does not compute what torch computes.")


if __name__ == "__main__":
    export_frontend(Path(sys.argv[1]))
