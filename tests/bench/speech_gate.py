"""The speech gate beside bare webrtcvad and silero-vad: how well they find speech, and the cost.

Every detector hears the same mixtures, made of people and noise recordings that the gate was
never trained on. `python -m tests.bench.speech_gate` prints the card's table (`gate.md`).
"""

import importlib.util
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime

import edge_models
from edge_models.raw import SAMPLE_RATE_HZ, RawAudio
from edge_models.runner import OnnxGraph
from edge_models.speech_gate import SpeechGate, votes
from edge_models.training.gate_figures import (
    SNRS_DB,
    Condition,
    Detector,
    Outcome,
    bare,
    conditions_of,
    outcomes_of,
    pooled,
    through,
)
from edge_models.training.gate_sounds import NoiseKind, Split, sounds_of
from edge_models.training.recordings import recordings_folder
from edge_models.windows import AudioWindow, windows_of
from tests.bench.figure import Figure

Sound = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

GATE: Final = Path(edge_models.__file__).parent / "bundles" / "affect-1" / "gate.onnx"
SILERO_CHUNK: Final = 512
SILERO_THRESHOLDS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
SEED: Final = 2026
_SILERO_CONTEXT: Final = 64


class Silero:
    """silero-vad 6's own ONNX file in ONNX Runtime, one thread: the oracle for speech."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("silero_vad")  # its package would import torchaudio
        assert spec is not None and spec.origin is not None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(Path(spec.origin).parent / "data" / "silero_vad.onnx"), options
        )

    def probability(self, sound: Sound) -> Sound:
        """Speech probability of each 10 ms row: float32 (n // 160,)."""
        state = np.zeros((2, 1, 128), np.float32)
        rate = np.array(16_000, np.int64)
        chunks = -(-len(sound) // SILERO_CHUNK)
        padded = np.zeros(_SILERO_CONTEXT + chunks * SILERO_CHUNK, np.float32)
        padded[_SILERO_CONTEXT : _SILERO_CONTEXT + len(sound)] = sound
        each = np.empty(chunks, np.float32)
        for chunk in range(chunks):
            first = chunk * SILERO_CHUNK
            piece = padded[None, first : first + _SILERO_CONTEXT + SILERO_CHUNK]
            out, state = self._session.run(None, {"input": piece, "state": state, "sr": rate})
            each[chunk] = out[0, 0]
        # A row belongs to the chunk that holds its middle.
        middles = np.arange(len(sound) // 160) * 160 + 80
        rows: Sound = each[middles // SILERO_CHUNK]
        return rows


def silero_outcomes(silero: Silero, conditions: Sequence[Condition]) -> tuple[Outcome, ...]:
    """silero-vad at several thresholds; the network runs once for each mixture."""
    beliefs = {
        id(made.sound): silero.probability(made.sound)
        for condition in conditions
        for made in condition.mixtures
    }

    def at(threshold: float) -> Detector:
        return lambda sound: beliefs[id(sound)] >= threshold

    return outcomes_of({f"silero-vad {each}": at(each) for each in SILERO_THRESHOLDS}, conditions)


def all_outcomes(each: int) -> tuple[Outcome, ...]:
    """Every detector on the test split, `each` mixtures of 20 s a condition."""
    sounds = sounds_of(recordings_folder(), (Split.TEST,))[Split.TEST]
    conditions = conditions_of(sounds, each, SEED)
    detectors: dict[str, Detector] = {"gate": through(SpeechGate(OnnxGraph(GATE.read_bytes())))}
    for frame_ms in (10, 20, 30):
        for mode in range(4):
            detectors[f"webrtcvad {mode}, {frame_ms} ms"] = bare(mode, frame_ms // 10)
    return outcomes_of(detectors, conditions) + silero_outcomes(Silero(), conditions)


def ms_per_second(work: Callable[[], object], seconds: float) -> float:
    """Milliseconds of one core for each second of sound: the best of seven runs."""
    best = float("inf")
    for _ in range(7):
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
    return best / seconds * 1000


def costs() -> dict[str, float]:
    """What each detector costs in ms for each second of sound, one thread, in the same run."""
    rng = np.random.default_rng(SEED)
    sound = (0.05 * rng.standard_normal(10 * SAMPLE_RATE_HZ)).astype(np.float32)
    (window,) = windows_of([RawAudio(sound.copy(), 0)])
    gate, silero = SpeechGate(OnnxGraph(GATE.read_bytes())), Silero()

    def decide(of: AudioWindow = window) -> Mask:
        return gate.speech(of)

    return {
        "gate": ms_per_second(decide, 10),
        "webrtcvad": ms_per_second(lambda: votes(sound), 10),
        "silero-vad": ms_per_second(lambda: silero.probability(sound), 10),
    }


def measure() -> list[Figure]:
    """The gate's figures for the bench: F1 at each ratio, and the cost."""
    outcomes = all_outcomes(6)
    found = []
    for snr_db in SNRS_DB:
        ours = pooled(outcomes, "gate", (snr_db,))
        rival = best_of(outcomes, "webrtcvad", snr_db)
        silero = pooled(outcomes, "silero-vad 0.5", (snr_db,)).f1
        best = best_of(outcomes, "silero-vad", snr_db)
        found.append(
            Figure(
                f"speech gate at {snr_db} dB",
                f"F1 {ours.f1:.3f} (precision {ours.precision:.3f}, recall {ours.recall:.3f})",
                f"> {rival[1]:.3f} ({rival[0]}); >= {silero - 0.03:.3f} (silero-vad 0.5: "
                f"{silero:.3f}; its best threshold {best[0].split()[1]}: {best[1]:.3f})",
                ours.f1 > rival[1] and ours.f1 >= silero - 0.03,
                "music, babble, clatter and ambience, people and recordings held out",
            )
        )
    cost = costs()
    share = cost["gate"] / cost["silero-vad"]
    found.append(
        Figure(
            "speech gate's cost",
            f"{cost['gate']:.2f} ms per second of sound, {share:.2f} of silero-vad",
            "< 0.25 of silero-vad",
            share < 0.25,
            f"one thread, same run; silero-vad {cost['silero-vad']:.2f}, "
            f"webrtcvad within the gate {cost['webrtcvad']:.2f} ms per second",
        )
    )
    return found


def best_of(outcomes: Sequence[Outcome], family: str, snr_db: int) -> tuple[str, float]:
    """The best F1 that any setting of a detector reaches at one ratio, and which."""
    names = {each.detector for each in outcomes if each.detector.startswith(family)}
    score, name = max((pooled(outcomes, name, (snr_db,)).f1, name) for name in names)
    return name, score


def table(outcomes: Sequence[Outcome]) -> str:
    """The card's table: precision / recall / F1 by ratio, then F1 by kind, then false alarms."""
    names = list(dict.fromkeys(each.detector for each in outcomes))
    ratios = " | ".join(f"{snr_db} dB" for snr_db in SNRS_DB)
    lines = [
        "Precision / recall / F1 over all kinds of noise:\n",
        f"| detector | {ratios} |",
        "|---" * (len(SNRS_DB) + 1) + "|",
    ]
    for name in names:
        cells = [pooled(outcomes, name, (snr_db,)) for snr_db in SNRS_DB]
        text = " | ".join(f"{c.precision:.3f} / {c.recall:.3f} / **{c.f1:.3f}**" for c in cells)
        lines.append(f"| {name} | {text} |")
    shown = ["gate", "silero-vad 0.5", *(f"webrtcvad {mode}, 30 ms" for mode in range(4))]
    lines += [
        "\nBy kind of noise, F1; `alone`: share of rows called speech where nobody near speaks:\n",
        f"| noise | detector | {ratios} | alone |",
        "|---" * (len(SNRS_DB) + 3) + "|",
    ]
    for kind in NoiseKind:
        for name in shown:
            cells = [pooled(outcomes, name, (snr_db,), (kind,)) for snr_db in SNRS_DB]
            text = " | ".join(f"{cell.f1:.3f}" for cell in cells)
            alone = pooled(outcomes, name, (None,), (kind,)).alarm_rate
            lines.append(f"| {kind} | {name} | {text} | {alone:.3f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(all_outcomes(12)))
    print("\nCost, ms per second of sound:", {k: round(v, 2) for k, v in costs().items()})
