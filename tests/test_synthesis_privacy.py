"""What one person can add to a synthesiser with an ε: one clipped vector a sum, and no more."""

from dataclasses import replace

import dp_accounting
import numpy as np
import pytest
import torch
from dp_accounting.pld import PLDAccountant

from edge_models.training.synthesis import private_copula, private_gan
from edge_models.training.synthesis.accountant import Budget, epsilon, multiplier
from edge_models.training.synthesis.gan import Critic
from edge_models.training.synthesis.private_copula import PrivateCopula, noised, shrunk
from edge_models.training.synthesis.private_gan import CLIP, PrivateGan, bound, noised_sum
from edge_models.training.synthesis.table import Table
from tests.made_up_tables import made_up_table

BUDGET = Budget(4.0, 1e-5)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def table() -> Table:
    return made_up_table()


@pytest.mark.parametrize(("steps", "sampled"), [(1, 1.0), (3, 1.0), (400, 0.25), (1000, 0.05)])
def test_the_noise_keeps_the_budget_and_wastes_little_of_it(steps: int, sampled: float) -> None:
    noise = multiplier(BUDGET, steps, sampled)
    assert 0.97 * BUDGET.epsilon < epsilon(noise, steps, BUDGET.delta, sampled) <= BUDGET.epsilon


def test_the_tight_accountant_agrees_that_the_budget_is_kept() -> None:
    noise = multiplier(BUDGET, 100, 0.25)
    step = dp_accounting.PoissonSampledDpEvent(0.25, dp_accounting.GaussianDpEvent(noise))
    accountant = PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE, 1e-3)
    accountant.compose(dp_accounting.SelfComposedDpEvent(step, 100))
    assert accountant.get_epsilon(BUDGET.delta) <= BUDGET.epsilon


@pytest.mark.parametrize("loudness", [1e-3, 1.0, 1e6])
def test_a_person_moves_the_critics_sum_by_a_clip_at_most(loudness: float) -> None:
    torch.manual_seed(1)
    critic = Critic(6, 4, 16)
    people = [(torch.randn(32, 6), torch.eye(4).repeat(8, 1)) for _ in range(5)]
    extra = (loudness * torch.randn(32, 6), torch.eye(4).repeat(8, 1))
    without, including = (
        torch.cat([part.flatten() for part in noised_sum(critic, chosen, 0.0)])
        for chosen in (people, [*people, extra])
    )
    assert (including - without).norm() <= CLIP * (1 + 1e-5)


def test_a_step_that_draws_nobody_is_noise_of_the_right_size() -> None:
    torch.manual_seed(2)
    alone = torch.cat([part.flatten() for part in noised_sum(Critic(88, 20, 16), [], 3.0)])
    assert alone.std() == pytest.approx(3.0 * CLIP, rel=0.05)


def test_weights_are_bounded_without_asking_the_data() -> None:
    critic = Critic(6, 4, 16)
    with torch.no_grad():
        for weight in critic.parameters():
            weight *= 100
    bound(critic)
    norms = [torch.linalg.matrix_norm(w, ord=2) for w in critic.parameters() if w.ndim == 2]
    assert max(norms) <= private_gan.LARGEST_NORM * (1 + 1e-5)


def test_whom_no_step_draws_leaves_no_trace_in_the_generator(table: Table) -> None:
    """The generator sees people through the sum alone, so who was never in it can't matter."""
    rng = np.random.default_rng(3)
    rng.integers(2**62)
    names = np.unique(table.person)
    drawn = np.asarray([rng.random() < private_gan.SAMPLED for _ in names])
    assert drawn.any() and not drawn.all()

    def after(changed: str) -> np.ndarray:
        values = np.where((table.person == changed)[:, None], 3.0, table.values)
        method = PrivateGan(BUDGET, steps=1)
        made = method.fit(replace(table, values=values), np.random.default_rng(3))
        weights = made.generator.parameters()
        return np.concatenate([part.detach().numpy().ravel() for part in weights])

    untouched, absent, present = (after(name) for name in ("", names[~drawn][0], names[drawn][0]))
    assert np.array_equal(untouched, absent)
    assert not np.array_equal(untouched, present)


def test_a_vector_longer_than_the_clip_counts_as_the_clip() -> None:
    rng = np.random.default_rng(0)
    people = [rng.normal(size=30) for _ in range(4)]
    for extra in (np.full(30, 1e9), np.full(30, 1e-9), np.zeros(30)):
        gap = noised([*people, extra], 2.0, 0.0, rng) - noised(people, 2.0, 0.0, rng)
        assert np.linalg.norm(gap) <= 2.0 * (1 + 1e-9)


def test_the_copula_asks_three_noised_sums_of_one_vector_a_person(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def listening(people, clip, noise, rng):  # type: ignore[no-untyped-def]
        asked.append((len(people), noise))
        return noised(people, clip, noise, rng)

    monkeypatch.setattr(private_copula, "noised", listening)
    PrivateCopula(BUDGET).fit(table, np.random.default_rng(0))
    assert asked == [(12, multiplier(BUDGET, 3))] * 3


def test_more_people_bring_the_copula_nearer_to_them() -> None:
    errors = []
    for people in (12, 1_500):
        table = made_up_table(people=people, each=8, seed=4)
        rng = np.random.default_rng(0)
        rows = PrivateCopula(Budget(8.0)).fit(table, rng).draw(table.labels, rng)
        sad = table.labels.emotion == 3
        moved = rows.values[sad].mean(axis=0) - rows.values[~sad].mean(axis=0)
        related = np.corrcoef(rows.values[~sad].T)[0, 1]
        errors.append((np.abs(moved[:2] - 2).max(), abs(related - 0.8)))
    assert errors[1][0] < 0.25 < errors[0][0]
    assert errors[1][1] < 0.25 < errors[0][1]


def test_what_is_only_noise_is_shrunk_to_nothing() -> None:
    rng = np.random.default_rng(0)
    assert np.abs(shrunk(rng.normal(size=10_000), 1.1)).max() == 0
    kept = shrunk(5 + rng.normal(size=10_000), 1.0)
    assert kept.mean() == pytest.approx(5 * 25 / 26, rel=0.01)
