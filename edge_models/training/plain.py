"""The affect network of levels that have no body: as large as the body and head of level 3.

Rules it upholds: the same classes' weights as for the real one; one seed gives one network.

It answers what a level could be used for if identity did not matter, so that what suppression
costs can be seen.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edge_models.training.streams import Floats

HIDDEN: Final = 64
INNER: Final = 16
EPOCHS: Final = 30
BATCH: Final = 256
RATE: Final = 3e-3
DECAY: Final = 3e-2
DROPPED: Final = 0.4
NOISE: Final = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Plain:
    """A fitted network with its standardisation."""

    network: nn.Module
    mean: Floats
    spread: Floats

    def logits(self, rows: Floats) -> npt.NDArray[np.float64]:
        """Logits of the three tasks, float64 (N, 3), of rows (N, D)."""
        with torch.no_grad():
            answer = self.network(torch.from_numpy((rows - self.mean) / self.spread))
        return np.asarray(answer.double().numpy())


def plain_network(rows: Floats, truth: npt.NDArray[np.bool_], weights: Floats, seed: int) -> Plain:
    """Fit to rows float32 (N, D), `truth` (N, 3), and what each counts for, `weights` (N, 3)."""
    torch.manual_seed(seed)
    mean = rows.mean(axis=0)
    spread = np.maximum(rows.std(axis=0), 1e-6).astype(np.float32)
    seen = torch.from_numpy((rows - mean) / spread)
    told = torch.from_numpy(truth.astype(np.float32))
    counted = torch.from_numpy(weights.astype(np.float32))
    network = nn.Sequential(
        nn.Dropout(DROPPED / 2),
        nn.Linear(rows.shape[1], HIDDEN),
        nn.ReLU(),
        nn.Dropout(DROPPED),
        nn.Linear(HIDDEN, INNER),
        nn.Linear(INNER, truth.shape[1]),
    )
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY, fused=True)
    steps = EPOCHS * -(-len(seen) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    network.train()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(seen)).split(BATCH):
            optimiser.zero_grad()
            noisy = seen[batch] + NOISE * torch.randn_like(seen[batch])
            loss = nn.functional.binary_cross_entropy_with_logits(
                network(noisy), told[batch], counted[batch]
            )
            loss.backward()
            optimiser.step()
            schedule.step()
    network.eval()
    return Plain(network, mean, spread)
