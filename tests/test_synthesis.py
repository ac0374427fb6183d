"""Synthesisers: what they keep of a known population, what they refuse, which labels they obey."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from edge_models.errors import ContractError, RecordingError
from edge_models.training.synthesis import tstr
from edge_models.training.synthesis.accountant import Budget
from edge_models.training.synthesis.copula import Copula
from edge_models.training.synthesis.fidelity import fidelity
from edge_models.training.synthesis.gan import Gan
from edge_models.training.synthesis.private_copula import PrivateCopula
from edge_models.training.synthesis.private_gan import PrivateGan
from edge_models.training.synthesis.resampling import COPYING, Resampling
from edge_models.training.synthesis.table import BOUND, Method, Table, Vocabulary, behind_enough
from tests.made_up_tables import made_up_table

METHODS: dict[str, Method] = {
    "resampling": Resampling(),
    "copula": Copula(),
    "gan": Gan(steps=5),
    "copula with an ε": PrivateCopula(Budget(8.0)),
    "gan with an ε": PrivateGan(Budget(8.0), steps=5),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def table() -> Table:
    return made_up_table()


def drawn(method: Method, table: Table, each: int = 300, seed: int = 1) -> Table:
    rng = np.random.default_rng(seed)
    return method.fit(table, rng).draw(Vocabulary.of(table.labels).evenly(each), rng)


@pytest.mark.parametrize("name", METHODS)
def test_the_labels_asked_for_are_the_labels_drawn(name: str, table: Table) -> None:
    asked = table.labels.at(np.array([3, 0, 0, 1]))
    rng = np.random.default_rng(0)
    rows = METHODS[name].fit(table, rng).draw(asked, rng)
    assert np.array_equal(rows.labels.keys, asked.keys)
    assert rows.values.shape == (4, 6)
    assert (np.abs(rows.values) <= BOUND).all()
    assert set(rows.person) == {""}


@pytest.mark.parametrize("name", METHODS)
def test_a_label_never_learnt_is_not_drawn(name: str, table: Table) -> None:
    rng = np.random.default_rng(0)
    happy_only = table.at(table.labels.emotion < 3)
    with pytest.raises(ContractError):
        METHODS[name].fit(happy_only, rng).draw(table.labels, rng)


@pytest.mark.parametrize("name", METHODS)
def test_one_seed_draws_one_table(name: str, table: Table) -> None:
    one, two = (drawn(METHODS[name], table, 3, seed=4).values for _ in range(2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, drawn(METHODS[name], table, 3, seed=5).values)


@pytest.mark.parametrize("name", METHODS)
def test_what_cant_be_learnt_from_is_refused_in_one_sentence(name: str, table: Table) -> None:
    values = table.values.copy()
    values[5, 2] = np.nan
    few = np.isin(table.person, np.unique(table.person)[:5])
    for bad, said in (
        (replace(table, values=values), "aren't finite"),
        (table.at(few), "5 people are too few"),
        (table.at(table.labels.emotion == 0), "one label"),
    ):
        with pytest.raises(RecordingError, match=said) as refused:
            METHODS[name].fit(bad, np.random.default_rng(0))
        assert refused.value.cause.count(".") == 1
        assert refused.value.remedy


def test_a_label_of_two_people_is_left_out(table: Table) -> None:
    rows = (table.labels.emotion != 2) | np.isin(table.person, ["p000", "p001"])
    rare = table.at(rows)
    kept = rare.at(behind_enough(rare))
    assert set(kept.labels.emotion) == {0, 1, 3}
    with pytest.raises(ContractError):
        Copula().fit(rare, np.random.default_rng(0))


@pytest.mark.parametrize("method", [Resampling(), Copula()], ids=["resampling", "copula"])
def test_mean_spread_and_a_known_correlation_come_back(method: Method) -> None:
    table = made_up_table(people=60, seed=2)
    rows = drawn(method, table, 2_000)
    for emotion in (0, 3):
        real = table.values[table.labels.emotion == emotion]
        made = rows.values[rows.labels.emotion == emotion]
        assert np.abs(real.mean(axis=0) - made.mean(axis=0)).max() < 0.12
        assert np.abs(real.std(axis=0) / made.std(axis=0) - 1).max() < 0.1
        assert np.corrcoef(made.T)[0, 1] == pytest.approx(np.corrcoef(real.T)[0, 1], abs=0.08)
        assert abs(np.corrcoef(made.T)[2, 4]) < 0.1


def test_the_copula_keeps_a_marginal_that_is_not_normal() -> None:
    table = made_up_table(people=40, seed=3)
    table.values[:, 5] = np.exp(0.5 * table.values[:, 5])
    made = drawn(Copula(), table, 1_000).values[:, 5]
    skew = np.mean(((made - made.mean()) / made.std()) ** 3)
    assert skew > 0.8
    assert np.median(made) == pytest.approx(np.median(table.values[:, 5]), abs=0.1)


def test_a_mixed_row_is_nobodys(table: Table) -> None:
    rows = drawn(Resampling(), table, 50).values
    gaps = np.abs(rows[:, None] - table.values[None]).max(axis=2)
    assert gaps.min() > 0.02
    copied = drawn(COPYING, table, 50).values
    assert np.abs(copied[:, None] - table.values[None]).max(axis=2).min(axis=1).max() < 1e-9


def test_the_gan_learns_to_tell_labels_apart() -> None:
    rows = drawn(Gan(steps=250), made_up_table(seed=5), 200)
    sad = rows.labels.emotion == 3
    moved = rows.values[sad].mean(axis=0) - rows.values[~sad].mean(axis=0)
    assert moved[:2].min() > 0.8
    assert np.abs(moved[2:]).max() < 0.7


def test_what_a_table_teaches_holds_for_people_never_met(table: Table) -> None:
    others = made_up_table(seed=9, name="q")
    rng = np.random.default_rng(0)
    taught = tstr.utilities(
        tstr.logits(drawn(Copula(), table), others), others.labels, others.person, rng
    )
    assert [one.task for one in taught] == ["sadness", "distress"]
    assert taught[1].balanced_accuracy.low > 0.75
    assert taught[1].six is not None and taught[1].six.value > 0.9


def test_shuffled_labels_teach_nothing_on_average(table: Table) -> None:
    """Each shuffle may point anywhere: over thirty of them, four standard errors are 0.15."""
    others, rng = made_up_table(seed=9, name="q"), np.random.default_rng(0)
    truth = others.labels.truth[:, 0]
    right = []
    for _ in range(30):
        said = tstr.logits(tstr.shuffled(table, rng), others)[:, 0] >= 0
        right.append(0.5 * (said[truth].mean() + (~said[~truth]).mean()))
    assert abs(np.mean(right) - 0.5) < 0.15


def test_fidelity_knows_the_same_people_from_others() -> None:
    rng = np.random.default_rng(0)
    real, alike = (made_up_table(people=40, each=20, seed=seed) for seed in (1, 2))
    common = rng.normal(size=(len(real), 1))
    other = 1.0 + 0.8 * common + 0.6 * rng.normal(size=real.values.shape)
    near = fidelity(real.values, alike.values, real.person, rng)
    far = fidelity(real.values, other, real.person, rng)
    for name in ("wasserstein", "ks", "correlation", "mmd"):
        assert getattr(near, name).high < getattr(far, name).low
    assert near.propensity.low < 0.6 < 0.8 < far.propensity.low
