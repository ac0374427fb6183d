"""The facial body in torch: a window's z-scores to three numbers that tell the expression.

Rules it upholds: the three numbers are pushed away from identity by a critic that is begun anew
again and again, and by their persons' means; the trained people are the only ones it sees; one
seed gives one network; one thread.

z-scores → 24 (ReLU) → 3, each at mean 0 and spread 1 over the training people: the embedding. A
head for the expression only guides the training. It is a workshop's model: no bundle holds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from edge_models.baseline import Z_BOUND

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]

EMBEDDING: Final = 3
"""Four expressions differ in three directions."""

HIDDEN: Final = 24
EPOCHS: Final = 120
BATCH: Final = 128
RATE: Final = 3e-3
WEIGHT_DECAY: Final = 3e-2
DROPPED_INPUT: Final = 0.2
DROPPED_HIDDEN: Final = 0.3
SMOOTHING: Final = 0.1

SUPPRESSION: Final = 0.5
MEANS_SHARE: Final = 4.0
CRITIC_HIDDEN: Final = 32
CRITIC_STEPS: Final = 5
CRITIC_RATE: Final = 1e-2
CRITIC_LIFE: Final = 20
"""Epochs after which a critic is begun anew: one that was fooled for long has forgotten."""


class FaceEncoder(nn.Module):
    """Body, the embedding's standardisation, and the guiding head."""

    def __init__(self, width: int, expressions: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Dropout(DROPPED_INPUT),
            nn.Linear(width, HIDDEN),
            nn.ReLU(),
            nn.Dropout(DROPPED_HIDDEN),
            nn.Linear(HIDDEN, EMBEDDING),
        )
        self.standard = nn.BatchNorm1d(EMBEDDING, affine=False)
        self.head = nn.Linear(EMBEDDING, expressions)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """From z (N, F) to the embedding (N, 3)."""
        embedding = self.standard(self.body(z))
        assert isinstance(embedding, torch.Tensor)
        return embedding

    def embedding(self, z: Floats) -> Floats:
        """The embedding float32 (N, 3) of z-scores (N, F), as it is used."""
        self.eval()
        with torch.no_grad():
            answer: Floats = self(torch.from_numpy(z)).numpy()
        return answer


@dataclass(frozen=True, slots=True)
class _Told:
    expression: torch.Tensor
    person: torch.Tensor
    people: int


def fitted_encoder(
    streams: Sequence[Floats],
    expression: Places,
    person: Places,
    seed: int,
    suppression: float = SUPPRESSION,
) -> FaceEncoder:
    """Train on several streams of the same N windows: each float32 (N, F), other orders.

    `expression` and `person` (N,) are places, 0 and up. `suppression` 0 leaves identity alone.

    Source: Ganin et al., "Domain-adversarial training of neural networks", JMLR 17, 2016, with
    the critic's uncertainty as the aim (Alvi, Zisserman, Nellåker, ECCV Workshops 2018, eq. 3)
    instead of its reversed gradient.
    """
    with threadpool_limits(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        told = _Told(torch.from_numpy(expression), torch.from_numpy(person), int(person.max()) + 1)
        encoder = FaceEncoder(streams[0].shape[1], int(expression.max()) + 1)
        optimiser = torch.optim.AdamW(encoder.parameters(), RATE, weight_decay=WEIGHT_DECAY)
        critic = _Critic(told.people)
        for epoch in range(EPOCHS):
            z = torch.from_numpy(np.clip(streams[epoch % len(streams)], -Z_BOUND, Z_BOUND))
            if suppression:
                critic = _Critic(told.people) if epoch % CRITIC_LIFE == 0 else critic
                critic.learn(encoder, z, told.person)
            encoder.train()
            for batch in torch.randperm(len(z)).split(BATCH):
                if len(batch) < 2:  # one window has no spread
                    continue
                optimiser.zero_grad()
                _loss(encoder, critic, z[batch], told, batch, suppression).backward()
                optimiser.step()
    encoder.eval()
    return encoder


class _Critic:
    """Names the training person from an embedding."""

    def __init__(self, people: int) -> None:
        self.network = nn.Sequential(
            nn.Linear(EMBEDDING, CRITIC_HIDDEN), nn.ReLU(), nn.Linear(CRITIC_HIDDEN, people)
        )
        self._optimiser = torch.optim.Adam(self.network.parameters(), CRITIC_RATE)
        self._fresh = True

    def learn(self, encoder: FaceEncoder, z: torch.Tensor, person: torch.Tensor) -> None:
        """Some steps on the encoder as it is; more of them when it has only begun."""
        encoder.eval()
        with torch.no_grad():
            embedding = encoder(z)
        for _ in range(CRITIC_STEPS * (CRITIC_LIFE if self._fresh else 1)):
            self._optimiser.zero_grad()
            nn.functional.cross_entropy(self.network(embedding), person).backward()
            self._optimiser.step()
        self._fresh = False


def _loss(
    encoder: FaceEncoder,
    critic: _Critic,
    z: torch.Tensor,
    told: _Told,
    batch: torch.Tensor,
    suppression: float,
) -> torch.Tensor:
    embedding = encoder(z)
    loss = nn.functional.cross_entropy(
        encoder.head(embedding), told.expression[batch], label_smoothing=SMOOTHING
    )
    if suppression:
        said = nn.functional.log_softmax(critic.network(embedding), dim=1)
        sure = -said.mean() - float(np.log(told.people))
        own = nn.functional.one_hot(told.person[batch], told.people).to(embedding.dtype)
        means = (own.T @ embedding) / (own.sum(dim=0)[:, None] + 1)
        loss = loss + suppression * (sure + MEANS_SHARE * (means**2).mean())
    assert isinstance(loss, torch.Tensor)
    return loss
