"""The body and head in torch: a small MLP that learns three tasks and the acted emotion.

Rules it upholds: classes count the same whatever their number, within each set; an unknown
label costs nothing; one seed gives one network; one thread.

88 z-scores → 64 (ReLU) → 16 (linear: the embedding) → 3 logits; a second head, for the emotion,
only guides the training and is thrown away.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edge_models.baseline import Z_BOUND, Population
from edge_models.training.corpora import EMOTIONS
from edge_models.training.streams import Floats, Windows, live_order, passed, population_of

HIDDEN: Final = 64
EMBEDDING: Final = 16

PASSES: Final = 12
EPOCHS: Final = 36
BATCH: Final = 128
PEAK_RATE: Final = 3e-3
WEIGHT_DECAY: Final = 3e-2
DROPPED_INPUT: Final = 0.2
DROPPED_HIDDEN: Final = 0.4
INPUT_NOISE: Final = 0.3
EMOTION_SHARE: Final = 0.5
FORGETTING: Final = 0.08


class Encoder(nn.Module):
    """Body (`hidden`, `embed`) and heads; `forward` gives embedding, task and emotion logits."""

    def __init__(self, functionals: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(functionals, HIDDEN)
        self.embed = nn.Linear(HIDDEN, EMBEDDING)
        self.tasks = nn.Linear(EMBEDDING, 3)
        self.emotions = nn.Linear(EMBEDDING, len(EMOTIONS))
        self.drop_input = nn.Dropout(DROPPED_INPUT)
        self.drop_hidden = nn.Dropout(DROPPED_HIDDEN)

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """From z (N, F) to the embedding (N, E), logits (N, 3) and emotion logits (N, 8)."""
        if self.training:
            z = (z + INPUT_NOISE * torch.randn_like(z)).clamp(-Z_BOUND, Z_BOUND)
        inner = self.drop_hidden(torch.relu(self.hidden(self.drop_input(z))))
        embedding = self.embed(inner)
        return embedding, self.tasks(embedding), self.emotions(embedding)

    def logits(self, z: Floats) -> npt.NDArray[np.float64]:
        """Uncalibrated logits of the three tasks, float64 (N, 3)."""
        self.eval()
        with torch.no_grad():
            answer: npt.NDArray[np.float64] = self(torch.from_numpy(z))[1].double().numpy()
        return answer


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A trained encoder, and the population that its inputs were measured against."""

    encoder: Encoder
    population: Population


def task_weights(windows: Windows) -> Floats:
    """What each window counts for in each task, float32 (N, 3): 0 where unknown.

    Within a set (and a kind of window) positives and negatives weigh the same in sum; a set
    weighs by its number of windows.
    """
    weights = np.zeros(windows.truth.shape, np.float32)
    for dataset in np.unique(windows.dataset):
        for kind in np.unique(windows.kind):
            group = (windows.dataset == dataset) & (windows.kind == kind)
            for task in range(weights.shape[1]):
                rows = group & windows.known[:, task]
                for side in (True, False):
                    chosen = rows & (windows.truth[:, task] == side)
                    if chosen.any():
                        weights[chosen, task] = 0.5 * rows.sum() / chosen.sum()
    return weights


def fitted(windows: Windows, seed: int, *, epochs: int = EPOCHS, passes: int = PASSES) -> Fitted:
    """Train on these windows, and on no others."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    population = population_of(windows)
    encoder = Encoder(windows.summaries.shape[1])
    streams = [
        passed(windows, population, live_order(windows, rng), forgetting=FORGETTING, rng=rng)
        for _ in range(passes)
    ]
    targets = _Targets(
        torch.from_numpy(windows.truth.astype(np.float32)),
        torch.from_numpy(task_weights(windows)),
        torch.from_numpy(windows.emotion.astype(np.int64)),
    )
    steps = epochs * -(-len(streams[0].places) // BATCH)
    optimiser = torch.optim.AdamW(encoder.parameters(), PEAK_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=steps)
    encoder.train()
    for epoch in range(epochs):
        stream = streams[epoch % passes]
        z, places = torch.from_numpy(stream.z), torch.from_numpy(stream.places)
        for batch in torch.randperm(len(places)).split(BATCH):
            optimiser.zero_grad()
            _loss(encoder, z[batch], places[batch], targets).backward()
            optimiser.step()
            schedule.step()
    encoder.eval()
    return Fitted(encoder, population)


@dataclass(frozen=True, slots=True)
class _Targets:
    truth: torch.Tensor
    weights: torch.Tensor
    emotion: torch.Tensor


def _loss(
    encoder: Encoder, z: torch.Tensor, places: torch.Tensor, targets: _Targets
) -> torch.Tensor:
    _, tasks, emotions = encoder(z)
    task_loss = nn.functional.binary_cross_entropy_with_logits(
        tasks, targets.truth[places], targets.weights[places]
    )
    told = targets.emotion[places]
    emotion_loss = nn.functional.cross_entropy(
        emotions, told, ignore_index=-1, label_smoothing=0.1, reduction="none"
    )
    share = EMOTION_SHARE * emotion_loss.sum() / max(len(places), 1)
    total: torch.Tensor = task_loss + share / np.log(len(EMOTIONS))
    return total
