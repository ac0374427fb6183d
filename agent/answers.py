"""What the participant's page says, as JSON: status, own trend, and every byte that left.

Rules it upholds: it only reads; what left is shown as it left, verbatim, beside what it means. All
of it stays on this machine.

Place in the life of a record: store → **here** → the person's own page.
"""

import math
import statistics
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict

from agent.capture.frames import GapReason, Sensor
from agent.codec import Outgoing
from agent.days import Days, Digest
from agent.parts import Round, rounds_of
from agent.reporter import Study
from agent.store import Store
from agent.updates.shown import UpdatesShown
from edge_models.errors import Explained
from sync.errors import DoorError, ProtocolError
from sync.messages import HISTOGRAMS, Noise, first_cells, parse_report
from sync.periods import PERIOD_DAYS, period_of, period_start
from sync.release import Seal

if TYPE_CHECKING:
    from agent.membership import Membership

TREND_DAYS: Final = 28
_GAP_DAYS: Final = 7
_MOST_GAPS: Final = 8


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Trouble(_Answer):
    """What is answered when there is nothing to show."""

    cause: str
    remedy: str


class Today(_Answer):
    """Counts of the day (UTC) so far."""

    windows: int
    scored: int
    abstained: dict[str, int]
    speech_minutes: float
    face_minutes: float


class Missing(_Answer):
    """Time of one sensor lost for one reason, in the last seven days."""

    sensor: Sensor
    reason: GapReason
    minutes: float
    last_at: datetime
    detail: str


class Day(_Answer):
    """One day of the trend; `sadness` and `fear` are medians of its scored windows."""

    day: date
    scored: int
    speech_minutes: float
    sadness: float | None
    fear: float | None


class Question(_Answer):
    """One question of a report: its possible answers and the noised count of each."""

    name: str
    question: str
    answers: tuple[str, ...]
    counts: tuple[int, ...]


class Message(_Answer):
    """A report: when, where to, and each byte of it."""

    period: str
    first_day: date
    last_day: date
    made_at: datetime
    sent_at: datetime | None
    topic: str
    size_bytes: int
    payload: str
    policy: str
    questions: tuple[Question, ...]


class Privacy(_Answer):
    """The privacy budget of the study; `noise` is the standard deviation in every number.

    `rounds_made` counts contributions other than reports; `refused` says why nothing is released
    any more although the budget would allow it, empty otherwise.
    """

    policy: str
    delta: float
    noise: float
    epsilon_spent: float
    epsilon_budget: float
    epsilon_per_report: float
    reports_made: int
    rounds_made: int
    reports_left: int
    refused: str


class Enrolment(_Answer):
    """This device's place in its study: since when it has its certificate, and until when.

    `noise` says where noise is added: inside the `sum`, or here (`local`). No sum is opened over
    fewer than `least_people`.
    """

    study: str
    pseudonym: str
    broker: str
    since: datetime | None
    until: datetime
    noise: Noise
    least_people: int


def enrolment_of(membership: "Membership | None", study: Study) -> Enrolment | None:
    """What the page says of a membership; None where there is none."""
    if membership is None:
        return None
    certificate = membership.tls.certificate_file
    try:
        written = None if certificate is None else certificate.stat().st_mtime
    except OSError:
        written = None
    return Enrolment(
        study=membership.study,
        pseudonym=membership.pseudonym,
        broker=f"{membership.host}:{membership.port}",
        since=None if written is None else datetime.fromtimestamp(int(written), UTC),
        until=datetime.fromtimestamp(membership.identity.credential.expires, UTC),
        noise=membership.noise,
        least_people=study.policy.minimum_cohort,
    )


class Status(_Answer):
    """`/api/status`: all that the page shows.

    `agent_runs` is False when the page is served without the agent; then `sensing` is empty.
    `enrolment` is None on a device that no study has enrolled, `updates` where none are shown.
    """

    study: str
    enrolment: Enrolment | None
    now: datetime
    period: str
    agent_runs: bool
    sensing: tuple[Sensor, ...]
    today: Today
    missing: tuple[Missing, ...]
    trend: tuple[Day, ...]
    middle_from: float
    high_from: float
    privacy: Privacy
    broker: str
    waiting_because: str
    messages: tuple[Message, ...]
    rounds: tuple[Round, ...]
    updates: UpdatesShown | None
    unreadable: int


@dataclass(frozen=True, slots=True)
class Live:
    """What only the running agent knows.

    `broker` is an address or empty; `waiting_because` says what keeps reports here, or nothing.
    """

    agent_runs: bool = False
    sensing: frozenset[Sensor] = frozenset()
    broker: str = ""
    waiting_because: str = ""


def status(
    store: Store,
    days: Days,
    study: Study,
    seal: Seal,
    *,
    live: Live,
    now: datetime,
    enrolment: Enrolment | None = None,
    updates: UpdatesShown | None = None,
) -> Status:
    """All that the page shows at this moment.

    Raises:
        StoreError: the store or its ledger can't be read.
    """
    today = now.astimezone(UTC).date()
    shown = [today - timedelta(days=back) for back in reversed(range(TREND_DAYS))]
    read = {day: days.read(store, day) for day in shown}
    damaged: list[Explained] = []
    outgoing = store.outgoing(damaged.append)
    messages = [_message(each, seal) for each in outgoing if not each.round]
    readable = [message for message in messages if message is not None]
    rounds = rounds_of(store, outgoing, seal, now, damaged.append)
    unread = len(damaged) + len(messages) - len(readable)
    return Status(
        study=study.name,
        enrolment=enrolment,
        now=now,
        period=period_of(now),
        agent_runs=live.agent_runs,
        sensing=tuple(sorted(live.sensing)),
        today=_today(read[today]),
        missing=_missing([read[day] for day in shown[-_GAP_DAYS:]]),
        trend=tuple(_day(day, read[day]) for day in shown),
        middle_from=study.thresholds.middle_from,
        high_from=study.thresholds.high_from,
        privacy=_privacy(store, study),
        broker=live.broker,
        waiting_because=live.waiting_because,
        messages=tuple(reversed(readable)),
        rounds=rounds,
        updates=updates,
        unreadable=unread + sum(len(digest.damaged) for digest in read.values()),
    )


def _today(read: Digest) -> Today:
    return Today(
        windows=read.windows,
        scored=len(read.sadness),
        abstained=dict(read.abstained),
        speech_minutes=read.speech_s / 60,
        face_minutes=read.face_s / 60,
    )


def _day(day: date, read: Digest) -> Day:
    return Day(
        day=day,
        scored=len(read.sadness),
        speech_minutes=read.speech_s / 60,
        sadness=statistics.median(read.sadness) if read.sadness else None,
        fear=statistics.median(read.fear) if read.fear else None,
    )


def _missing(week: list[Digest]) -> tuple[Missing, ...]:
    """What was missed, the latest first."""
    total_s: Counter[tuple[Sensor, GapReason]] = Counter()
    last: dict[tuple[Sensor, GapReason], tuple[datetime, str]] = {}
    for read in week:
        total_s.update(read.missing_s)
        last.update(read.last)
    rows = [
        Missing(
            sensor=sensor,
            reason=reason,
            minutes=total_s[sensor, reason] / 60,
            last_at=at,
            detail=detail,
        )
        for (sensor, reason), (at, detail) in last.items()
    ]
    return tuple(sorted(rows, key=lambda row: row.last_at, reverse=True)[:_MOST_GAPS])


def _privacy(store: Store, study: Study) -> Privacy:
    ledger, policy, refused = store.ledger(), study.policy, store.book.refusal()
    return Privacy(
        policy=policy.reference,
        delta=policy.delta,
        noise=math.sqrt(policy.sigma2),
        epsilon_spent=ledger.epsilon(policy.delta),
        epsilon_budget=policy.epsilon_budget,
        epsilon_per_report=policy.epsilon_per_report,
        reports_made=len(ledger.periods),
        rounds_made=len(ledger.spends) - len(ledger.periods),
        reports_left=ledger.reports_left(policy),
        refused=str(refused) if refused else "",
    )


def _message(outgoing: Outgoing, seal: Seal) -> Message | None:
    """A report of the outbox in full; None when it was altered, which the page counts."""
    try:
        released = seal.reopen(outgoing.sealed)
        report = parse_report(released.payload)
    except (DoorError, ProtocolError):
        return None
    start = period_start(report.period).date()
    return Message(
        period=report.period,
        first_day=start,
        last_day=start + timedelta(days=PERIOD_DAYS - 1),
        made_at=outgoing.made_at,
        sent_at=outgoing.sent_at,
        topic=released.topic,
        size_bytes=len(released.payload),
        payload=released.payload.decode("utf-8"),
        policy=report.policy,
        questions=tuple(
            Question(
                name=histogram.name,
                question=histogram.question,
                answers=histogram.bins,
                counts=report.counts[first : first + len(histogram.bins)],
            )
            for first, histogram in zip(first_cells(), HISTOGRAMS, strict=True)
        ),
    )
