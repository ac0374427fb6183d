"""The device's own account of what its reports have told: it adds up, and it refuses.

Rules it upholds: costs only ever add; a period is paid for once, because a second draw of noise
for the same truth would wear the first one off; a charge is made before any noise is drawn, and
is committed by the store in one transaction with the finished message; the sum is exact.

Unit of privacy: the person, for the study. Neighbouring: everything that the person's reports
said, replaced by anything else. Composition: zCDP costs of any sequence of releases, each chosen
knowing the earlier ones, add up.

In the life of a report: it is charged here first, or it is never made.

Source: Bun, Steinke, "Concentrated Differential Privacy: Simplifications, Extensions, and Lower
Bounds", 2016 (arXiv 1605.02065), Lemma 1.7 (composition), Proposition 1.3 (conversion).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from edge_models.errors import ContractError
from sync.errors import BudgetExhausted, PeriodSpent
from sync.periods import period_start
from sync.policy import Policy, epsilon


@dataclass(frozen=True, slots=True)
class Spend:
    """One report's price: `rho` (zCDP, exact), for `period`, under `policy` (name@version).

    Raises:
        ProtocolError: the period is no ISO week.
        ContractError: rho is not a positive fraction.
    """

    period: str
    rho: Fraction
    policy: str

    def __post_init__(self) -> None:
        period_start(self.period)
        if not isinstance(self.rho, Fraction) or self.rho <= 0:
            raise ContractError("A spend costs a positive, exact rho.")


@dataclass(frozen=True, slots=True)
class Ledger:
    """All spends of a person in a study, in the order in which they were made."""

    spends: tuple[Spend, ...] = ()

    def __post_init__(self) -> None:
        if len(self.periods) != len(self.spends):
            raise PeriodSpent(
                "The privacy ledger holds a period twice.",
                "Nothing is sent from this store; ask the study for help.",
            )

    @classmethod
    def of(cls, spends: Iterable[Spend]) -> Self:
        """The ledger of stored spends.

        Raises:
            PeriodSpent: two of them are for the same period.
        """
        return cls(tuple(spends))

    @property
    def periods(self) -> frozenset[str]:
        """The periods that have been paid for."""
        return frozenset(spend.period for spend in self.spends)

    @property
    def spent_rho(self) -> Fraction:
        """What has been spent in all, in zCDP."""
        return sum((spend.rho for spend in self.spends), Fraction(0))

    def epsilon(self, delta: float) -> float:
        """What has been spent in all, as the epsilon of (epsilon, delta)-DP.

        Raises:
            PolicyError: delta is not between 0 and 1.
        """
        return epsilon(self.spent_rho, delta)

    def reports_left(self, policy: Policy) -> int:
        """How many more reports the budget of this policy pays for."""
        return max(0, int((policy.rho_budget - self.spent_rho) / policy.rho_per_report))

    def charged(self, spend: Spend, policy: Policy) -> "Ledger":
        """This ledger with one more spend, if the policy's budget allows it.

        Raises:
            PeriodSpent: this period has already been paid for.
            BudgetExhausted: the sum would exceed the policy's budget.
            ContractError: the spend is not this policy's price.
        """
        if spend.policy != policy.reference or spend.rho != policy.rho_per_report:
            raise ContractError("A report is charged at its own policy's price.")
        if spend.period in self.periods:
            raise PeriodSpent(
                f"The report for {spend.period} has already been made and paid for.",
                "Send the stored report again instead: a retry costs nothing.",
            )
        if self.spent_rho + spend.rho > policy.rho_budget:
            raise BudgetExhausted(
                f"The privacy budget of this study is used up: {len(self.spends)} reports spent "
                f"rho {self.spent_rho} of {policy.rho_budget} (epsilon "
                f"{self.epsilon(policy.delta):.2f} at delta {policy.delta:g}), and one more "
                f"costs {spend.rho}.",
                "It does not renew: no more reports are made in this study, and screening on "
                "this device goes on as before. A new budget needs a new consent.",
            )
        return Ledger((*self.spends, spend))
