"""A device's one connection to its study: sends what was released, hears what was said to it.

Rules it upholds: `Line` sends nothing but `Released`, exactly its bytes; one outbound connection
serves both ways; a message is acknowledged only after its receiver has it; what is sent is the
broker's when `send` returns, also through a broker that restarts and a network that drops. In MQTT
5 messages expire; in 3.1.1 they don't, the broker doesn't say that it refused a message, and
amqtt keeps nothing for those who are away.

In the life of a round: frames of a parcel → **line** → broker → **line** → an `inbox`.
"""

from typing import Self

from sync.errors import DoorError
from sync.release import Released
from sync.wire import Session, Wire


class Line:
    """A context manager: inside, it is connected or tries to be, on a thread of its own.

    Any thread may send, several at once, but never the session's own `on_message`: that one keeps
    what came and returns. No connection may be open under the same client name.
    """

    def __init__(self, session: Session) -> None:
        self._wire = Wire(session)

    @property
    def connected(self) -> bool:
        """Whether it sends and hears right now."""
        return self._wire.connected

    def __enter__(self) -> Self:
        self._wire.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.__exit__()

    def send(self, *messages: Released, expiry_s: int | None = None) -> None:
        """Send released messages, such as all frames of a parcel; wait until the broker has them.

        It keeps them `expiry_s` for a coordinator who is away; None: as long as the session says.

        After `BrokerError` any of them may or may not have arrived: send the same values again,
        and whoever collects them sees the same bytes twice.

        Raises:
            DoorError: one of these did not come from `release`; nothing was sent.
            BrokerError: the broker was silent for the session's `timeout_s`, or refuses.
            ContractError: called by the session's `on_message`.
        """
        if any(type(message) is not Released for message in messages):
            raise DoorError(
                "The line takes only what sync.release has released.",
                "This is a fault in the program; nothing was sent. Please report it.",
            )
        self._wire.send([(released.topic, released.payload) for released in messages], expiry_s)
