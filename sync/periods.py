"""Reporting periods: the ISO week, in UTC, as a word such as `2026-W48`.

Rules it upholds: a moment is in exactly one period; a period has one spelling; words sort by time
(from year 1000 on). In the life of a report: the period says which records are counted, names
the report, and can be spent once.

Source: ISO 8601-1:2019, 5.2.3 (week dates).
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from edge_models.errors import ContractError
from sync.errors import ProtocolError

PERIOD_DAYS: Final = 7

_WORD: Final = re.compile(r"([1-9][0-9]{3})-W([0-9]{2})", re.ASCII)


def period_of(moment: datetime) -> str:
    """The period that `moment` (aware) is in.

    Raises:
        ContractError: the moment has no time zone.
    """
    if moment.utcoffset() is None:
        raise ContractError("A period is found for an aware moment only.")
    year, week, _ = moment.astimezone(UTC).isocalendar()
    return f"{year:04d}-W{week:02d}"


def period_start(period: str) -> datetime:
    """When a period starts: Monday, 00:00 UTC.

    Raises:
        ProtocolError: the word names no ISO week.
    """
    found = _WORD.fullmatch(period)
    if found is None:
        raise ProtocolError("A period is written as an ISO week, such as 2026-W48.")
    try:
        return datetime.fromisocalendar(int(found[1]), int(found[2]), 1).replace(tzinfo=UTC)
    except ValueError:
        raise ProtocolError("A period names a week that its year does not have.") from None


def period_end(period: str) -> datetime:
    """When a period ends, which is when the next one starts.

    Raises:
        ProtocolError: the word names no ISO week, or the very last one.
    """
    start = period_start(period)
    try:
        return start + timedelta(days=PERIOD_DAYS)
    except OverflowError:
        raise ProtocolError("A period is too far in the future.") from None


def period_before(period: str) -> str:
    """The period before this one.

    Raises:
        ProtocolError: the word names no ISO week.
    """
    return period_of(period_start(period) - timedelta(days=1))
