"""What a server can test of a sum under masks, and what it can't."""

import math

import numpy as np
import pytest

from edge_models.errors import ContractError
from sync.coordinator.suspicion import Suspicion, examined, noise_norm
from sync.federated.layout import TELL, UNITS, Layout

LAYOUT = Layout(51)
MEMBERS = 300
SIGMA2 = 1e8


def _opened(update: np.ndarray, here: int = MEMBERS, side: int = 0, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, math.sqrt(SIGMA2), LAYOUT.length)
    cells = np.concatenate([update, [side * TELL, here * TELL]]) + noise
    return np.rint(cells).astype(np.int64).astype(np.uint32)


def _one_way(clips: float) -> np.ndarray:
    return np.full(51, clips * UNITS / math.sqrt(51))


def test_an_honest_round_passes_however_much_people_agree() -> None:
    for seed in range(200):
        outcome = examined(
            _opened(_one_way(MEMBERS), side=MEMBERS, seed=seed),
            LAYOUT, members=MEMBERS, sigma2=SIGMA2,
        )  # fmt: skip
        assert outcome.suspicion is None


def test_a_grossly_boosted_update_is_noticed_and_a_smaller_one_is_not() -> None:
    for clips, suspicion in ((500, Suspicion.TOO_LONG), (200, None)):
        outcome = examined(_opened(_one_way(clips)), LAYOUT, members=MEMBERS, sigma2=SIGMA2)
        assert outcome.suspicion is suspicion
    closer = examined(_opened(_one_way(200)), LAYOUT, members=MEMBERS, sigma2=SIGMA2, expected=30.0)
    assert closer.suspicion is Suspicion.TOO_LONG


def test_counts_that_people_cannot_give_are_noticed() -> None:
    for here, side, suspicion in (
        (900, 0, Suspicion.TOO_MANY), (300, 900, Suspicion.TOO_MANY), (-600, 0, Suspicion.TOO_FEW),
    ):  # fmt: skip
        opened = _opened(_one_way(10), here=here, side=side)
        outcome = examined(opened, LAYOUT, members=MEMBERS, sigma2=SIGMA2)
        assert outcome.suspicion is suspicion


def test_the_quantile_of_the_noise_holds() -> None:
    """At a chance of 1 %: 4,000 trials pass 65 with a chance of 0.0002."""
    norms = np.linalg.norm(np.random.default_rng(1).normal(size=(4000, 51)), axis=1)
    assert (norms > noise_norm(51, 1.0, 0.01)).sum() <= 65
    with pytest.raises(ContractError):
        examined(np.zeros(3, np.uint32), LAYOUT, members=1, sigma2=1.0)
