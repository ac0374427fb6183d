"""Two attackers that are networks: one of single windows, one of sessions of six windows.

Rules it upholds: one seed gives one network; both take means and spreads from their enrolment.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch import nn

from edge_models.training.identity.attackers import (
    Reals,
    Standard,
    log_softmax,
    moments,
    window_by_window,
)
from edge_models.training.identity.samples import SIX, Floats, Places, sessions_of

HIDDEN: Final = 64
INNER: Final = 32
STEPS: Final = 60
SESSION_STEPS: Final = 50
SESSIONS_EACH: Final = 60
BATCH: Final = 64
RATE: Final = 1e-2
DECAY: Final = 1e-2
DROPPED: Final = 0.3
NOISE: Final = 0.1
SMOOTHING: Final = 0.05


def _descend(network: nn.Module, loss: Callable[[], torch.Tensor], steps: int) -> None:
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY, fused=True)
    network.train()
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = RATE * min(1.0, 2 * (1 - step / steps))
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    network.eval()


def _people(person: Places) -> int:
    return int(person.max()) + 1


class WindowNetwork:
    """A multilayer perceptron on single windows, the whole enrolment in every step."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def fit(self, rows: Floats, person: Places, owner: Places | None = None) -> "WindowNetwork":
        """See `Attacker`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            self._standard = Standard.of(rows)
            seen = torch.from_numpy(self._standard(rows).astype(np.float32))
            told = torch.from_numpy(person.astype(np.int64))
            self._network = nn.Sequential(
                nn.Linear(seen.shape[1], HIDDEN),
                nn.ReLU(),
                nn.Dropout(DROPPED),
                nn.Linear(HIDDEN, _people(person)),
            )

            def loss() -> torch.Tensor:
                answer = self._network(seen + NOISE * torch.randn_like(seen))
                loss = nn.functional.cross_entropy(answer, told, label_smoothing=SMOOTHING)
                assert isinstance(loss, torch.Tensor)
                return loss

            _descend(self._network, loss, STEPS)
        return self

    def log_probabilities(self, sessions: Floats) -> Reals:
        """See `Attacker`."""
        return window_by_window(sessions, self._answers)

    def _answers(self, rows: Floats) -> Reals:
        with torch.no_grad():
            seen = torch.from_numpy(self._standard(rows).astype(np.float32))
            return log_softmax(self._network(seen).double().numpy())


class _SetNetwork(nn.Module):
    """Windows (S, W, D) through one layer each; mean, spread and extremes; moments beside them."""

    def __init__(self, columns: int, statistics: int, people: int) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(columns, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, INNER))
        self.all = nn.Sequential(
            nn.Dropout(DROPPED),
            nn.Linear(4 * INNER + statistics, HIDDEN),
            nn.ReLU(),
            nn.Dropout(DROPPED),
            nn.Linear(HIDDEN, people),
        )

    def forward(self, windows: torch.Tensor, statistics: torch.Tensor) -> torch.Tensor:
        inner = self.each(windows)
        spread = inner.var(dim=1, unbiased=False).add(1e-4).sqrt()
        parts = [inner.mean(dim=1), spread, inner.amin(dim=1), inner.amax(dim=1), statistics]
        answer = self.all(torch.cat(parts, dim=1))
        assert isinstance(answer, torch.Tensor)
        return answer


class SessionNetwork:
    """A network of sets of windows, told their second-order statistics as well.

    Source: Zaheer et al., "Deep Sets", NeurIPS 2017, theorem 2; pooling by mean, spread, minimum
    and maximum after Corso et al., "Principal neighbourhood aggregation", NeurIPS 2020.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def fit(self, rows: Floats, person: Places, owner: Places | None = None) -> "SessionNetwork":
        """See `Attacker`."""
        rng = np.random.default_rng(self._seed)
        self._standard = Standard.of(rows)
        plain = self._standard(rows).astype(np.float32)
        drawn = sessions_of(plain, person, SIX, SESSIONS_EACH, rng, owner)
        statistics = moments(drawn.rows)
        self._moments = Standard.of(statistics)
        windows = torch.from_numpy(drawn.rows)
        beside = torch.from_numpy(self._moments(statistics).astype(np.float32))
        told = torch.from_numpy(drawn.person.astype(np.int64))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            self._network = _SetNetwork(plain.shape[1], statistics.shape[1], _people(person))

            def loss() -> torch.Tensor:
                batch = torch.randint(len(told), (min(BATCH, len(told)),))
                noisy = windows[batch] + NOISE * torch.randn_like(windows[batch])
                answer = self._network(noisy, beside[batch])
                loss = nn.functional.cross_entropy(answer, told[batch], label_smoothing=SMOOTHING)
                assert isinstance(loss, torch.Tensor)
                return loss

            _descend(self._network, loss, SESSION_STEPS)
        return self

    def log_probabilities(self, sessions: Floats) -> Reals:
        """See `Attacker`."""
        plain = self._standard(sessions).astype(np.float32)
        beside = self._moments(moments(plain)).astype(np.float32)
        with torch.no_grad():
            answer = self._network(torch.from_numpy(plain), torch.from_numpy(beside))
        return log_softmax(answer.double().numpy())
