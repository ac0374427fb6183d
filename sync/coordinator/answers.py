"""What the coordinator's page and its JSON say: the cohort, put together from the store.

Rules upheld here: only sums leave this module, and none over fewer reports than the minimum; every
estimate travels with its noise interval; what was refused is said, with its reason.

In the life of a report: it is one addend by now. These models are the JSON of `/api/cohort`.
"""

from datetime import datetime
from fractions import Fraction
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from sync.coordinator.estimate import (
    BinEstimate,
    CohortEstimate,
    TooFew,
    estimate,
    in_words,
    people_in_a_sum,
)
from sync.coordinator.ledger import Costs, costs
from sync.coordinator.store import Outcome, PeriodSum, ReportStore
from sync.errors import SyncError
from sync.ledger_head import Standing
from sync.messages import CELLS, HISTOGRAMS
from sync.policy import Policy

ALL: Final = "all"  # every shown period added up
_KEPT: Final = (Outcome.STORED, Outcome.DUPLICATE)


class UnknownPeriod(SyncError):
    """The user's wish: a period that has no reports."""


NoiseIn = Literal["report", "sum", "both"]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BinAnswer(_Answer):
    """One bar: unbiased `people` with its noise interval `low` to `high`, and the same as shares.

    `projected` is the nearest possible histogram's value, no longer unbiased.
    """

    answer: str
    people: int
    low: int
    high: int
    share: float
    share_low: float
    share_high: float
    projected: float


class NoiseAnswer(_Answer):
    """How large the noise in each bar is, in people and in percentage points."""

    sd_people: float
    half_width_people: int
    half_width_points: float
    people_for_ten_points: int


class PeriodAnswer(_Answer):
    """A period, its reports, whether they are enough for numbers, and whether one sum was opened.

    Of a period that was `summed` nobody has a single report.
    """

    period: str
    reports: int
    enough: bool
    summed: bool


class RefusalAnswer(_Answer):
    """How many messages were refused for one reason."""

    reason: str
    count: int
    last_at: datetime


class BudgetAnswer(_Answer):
    """The privacy spent so far by the person who spent most, and the study's bound.

    `used_up`: how many people can pay for no more reports.
    `ledgers_agree`, `ledgers_behind`, `ledgers_forked`: how many devices' own ledgers stand so.
    """

    unit: str
    neighbouring: str
    mechanism: str
    people: int
    used_up: int
    most_reports: int
    most_rounds: int
    ledgers_agree: int
    ledgers_behind: int
    ledgers_forked: int
    rho_per_report: float
    rho_spent: float
    rho_budget: float
    delta: float
    epsilon_per_report: float
    epsilon_spent: float
    epsilon_spent_tight: float
    epsilon_budget: float


class CohortAnswer(_Answer):
    """`/api/cohort`: one period (or all together), and what holds for the study.

    `noise_in` says where the noise of these numbers was added: to each report, inside the sum, or
    (periods of either kind together) both.
    """

    study: str
    policy: str
    minimum: int
    period: str
    reports: int
    enough: bool
    in_words: str
    noise: NoiseAnswer | None
    noise_in: NoiseIn
    questions: dict[str, str]
    histograms: dict[str, tuple[BinAnswer, ...]]
    periods: tuple[PeriodAnswer, ...]
    stored: int
    duplicates: int
    refused: tuple[RefusalAnswer, ...]
    budget: BudgetAnswer


def cohort(
    store: ReportStore, *, study: str, policy: Policy, minimum: int, period: str | None = None
) -> CohortAnswer:
    """What can be said of `period`: by default the newest with enough reports, else the newest.

    Raises:
        UnknownPeriod: no report is of that period.
        ReportStoreError: the store can't be read.
    """
    held = store.snapshot()
    chosen = _chosen(held.sums, period, minimum, policy)
    result = _estimated(chosen, policy, minimum)
    tallies = {tally.outcome: tally for tally in held.tallies}
    counts = {outcome: tally.count for outcome, tally in tallies.items()}
    shown = isinstance(result, CohortEstimate)
    return CohortAnswer(
        study=study,
        policy=policy.reference,
        minimum=minimum,
        period=chosen.period,
        reports=chosen.reports,
        enough=shown,
        in_words=in_words(result, pooled=chosen.period == ALL),
        noise=_noise(result) if isinstance(result, CohortEstimate) else None,
        noise_in=_where_noise_is(chosen, held.sums, minimum),
        questions={histogram.name: histogram.question for histogram in HISTOGRAMS},
        histograms=bars(result) if isinstance(result, CohortEstimate) else {},
        periods=tuple(
            PeriodAnswer(
                period=each.period,
                reports=each.reports,
                enough=each.reports >= minimum,
                summed=each.noise is not None,
            )
            for each in held.sums
        ),
        stored=counts.get(Outcome.STORED, 0),
        duplicates=counts.get(Outcome.DUPLICATE, 0),
        refused=tuple(
            RefusalAnswer(reason=outcome.value, count=tally.count, last_at=tally.last_at)
            for outcome, tally in sorted(tallies.items())
            if outcome not in _KEPT
        ),
        budget=_budget(costs(store, policy), policy, any(each.noise for each in held.sums)),
    )


def table(
    store: ReportStore, *, policy: Policy, minimum: int
) -> list[tuple[str | int | float, ...]]:
    """Every shown period as rows (`TABLE_COLUMNS`), and all together last where there are several.

    Raises:
        ReportStoreError: the store can't be read.
    """
    sums = [each for each in store.snapshot().sums if each.reports >= minimum]
    wanted = [*sums, _pooled(sums, policy)] if len(sums) > 1 else sums
    rows: list[tuple[str | int | float, ...]] = []
    for each in wanted:
        result = _estimated(each, policy, minimum)
        if isinstance(result, TooFew):
            continue
        rows.extend(
            (each.period, each.reports, name, *bar.model_dump().values())
            for name, bins in bars(result).items()
            for bar in bins
        )
    return rows


TABLE_COLUMNS: Final = ("period", "reports", "histogram", *BinAnswer.model_fields)


def _chosen(
    sums: tuple[PeriodSum, ...], wanted: str | None, minimum: int, policy: Policy
) -> PeriodSum:
    enough = [each for each in sums if each.reports >= minimum]
    if wanted == ALL:
        return _pooled(enough, policy)
    if wanted is None:
        newest = (enough or list(sums))[-1:]
        return newest[0] if newest else _pooled([], policy)
    for each in sums:
        if each.period == wanted:
            return each
    raise UnknownPeriod(
        "There is no report of that period.", "Ask /api/cohort for the periods there are."
    )


def _pooled(sums: list[PeriodSum], policy: Policy) -> PeriodSum:
    return PeriodSum(
        ALL,
        sum(each.reports for each in sums),
        tuple(sum(each.totals[cell] for each in sums) for cell in range(CELLS)),
        sum((_noise_in(each, policy) for each in sums), Fraction(0)),
    )


def _noise_in(sum_: PeriodSum, policy: Policy) -> Fraction:
    """The variance parameter of a cell's noise: that of the sum, or of each report together."""
    return sum_.noise if sum_.noise is not None else sum_.reports * policy.sigma2


def _where_noise_is(chosen: PeriodSum, sums: tuple[PeriodSum, ...], minimum: int) -> NoiseIn:
    shown = [each for each in sums if each.reports >= minimum] if chosen.period == ALL else [chosen]
    kinds = {each.noise is not None for each in shown}
    return "both" if len(kinds) > 1 else "sum" if True in kinds else "report"


def _estimated(chosen: PeriodSum, policy: Policy, minimum: int) -> CohortEstimate | TooFew:
    return estimate(
        chosen.totals,
        chosen.reports,
        sigma2=_noise_in(chosen, policy) / max(1, chosen.reports),
        histograms=HISTOGRAMS,
        minimum=minimum,
        in_sum=chosen.noise is not None,
        people_for_ten_points=None
        if chosen.noise is None or chosen.period == ALL
        else people_in_a_sum(policy.sigma2, policy.minimum_cohort),
    )


def bars(result: CohortEstimate) -> dict[str, tuple[BinAnswer, ...]]:
    """The estimate as the page draws it, by the histogram's name."""
    return {part.name: tuple(_bar(one) for one in part.bins) for part in result.histograms}


def _bar(one: BinEstimate) -> BinAnswer:
    return BinAnswer(
        answer=one.answer,
        people=one.people,
        low=one.low,
        high=one.high,
        share=round(one.share, 4),
        share_low=round(one.share_low, 4),
        share_high=round(one.share_high, 4),
        projected=round(one.projected_people, 1),
    )


def _noise(result: CohortEstimate) -> NoiseAnswer:
    noise = result.noise
    return NoiseAnswer(
        sd_people=round(noise.sd_people, 2),
        half_width_people=noise.half_width_people,
        half_width_points=round(noise.half_width_points, 1),
        people_for_ten_points=noise.people_for_ten_points,
    )


def _budget(spending: Costs, policy: Policy, sums: bool) -> BudgetAnswer:
    federated = policy.head is not None
    return BudgetAnswer(
        unit="the person: everything in all their reports" + (" and rounds" if federated else ""),
        neighbouring="replace one person's reports by any others"
        + (", and leave their updates out" if federated else ""),
        mechanism="discrete Gaussian noise, drawn on the person's own device"
        + (" and, in sums, on others' devices" if sums or federated else ""),
        people=spending.people,
        used_up=spending.used_up,
        most_reports=spending.most_reports,
        most_rounds=spending.most_rounds,
        ledgers_agree=spending.ledgers.get(Standing.AGREES, 0),
        ledgers_behind=spending.ledgers.get(Standing.BEHIND, 0),
        ledgers_forked=spending.ledgers.get(Standing.FORKED, 0),
        rho_per_report=float(policy.rho_per_report),
        rho_spent=spending.spent.rho,
        rho_budget=float(policy.rho_budget),
        delta=policy.delta,
        epsilon_per_report=policy.epsilon_per_report,
        epsilon_spent=spending.spent.epsilon,
        epsilon_spent_tight=spending.spent.epsilon_pld,
        epsilon_budget=policy.epsilon_budget,
    )
