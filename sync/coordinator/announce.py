"""What a coordinator says to its study's devices, and its own connection to say it through.

Rules upheld here: an `Announcement` goes to devices only (one, or all), never up; it is a frame of
a parcel, or a piece of a file of the study's repository. The one door of `sync.release` is not
asked, for a coordinator holds nothing sensed: only what went through a device's door has reached
it. No module that a device imports may import this one (tests/test_arrows.py), so a device can't
announce.

In the life of a round: terms, rosters and heads → **announce** → broker → a device's `line`.
"""

from dataclasses import dataclass, field
from typing import Self

from sync.parcels import Parcel, frames_of
from sync.topics import AllTopic, DownTopic, FileTopic
from sync.wire import Session, Wire


@dataclass(frozen=True, slots=True)
class Announcement:
    """One message of what a coordinator says or gives, and to whom."""

    topic: DownTopic | AllTopic | FileTopic
    payload: bytes = field(repr=False)


def announcements(parcel: Parcel, topic: DownTopic | AllTopic) -> tuple[Announcement, ...]:
    """The frames of a parcel, in order, addressed to one device or to all."""
    return tuple(Announcement(topic, frame) for frame in frames_of(parcel))


class Podium:
    """The coordinator's `Line`: the same connection, but it sends announcements.

    A context manager: inside, it is connected or tries to be, on a thread of its own. Any thread
    may send, several at once, but never the session's own `on_message`.
    """

    def __init__(self, session: Session) -> None:
        self._wire = Wire(session)

    @property
    def connected(self) -> bool:
        """Whether it sends and hears right now."""
        return self._wire.connected

    @property
    def is_at_work(self) -> bool:
        """Whether it is connected or tries to be."""
        return self._wire.is_at_work

    def __enter__(self) -> Self:
        self._wire.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.__exit__()

    def send(self, *messages: Announcement, expiry_s: int | None = None) -> None:
        """Send announcements, such as all frames of a parcel; wait until the broker has them.

        It keeps them `expiry_s` for devices that are away; None: as long as the session says.

        After `BrokerError` any of them may or may not have arrived: send the same again.

        Raises:
            BrokerError: the broker was silent for the session's `timeout_s`, or refuses.
            ContractError: called by the session's `on_message`.
        """
        said = [(str(message.topic), message.payload) for message in messages]
        self._wire.send(said, expiry_s)
