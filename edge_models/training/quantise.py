"""From a float body to int8: ranges, integers, and the two files that hold the same integers.

Rules it upholds: both runtimes get the same scales, zero points and integers, so that they can
only differ by how they round; ranges ignore the outermost thousandth of activations,
which would cost everybody else resolution.

Weights use 7 of their 8 bits: kernels for x86 without VNNI add pairs of products in 16 bits,
and 2·255·63 is the most that never overflows there, so every machine gives one answer.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_models.baseline import Z_BOUND
from edge_models.training.streams import Floats

Int8s = npt.NDArray[np.int8]

WEIGHT_STEPS: Final = 63
KEPT_BELOW: Final = 99.9
_OPSET: Final = 17
_IR_VERSION: Final = 8


@dataclass(frozen=True, slots=True)
class Scale:
    """real = step · (integer - zero)."""

    step: float
    zero: int

    def integers(self, values: Floats) -> Int8s:
        """The nearest int8, halves to even."""
        steps = np.rint(values.astype(np.float32) / np.float32(self.step)) + self.zero
        whole: Int8s = np.clip(steps, -128, 127).astype(np.int8)
        return whole

    def reals(self, integers: Int8s) -> Floats:
        """Back to float32."""
        whole = integers.astype(np.float32) - np.float32(self.zero)
        return np.asarray(whole * np.float32(self.step), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One dense layer: `weights` int8 (out, in), `bias` int32 (out,); `relu` after it or not."""

    weights: Int8s
    weight_step: float
    bias: npt.NDArray[np.int32]
    relu: bool
    entering: Scale
    leaving: Scale

    @property
    def bias_step(self) -> float:
        """The step of the bias and of the accumulator."""
        return float(np.float32(self.entering.step) * np.float32(self.weight_step))

    def run(self, integers: Int8s) -> Int8s:
        """The layer in exact integers (N, in) → (N, out): the oracle of both runtimes."""
        centred = integers.astype(np.int64) - self.entering.zero
        sums = centred @ self.weights.astype(np.int64).T + self.bias
        kept = np.maximum(sums, 0) if self.relu else sums
        steps = np.rint(kept * (self.bias_step / self.leaving.step))
        left: Int8s = np.clip(steps + self.leaving.zero, -128, 127).astype(np.int8)
        return left


@dataclass(frozen=True, slots=True, eq=False)
class QuantisedBody:
    """Two layers: z → hidden (ReLU) → embedding (linear)."""

    hidden: Layer
    embed: Layer

    def run(self, z: Floats) -> Floats:
        """The embeddings, float32 (N, E), of z-scores, float32 (N, F), by exact integers."""
        entered = self.hidden.entering.integers(z)
        return self.embed.leaving.reals(self.embed.run(self.hidden.run(entered)))


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """A float layer: `weights` float32 (out, in), `bias` float32 (out,)."""

    weights: Floats
    bias: Floats
    relu: bool

    def run(self, values: Floats) -> Floats:
        """(N, in) → (N, out)."""
        sums = values @ self.weights.T + self.bias
        return np.asarray(np.maximum(sums, 0) if self.relu else sums, np.float32)


def straight(weights: Floats, bias: Floats) -> tuple[Dense, Dense]:
    """A linear map, `weights` float32 (E, F) and `bias` (E,), as two layers with a ReLU between.

    Each direction goes through twice, upright and upside down, and is put together again. Every
    direction is brought to one size first, so that all use the same integers well.
    """
    sizes = np.maximum(np.abs(weights).max(axis=1), 1e-9)
    upright, shifted = weights / sizes[:, None], bias / sizes
    hidden = Dense(
        np.concatenate([upright, -upright]).astype(np.float32),
        np.concatenate([shifted, -shifted]).astype(np.float32),
        relu=True,
    )
    back = np.concatenate([np.diag(sizes), -np.diag(sizes)], axis=1)
    return hidden, Dense(back.astype(np.float32), np.zeros(len(sizes), np.float32), relu=False)


def quantised(hidden: Dense, embed: Dense, calibration: Floats) -> QuantisedBody:
    """Choose ranges on calibration z-scores, float32 (N, F), and round the layers."""
    entering = Scale(float(np.float32(Z_BOUND / 127)), 0)
    inner = hidden.run(calibration)
    between, leaving = _range_of(inner), _range_of(embed.run(inner))
    return QuantisedBody(_rounded(hidden, entering, between), _rounded(embed, between, leaving))


def _range_of(activations: Floats) -> Scale:
    """All 256 integers over what activations reach; zero is always one of them exactly."""
    low, high = np.percentile(activations, [100 - KEPT_BELOW, KEPT_BELOW])
    low, high = min(float(low), 0.0), max(float(high), 1e-3)
    step = float(np.float32((high - low) / 255))
    return Scale(step, int(np.clip(np.rint(-128 - low / step), -128, 127)))


def _rounded(layer: Dense, entering: Scale, leaving: Scale) -> Layer:
    step = float(np.float32(np.abs(layer.weights).max() / WEIGHT_STEPS))
    weights = np.clip(np.rint(layer.weights / step), -WEIGHT_STEPS, WEIGHT_STEPS).astype(np.int8)
    bias = np.rint(layer.bias / (entering.step * step)).astype(np.int32)
    return Layer(weights, step, bias, layer.relu, entering, leaving)


def onnx_body(body: QuantisedBody) -> bytes:
    """The body as ONNX in QDQ form: `z` float32 (N, F) → `embedding` float32 (N, E).

    Source: ONNX Runtime, "Quantize ONNX models", tensor-oriented (QDQ) representation.
    """
    parts = _Parts([], [])
    value = "z"
    for name, layer in (("hidden", body.hidden), ("embed", body.embed)):
        value = parts.through(value, f"{name}_in", layer.entering)
        weights = parts.constant(f"{name}_weights", layer.weights, layer.weight_step)
        bias = parts.constant(f"{name}_bias", layer.bias, layer.bias_step)
        parts.nodes.append(helper.make_node("Gemm", [value, weights, bias], [name], transB=1))
        value = name
        if layer.relu:
            value = f"{name}_relu"
            parts.nodes.append(helper.make_node("Relu", [name], [value]))
    parts.through(value, "out", body.embed.leaving, final="embedding")
    graph = helper.make_graph(
        parts.nodes,
        "body",
        [_float_edge("z", body.hidden.weights.shape[1])],
        [_float_edge("embedding", body.embed.weights.shape[0])],
        parts.constants,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="sottovoce",
    )
    onnx.checker.check_model(model, full_check=True)
    raw: bytes = model.SerializeToString(deterministic=True)
    return raw


def _float_edge(name: str, width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width])


@dataclass(frozen=True, slots=True)
class _Parts:
    nodes: list[onnx.NodeProto]
    constants: list[onnx.TensorProto]

    def through(self, value: str, name: str, scale: Scale, final: str = "") -> str:
        """Quantise and dequantise a value; the runtime fuses the pair with its neighbours."""
        step = self._put(f"{name}_step", np.asarray(scale.step, np.float32))
        zero = self._put(f"{name}_zero", np.asarray(scale.zero, np.int8))
        integers, real = f"{name}_int8", final or f"{name}_real"
        self.nodes.append(helper.make_node("QuantizeLinear", [value, step, zero], [integers]))
        self.nodes.append(helper.make_node("DequantizeLinear", [integers, step, zero], [real]))
        return real

    def constant(self, name: str, values: npt.NDArray[np.generic], step: float) -> str:
        """A stored integer tensor, dequantised where it is used; its zero point is 0."""
        integers = self._put(f"{name}_integers", values)
        scale = self._put(f"{name}_step", np.asarray(step, np.float32))
        zero = self._put(f"{name}_zero", np.asarray(0, values.dtype))
        self.nodes.append(helper.make_node("DequantizeLinear", [integers, scale, zero], [name]))
        return name

    def _put(self, name: str, values: npt.NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name
