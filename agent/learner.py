"""What this person adds to rounds of the head: their own sessions, if they have said yes to it.

Rules it upholds: without consent (`[learning] take_part`) nothing is said, kept or counted; the
labels are the person's own answers; the device's own policy and layout say what is sent.

In the life of a federated round: study → **here** → `sync.federated.pupil` → `release`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agent.errors import DamagedRecord
from agent.labelled import sessions_in
from agent.store import Store
from edge_models.bundle import Bundle
from sync.federated.sessions import Sessions
from sync.participation import Contributor
from sync.policy import Purpose
from sync.secure_sum.terms import Terms

LOOKS_BACK: Final = timedelta(days=365)
"""Check-ins of so long ago still label the weeks around them."""


@dataclass(frozen=True, slots=True)
class ByPurpose:
    """A person's whole contribution: a weekly report from `week`, the rest from `pupil`, if any."""

    week: Contributor
    pupil: Contributor | None

    def is_willing(self, terms: Terms) -> bool:
        """As the contributor of the purpose; raises as it does."""
        chosen = self._chosen(terms)
        return chosen is not None and chosen.is_willing(terms)

    def numbers(self, terms: Terms) -> Sequence[int]:
        """As the contributor of the purpose; raises as it does."""
        chosen = self._chosen(terms)
        return () if chosen is None else chosen.numbers(terms)

    def _chosen(self, terms: Terms) -> Contributor | None:
        return self.week if terms.purpose == Purpose.REPORT.value else self.pupil


def own_sessions(store: Store, bundle: Bundle, now: datetime) -> Sessions:
    """The person's labelled sessions for this bundle; what can't be read is missing from them.

    Raises:
        StoreError: the store can't be read.
    """
    damaged: list[DamagedRecord] = []
    return sessions_in(
        store,
        space=bundle.space,
        embedding_size=bundle.head.embedding_size,
        now=now,
        back=LOOKS_BACK,
        on_damage=damaged.append,
    )
