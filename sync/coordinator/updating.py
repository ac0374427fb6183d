"""The coordinator's part in updates: gives out the repository, renews it, rolls out, adds heads.

Rules upheld here: the key that lies here can renew what people have signed, add heads and write the
log, and nothing else; without it files are given out all the same, and nothing is rolled out. What
fails is told, and tried again.

In the life of a bundle: between `publishing`, which signed it, and `post`, which speaks to devices.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge_models.errors import Explained
from sync.coordinator.rollout_desk import RolloutDesk
from sync.errors import ProtocolError, PublishingError
from sync.publishing.keys import open_key
from sync.publishing.online import OnlineSigner
from sync.publishing.repository import Repository
from sync.retry import say_in_log

ONLINE_KEY_FILE: Final = "online.key.pem"
"""In the coordinator's state folder: the key of snapshot, timestamp, heads and the log."""

_RENEW_EVERY_S: Final = 600


@dataclass(slots=True)
class Updating:
    """A study's updates on this machine; `folder` is the repository's, and may appear later."""

    folder: Path
    signer: OnlineSigner | None = None
    desk: RolloutDesk | None = None
    on_fault: Callable[[Explained], None] = say_in_log
    _looked_at: int | None = field(default=None, init=False)

    def hear(self, pseudonym: str, content: bytes, now: int) -> None:
        """Keep what a member says of an update: the content of a PROGRESS parcel.

        Raises:
            ProtocolError: it holds none, or nothing is rolled out from here.
            RolloutBookError: it could not be kept: it must not be acknowledged.
        """
        if self.desk is None:
            raise ProtocolError("A device speaks of an update, and nothing is rolled out here.")
        self.desk.hear(pseudonym, content, now)

    def advance(self, now: int) -> None:
        """Do what is due; call it again and again."""
        if self.desk is not None:
            self.desk.advance(now)
        if self._looked_at is not None and now - self._looked_at < _RENEW_EVERY_S:
            return
        self._looked_at = now
        if self.signer is None or self.signer.repository.state_if_any() is None:
            return
        try:
            self.signer.refresh_if_due(_moment(now))
        except Explained as fault:
            self.on_fault(fault)

    def publish_head(self, content: bytes, now: int) -> None:
        """Add a head that the votes let through, so that devices find it in the repository, too."""
        if self.signer is None or self.signer.repository.state_if_any() is None:
            return
        try:
            self.signer.publish_head(content, _moment(now))
        except Explained as fault:
            self.on_fault(fault)


def online_signer(folder: Path, key_file: Path) -> OnlineSigner | None:
    """Who signs by themselves here; None where there is no such key.

    Raises:
        PublishingError: the key can't be opened.
    """
    if not key_file.exists():
        return None
    return OnlineSigner(Repository(folder), (open_key(key_file, _no_passphrase),))


def _no_passphrase(path: Path) -> str:
    raise PublishingError(
        f"The coordinator starts alone and can't open '{path}', which has a passphrase.",
        "Give it a key of its own: sottovoce publish key new online --no-passphrase",
    )


def _moment(now: int) -> datetime:
    return datetime.fromtimestamp(now, UTC)
