"""A privacy policy: how much a report may tell, and how much all of them together.

Rules it upholds: the person sets two numbers, rho per report and rho in all; sensitivity and noise
are *derived* from them and from the report's histograms, so they can't contradict each other;
the numbers are exact fractions; a policy outside the domain of its formulas can't exist.

Unit of privacy: the person's whole contribution to one report; for the budget, to the study.
Neighbouring: one report replaced by any other. Each of the H histograms is one-hot, so at most
two cells of it change, each by one: the squared L2 sensitivity is 2H. Mechanism: discrete
Gaussian noise in every cell.

In the life of a report: `release` reads the noise from here, `budget` the prices.
"""

import hashlib
import math
import re
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, PlainSerializer, StrictInt, model_validator

from sync.envelope import Message, decoded
from sync.errors import PolicyError, ProtocolError
from sync.messages import HISTOGRAMS
from sync.periods import PERIOD_DAYS

_CELLS_CHANGED: Final = 2  # of a one-hot histogram, when one person's answer is replaced
_LEAST_RHO: Final = Fraction(1, 1_000_000)
_EXACT: Final = re.compile(r"[0-9]{1,9}(?:/[0-9]{1,9}|\.[0-9]{1,9})?", re.ASCII)


def squared_sensitivity() -> int:
    """Squared L2 sensitivity of a report's true counts: two cells of each histogram, by one."""
    return _CELLS_CHANGED * len(HISTOGRAMS)


def epsilon(rho: Fraction, delta: float) -> float:
    """Epsilon of (epsilon, delta)-DP for what is rho-zCDP, rounded up.

    `rho` >= 0 and 0 < `delta` < 1. It is a simple bound, not the tightest (the coordinator's
    page shows how much room it leaves).

    Raises:
        PolicyError: outside that domain.
    Source: Bun, Steinke, "Concentrated Differential Privacy", 2016, Proposition 1.3.
    """
    if rho < 0 or not 0.0 < delta < 1.0:
        raise PolicyError("Epsilon needs rho of at least 0 and a delta between 0 and 1.")
    if not rho:
        return 0.0
    bound = float(rho) + 2.0 * math.sqrt(float(rho) * -math.log(delta))
    return bound * (1.0 + 1e-15)  # above what the few roundings can have lost


def _exactly(value: Any) -> Any:
    """A fraction out of its exact spelling; a binary float is not what was written."""
    spelling = str(value) if isinstance(value, Fraction) else value
    if isinstance(spelling, str) and _EXACT.fullmatch(spelling):
        try:
            return Fraction(spelling)
        except ZeroDivisionError:
            raise ValueError("has a zero below its fraction line") from None
    raise ValueError('is written as text, exactly, in up to 9 digits: "1/8" or "0.125"')


Exact = Annotated[Fraction, BeforeValidator(_exactly), PlainSerializer(str, return_type=str)]
"""A rational number; in JSON a string such as "1/8" or "0.125"."""


class Purpose(StrEnum):
    """What a release is for; the budget is one for all of them."""

    REPORT = "report"
    HEAD = "head"  # an update of the classifier's head
    CANARY = "canary"  # an evaluation of a head that is not yet published


class Price(Message):
    """What a round other than a report may cost and carry: `rho`, and its squared L2 clip."""

    rho: Exact
    squared_clip: Annotated[StrictInt, Field(ge=1, le=2**50)]

    @model_validator(mode="after")
    def _can_be_kept(self) -> Self:
        if self.rho < _LEAST_RHO:
            raise ValueError("rho must be at least 0.000001")
        return self


class Policy(Message):
    """How private reports are, and what a study may ask for besides them.

    `rho_per_report` and `rho_budget` in zCDP, exact; `delta` is for saying both as epsilon;
    `period_days` is how often a report is due (a report names an ISO week: seven). `head` and
    `canary` are the prices of federated rounds, absent where the study has none;
    `minimum_cohort` is the fewest people over whom a sum may be opened.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    version: Annotated[int, Field(ge=1, le=999_999)]
    rho_per_report: Exact
    rho_budget: Exact
    delta: Annotated[float, Field(gt=0.0, lt=1e-3)]
    period_days: Annotated[int, Field(ge=1)]
    head: Price | None = None
    canary: Price | None = None
    minimum_cohort: Annotated[int, Field(ge=20, le=65_536)] = 20

    @model_validator(mode="after")
    def _can_be_kept(self) -> Self:
        if self.rho_per_report < _LEAST_RHO:
            raise ValueError("rho_per_report must be at least 0.000001")
        if self.rho_budget < self.rho_per_report:
            raise ValueError("rho_budget does not pay for a single report")
        if self.period_days != PERIOD_DAYS:
            raise ValueError("period_days must be 7: a report names an ISO week")
        return self

    @property
    def reference(self) -> str:
        """How reports and ledgers name this policy: name@version."""
        return f"{self.name}@{self.version}"

    @property
    def sigma2(self) -> Fraction:
        """Parameter of the discrete Gaussian in each cell: squared sensitivity / (2 rho).

        Source: Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy",
        2020, Theorem 14 (multivariate: Corollary 16).
        """
        return squared_sensitivity() / (2 * self.rho_per_report)

    def price(self, purpose: Purpose) -> Price:
        """What one release costs and may carry; a report is one-hot in each histogram.

        Raises:
            PolicyError: this policy allows no release for that purpose.
        """
        match purpose:
            case Purpose.REPORT:
                return Price(rho=self.rho_per_report, squared_clip=len(HISTOGRAMS))
            case Purpose.HEAD:
                priced = self.head
            case Purpose.CANARY:
                priced = self.canary
        if priced is None:
            raise PolicyError(
                f"The privacy policy '{self.reference}' has no price for a {purpose} round.",
                "Nothing is released for it; the study needs a policy that names one.",
            )
        return priced

    @property
    def reports_in_budget(self) -> int:
        """How many reports the budget pays for."""
        return int(self.rho_budget / self.rho_per_report)

    @property
    def epsilon_per_report(self) -> float:
        """Epsilon of one report at `delta`."""
        return epsilon(self.rho_per_report, self.delta)

    @property
    def epsilon_budget(self) -> float:
        """Epsilon of the whole budget at `delta`."""
        return epsilon(self.rho_budget, self.delta)


def policy_digest(payload: bytes) -> str:
    """How the terms of a round name a policy: SHA-256 of its file's bytes, in hexadecimal."""
    return hashlib.sha256(payload).hexdigest()


def parse_policy(payload: bytes) -> Policy:
    """The policy that a bundle's or a study's file holds.

    Raises:
        PolicyError: it holds none, or one that can't be kept.
    """
    try:
        return decoded(payload, Policy)
    except ProtocolError as fault:
        raise PolicyError(
            fault.cause, "Use the policy of the bundle, or correct the named field."
        ) from None
