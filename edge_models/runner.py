"""Runs a graph: ONNX Runtime or TFLite behind one protocol; both are named only here.

Place in the life of a frame: every graph of the bundle (gate, descriptors, functionals, body)
is run through a `Graph`; which runtime it is, the manifest says.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_faults

from edge_models.errors import BundleError, ContractError, RuntimeMissing

Array = npt.NDArray[Any]

_ONNX_REFUSALS: Final = (
    onnx_faults.Fail,
    onnx_faults.InvalidArgument,
    onnx_faults.InvalidGraph,
    onnx_faults.InvalidProtobuf,
    onnx_faults.NotImplemented,
    onnx_faults.RuntimeException,
)
"""ONNX Runtime's errors share no root of their own."""


class Graph(Protocol):
    """Named arrays in, the graph's outputs out, in their declared order."""

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Run once; inputs by name, outputs in the graph's order."""
        ...


class OnnxGraph:
    """A graph on ONNX Runtime's CPU provider, one thread unless told otherwise."""

    def __init__(self, model: bytes, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what fails is raised, and told once
        # Arenas keep every buffer they ever needed: on a small board memory matters more.
        options.enable_cpu_mem_arena = False
        # A second copy of every weight buys nothing at one window in ten seconds.
        options.add_session_config_entry("session.disable_prepacking", "1")
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except (*_ONNX_REFUSALS, RuntimeError, ValueError) as fault:
            raise BundleError(
                "A graph of the bundle can't be loaded by ONNX Runtime.",
                "Install the bundle again: its file is damaged or made for a newer runtime.",
            ) from fault
        self._names = tuple(entry.name for entry in self._session.get_inputs())

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Run once; see `Graph`.

        Raises:
            ContractError: an input is missing, not in the graph, or of another shape or type.
            BundleError: the graph itself fails on what it was given.
        """
        if set(inputs) != set(self._names):
            raise ContractError(f"The graph wants the inputs {self._names}.")
        try:
            outputs: list[Array] = self._session.run(None, dict(inputs))
        except onnx_faults.InvalidArgument as fault:
            raise ContractError("A graph was given an input of another shape or type.") from fault
        except _ONNX_REFUSALS as fault:
            raise BundleError(
                "A graph of the bundle fails while it runs.",
                "Install the bundle again: its file is damaged or made for a newer runtime.",
            ) from fault
        return outputs


class TfliteGraph:
    """A graph on the TFLite runtime, one thread; quantised edges are converted to float32."""

    def __init__(self, model: bytes) -> None:
        try:
            from tflite_runtime.interpreter import Interpreter  # 40 MB: only if used
        except ImportError as missing:
            raise RuntimeMissing(
                "The TFLite runtime is not installed on this machine.",
                "Install tflite-runtime, or choose 'onnx' as the bundle's runtime.",
            ) from missing
        try:
            self._interpreter = Interpreter(model_content=model, num_threads=1)
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as fault:
            raise BundleError(
                "A graph of the bundle can't be loaded by TFLite.",
                "Install the bundle again: its file is damaged.",
            ) from fault
        self._inputs = {entry["name"]: entry for entry in self._interpreter.get_input_details()}
        self._outputs = self._interpreter.get_output_details()

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Run once; see `Graph`.

        Raises:
            ContractError: an input is missing, not in the graph, or of another shape or type.
        """
        if set(inputs) != set(self._inputs):
            raise ContractError(f"The graph wants the inputs {tuple(self._inputs)}.")
        for name, values in inputs.items():
            entry = self._inputs[name]
            if values.shape != tuple(entry["shape"]):
                raise ContractError("A graph was given an input of another shape or type.")
            self._interpreter.set_tensor(entry["index"], _to_edge(values, entry))
        self._interpreter.invoke()
        return [
            _from_edge(self._interpreter.get_tensor(entry["index"]), entry)
            for entry in self._outputs
        ]


_INT8: Final = np.iinfo(np.int8)


def _to_edge(values: Array, entry: Any) -> Array:
    """Quantise float values to the edge's int8 scale, or pass them as they are."""
    scale, zero = entry["quantization"]
    if entry["dtype"] is not np.int8 or not scale:
        plain: Array = values.astype(entry["dtype"], copy=False)
        return plain
    steps = np.rint(values / scale) + zero
    quantised: Array = np.clip(steps, _INT8.min, _INT8.max).astype(np.int8)
    return quantised


def _from_edge(values: Array, entry: Any) -> Array:
    """Back from the edge's int8 scale to float32."""
    scale, zero = entry["quantization"]
    if entry["dtype"] is not np.int8 or not scale:
        return values
    real: Array = ((values.astype(np.float32) - zero) * np.float32(scale)).astype(np.float32)
    return real
