"""The encoder's game: alignment as on the device, and critics that are listened to."""

import numpy as np
import pytest
import torch

from edge_models.training import encoder
from edge_models.training.encoder import Encoder
from edge_models.training.streams import FIRST_OTHER_SPEED, live_order, passed, population_of
from tests.synthetic_windows import synthetic_windows

PEOPLE, EACH = 4, 400
RUN = torch.from_numpy(np.repeat(np.arange(PEOPLE), EACH))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def test_aligned_runs_have_one_mean_and_one_covariance() -> None:
    rng = np.random.default_rng(1)
    means = rng.normal(0, 3, (PEOPLE, 3))
    turns = np.eye(3) + rng.uniform(-0.4, 0.4, (PEOPLE, 3, 3))
    drawn = rng.normal(size=(PEOPLE * EACH, 3))
    owner = RUN.numpy()
    raw = np.einsum("nij,nj->ni", turns[owner], drawn) + means[owner]
    moved = encoder._aligned(torch.from_numpy(raw.astype(np.float32)), RUN, rng).numpy()
    runs = [moved[owner == one] for one in range(PEOPLE)]
    usual = np.mean([turn @ turn.T for turn in turns], axis=0)
    size = np.sqrt(np.trace(usual))
    for rows in runs:
        assert np.linalg.norm(rows.mean(0) - means.mean(0)) < 0.2 * size
        assert np.linalg.norm(np.cov(rows.T) - usual) < 0.2 * np.linalg.norm(usual)


def _batch(rng: np.random.Generator) -> encoder._Batch:
    """Columns 0 and 1 tell the task; column 1 has an offset of each person's own, too."""
    owner = RUN.numpy()
    truth = rng.random((len(owner), 3)) < 0.5
    z = rng.normal(0, 1, (len(owner), 3))
    z[:, 0] += truth[:, 0]
    z[:, 1] += 1.2 * owner + truth[:, 0]
    return encoder._Batch(
        torch.from_numpy(z.astype(np.float32)),
        torch.from_numpy(truth.astype(np.float32)),
        torch.ones(len(owner), 3),
        RUN,
        torch.arange(len(owner)),
    )


def _kept(strength: float, monkeypatch: pytest.MonkeyPatch) -> float:
    """How much of column 1 is in the directions after the game, where nothing is aligned."""
    monkeypatch.setattr(encoder, "SUPPRESSION", strength)
    monkeypatch.setattr(encoder, "_aligned", lambda raw, *_: raw)
    torch.manual_seed(0)
    rng = np.random.default_rng(2)
    batch, model = _batch(rng), Encoder(3)
    with torch.no_grad():
        model.embed.weight.fill_(0.5)
    encoder._forget_people(model, [batch], [RUN], 4, rng)
    weight = model.embed.weight.detach().abs()
    return float(weight[:, 1].sum() / weight.sum())


def test_what_critics_find_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _kept(3.0, monkeypatch) < 0.7 * _kept(0.0, monkeypatch)


def test_every_step_of_the_game_learns_on_aligned_embeddings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []

    def spy(raw: torch.Tensor, *_: object) -> torch.Tensor:
        calls.append(len(raw))
        return raw

    monkeypatch.setattr(encoder, "_aligned", spy)
    rng = np.random.default_rng(2)
    encoder._forget_people(Encoder(3), [_batch(rng)], [RUN], 1, rng)
    assert len(calls) == 1 + encoder.STEPS_AN_EPOCH


def test_critics_see_nobody_at_another_speed() -> None:

    windows = synthetic_windows(people=4, each=12)
    windows.take[:] = np.arange(len(windows)) % 4
    rng = np.random.default_rng(0)
    stream = passed(windows, population_of(windows), live_order(windows, rng))
    batch = encoder._Batch.of(windows, stream.places, stream.z)
    takes = windows.take[stream.places]
    assert (takes[batch.judged.numpy()] < FIRST_OTHER_SPEED).all()
    assert len(batch.judged) == int((takes < FIRST_OTHER_SPEED).sum())


def test_whitened_z_scores_have_about_one_variance_in_all_directions() -> None:
    rng = np.random.default_rng(0)
    z = (rng.normal(size=(4000, 5)) @ np.diag([3, 2, 1, 1, 1]) @ rng.normal(size=(5, 5))).astype(
        np.float32
    )
    spread = np.cov((z @ encoder._whitener(z)).T)
    assert np.abs(spread - np.diag(np.diag(spread))).max() < 0.02
    assert np.diag(spread).min() > 0.2 and np.diag(spread).max() < 1.02
