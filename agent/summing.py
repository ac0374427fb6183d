"""Adds up what one run did, for its last line and for `--account`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.account import Account
from agent.records import GapRecord, WindowRecord


@dataclass(slots=True)
class Totals:
    """Running sums of one run; no feature and no score."""

    windows: int = 0
    scored: int = 0
    speech_s: float = 0.0
    face_s: float = 0.0
    streamed_s: float = 0.0
    abstained: Counter[str] = field(default_factory=Counter)
    gaps: Counter[str] = field(default_factory=Counter)
    reports_sent: int = 0
    reports_waiting: int = 0
    bytes_out: int = 0

    def add(self, record: WindowRecord | GapRecord) -> None:
        """Count one record."""
        if isinstance(record, GapRecord):
            self.gaps[f"{record.sensor} {record.reason}"] += 1
            return
        self.windows += 1
        self.speech_s += record.speech_s
        self.face_s += record.face_s
        self.streamed_s += record.duration_s
        if record.assessment.abstained is None:
            self.scored += 1
        else:
            self.abstained[record.assessment.abstained.value] += 1

    def sent(self, reports: int, size_bytes: int, waiting: int) -> None:
        """Count what left and what waits."""
        self.reports_sent += reports
        self.bytes_out += size_bytes
        self.reports_waiting = waiting

    def in_words(self) -> str:
        """One line without scores, fit for a log."""
        abstained = ", ".join(f"{count} {why}" for why, count in self.abstained.items())
        return (
            f"{self.windows} windows in {self.streamed_s:.0f} s: {self.scored} scored, "
            f"not scored: {abstained or 'none'}; {sum(self.gaps.values())} gaps; "
            f"{self.reports_sent} reports sent ({self.bytes_out} bytes), "
            f"{self.reports_waiting} waiting."
        )

    def account(self, *, choices: Mapping[str, int], epsilon_spent: float) -> Account:
        """The whole account, with the person's own true answers."""
        return Account(
            windows=self.windows,
            scored=self.scored,
            abstained=dict(self.abstained),
            gaps=dict(self.gaps),
            speech_s=self.speech_s,
            face_s=self.face_s,
            streamed_s=self.streamed_s,
            epsilon_spent=epsilon_spent,
            reports_sent=self.reports_sent,
            reports_waiting=self.reports_waiting,
            bytes_out=self.bytes_out,
            choices=dict(choices),
        )
