"""A person's sessions out of the store: the windows around each check-in, and what it said.

Rules it upholds: only windows whose embeddings lie where the trained head looks (`Bundle.space`),
and only those that were scored (so the person's own, alone or with nobody looking); nothing is
written, nothing leaves from here.

In the life of a federated round: store → **labelled** → `sync.federated.update`.
"""

from collections import deque
from datetime import datetime, timedelta

from agent.store import OnDamage, Store
from sync.federated.sessions import AROUND, MOST_SESSIONS, Sessions, labels


def sessions_in(
    store: Store,
    *,
    space: str,
    embedding_size: int,
    now: datetime,
    back: timedelta,
    on_damage: OnDamage | None = None,
) -> Sessions:
    """The sessions of the check-ins of the time `back` before `now`.

    Damaged records go to `on_damage`, and the others follow.

    Raises:
        DamagedRecord: a record can't be read, and there is no `on_damage`.
        StoreError: the store can't be read.
        ContractError: an embedding has another size than the bundle's.
    """
    newest = deque(store.check_ins(now - back, now, on_damage), maxlen=MOST_SESSIONS)
    stretches = []
    for check_in in newest:
        around = store.windows(
            check_in.started_at - AROUND, check_in.started_at + AROUND, on_damage
        )
        rows = [
            window.embedding
            for window in around
            if window.space == space and window.assessment.scores and window.embedding is not None
        ]
        stretches.append((rows, labels(check_in.phq8_sum, check_in.gad7_sum)))
    return Sessions.of(stretches, embedding_size)
