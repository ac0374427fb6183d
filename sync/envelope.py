"""How a message becomes bytes, and how bytes from the other side become a message again.

Rules it upholds: one message has one encoding (keys sorted, no spaces, ASCII), so a retry and a
hash see the same bytes; bytes from outside are measured before they are parsed; whatever they
are, the answer is a valid message or `ProtocolError`, never another exception; a refusal says
which field is wrong, never what it held.

In the life of a report: the last step of `release` on the device, the first of the coordinator's
intake.
"""

import json
from typing import Any, Final, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sync.errors import ProtocolError

MOST_PAYLOAD_BYTES: Final = 16 * 1024
"""A report takes under 1 KiB; a longer payload is refused unread."""

_MOST_FAULTS_NAMED: Final = 3


class Message(BaseModel):
    """What every message has in common: it can't change, and an unknown field is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


AnyMessage = TypeVar("AnyMessage", bound=BaseModel)


def encoded(message: BaseModel) -> bytes:
    """The one encoding of a message: JSON in ASCII, keys sorted, no spaces."""
    fields = message.model_dump(mode="json")
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def decoded(payload: bytes, kind: type[AnyMessage]) -> AnyMessage:
    """The message of this kind that the bytes hold.

    Other JSON writers may use spaces and any order of keys; a key that occurs twice is refused,
    because two readers could then see two messages.

    Raises:
        ProtocolError: the bytes are too many, not JSON, or not a valid message of this kind.
    """
    name = kind.__name__.lower()
    if len(payload) > MOST_PAYLOAD_BYTES:
        raise ProtocolError(
            f"A {name} of {len(payload)} bytes is longer than {MOST_PAYLOAD_BYTES}.",
            "Check what else publishes to this topic.",
        )
    try:
        fields = json.loads(
            payload.decode("utf-8"),
            object_pairs_hook=_each_key_once,
            parse_constant=_no_such_number,
        )
    except (ValueError, RecursionError) as fault:  # decoding errors are ValueErrors, too
        raise ProtocolError(
            f"A {name} could not be read: its payload is not JSON of this protocol.",
            "Check what else publishes to this topic.",
        ) from fault
    try:
        return kind.model_validate(fields)
    except ValidationError as fault:
        raise ProtocolError(
            f"A {name} breaks the protocol: {faults(fault)}.",
            "Both sides must run versions of sottovoce that speak the same protocol.",
        ) from None  # pydantic's own text repeats the values


def faults(fault: ValidationError) -> str:
    """Which fields are wrong and how, without the values that they held."""
    found = fault.errors(include_url=False, include_context=False, include_input=False)
    named = [f"{_place(error['loc'])}: {error['msg']}" for error in found[:_MOST_FAULTS_NAMED]]
    more = len(found) - len(named)
    return "; ".join(named) + (f"; and {more} more" if more else "")


def _place(path: tuple[int | str, ...]) -> str:
    """A field's path; a key that the sender invented is not repeated at any length."""
    return ".".join(str(step)[:40] for step in path).encode("ascii", "replace").decode() or "all"


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key occurs twice")
    return fields


def _no_such_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
