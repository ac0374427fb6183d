"""The speech gate's graph, in torch: log-mel rows and webrtcvad's votes in, belief out.

Rules it upholds: standard ONNX operators only; nothing depends on the level of the recording
but through the floor of what 16 bits can hold; no row sees further than the window. Weights are
stored in 8 bits and widened when the graph is loaded, so that the file stays small.

Place in the life of a frame: made here once, run on the device as `gate.onnx`.
"""

import io
import math
import warnings
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from edge_models.raw import SAMPLE_RATE_HZ
from edge_models.training.spectrum import ShortTimeDft, hann
from edge_models.windows import HOP_SAMPLES

STEP_SAMPLES: Final = 2 * HOP_SAMPLES
FRAME_SAMPLES: Final = 2 * STEP_SAMPLES
BANDS: Final = 40
LOWEST_HZ: Final = 100.0
CHANNELS: Final = 64
DILATIONS: Final = (1, 2, 4, 8, 16, 32)
"""In steps of 20 ms: the graph sees 1.3 s on both sides, where the window has them."""

OPSET: Final = 17
Floats = npt.NDArray[np.float64]
_SMALL_WEIGHT: Final = 1_000
_FLOOR: Final = 2e-5
"""Added to band energies (frame of 640 samples, full scale 1): the noise of 16 bits and dither."""


class GateGraph(nn.Module):
    """`samples` (n,) and `votes` (n // 160,) to the belief of speech in each row (n // 160,).

    Row k is the 10 ms [160·k, 160·(k+1)). Inside, two rows are one step, whose spectrum is of
    the 40 ms around its middle.
    """

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__()
        self.dft = ShortTimeDft(hann(FRAME_SAMPLES), FRAME_SAMPLES, 20, STEP_SAMPLES)
        self.register_buffer("mel", self.dft.as_given(torch.from_numpy(mel_bands()).float()))
        self.enter = nn.Conv1d(2 * BANDS + 3, channels, 3, padding=1, bias=False)
        self.enter_norm = nn.BatchNorm1d(channels)
        self.blocks = nn.ModuleList(
            nn.Conv1d(channels, channels, 3, padding=step, dilation=step, bias=False)
            for step in DILATIONS
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(channels) for _ in DILATIONS)
        self.leave = nn.Conv1d(channels, 2, 1)

    def forward(self, samples: Tensor, votes: Tensor) -> Tensor:
        """The graph as it is exported: one stretch in, belief in 0..1 out."""
        return torch.sigmoid(self.decide(self.log_mel(samples)[None], votes[None]))[0]

    def log_mel(self, samples: Tensor) -> Tensor:
        """Log energies of 40 mel bands from 100 Hz: (n,) → (40, steps), two rows a step."""
        power = self.dft(samples, HOP_SAMPLES, 2 * HOP_SAMPLES)
        return torch.log(self.mel @ power + _FLOOR)

    def decide(self, log_mel: Tensor, votes: Tensor) -> Tensor:
        """From bands (B, 40, steps) and votes (B, rows) to log-odds (B, rows)."""
        rows, steps = votes.shape[-1], log_mel.shape[-1]
        floor = -_widest(_widest(-log_mel, 5), 61)
        level = _mean_over(log_mel.mean(dim=1, keepdim=True), 151)
        loudness = level * 0.2 + 1.0
        # An odd last row has a step of its own.
        pairs = nn.functional.pad(votes, (0, 1))[:, : 2 * steps].reshape(len(votes), -1, 2)
        seen = torch.cat(
            [
                (log_mel - level) * 0.4,
                (log_mel - floor) * 0.3,
                loudness,
                pairs.transpose(1, 2),
            ],
            dim=1,
        )
        flow = torch.relu(self.enter_norm(self.enter(seen)))
        for block, norm in zip(self.blocks, self.norms, strict=True):
            flow = flow + torch.relu(norm(block(flow)))
        both = self.leave(flow)  # (B, 2, steps): the two rows of each step
        return both.transpose(1, 2).reshape(len(votes), -1)[:, :rows]


def _widest(rows: Tensor, width: int) -> Tensor:
    return nn.functional.max_pool1d(rows, width, stride=1, padding=width // 2)


def _mean_over(rows: Tensor, width: int) -> Tensor:
    return nn.functional.avg_pool1d(
        rows, width, stride=1, padding=width // 2, count_include_pad=False
    )


def mel_bands() -> Floats:
    """Triangular mel weights over bins 0..320: (40, 321), each band summing to one.

    Source: O'Shaughnessy 1987, mel(f) = 2595·log10(1 + f/700).
    """
    hz = np.arange(FRAME_SAMPLES // 2 + 1) * SAMPLE_RATE_HZ / FRAME_SAMPLES

    def mel(of_hz: float) -> float:
        return 2595 * math.log10(1 + of_hz / 700)

    edges = np.linspace(mel(LOWEST_HZ), mel(SAMPLE_RATE_HZ / 2), BANDS + 2)
    edges_hz = 700 * (10 ** (edges / 2595) - 1)
    bands = np.zeros((BANDS, len(hz)))
    for band in range(BANDS):
        low, peak, high = edges_hz[band : band + 3]
        rise, fall = (hz - low) / (peak - low), (high - hz) / (high - peak)
        weights = np.clip(np.minimum(rise, fall), 0, None)
        if not weights.any():  # narrower than the bins are apart: the nearest bin
            weights[np.argmin(abs(hz - peak))] = 1
        bands[band] = weights / weights.sum()
    return bands


def exported(graph: GateGraph) -> bytes:
    """The graph as an ONNX file (opset 17): inputs `samples`, `votes`; output `speech`."""
    graph.eval()
    rows = 140
    example = (torch.zeros(rows * HOP_SAMPLES), torch.zeros(rows))
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a deprecated exporter and of what it can't fold
        torch.onnx.export(
            graph,
            example,
            file,
            dynamo=False,
            do_constant_folding=False,  # the transform is made from its formula when loaded
            opset_version=OPSET,
            input_names=["samples", "votes"],
            output_names=["speech"],
            dynamic_axes={"samples": {0: "n"}, "votes": {0: "rows"}, "speech": {0: "rows"}},
        )
    model = onnx.load_from_string(file.getvalue())
    _narrow(model.graph)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _narrow(graph: onnx.GraphProto) -> None:
    """Store the large weights in 8 bits, one scale for each output; loading widens them again."""
    for weight in list(graph.initializer):
        name, values = weight.name, numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < _SMALL_WEIGHT:
            continue
        graph.initializer.remove(weight)
        scale = abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True) / 127 + 1e-12
        steps = np.rint(values / scale).astype(np.int8)
        graph.initializer.append(numpy_helper.from_array(steps, f"{name}_steps"))
        graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale"))
        widened = [f"{name}_steps"], [f"{name}_float"]
        graph.node.insert(0, helper.make_node("Cast", *widened, to=onnx.TensorProto.FLOAT))
        graph.node.insert(1, helper.make_node("Mul", [f"{name}_float", f"{name}_scale"], [name]))
