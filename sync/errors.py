"""The errors of this room, split by who must act.

    Explained (edge_models.errors)
    └── SyncError
        ├── DoorError               our bug: something unreleased was offered to the transport
        ├── PolicyError             the setting: a policy that can't be kept or is not known
        ├── BudgetExhausted         the promise: this release would exceed the person's budget
        │   ├── PeriodSpent         the promise: a period is reported and paid for once
        │   └── LedgerRefused       the promise: this ledger is not all that was spent
        ├── ProtocolError           the other side: a message that breaks the protocol
        │   └── OutOfTurn           the other side: a message of a round that is not due yet
        ├── RoundRefused            the promise: a round that this device won't be part of
        ├── BrokerError             the world: a broker that is absent, refuses or drops
        │   └── Revoked             the study: it took this device's certificate back
        ├── DeskError               the world: a study's enrolment desk that can't be reached
        ├── InviteRefused           the study: it does not take this invite, and says why
        ├── UpdateRejected          the other side: an update that is not taken (updates/rejected)
        │   └── NotThere            the other side: no such file there (updates/source)
        ├── StudyError              the setting: a study's own files (its keys, its options)
        ├── MembersError            the world: members can't be kept (coordinator/members)
        ├── PublishingError         the engineer: keys, files or metadata that can't be published
        ├── StrategyError           the setting: a Flower strategy that can't be used
        ├── UnknownPeriod           the page's reader: no such week (coordinator/answers)
        ├── PageError               the setting: the page can't be served (coordinator/service)
        └── ReportStoreError        the world: reports can't be kept (coordinator/store)

Messages never carry sensed data.
"""

from edge_models.errors import Explained


class SyncError(Explained):
    """Root of this package's errors."""


class DoorError(SyncError):
    """Our bug: only `sync.release` makes what the transport takes."""


class PolicyError(SyncError):
    """A privacy policy that is unknown, inconsistent or out of its formulas' domain."""


class BudgetExhausted(SyncError):
    """The device refuses: the release would spend more than the study's budget."""


class PeriodSpent(BudgetExhausted):
    """The device refuses: this period's report exists already; only its stored bytes are sent."""


class LedgerRefused(BudgetExhausted):
    """The device refuses: its ledger is older than its spending, or was altered."""


class ProtocolError(SyncError):
    """Bytes from the other side that are not a valid message."""


class OutOfTurn(ProtocolError):
    """A message of a round that came before the one that it builds on; keep it until then."""


class RoundRefused(SyncError):
    """The device refuses: terms or a step of a round that it won't be part of."""


class BrokerError(SyncError):
    """The broker can't be reached, refuses us, or went away."""


class Revoked(BrokerError):
    """The study has taken this device's certificate back; trying again would not help."""


class DeskError(SyncError):
    """The study's enrolment desk can't be reached, is not the study's, or went away."""


class InviteRefused(SyncError):
    """The study does not take this invite; the cause is the study's own, and signed."""


class StudyError(SyncError):
    """A study's own files are missing, readable by others, damaged, or there already."""


class StrategyError(SyncError):
    """A Flower strategy, or its environment, that can't be used as a server optimiser."""


class PublishingError(SyncError):
    """What the release engineer asked for can't be signed or published, and why."""
