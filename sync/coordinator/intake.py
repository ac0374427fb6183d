"""Judges each message that arrives: kept, known already, or refused with a reason that is counted.

Rules upheld here: nothing that arrives can stop the loop but our own disk; a report speaks only
for the person whose topic it came on; one person can't move a sum by more than the noise could; a
message that makes no sense is acknowledged and counted, because it would come again for ever.

In the life of a report: between `transport.Subscription`, which acknowledges when `receive`
returns, and `store`.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, StrictInt

from sync.coordinator.store import Outcome, ReportStore
from sync.envelope import decoded
from sync.errors import ProtocolError
from sync.messages import VERSION, Report, parse_report
from sync.policy import Policy
from sync.topics import parse_report_topic

_FAR: Final = 12  # standard deviations; an honest cell is further out once in 1e31


class _Versioned(BaseModel):
    """What a message of another version has in common with ours, as far as we can know."""

    model_config = ConfigDict(extra="ignore")

    version: StrictInt


@dataclass(frozen=True, slots=True)
class Intake:
    """The judge of one study's messages under one policy.

    `is_member` knows the pseudonyms that count; without enrolment, all do.
    """

    study: str
    policy: Policy
    store: ReportStore
    is_member: Callable[[str], bool] = lambda _: True

    def receive(self, topic: str, payload: bytes) -> Outcome:
        """Judge a message and keep what came of it; durable when this returns.

        Raises:
            ReportStoreError: the store failed; leave the message unacknowledged.
            MembersError: so did the members' file.
        """
        try:
            address = parse_report_topic(topic)
            report = parse_report(payload)
        except ProtocolError:
            return self.store.refuse(
                Outcome.OTHER_VERSION if _of_another_version(payload) else Outcome.UNREADABLE
            )
        refusal = self._refusal(address.study, address.pseudonym, report)
        if refusal is not None:
            return self.store.refuse(refusal)
        digest = hashlib.sha256(payload).digest()
        return self.store.add(report, digest, self.policy.reports_in_budget)

    def _refusal(self, study: str, pseudonym: str, report: Report) -> Outcome | None:
        if not study == report.study == self.study:
            return Outcome.OTHER_STUDY
        if report.pseudonym != pseudonym:
            return Outcome.OTHER_PERSON
        if not self.is_member(pseudonym):
            return Outcome.NO_MEMBER
        if report.policy != self.policy.reference:
            return Outcome.OTHER_POLICY
        if max(map(abs, report.counts)) > plausible(self.policy):
            return Outcome.IMPLAUSIBLE
        return None


def plausible(policy: Policy) -> int:
    """The largest size of a cell that an honest device can be expected ever to send."""
    return math.ceil(1 + _FAR * math.sqrt(policy.sigma2))


def _of_another_version(payload: bytes) -> bool:
    try:
        return decoded(payload, _Versioned).version != VERSION
    except ProtocolError:
        return False
