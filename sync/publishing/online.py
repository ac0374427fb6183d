"""What the coordinator does by itself with the online keys: renew in time, and publish heads.

Rules it upholds: the online keys renew what people have signed and can add heads, and nothing
else; what expires is renewed at half its time, so that one that is away for days is not noticed;
each of these acts is in the log like every other.

In the life of a bundle: keeps it fresh after people have signed it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sync.publishing.heads import head_addition
from sync.publishing.keys import SigningKey
from sync.publishing.publication import publish
from sync.publishing.repository import Repository
from sync.publishing.roles import OFFLINE, RoleName
from sync.updates.offers import Offer

TELL_BEFORE: Final = timedelta(days=60)
"""So long before people's signatures end the coordinator begins to say so: they have to meet."""


@dataclass(frozen=True, slots=True)
class OnlineSigner:
    """A repository, and the keys that sign its heads, snapshot and timestamp."""

    repository: Repository
    keys: Sequence[SigningKey]

    def refresh_if_due(self, now: datetime) -> bool:
        """Renew what is past half of its time; call it every hour or so. Whether it was due.

        Raises:
            PublishingError: there is no repository, a key is missing, or a file can't be written.
        """
        state = self.repository.state()
        due = [
            role.value
            for role in (RoleName.HEADS, RoleName.SNAPSHOT, RoleName.TIMESTAMP)
            if state.document(role).due(now)
        ]
        if due:
            self.record("refresh", {"roles": " ".join(due)}, now)
        return bool(due)

    def publish_head(self, content: bytes, now: datetime) -> Offer:
        """Publish a head for everybody: the bytes of `sync.federated.lesson.sign_head`.

        Raises:
            PublishingError: the bytes hold no head, one of another study, or none that is newer;
                or as `refresh_if_due`.
        """
        state = self.repository.state()
        addition = head_addition(state.heads.listed, content, state.study)
        for each in addition.contents:
            self.repository.lay(each.listed, each.content)
        publish(
            self.repository,
            [state.heads.with_listed(addition.listed, now)],
            self.keys,
            act="head",
            details={"name": addition.offer.name, "serial": str(addition.offer.serial),
                     "sha256": addition.contents[0].listed.sha256},
            now=now,
        )  # fmt: skip
        return addition.offer

    def record(self, act: str, details: Mapping[str, str], now: datetime) -> None:
        """Put an act into the log, such as the start of a rollout, and into the next timestamp.

        Raises:
            PublishingError: as `refresh_if_due`.
        """
        self.repository.state()  # only people found one
        publish(self.repository, [], self.keys, act=act, details=details, now=now)

    def expiring(self, now: datetime) -> tuple[RoleName, ...]:
        """Roles of people that end within `TELL_BEFORE`: somebody has to be told.

        Raises:
            PublishingError: there is no repository.
        """
        state = self.repository.state()
        return tuple(role for role in OFFLINE if state.document(role).expires - now < TELL_BEFORE)
