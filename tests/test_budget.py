"""The budget: costs add up exactly, a period is paid once, and the bounds are true."""

import math
import random
from collections.abc import Sequence
from fractions import Fraction
from importlib import resources

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge_models.errors import ContractError
from sync.budget import Ledger, Spend
from sync.errors import BudgetExhausted, PeriodSpent, PolicyError, ProtocolError
from sync.messages import HISTOGRAMS
from sync.policy import Policy, Price, Purpose, parse_policy, squared_sensitivity
from sync.release import Counts

POLICY = parse_policy(
    resources.files("edge_models").joinpath("bundles", "affect-1", "policy.json").read_bytes()
)
CHOICES = st.fixed_dictionaries(
    {histogram.name: st.integers(0, len(histogram.bins) - 1) for histogram in HISTOGRAMS}
)


def week(number: int, policy: Policy = POLICY) -> Spend:
    return Spend(f"2026-W{number:02d}", policy.rho_per_report, policy.reference)


def after(reports: int) -> Ledger:
    ledger = Ledger()
    for number in range(1, reports + 1):
        ledger = ledger.charged(week(number), POLICY)
    return ledger


def test_the_budget_pays_for_exactly_what_the_policy_promises() -> None:
    ledger = after(POLICY.reports_in_budget)
    assert ledger.spent_rho == POLICY.rho_budget
    assert ledger.reports_left(POLICY) == 0
    with pytest.raises(BudgetExhausted) as refused:
        ledger.charged(week(20), POLICY)
    assert not isinstance(refused.value, PeriodSpent)
    assert "14 releases spent rho 7/4 of 7/4" in refused.value.cause and refused.value.remedy


def test_a_period_is_paid_once() -> None:
    ledger = after(3)
    with pytest.raises(PeriodSpent) as refused:
        ledger.charged(week(2), POLICY)
    assert "2026-W02" in refused.value.cause
    assert ledger == after(3)  # and nothing was charged


def rounds(purpose: Purpose, number: int, rho: Fraction = Fraction(1, 80)) -> Spend:
    return Spend(f"{number:064x}", rho, FEDERATED.reference, purpose)


FEDERATED = POLICY.model_copy(
    update={"head": Price(rho=Fraction(1, 80), squared_clip=2**20),
            "canary": Price(rho=Fraction(1, 160), squared_clip=4)}
)  # fmt: skip


def test_rounds_and_reports_share_one_budget_and_each_is_paid_once() -> None:
    ledger = after(13)  # leaves 1/8
    for number in range(9):
        ledger = ledger.charged(rounds(Purpose.HEAD, number), FEDERATED)
    canary = rounds(Purpose.CANARY, 3, Fraction(1, 160))  # as a head's round, but another purpose
    ledger = ledger.charged(canary, FEDERATED)
    for twice in (canary, rounds(Purpose.HEAD, 3)):
        with pytest.raises(PeriodSpent, match="already"):
            ledger.charged(twice, FEDERATED)
    assert ledger.spent_rho == POLICY.rho_budget - Fraction(1, 160)
    for beyond in (week(14), rounds(Purpose.HEAD, 9)):
        with pytest.raises(BudgetExhausted):
            ledger.charged(beyond, FEDERATED)
    ledger = ledger.charged(rounds(Purpose.CANARY, 10, Fraction(1, 160)), FEDERATED)
    assert ledger.spent_rho == POLICY.rho_budget
    assert ledger.periods == after(13).periods


def test_a_round_that_the_policy_has_no_price_for_is_not_paid() -> None:
    with pytest.raises(PolicyError, match="no price for a head"):
        Ledger().charged(rounds(Purpose.HEAD, 1), POLICY.model_copy(update={"head": None}))
    with pytest.raises(ContractError):
        Ledger().charged(rounds(Purpose.HEAD, 1, Fraction(1, 81)), FEDERATED)
    with pytest.raises(ContractError):
        Spend("2026-W01", Fraction(1), "any@1", Purpose.HEAD)


def test_the_chain_tells_of_every_entry_its_order_and_its_device() -> None:
    start, other = bytes(32), bytes(31) + b"\x01"
    ledger = Ledger((week(1), week(2), week(3)))
    chain = ledger.chain(start)
    assert len(chain) == 4 and chain[0] == start and len({len(x) for x in chain}) == 1
    assert Ledger((week(1), week(2))).chain(start) == chain[:3]
    heads = {
        Ledger(spends).chain(start)[-1]
        for spends in (
            (week(1), week(2), week(3)), (week(2), week(1), week(3)), (week(1), week(3)),
            (week(1), week(2), rounds(Purpose.HEAD, 3)),
            (week(1), week(2), rounds(Purpose.CANARY, 3)),
            (week(1), week(2), Spend("2026-W03", Fraction(1, 9), POLICY.reference)),
            (week(1), week(2), Spend("2026-W03", Fraction(1, 8), "other@1")),
        )
    }  # fmt: skip
    assert len(heads) == 7 and ledger.chain(other)[-1] not in heads


def test_a_stored_ledger_that_holds_a_period_twice_is_refused() -> None:
    assert Ledger.of([week(1), week(2)]).spent_rho == Fraction(1, 4)
    with pytest.raises(PeriodSpent):
        Ledger.of([week(1), week(2), week(1)])


def test_only_the_policys_own_price_can_be_charged() -> None:
    cheaper = Spend("2026-W01", POLICY.rho_per_report / 2, POLICY.reference)
    foreign = Spend("2026-W01", POLICY.rho_per_report, "other@1")
    for spend in (cheaper, foreign):
        with pytest.raises(ContractError):
            Ledger().charged(spend, POLICY)


def test_another_policy_of_the_study_sees_what_earlier_ones_spent() -> None:
    stricter = POLICY.model_copy(update={"version": 2, "rho_budget": Fraction(3, 8)})
    with pytest.raises(BudgetExhausted):
        after(3).charged(week(9, stricter), stricter)
    assert after(3).reports_left(stricter) == 0 == after(5).reports_left(stricter)


@pytest.mark.parametrize("rho", [Fraction(0), Fraction(-1, 8), 0.125, 1])
def test_a_spend_has_a_positive_exact_price(rho: object) -> None:
    with pytest.raises(ContractError):
        Spend("2026-W01", rho, "any@1")  # type: ignore[arg-type]


def test_a_spend_names_a_real_week() -> None:
    with pytest.raises(ProtocolError):
        Spend("2026-W54", Fraction(1), "any@1")


class LedgerMachine(RuleBasedStateMachine):
    """Whatever is charged in whatever order, the budget holds."""

    @initialize(
        per_report=st.fractions(Fraction(1, 100), 1, max_denominator=100),
        reports=st.fractions(1, 8, max_denominator=10),
    )
    def start(self, per_report: Fraction, reports: Fraction) -> None:
        self.policy = Policy(
            name="any", version=1, rho_per_report=per_report, rho_budget=per_report * reports,
            delta=1e-6, period_days=7,
        )  # fmt: skip
        self.ledger = Ledger()
        self.paid: list[int] = []

    @rule(number=st.integers(1, 15))
    def charge(self, number: int) -> None:
        before = self.ledger
        room = before.reports_left(self.policy)
        try:
            self.ledger = before.charged(week(number, self.policy), self.policy)
        except PeriodSpent:
            assert number in self.paid
        except BudgetExhausted:
            assert number not in self.paid and room == 0
        else:
            assert number not in self.paid and room > 0
            self.paid.append(number)
            assert self.ledger.epsilon(1e-6) > before.epsilon(1e-6)
            assert self.ledger.reports_left(self.policy) == room - 1

    @rule()
    def restart(self) -> None:
        self.ledger = Ledger.of(list(self.ledger.spends))

    @invariant()
    def costs_add_up_exactly_and_never_exceed_the_budget(self) -> None:
        if hasattr(self, "policy"):
            assert self.ledger.spent_rho == len(self.paid) * self.policy.rho_per_report
            assert self.ledger.spent_rho <= self.policy.rho_budget
            assert [spend.subject for spend in self.ledger.spends] == [
                week(number).subject for number in self.paid
            ]


TestLedgerMachine = LedgerMachine.TestCase


@pytest.mark.parametrize("reports", [1, 4, 12])
@pytest.mark.parametrize("delta", [1e-4, 1e-6, 1e-9])
def test_epsilon_is_above_the_tight_figures_of_dp_accounting(reports: int, delta: float) -> None:
    multiplier = math.sqrt(POLICY.sigma2 / squared_sensitivity())
    # The accountant's Gaussian is between N(0, s^2) and N(1, s^2): our worst pair of reports.
    relation = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    event = dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(multiplier), reports)
    pld = PLDAccountant(relation).compose(event).get_epsilon(delta)
    rdp = RdpAccountant(neighboring_relation=relation).compose(event).get_epsilon(delta)
    ours = after(reports).epsilon(delta)
    assert pld <= ours and rdp <= ours
    assert ours < 1.5 * pld  # an upper bound, and not an empty one


@given(CHOICES, CHOICES)
def test_no_two_reports_are_further_apart_than_the_sensitivity(
    one: dict[str, int], other: dict[str, int]
) -> None:
    assert distance2(one, other) <= squared_sensitivity()


def test_two_reports_that_differ_everywhere_are_exactly_that_far_apart() -> None:
    first = {histogram.name: 0 for histogram in HISTOGRAMS}
    last = {histogram.name: len(histogram.bins) - 1 for histogram in HISTOGRAMS}
    assert distance2(first, last) == squared_sensitivity()


def distance2(one: dict[str, int], other: dict[str, int]) -> int:
    pairs = zip(Counts.of(one).cells, Counts.of(other).cells, strict=True)
    return sum((a - b) ** 2 for a, b in pairs)


def renyi(order: float, shift: Sequence[int], sigma2: Fraction) -> float:
    """Renyi divergence between the noised reports of two people whose counts differ by `shift`.

    Computed from the definition, cell by cell (the noise is independent), over all integers that
    carry any mass to speak of.
    Source: Mironov, "Renyi Differential Privacy", 2017, Definition 3.
    """
    width = 2.0 * float(sigma2)
    reach = range(-700, 701)
    total = math.fsum(math.exp(-(x * x) / width) for x in reach)
    divergence = 0.0
    for step in shift:
        exponents = [-(order * x * x + (1 - order) * (x - step) ** 2) / width for x in reach]
        top = max(exponents)
        inside = math.fsum(math.exp(exponent - top) for exponent in exponents)
        divergence += (top + math.log(inside / total)) / (order - 1)
    return divergence


@pytest.mark.parametrize("order", [1.1, 1.5, 2.0, 2.7, 4.0, 16.0, 63.5])
def test_a_report_is_as_private_as_its_rho_says(order: float) -> None:
    chance = random.Random("neighbours")
    bound = order * float(POLICY.rho_per_report)
    first = {histogram.name: 0 for histogram in HISTOGRAMS}
    others = [{h.name: chance.randrange(len(h.bins)) for h in HISTOGRAMS} for _ in range(20)]
    others.append({histogram.name: len(histogram.bins) - 1 for histogram in HISTOGRAMS})
    for other in others:
        pairs = zip(Counts.of(other).cells, Counts.of(first).cells, strict=True)
        shift = [a - b for a, b in pairs if a != b]
        for direction in (shift, [-step for step in shift]):
            assert renyi(order, direction, POLICY.sigma2) <= bound * (1 + 1e-9)
    assert renyi(order, shift, POLICY.sigma2) > 0.99 * bound  # the worst pair needs all of it
    assert renyi(order, shift, POLICY.sigma2 * Fraction(97, 100)) > bound  # less noise: noticed
