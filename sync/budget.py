"""The device's own account of what its releases have told: it adds up, and it refuses.

Rules it upholds: costs only ever add; a subject (a report's period, a round) is paid for once,
because a second draw of noise for the same truth would wear the first one off; a charge is made
before any noise is drawn, and is committed by the store in one transaction with the finished
message; the sum is exact; each entry's digest covers the one before it, so a ledger can't lose,
gain or change an entry without its head telling.

Unit of privacy: the person, for the study. Neighbouring: everything that the person's reports and
evaluations said, replaced by anything else, and each of the person's updates left out (see
`shared_noise.NEIGHBOURS`). Composition: zCDP costs of any sequence of releases, each chosen
knowing the earlier ones, add up.

In the life of a release: it is charged here first, or it is never made.

Source: Bun, Steinke, "Concentrated Differential Privacy: Simplifications, Extensions, and Lower
Bounds", 2016 (arXiv 1605.02065), Lemma 1.7 (composition), Proposition 1.3 (conversion).
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import Final, Self

from edge_models.errors import ContractError
from sync.errors import BudgetExhausted, PeriodSpent
from sync.periods import period_start
from sync.policy import Policy, Purpose, epsilon

_ROUND: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Spend:
    """One release's price: `rho` (zCDP, exact), for `subject`, under `policy` (name@version).

    The subject of a report is its period; that of another purpose is its round's id, 64
    hexadecimal digits.

    Raises:
        ProtocolError: a report's period is no ISO week.
        ContractError: rho is not a positive fraction, or the subject is no round.
    """

    subject: str
    rho: Fraction
    policy: str
    purpose: Purpose = Purpose.REPORT

    def __post_init__(self) -> None:
        if self.purpose is Purpose.REPORT:
            period_start(self.subject)
        elif not _ROUND.fullmatch(self.subject):
            raise ContractError("A round is named by 64 hexadecimal digits.")
        if not isinstance(self.rho, Fraction) or self.rho <= 0:
            raise ContractError("A spend costs a positive, exact rho.")

    def after(self, digest: bytes) -> bytes:
        """The chain's digest with this entry, 32 bytes; `digest` is the one before it.

        Source: SHA-256 over the former digest and each part with its length before it.
        """
        parts = (self.purpose, self.subject, self.policy,
                 str(self.rho.numerator), str(self.rho.denominator))  # fmt: skip
        said = (part.encode() for part in parts)
        return hashlib.sha256(
            b"".join(
                (b"sottovoce/ledger/1", digest, *(len(x).to_bytes(2, "big") + x for x in said))
            )
        ).digest()


@dataclass(frozen=True, slots=True)
class Ledger:
    """All spends of a person in a study, in the order in which they were made."""

    spends: tuple[Spend, ...] = ()

    def __post_init__(self) -> None:
        if len({(spend.purpose, spend.subject) for spend in self.spends}) != len(self.spends):
            raise PeriodSpent(
                "The privacy ledger holds a period or a round twice.",
                "Nothing is sent from this store; ask the study for help.",
            )

    @classmethod
    def of(cls, spends: Iterable[Spend]) -> Self:
        """The ledger of stored spends.

        Raises:
            PeriodSpent: two of them are for the same subject.
        """
        return cls(tuple(spends))

    def subjects(self, purpose: Purpose) -> frozenset[str]:
        """What has been paid for, for this purpose."""
        return frozenset(spend.subject for spend in self.spends if spend.purpose is purpose)

    @property
    def periods(self) -> frozenset[str]:
        """The periods whose reports have been paid for."""
        return self.subjects(Purpose.REPORT)

    def chain(self, start: bytes) -> tuple[bytes, ...]:
        """The digests after 0, 1, 2, ... entries; the last is the head.

        `start` is the device's own secret, so that nobody who knows the entries knows the digests.
        """
        return tuple(
            accumulate(self.spends, lambda digest, spend: spend.after(digest), initial=start)
        )

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
            PeriodSpent: this period or round has already been paid for.
            BudgetExhausted: the sum would exceed the policy's budget.
            PolicyError: the policy has no price for this purpose.
            ContractError: the spend is not this policy's price.
        """
        if spend.policy != policy.reference or spend.rho != policy.price(spend.purpose).rho:
            raise ContractError("A release is charged at its own policy's price.")
        if spend.subject in self.subjects(spend.purpose):
            raise already_paid(spend)
        if self.spent_rho + spend.rho > policy.rho_budget:
            raise BudgetExhausted(
                f"The privacy budget of this study is used up: {len(self.spends)} releases spent "
                f"rho {self.spent_rho} of {policy.rho_budget} (epsilon "
                f"{self.epsilon(policy.delta):.2f} at delta {policy.delta:g}), and one more "
                f"costs {spend.rho}.",
                "It does not renew: nothing more is released in this study, and screening on "
                "this device goes on as before. A new budget needs a new consent.",
            )
        return Ledger((*self.spends, spend))


def already_paid(spend: Spend) -> PeriodSpent:
    """The refusal to pay for the same subject again."""
    what = f"report for {spend.subject}"
    if spend.purpose is not Purpose.REPORT:
        what = f"contribution to the {spend.purpose} round {spend.subject[:8]}"
    return PeriodSpent(
        f"The {what} has already been made and paid for.",
        "Send what is stored again instead: a retry costs nothing.",
    )
