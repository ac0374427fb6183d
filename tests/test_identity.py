"""The panel on answers known beforehand: who is planted is found, noise is called noise."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from edge_models.errors import ContractError
from edge_models.training.identity import (
    PANEL,
    QUICK_PANEL,
    SIX,
    Samples,
    Told,
    above_chance,
    accepted_at,
    campaign,
    chance,
    equal_error_rate,
    panel,
    reduction,
    told_apart,
    top1,
    verification,
    verified,
    worst_decile,
)
from edge_models.training.identity.attributes import (
    ATTRIBUTE_PANEL,
    Table,
    balanced,
    by_luck,
    recognisable,
    recognised,
)
from edge_models.training.identity.panel import best_members
from edge_models.training.identity.samples import both_directions, held_out, sessions_of

CHEAP = tuple(member for member in PANEL if member.name in ("LDA", "logistic, C 0.03", "MLP"))
FAST = ("LDA", "normal densities", "logistic, C 1", "RBF SVM, C 1", "LDA of session moments")


def gallery(
    seed: int,
    people: int = 5,
    each: int = 32,
    columns: int = 6,
    offset: float = 0.0,
    shapes: bool = False,
) -> Samples:
    """Noise of people whose means (`offset`) or whose covariances (`shapes`) are their own."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), each)
    rows = rng.normal(0, 1, (people * each, columns))
    if shapes:
        turns = [np.linalg.qr(rng.normal(0, 1, (columns, columns)))[0] for _ in range(people)]
        scales = np.geomspace(0.2, 3.0, columns)
        rows = np.stack([(turns[p] * scales) @ row for p, row in zip(person, rows, strict=True)])
    rows = rows + offset * rng.normal(0, 1, (people, columns))[person]
    turn = np.arange(people * each) % each
    return Samples(
        rows.astype(np.float32),
        np.asarray([f"p{one}" for one in person]),
        np.asarray([f"text {one % 4}" for one in turn]),
        np.asarray([f"day {one % 2}" for one in turn // 4]),
        np.where(turn % 3 == 0, "sad", "happy"),
    )


def test_a_planted_offset_is_found_by_one_window_and_by_six() -> None:
    found = campaign(gallery(1, people=4, offset=4.0), 7, panel=QUICK_PANEL)
    rng = np.random.default_rng(0)
    for size in (1, SIX):
        told = told_apart([found], size)
        assert top1(told, rng).value > 0.97
        assert verified(told, equal_error_rate, rng).value < 0.03
    assert verified(told, lambda own, others: accepted_at(own, others, 0.01), rng).value > 0.97


def test_people_of_one_mean_and_their_own_covariances_are_found_by_second_order_attackers() -> None:
    second = ("LDA, products", "normal densities", "LDA of session moments", "set network")
    panel = tuple(member for member in PANEL if member.name in ("LDA", *second))
    found = campaign(gallery(2, each=80, shapes=True), 7, panel=panel)
    for attack in found.attacks:
        assert attack.answers[SIX].hits().mean() > 0.85
        assert attack.every[SIX]["LDA"] < 0.5
        for name in second:
            assert attack.every[SIX][name] > 0.75, name


def test_noise_is_called_noise_though_the_best_of_the_panel_beats_one_in_n() -> None:
    panel = tuple(m for m in PANEL if m.name in FAST)
    attacks = [
        one
        for seed in range(10)
        for one in campaign(gallery(10 + seed, each=24), seed, panel=panel).attacks
    ]
    chosen = [attack.answers[SIX].hits().mean() for attack in attacks]
    assert np.mean(chosen) == pytest.approx(1 / 5, abs=0.08)
    best = [max(attack.every[SIX].values()) for attack in attacks]
    assert np.mean(best) > 1 / 5 + 0.05


def test_the_interval_of_noise_holds_no_excess_over_chance() -> None:
    told = told_apart([campaign(gallery(30, people=12, each=16), 7, 6, CHEAP[:2])], 1)
    excess = above_chance(told, np.random.default_rng(0))
    assert excess.low < 0 < excess.high
    assert verified(told, equal_error_rate, np.random.default_rng(0)).value > 0.42


def test_reduction_is_one_for_noise_and_none_for_the_original_itself() -> None:
    rng = np.random.default_rng(0)
    original = told_apart([campaign(gallery(3, offset=4.0), 7, 1, CHEAP)], SIX)
    noise = told_apart([campaign(gallery(4), 7, 1, CHEAP)], SIX)
    assert reduction(original, original, rng).value == 0
    hidden = reduction(noise, original, rng)
    assert 0.7 < hidden.value < 1.3 and hidden.low < hidden.value < hidden.high
    with pytest.raises(ValueError):
        few = told_apart([campaign(gallery(5, people=3), 7, 0, CHEAP)], SIX)
        reduction(few, original, rng)


def test_one_seed_gives_one_answer_and_leaves_torchs_generator_alone() -> None:
    torch = pytest.importorskip("torch")
    before = torch.random.get_rng_state()
    first, again = (campaign(gallery(6, offset=0.7), 3, 1, CHEAP) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    for one, other in zip(first.attacks, again.attacks, strict=True):
        assert one.chosen == other.chosen and one.every == other.every
    lost, lost_again = (told_apart([one], SIX).permuted for one in (first, again))
    assert np.array_equal(lost, lost_again)


def test_enrolment_and_test_share_no_text_and_every_window_is_tested_once() -> None:
    samples = gallery(7)
    rng = np.random.default_rng(1)
    pairs = list(both_directions(samples, rng))
    assert sum(len(test) for _, test in pairs) == len(samples)
    for enrolment, test in pairs:
        assert not set(enrolment.sentence) & set(test.sentence)
        part = held_out(enrolment, rng)
        assert not set(enrolment.session[part]) & set(enrolment.session[~part])


def test_one_text_is_halved_by_session_and_neither_known_at_random() -> None:
    samples = gallery(8)
    one_text = replace(samples, sentence=np.full(160, "a"))
    unknown = replace(one_text, session=np.full(160, ""))
    rng = np.random.default_rng(2)
    for enrolment, test in both_directions(one_text, rng):
        assert not set(enrolment.session) & set(test.session)
    for enrolment, test in both_directions(unknown, rng):
        assert len(enrolment) == len(test) == 80


def test_a_permutation_keeps_the_rows_and_how_often_each_person_is_sad() -> None:
    samples = gallery(9)
    lost = samples.permuted(np.random.default_rng(3))
    assert lost.rows is samples.rows and not np.array_equal(lost.person, samples.person)
    for affect in ("sad", "happy"):
        own = samples.affect == affect
        assert np.array_equal(np.sort(lost.person[own]), np.sort(samples.person[own]))


def test_who_is_often_sad_is_found_by_that_alone_and_that_is_chance() -> None:
    samples = gallery(9, people=4, each=48)
    sadder = np.isin(samples.person, ["p0", "p1"])
    sad = np.random.default_rng(4).random(len(samples)) < np.where(sadder, 0.9, 0.1)
    telling = replace(
        samples, rows=samples.rows + 4 * sad[:, None], affect=np.where(sad, "sad", "happy")
    )
    told = told_apart([campaign(telling, 7, 4, CHEAP[:2])], SIX)
    assert told.top1.mean() > 0.37 and told.chance.mean() > 0.37
    assert told.top1.mean() == pytest.approx(told.chance.mean(), abs=0.13)


def test_sessions_hold_one_person_and_no_window_twice() -> None:
    rows = np.arange(40, dtype=np.float32)[:, None]
    person = np.repeat([0, 1], [34, 6])
    drawn = sessions_of(rows, person, SIX, 9, np.random.default_rng(4))
    assert drawn.rows.shape == (18, 6, 1)
    for session, owner in zip(drawn.rows[..., 0], drawn.person, strict=True):
        assert len(set(session)) == SIX and set(person[session.astype(int)]) == {owner}


def test_of_wide_windows_only_as_many_directions_are_attacked_as_windows_allow() -> None:
    found = campaign(gallery(1, people=4, columns=300, offset=1.5), 7, panel=PANEL[:2])
    assert all(attack.answers[SIX].hits().mean() > 0.9 for attack in found.attacks)


def test_somebody_with_too_few_windows_is_left_out() -> None:
    samples = gallery(1, people=3, each=32)
    few = np.r_[np.arange(64), np.arange(64, 70)]
    for enrolment, test in both_directions(samples.at(few), np.random.default_rng(0)):
        assert set(enrolment.person) == set(test.person) == {"p0", "p1"}


def test_a_gallery_of_one_is_refused() -> None:
    with pytest.raises(ContractError):
        campaign(gallery(1, people=1), 1)


def test_verification_figures_are_those_of_scikit_learns_curve() -> None:
    rng = np.random.default_rng(5)
    own, others = rng.normal(1.5, 1, 300).round(1), rng.normal(0, 1, 2_000).round(1)
    claimed = np.r_[np.ones(300), np.zeros(2_000)]
    wrong, right, _ = roc_curve(claimed, np.r_[own, others], drop_intermediate=False)
    assert accepted_at(own, others, 0.01) == pytest.approx(right[wrong <= 0.01].max())
    grid = np.linspace(0, 1, 100_001)
    missed = 1 - np.interp(grid, wrong, right)
    assert equal_error_rate(own, others) == pytest.approx(
        grid[np.argmin(np.abs(missed - grid))], abs=2e-3
    )
    told = Told(
        *(np.asarray(["p"]), np.ones(1), np.ones((1, 1)), np.ones(1), (own,), (others,)),
        *(("LDA",), ("LDA",), np.ones(1)),
    )
    together = verification(told, rng)
    assert together.equal_error_rate.value == pytest.approx(equal_error_rate(own, others), abs=5e-3)
    assert together.at_1_percent.value == accepted_at(own, others, 0.01)
    assert together.at_01_percent.value == accepted_at(own, others, 0.001)
    assert equal_error_rate(own + 99, others) == 0
    assert equal_error_rate(others, others) == pytest.approx(0.5)


def test_the_worst_off_are_compared_with_the_worst_off_under_permutation() -> None:
    rng = np.random.default_rng(6)
    nothing = tuple(np.zeros(1) for _ in range(20))
    told = Told(
        np.asarray([f"p{n:02d}" for n in range(20)]),
        np.linspace(0, 0.95, 20),
        rng.random((8, 20)),
        np.full(20, 0.05),
        nothing,
        nothing,
        ("LDA",),
        ("LDA",),
        np.full(1, 0.5),
    )
    worst, lucky = worst_decile(told)
    assert worst == pytest.approx(0.925)
    assert lucky > chance(told, rng).value + 0.2


def people_with_a_sex(effect: float, seed: int = 0, voices: float = 1.0) -> Table:
    """Eighteen people of two sexes with voices of their own; nine are never met by the model."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(18), 12)
    female = person % 2 == 0
    rows = rng.normal(0, voices, (18, 4))[person] + rng.normal(0, 1, (len(person), 4))
    rows[:, 0] += effect * female
    return Table(
        rows.astype(np.float32),
        np.asarray([f"p{one:02d}" for one in person]),
        np.where(female, "female", "male"),
        person < 9,
    )


def test_sex_is_recognised_in_people_never_met_where_it_shows_and_not_where_it_does_not() -> None:
    rng = np.random.default_rng(1)
    shown = recognised(people_with_a_sex(6.0), 7, 0, ATTRIBUTE_PANEL[:3])
    hidden = recognised(people_with_a_sex(0.0), 7, 4, ATTRIBUTE_PANEL[:3])
    for size in (1, SIX):
        assert recognisable(shown[size], rng).value > 0.9
        assert len(shown[size].people) == 9 and len(shown[size].chosen) == 3
        found = recognisable(hidden[size], rng)
        assert found.low < 0.75 and found.value < 0.8
        assert by_luck(hidden[size]) == pytest.approx(0.5, abs=0.2)


def test_nobody_is_in_the_training_and_the_test_of_an_attribute() -> None:
    """Voices alone, memorised, would be recognised perfectly."""
    right = []
    for seed in range(4):
        table = people_with_a_sex(0.0, seed, voices=9.0)
        alone = replace(table, may_test=np.ones(len(table.person), bool))
        right.append(balanced(recognised(alone, 7, 0, ATTRIBUTE_PANEL[:2])[SIX]))
    assert np.mean(right) < 0.75


def test_the_attacker_is_chosen_by_the_enrolment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = gallery(1, offset=1.0)
    enrolment, test = next(both_directions(samples, np.random.default_rng(0)))
    looked: list[np.ndarray] = []

    def spy(splits: Iterable[panel.Split], *given: Any) -> dict[int, int]:
        parts = list(splits)
        looked.extend(rows for part in parts for rows in (part.rows, part.unseen_rows))
        return best_members(parts, *given)

    monkeypatch.setattr(panel, "best_members", spy)
    panel.attack(enrolment, test, 7, PANEL[:1])
    seen = {row.tobytes() for rows in looked for row in rows}
    assert seen == {row.tobytes() for row in enrolment.rows}
    assert not seen & {row.tobytes() for row in test.rows}
