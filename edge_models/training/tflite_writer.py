"""Writes the int8 body as a `.tflite` file, operator by operator, without TensorFlow.

Rules it upholds: it holds exactly the integers, scales and zero points of the ONNX file.

Source: the TensorFlow Lite schema, version 3 (`schema.fbs`), through the object API that
`ai-edge-litert` generated from it; the quantisation scheme is TensorFlow Lite's 8-bit
quantisation specification (symmetric int8 weights, int32 bias of step input · weight).
"""

from dataclasses import dataclass
from typing import Any, Final

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edge_models.training.quantise import Layer, QuantisedBody, Scale

_IDENTIFIER: Final = b"TFL3"
_VERSION: Final = 3
_INT8_FULLY_CONNECTED: Final = 4
"""The operator's version that knows int8 on all sides."""


def tflite_body(body: QuantisedBody) -> bytes:
    """The body as TFLite: `z` int8 (1, F) → `embedding` int8 (1, E), both with their scales."""
    parts = _Parts([schema.BufferT()], [], [])
    value = entering = parts.activation("z", body.hidden.weights.shape[1], body.hidden.entering)
    for name, layer in (("hidden", body.hidden), ("embedding", body.embed)):
        value = parts.dense(name, value, layer)
    graph = schema.SubGraphT()
    graph.name = "body"
    graph.tensors, graph.operators = parts.tensors, parts.operators
    graph.inputs, graph.outputs = [entering], [value]
    model = schema.ModelT()
    model.version = _VERSION
    model.description = "sottovoce"
    model.operatorCodes = [_fully_connected_code()]
    model.subgraphs = [graph]
    model.buffers = parts.buffers
    builder = flatbuffers.Builder(32 * 1024)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _fully_connected_code() -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = _INT8_FULLY_CONNECTED
    return code


@dataclass(frozen=True, slots=True)
class _Parts:
    """Buffers (the first is empty by rule), tensors and operators of the only subgraph."""

    buffers: list[Any]
    tensors: list[Any]
    operators: list[Any]

    def activation(self, name: str, width: int, scale: Scale) -> int:
        """A tensor (1, width) that is computed; returns its index."""
        return self._tensor(name, [1, width], schema.TensorType.INT8, scale, buffer=0)

    def dense(self, name: str, value: int, layer: Layer) -> int:
        """A fully connected operator, its ReLU fused; returns its output's index."""
        weights = self._stored(f"{name}_weights", layer.weights, layer.weight_step)
        bias = self._stored(f"{name}_bias", layer.bias, layer.bias_step)
        leaving = self.activation(name, layer.weights.shape[0], layer.leaving)
        options = schema.FullyConnectedOptionsT()
        kind = schema.ActivationFunctionType
        options.fusedActivationFunction = kind.RELU if layer.relu else kind.NONE
        operator = schema.OperatorT()
        operator.opcodeIndex = 0
        operator.inputs, operator.outputs = [value, weights, bias], [leaving]
        operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        operator.builtinOptions = options
        self.operators.append(operator)
        return leaving

    def _stored(self, name: str, values: npt.NDArray[np.int8 | np.int32], step: float) -> int:
        buffer = schema.BufferT()
        little = values.astype(values.dtype.newbyteorder("<"))
        buffer.data = np.frombuffer(little.tobytes(), np.uint8)
        self.buffers.append(buffer)
        kind = schema.TensorType.INT8 if values.dtype == np.int8 else schema.TensorType.INT32
        shape = list(values.shape)
        return self._tensor(name, shape, kind, Scale(step, 0), buffer=len(self.buffers) - 1)

    def _tensor(self, name: str, shape: list[int], kind: int, scale: Scale, *, buffer: int) -> int:
        quantisation = schema.QuantizationParametersT()
        quantisation.scale, quantisation.zeroPoint = [scale.step], [scale.zero]
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, shape, kind
        tensor.buffer, tensor.quantization = buffer, quantisation
        self.tensors.append(tensor)
        return len(self.tensors) - 1
