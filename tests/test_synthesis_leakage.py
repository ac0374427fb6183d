"""The attacks find a synthesiser that copies, and clear one that never met its people."""

import numpy as np
import pytest

from edge_models.errors import RecordingError
from edge_models.training.synthesis.attacks import exposed
from edge_models.training.synthesis.leakage import Leakage, caught_at, leakage
from edge_models.training.synthesis.resampling import COPYING
from edge_models.training.synthesis.table import Table, Vocabulary
from tests.made_up_tables import made_up_table

FOLDS = 4


def attacked(strangers: bool) -> Leakage:
    """Copies of the members, or of a population apart, in folds of thirty and ten people."""
    people = made_up_table(people=40, each=12, size=8, seed=1)
    apart = made_up_table(people=80, each=12, size=8, seed=77, name="s")
    names = np.unique(people.person)
    rng = np.random.default_rng(0)
    folds = []
    for fold in range(FOLDS):
        held = np.isin(people.person, names[fold::FOLDS])
        members, control = people.at(~held), people.at(held)
        source = apart if strangers else members
        drawn = COPYING.fit(source, rng).draw(Vocabulary.of(source.labels).evenly(60), rng)
        folds.append(exposed(drawn, members, control, rng))
    return leakage(folds, rng)


@pytest.fixture(scope="module")
def copied() -> Leakage:
    return attacked(strangers=False)


@pytest.fixture(scope="module")
def independent() -> Leakage:
    return attacked(strangers=True)


def test_copied_rows_are_found_by_every_attack(copied: Leakage) -> None:
    assert {one.attack for one in copied.attacks if one.tells} == {
        "singling out", "linkability", "attribute inference", "nearest record",
    }  # fmt: skip
    by_distance = copied.membership[0]
    assert by_distance.auc.value >= 0.9
    assert by_distance.caught > 0.5
    assert copied.ratio.value < 0.05
    assert not copied.indistinguishable


def test_a_population_apart_is_cleared(independent: Leakage) -> None:
    assert independent.told_by == ()
    assert independent.indistinguishable
    for guess in independent.membership:
        assert abs(guess.auc.value - 0.5) < 0.15
    assert independent.ratio.value > 0.75 * independent.strangers


def test_a_rate_is_told_only_where_the_control_is_large_enough(copied: Leakage) -> None:
    windows = 40 * 12
    one, thousandth = copied.membership[0].windows_caught
    assert one is not None and one > 0.1
    assert thousandth is None and windows < 1_000
    scores = np.concatenate([np.linspace(0, 1, 1_000), np.full(10, 0.9995)])
    member = np.arange(1_010) >= 1_000
    assert caught_at(scores, member, 0.001) == 1.0
    assert caught_at(scores[100:], member[100:], 0.001) is None


def test_a_member_among_strangers_is_found_though_all_rows_are_mixed() -> None:
    """A sixth of copies in an honest table is still a leak."""
    people = made_up_table(people=20, each=24, size=8, seed=1)
    apart = made_up_table(people=60, each=24, size=8, seed=77, name="s")
    rng = np.random.default_rng(1)
    names = np.unique(people.person)
    folds = []
    for fold in range(FOLDS):
        held = np.isin(people.person, names[fold::FOLDS])
        honest, copies = (
            COPYING.fit(source, rng).draw(Vocabulary.of(source.labels).evenly(count), rng)
            for source, count in ((apart, 60), (people.at(~held), 12))
        )
        folds.append(exposed(_joined(honest, copies), people.at(~held), people.at(held), rng))
    assert "nearest record" in leakage(folds, rng).told_by


def _joined(one: Table, two: Table) -> Table:
    labels = type(one.labels)(
        *(
            np.concatenate([getattr(one.labels, name), getattr(two.labels, name)])
            for name in one.labels.__slots__
        )
    )
    return Table.synthetic(np.concatenate([one.values, two.values]), labels)


def test_one_person_is_no_control() -> None:
    table = made_up_table()
    held = table.person == "p000"
    with pytest.raises(RecordingError, match="two people"):
        exposed(table, table.at(~held), table.at(held), np.random.default_rng(0))
