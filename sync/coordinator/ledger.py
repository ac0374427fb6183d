"""The coordinator's own record of what each person's releases have cost, and of their ledgers.

Rules upheld here: a person's cost is what this coordinator has received and opened, whatever the
device says; what a device says of its own ledger is compared with that record and with the newest
that it said before; a device that fell behind is told what the study has seen (`sync.ledger_head`)
and decides by its own ledger; only counts of people leave this module, never who.

In the life of a release: kept here when a sum was opened; reports are counted where they are kept.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from sync.coordinator.accounting import Release, Spent, local_report, spent_on
from sync.coordinator.store import ReportStore, Rows
from sync.ledger_head import LedgerHead, Standing, parse_head, standing
from sync.policy import Policy, Purpose


@dataclass(frozen=True, slots=True)
class Judged:
    """How a device's ledger stands, and the newest head known of it, for a notice if it must."""

    standing: Standing
    known: LedgerHead


@dataclass(frozen=True, slots=True)
class Costs:
    """Over all releases: what the person who spent most took part in, and what it cost them.

    `people` released anything at all; `used_up` of those who released or said anything can pay
    for no more reports; `ledgers` counts devices by how their ledgers stand.
    """

    people: int
    used_up: int
    most_reports: int
    most_rounds: int
    spent: Spent
    ledgers: Mapping[Standing, int]


def keep_round(store: ReportStore, round_id: str, release: Release, members: Iterable[str]) -> None:
    """Note an opened sum and whose vectors (pseudonyms) are in it; a second time changes nothing.

    Raises:
        ReportStoreError: it can't be kept; the sum must not be used.
    """
    with store.transaction(writes=True) as rows:
        rows.execute(
            "INSERT OR IGNORE INTO rounds VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                round_id, release.purpose.value, str(release.rho), release.squared_sensitivity,
                release.scale, str(release.sigma2), store.now(),
            ),
        )  # fmt: skip
        rows.executemany(
            "INSERT OR IGNORE INTO members VALUES (?, ?)",
            [(pseudonym, round_id) for pseudonym in members],
        )


def judge(store: ReportStore, policy: Policy, said: LedgerHead) -> Judged:
    """Compare what a device says of its ledger with the record; keep it if it goes on from there.

    Raises:
        ReportStoreError: it can't be read or kept.
    """
    with store.transaction(writes=True) as rows:
        found = rows.execute(
            "SELECT head FROM heads WHERE pseudonym = ?", (said.pseudonym,)
        ).fetchone()
        known = parse_head(found[0]) if found else None
        stands = standing(known, said, _received(rows, policy, said.pseudonym))
        newest = said if known is None or stands is Standing.AGREES else known
        rows.execute(
            "INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?, ?)",
            (said.pseudonym, newest.to_bytes(), newest.spent, stands.value, store.now()),
        )
    return Judged(stands, newest)


def costs(store: ReportStore, policy: Policy) -> Costs:
    """What releases have cost, of one moment.

    Raises:
        ReportStoreError: the store can't be read.
    """
    with store.transaction(writes=False) as rows:
        kinds = _rounds(rows)
        made: dict[str, Counter[Release]] = {}
        local = local_report(policy)
        for pseudonym, reports in rows.execute(
            "SELECT pseudonym, count(*) FROM reports GROUP BY pseudonym"
        ):
            made.setdefault(pseudonym, Counter())[local] = reports
        for pseudonym, round_id in rows.execute("SELECT pseudonym, round FROM members"):
            made.setdefault(pseudonym, Counter())[kinds[round_id]] += 1
        stands: Counter[Standing] = Counter()
        spent = {pseudonym: _rho(each) for pseudonym, each in made.items()}
        for pseudonym, said, word in rows.execute("SELECT pseudonym, spent, standing FROM heads"):
            stands[Standing(word)] += 1
            spent[pseudonym] = max(Fraction(said), spent.get(pseudonym, Fraction(0)))
    most = max(made.values(), key=_rho, default=Counter[Release]())
    reports = sum(n for release, n in most.items() if release.purpose is Purpose.REPORT)
    return Costs(
        people=len(made),
        used_up=sum(policy.rho_budget - rho < policy.rho_per_report for rho in spent.values()),
        most_reports=reports,
        most_rounds=most.total() - reports,
        spent=spent_on(most, policy.delta),
        ledgers=stands,
    )


def _received(rows: Rows, policy: Policy, pseudonym: str) -> Fraction:
    """The rho of all that came from one person."""
    (reports,) = rows.execute(
        "SELECT count(*) FROM reports WHERE pseudonym = ?", (pseudonym,)
    ).fetchone()
    priced = rows.execute(
        "SELECT rho FROM rounds JOIN members USING (round) WHERE pseudonym = ?", (pseudonym,)
    )
    received: Fraction = reports * policy.rho_per_report
    for (rho,) in priced:
        received += Fraction(rho)
    return received


def _rounds(rows: Rows) -> dict[str, Release]:
    return {
        round_id: Release(Purpose(purpose), Fraction(rho), apart, Fraction(sigma2), scale)
        for round_id, purpose, rho, apart, scale, sigma2 in rows.execute(
            "SELECT round, purpose, rho, squared_sensitivity, scale, sigma2 FROM rounds"
        )
    }


def _rho(made: Counter[Release]) -> Fraction:
    total = Fraction(0)
    for release, count in made.items():
        total += release.rho * count
    return total
