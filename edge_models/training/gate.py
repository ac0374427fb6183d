"""Train the speech gate: `python -m edge_models.training.gate OUT_DIR`.

Rules it upholds: people and noise recordings of training, validation and test are disjoint; the
shipped graph is the one whose test figures are printed; one seed gives one graph.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from edge_models.runner import OnnxGraph
from edge_models.speech_gate import SpeechGate, votes
from edge_models.training import gate_figures, gate_mixtures
from edge_models.training.gate_figures import Counted, Outcome, conditions_of, outcomes_of
from edge_models.training.gate_graph import BANDS, GateGraph, exported
from edge_models.training.gate_mixtures import Mixture, near_speech
from edge_models.training.gate_music import synthetic_music
from edge_models.training.gate_sounds import NoiseKind, Sound, Sounds, Split, sounds_of
from edge_models.training.recordings import recordings_folder
from edge_models.windows import CONTEXT_SAMPLES, HOP_SAMPLES

EXAMPLES: Final = 8_000
EXAMPLE_ROWS: Final = 440
EPOCHS: Final = 8
BATCH: Final = 32
PEAK_RATE: Final = 4e-3
MISSED_IN_BABBLE: Final = 2.0
"""A near voice no louder than the babble can't be told from it for sure: rather kept than lost."""

_CONTEXT_ROWS: Final = CONTEXT_SAMPLES // HOP_SAMPLES


@dataclass(frozen=True, slots=True)
class GateFigures:
    """Test figures of a trained gate beside bare webrtcvad, by condition."""

    outcomes: tuple[Outcome, ...]
    graph_bytes: int

    def of(self, detector: str, snr_db: int) -> Counted:
        """The counts of one detector at one ratio, over all kinds of noise."""
        return gate_figures.pooled(self.outcomes, detector, (snr_db,))


@dataclass(frozen=True, slots=True)
class Examples:
    """What the graph hears of the training examples, and the truth.

    `log_mel` float16 (N, 40, R / 2), `votes` uint8 (N, R), `truth` bool (N, R), and `weight`
    float32 (N, 1): what a missed row of speech costs beside a false alarm.
    """

    log_mel: torch.Tensor
    votes: torch.Tensor
    truth: torch.Tensor
    weight: torch.Tensor


def train_gate(
    recordings: Path,
    folder: Path,
    seed: int,
    *,
    examples: int = EXAMPLES,
    epochs: int = EPOCHS,
    mixtures_each: int = 8,
) -> GateFigures:
    """Train on the recordings, write `gate.onnx` into the folder, and test it.

    Raises:
        RecordingError: the recordings lack speech or noise, or can't be decoded.
    """
    torch.manual_seed(seed)
    sounds = sounds_of(recordings, (Split.TRAIN, Split.TEST))
    graph = GateGraph()
    learned = examples_of(sounds[Split.TRAIN], graph, examples, np.random.default_rng(seed))
    fit(graph, learned, epochs, seed)
    model = exported(graph)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gate.onnx").write_bytes(model)
    conditions = conditions_of(sounds[Split.TEST], mixtures_each, seed + 1)
    detectors: dict[str, gate_figures.Detector] = {
        "gate": gate_figures.through(SpeechGate(OnnxGraph(model)))
    }
    for mode in range(4):
        detectors[f"webrtcvad mode {mode}"] = gate_figures.bare(mode)
    return GateFigures(outcomes_of(detectors, conditions), len(model))


def examples_of(sounds: Sounds, graph: GateGraph, count: int, rng: np.random.Generator) -> Examples:
    """Mix the training examples and keep what the graph hears of them."""
    log_mel = torch.empty(count, BANDS, EXAMPLE_ROWS // 2, dtype=torch.float16)
    heard = torch.empty(count, EXAMPLE_ROWS, dtype=torch.uint8)
    truth = torch.empty(count, EXAMPLE_ROWS, dtype=torch.bool)
    weight = torch.ones(count, 1)
    kinds = [kind for kind in NoiseKind if kind is NoiseKind.BABBLE or sounds.of_kind(kind)]
    with torch.no_grad():
        for place in range(count):
            kind = kinds[place % len(kinds)]
            example = example_of(sounds, kind, rng)
            log_mel[place] = graph.log_mel(torch.from_numpy(example.sound))
            heard[place] = torch.from_numpy(votes(example.sound).astype(np.uint8))
            truth[place] = torch.from_numpy(example.truth)
            if kind is NoiseKind.BABBLE:
                weight[place] = MISSED_IN_BABBLE
    return Examples(log_mel, heard, truth, weight)


def example_of(sounds: Sounds, kind: NoiseKind, rng: np.random.Generator) -> Mixture:
    """One augmented mixture of `EXAMPLE_ROWS` rows, with one kind of noise."""
    speech = near_speech(sounds, EXAMPLE_ROWS, rng)
    chance = rng.random()
    if chance < (0.12 if kind is NoiseKind.BABBLE else 0.22):
        speech = Mixture(np.zeros_like(speech.sound), np.zeros_like(speech.truth))
    elif chance < 0.5:
        speech = Mixture(gate_mixtures.in_room(speech.sound, rng), speech.truth)
    ratio_db = rng.uniform(-3, 25) if rng.random() < 0.85 else rng.uniform(25, 50)
    mixture = gate_mixtures.mixed(speech, some_noise(sounds, kind, rng), ratio_db)
    sound = mixture.sound
    if rng.random() < 0.3:
        sound = gate_mixtures.through_a_line(sound, rng)
    sound = gate_mixtures.captured(sound, rng)
    truth = mixture.truth.copy()
    for edge in (slice(0, _CONTEXT_ROWS), slice(EXAMPLE_ROWS - _CONTEXT_ROWS, EXAMPLE_ROWS)):
        if rng.random() < 0.25:  # the stream starts or ends here
            truth[edge] = False
            sound[edge.start * HOP_SAMPLES : edge.stop * HOP_SAMPLES] = 0
    return Mixture(sound, truth)


def some_noise(sounds: Sounds, kind: NoiseKind, rng: np.random.Generator) -> Sound:
    """Recorded or synthetic noise of one kind, varied."""
    longer = EXAMPLE_ROWS * 4 // 3
    chance = rng.random()
    if kind is NoiseKind.MUSIC and chance < 0.5:
        noise = synthetic_music(EXAMPLE_ROWS, rng)
    elif kind in (NoiseKind.AMBIENCE, NoiseKind.CLATTER) and chance < 0.3:
        noise = gate_mixtures.synthetic_noise(EXAMPLE_ROWS, rng)
    elif kind is NoiseKind.BABBLE:
        noise = gate_mixtures.noise_of(sounds, kind, EXAMPLE_ROWS, rng)
        if rng.random() < 0.5:
            noise = gate_mixtures.in_room(noise, rng)
    else:
        recorded = gate_mixtures.noise_of(sounds, kind, longer, rng)
        noise = gate_mixtures.at_another_speed(recorded, EXAMPLE_ROWS, rng)
    if rng.random() < 0.3:
        noise = gate_mixtures.through_a_line(noise, rng)
    return noise


def fit(graph: GateGraph, learned: Examples, epochs: int, seed: int) -> None:
    """Fit the graph's decision to the truth of the rows, by weighted binary cross-entropy."""
    order = torch.Generator().manual_seed(seed)
    count = len(learned.truth)
    steps = epochs * -(-count // BATCH)
    optimiser = torch.optim.AdamW(graph.parameters(), lr=PEAK_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=steps)
    graph.train()
    for _ in range(epochs):
        for batch in torch.randperm(count, generator=order).split(BATCH):
            span = _some_steps(order)
            rows = slice(2 * span.start, 2 * span.stop)
            log_mel = learned.log_mel[batch][:, :, span].float() + _some_colour(len(batch), order)
            logits = graph.decide(log_mel, learned.votes[batch][:, rows].float())
            loss = nn.functional.binary_cross_entropy_with_logits(
                logits, learned.truth[batch][:, rows].float(), pos_weight=learned.weight[batch]
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


def _some_colour(count: int, order: torch.Generator) -> torch.Tensor:
    """Another microphone and room for each example: smooth band gains, float32 (count, 40, 1)."""
    bands = torch.arange(BANDS) / BANDS
    waves = torch.cos(torch.pi * bands[None, :] * torch.arange(1, 4)[:, None])
    return (0.5 * torch.randn(count, 3, generator=order) @ waves)[:, :, None]


def _some_steps(order: torch.Generator) -> slice:
    """All steps half of the time, else a shorter stretch: windows come in every length."""
    most = EXAMPLE_ROWS // 2
    size = min(int(torch.randint(50, 2 * most, (1,), generator=order)), most)
    first = int(torch.randint(0, most - size + 1, (1,), generator=order))
    return slice(first, first + size)


def main() -> None:
    """Train from SOTTOVOCE_DATA and print the test figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.monotonic()
    figures = train_gate(recordings_folder(), arguments.folder, arguments.seed)
    print(f"{figures.graph_bytes} bytes, {time.monotonic() - begun:.0f} s")
    names = sorted({outcome.detector for outcome in figures.outcomes})
    for snr_db in gate_figures.SNRS_DB:
        print(snr_db, *(f"{name} {figures.of(name, snr_db).f1:.3f}" for name in names), sep="  ")


if __name__ == "__main__":
    main()
