"""The coordinator's record: what releases have cost, how ledgers stand, and figures that bound."""

import hashlib
import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import pytest
from dp_accounting.pld import privacy_loss_distribution

from sync.budget import Ledger, Spend
from sync.coordinator import accounting
from sync.coordinator.accounting import Release, local_report, spent_after, spent_on, summed
from sync.coordinator.ledger import costs, judge, keep_round
from sync.coordinator.store import ReportStore, open_store
from sync.ledger_head import LedgerHead, Standing, head_of
from sync.messages import CELLS, HISTOGRAMS, Report
from sync.policy import Policy, Price, Purpose
from sync.shared_noise import (
    NEIGHBOURS,
    SharedNoise,
    noise_for,
    scale_for,
    squared_sensitivity,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HEAD_PRICE = Price(rho=Fraction(1, 80), squared_clip=1 << 20)
CANARY_PRICE = Price(rho=Fraction(1, 160), squared_clip=4)
POLICY = Policy(
    name="weekly", version=1, rho_per_report=Fraction(1, 8), rho_budget=Fraction(3, 2),
    delta=1e-6, period_days=7, head=HEAD_PRICE, canary=CANARY_PRICE,
)  # fmt: skip
PEOPLE = [f"{number:032x}" for number in range(40)]


def noise(purpose: Purpose, cohort: int = 40) -> tuple[SharedNoise, int, Fraction]:
    price = POLICY.price(purpose)
    apart = squared_sensitivity(price.squared_clip, NEIGHBOURS[purpose])
    asked = {"squared_sensitivity": apart, "rho": price.rho, "length": 50, "minimum": 20}
    scale = scale_for(**asked, squared_clip=price.squared_clip, most=cohort)  # type: ignore[arg-type]
    return noise_for(**asked, scale=scale, cohort=cohort), apart, price.rho  # type: ignore[arg-type]


def release(purpose: Purpose, cohort: int = 40) -> Release:
    shared, apart, rho = noise(purpose, cohort)
    return summed(purpose, rho, apart, shared)


def round_id(number: int) -> str:
    return f"{number:064x}"


def said(person: str, *rounds: int, start: bytes = bytes(32)) -> LedgerHead:
    spends = [Spend(round_id(n), HEAD_PRICE.rho, POLICY.reference, Purpose.HEAD) for n in rounds]
    return head_of(Ledger.of(spends), start, study="north", pseudonym=person)


@contextmanager
def opened(path: Path) -> Iterator[ReportStore]:
    with open_store(
        path, study="north", policy=POLICY.reference, cells=CELLS, clock=lambda: NOW
    ) as store:
        yield store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReportStore]:
    with opened(tmp_path / "reports.db") as store:
        yield store


def reports(store: ReportStore, person: str, *periods: str) -> None:
    for period in periods:
        report = Report(
            version=1, study="north", pseudonym=person, period=period, policy=POLICY.reference,
            bundle="affect-1", counts=(1,) * CELLS,
        )  # fmt: skip
        store.add(report, hashlib.sha256(report.to_bytes()).digest(), 12)


# What it cost.


def test_costs_are_those_of_the_person_who_spent_most(store: ReportStore) -> None:
    assert costs(store, POLICY).people == 0 and costs(store, POLICY).spent.epsilon == 0
    reports(store, PEOPLE[0], "2026-W46", "2026-W47")
    reports(store, PEOPLE[1], "2026-W46")
    for number in range(12):
        keep_round(store, round_id(number), release(Purpose.HEAD), PEOPLE[1:30])
    keep_round(store, round_id(99), release(Purpose.CANARY), PEOPLE[1:30])
    known = costs(store, POLICY)
    assert (known.people, known.most_reports, known.most_rounds) == (30, 1, 13)
    rho = Fraction(1, 8) + 12 * HEAD_PRICE.rho + CANARY_PRICE.rho
    assert known.spent.rho == float(rho)
    assert 0 < known.spent.epsilon_pld <= known.spent.epsilon


def test_whoever_can_pay_for_no_more_is_counted_by_record_and_by_word(store: ReportStore) -> None:
    reports(store, PEOPLE[0], *(f"2026-W{week}" for week in range(10, 22)))  # twelve: all of it
    reports(store, PEOPLE[1], *(f"2026-W{week}" for week in range(10, 21)))
    for person, rounds in ((PEOPLE[1], 111), (PEOPLE[2], 110), (PEOPLE[3], 120), (PEOPLE[4], 1)):
        judge(store, POLICY, said(person, *range(rounds)))  # 110 leave exactly one report's price
    known = costs(store, POLICY)
    assert (known.people, known.used_up) == (2, 3)


def test_a_round_is_counted_once_and_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "reports.db"
    for _ in range(2):
        with opened(path) as store:
            keep_round(store, round_id(1), release(Purpose.HEAD), PEOPLE[:20])
    with opened(path) as store:
        known = costs(store, POLICY)
        assert (known.people, known.most_rounds) == (20, 1)
        assert known.spent == spent_on({release(Purpose.HEAD): 1}, POLICY.delta)


def test_a_store_of_before_the_ledger_opens_with_all_that_it_held(tmp_path: Path) -> None:
    path = tmp_path / "reports.db"
    with opened(path) as store:
        reports(store, PEOPLE[0], "2026-W46")
    with sqlite3.connect(path) as rows:
        for table in ("rounds", "members", "heads"):
            rows.execute(f"DROP TABLE {table}")
        rows.execute("PRAGMA user_version = 1")
    rows.close()
    for _ in range(2):
        with opened(path) as store:
            assert store.snapshot().sums[0].reports == 1
            assert judge(store, POLICY, said(PEOPLE[1], 1)).standing is Standing.AGREES


# The figures.


@pytest.mark.parametrize("delta", [1e-4, 1e-6, 1e-9])
@pytest.mark.parametrize(
    ("locals_", "summed_", "heads", "canaries"),
    [(12, 0, 0, 0), (0, 12, 0, 0), (1, 0, 0, 0), (0, 0, 20, 20), (3, 2, 20, 5), (0, 0, 1, 0)],
)
def test_no_printed_epsilon_is_above_the_devices_bound(
    locals_: int, summed_: int, heads: int, canaries: int, delta: float
) -> None:
    made = {
        local_report(POLICY): locals_, release(Purpose.REPORT): summed_,
        release(Purpose.HEAD): heads, release(Purpose.CANARY): canaries,
    }  # fmt: skip
    ledger = Ledger.of(
        [
            *(
                Spend(f"2026-W{n:02d}", Fraction(1, 8), "p@1")
                for n in range(1, 1 + locals_ + summed_)
            ),
            *(Spend(round_id(n), HEAD_PRICE.rho, "p@1", Purpose.HEAD) for n in range(heads)),
            *(Spend(round_id(n), CANARY_PRICE.rho, "p@1", Purpose.CANARY) for n in range(canaries)),
        ]
    )
    spent = spent_on(made, delta)
    assert spent.rho == float(ledger.spent_rho)
    assert spent.epsilon == ledger.epsilon(delta)  # the device's own figure
    tight = accounting._tight_epsilon(
        frozenset((each, count) for each, count in made.items() if count), delta
    )
    assert spent.epsilon_pld == tight < ledger.epsilon(delta) < 1.6 * tight


def test_reports_in_a_sum_cost_what_local_ones_cost() -> None:
    for cohort in (20, 40):
        one = spent_on({release(Purpose.REPORT, cohort): 8}, 1e-6)
        other = spent_after(8, POLICY)
        assert one.rho == other.rho and one.epsilon == other.epsilon
        assert one.epsilon_pld == pytest.approx(other.epsilon_pld, rel=0.01)


def test_only_the_noise_that_is_surely_there_counts() -> None:
    shared, apart, rho = noise(Purpose.HEAD)
    made = summed(Purpose.HEAD, rho, apart, shared)
    assert made.sigma2 == shared.honest * shared.share_sigma2
    assert made.sigma2 < shared.members * shared.share_sigma2


def test_an_updates_noise_may_be_taken_for_a_gaussian() -> None:
    """Beside the exact discrete mechanism, for an update that differs in one number only."""
    made = release(Purpose.HEAD)
    apart = math.isqrt(made.squared_sensitivity) * made.scale
    exact = privacy_loss_distribution.from_discrete_gaussian_mechanism(
        math.sqrt(made.sigma2), sensitivity=apart, value_discretization_interval=1e-4
    )
    for rounds in (1, 20):
        discrete = exact.self_compose(rounds).get_epsilon_for_delta(1e-6)
        ours = spent_on({made: rounds}, 1e-6).epsilon_pld
        assert ours == pytest.approx(discrete, rel=0.003)


def test_one_hot_reports_in_a_sum_are_counted_cell_by_cell() -> None:
    made = release(Purpose.REPORT)
    assert made.squared_sensitivity == 2 * len(HISTOGRAMS)
    assert made.sigma2 / made.scale**2 >= POLICY.sigma2


# How ledgers stand.


def test_a_device_that_fell_behind_is_seen_and_told_what_was_seen(store: ReportStore) -> None:
    assert judge(store, POLICY, said(PEOPLE[0], 1, 2, 3)).standing is Standing.AGREES
    judged = judge(store, POLICY, said(PEOPLE[0], 1))
    assert judged.standing is Standing.BEHIND
    assert judged.known == said(PEOPLE[0], 1, 2, 3)
    assert judge(store, POLICY, said(PEOPLE[0], 1, 9, 8)).standing is Standing.FORKED
    assert costs(store, POLICY).ledgers == {Standing.FORKED: 1}
    # A late message stops nobody: the newest head still agrees, and stays known.
    assert judge(store, POLICY, said(PEOPLE[0], 1, 2, 3, 4)).standing is Standing.AGREES
    assert costs(store, POLICY).ledgers == {Standing.AGREES: 1}


def test_a_device_that_says_less_than_it_sent_is_behind_even_at_first(store: ReportStore) -> None:
    keep_round(store, round_id(1), release(Purpose.HEAD), PEOPLE[:2])
    keep_round(store, round_id(2), release(Purpose.HEAD), PEOPLE[:1])
    reports(store, PEOPLE[2], "2026-W46")
    for person, rounds, stands in (
        (PEOPLE[0], (1, 2), Standing.AGREES),
        (PEOPLE[1], (), Standing.BEHIND),
        (PEOPLE[2], (1, 2, 3), Standing.BEHIND),  # three heads are cheaper than a report
        (PEOPLE[3], (), Standing.AGREES),
    ):
        assert judge(store, POLICY, said(person, *rounds)).standing is stands


def test_two_devices_of_one_name_are_seen(store: ReportStore) -> None:
    judge(store, POLICY, said(PEOPLE[0], 1))
    other = said(PEOPLE[0], 1, 2, start=bytes(31) + b"\x01")
    assert judge(store, POLICY, other).standing is Standing.FORKED
