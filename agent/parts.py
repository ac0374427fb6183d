"""This device's part in each round, told to the person: what about, how far, and what left for it.

Rules it upholds: it only reads; nothing secret of a round is told, and nothing of what its masked
numbers hold; of a message that has left, what is kept is its kind, its size and its SHA-256.

Place in the life of a round: store → **here** → the person's own page.
"""

import hashlib
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from agent.codec import Gone, Outgoing
from agent.errors import DamagedRecord
from agent.shelf import Kind as Kept
from agent.store import Store
from edge_models.errors import Explained
from sync.errors import DoorError, ProtocolError
from sync.parcels import Kind, parse_frame
from sync.participation import Part, parse_part
from sync.periods import PERIOD_DAYS, period_start
from sync.policy import Purpose
from sync.release import Released, Seal
from sync.secure_sum.states import Confirmed, Ended, Joined, Masked, Member, Ready, Shared
from sync.secure_sum.wire import split


class Stands(StrEnum):
    """How far this device has come in a round."""

    OFFERED = "offered"  # it has offered its keys
    SHARED = "shared"  # its secrets are shared among its neighbours
    READY = "ready"  # it holds its neighbours' shares
    MASKED = "masked"  # its masked numbers have left
    CONFIRMED = "confirmed"  # it has confirmed who is in the sum
    ADDED = "added"  # it did all it could: its numbers are one addend
    LEFT = "left"  # it stopped on the way, and says why
    REFUSED = "refused"  # it never took part, and says why
    FORGOTTEN = "forgotten"  # long ago: only what left is still known


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RoundMessage(_Answer):
    """A message of a round: which step (empty: a later piece of one), and what it was in bytes."""

    step: str
    piece: int
    pieces: int
    size_bytes: int
    sha256: str
    made_at: datetime
    sent_at: datetime | None


class Round(_Answer):
    """A round, as far as this device knows of it.

    `purpose` and `subject` are empty where they were forgotten; the days are those of the week that
    a report is about. `people` take part, where that is known; `reason` says why the device left
    or refused. `sent_bytes` of its `messages` have left.
    """

    round: str
    purpose: str
    subject: str
    first_day: date | None
    last_day: date | None
    stands: Stands
    is_over: bool
    people: int | None
    reason: str
    ends_at: datetime | None
    sent_bytes: int
    messages: tuple[RoundMessage, ...]


def gone_of(released: Released, kept: bytes | None) -> Gone:
    """What is kept of a round's message; `kept` is what the shelf holds of the round, if anything.

    Whatever can't be read is left empty: the message has left, whatever is known of it.
    """
    purpose = subject = step = ""
    piece = pieces = 1
    try:
        frame = parse_frame(released.payload)
        piece, pieces = frame.index + 1, frame.count
        if piece == 1 and frame.data[0] == Kind.ROUND:
            step = split(frame.data[1:])[1].name.lower()
    except ProtocolError:
        pass
    try:
        if kept is not None:
            part = parse_part(kept)
            purpose, subject = part.purpose, part.subject
    except ProtocolError:
        pass
    digest = hashlib.sha256(released.payload).digest()
    return Gone(purpose, subject, step, piece, pieces, len(released.payload), digest)


def size_of(outgoing: Outgoing, seal: Seal) -> int:
    """How many bytes a message of the outbox has, whether it is still kept or only what it was.

    Raises:
        DoorError: it was altered.
    """
    if outgoing.gone is not None:
        return outgoing.gone.size_bytes
    return len(seal.reopen(outgoing.sealed).payload)


def rounds_of(
    store: Store,
    outgoing: Iterable[Outgoing],
    seal: Seal,
    now: datetime,
    on_damage: Callable[[Explained], None],
) -> tuple[Round, ...]:
    """Every round that this device has heard of, the newest first; `outgoing` is all that it said.

    What can't be read goes to `on_damage`, and the rest follows.

    Raises:
        StoreError: the store can't be read.
    """
    parts = _parts(store, on_damage)
    said: dict[str, list[tuple[Outgoing, Gone]]] = {round_id: [] for round_id in parts}
    for each in outgoing:
        if not each.round:
            continue
        try:
            gone = each.gone or gone_of(seal.reopen(each.sealed), None)
        except DoorError as damage:
            on_damage(damage)
            continue
        said.setdefault(each.round, []).append((each, gone))
    told = [
        _told(round_id, parts.get(round_id), messages, now) for round_id, messages in said.items()
    ]
    return tuple(sorted(told, key=_when, reverse=True))


def _parts(store: Store, on_damage: Callable[[Explained], None]) -> dict[str, Part]:
    found: dict[str, Part] = {}
    try:
        for round_id, kept in store.shelf.all(Kept.PART):
            try:
                found[round_id] = parse_part(kept)
            except ProtocolError as damage:
                on_damage(damage)
    except DamagedRecord as damage:
        on_damage(damage)
    return found


def _told(
    round_id: str, part: Part | None, said: list[tuple[Outgoing, Gone]], now: datetime
) -> Round:
    purpose, subject = _about(part, [gone for _, gone in said])
    first = period_start(subject).date() if purpose == Purpose.REPORT and subject else None
    ends_at = None if part is None else datetime.fromtimestamp(part.ends_at, UTC)
    messages = tuple(_message(outgoing, gone) for outgoing, gone in said)
    ended = part is not None and isinstance(part.member, Ended)
    return Round(
        round=round_id,
        purpose=purpose,
        subject=subject,
        first_day=first,
        last_day=None if first is None else first + timedelta(days=PERIOD_DAYS - 1),
        stands=Stands.FORGOTTEN if part is None else stands(part.member),
        is_over=ended or ends_at is None or ends_at < now,
        people=None if part is None else _people(part.member),
        reason="" if part is None else _reason(part.member),
        ends_at=ends_at,
        sent_bytes=sum(message.size_bytes for message in messages if message.sent_at is not None),
        messages=messages,
    )


def stands(member: Member) -> Stands:
    """How far a member has come. (One that has ended without hearing a step never took part.)"""
    match member:
        case Joined():
            return Stands.OFFERED
        case Shared():
            return Stands.SHARED
        case Ready():
            return Stands.READY
        case Masked():
            return Stands.MASKED
        case Confirmed():
            return Stands.CONFIRMED
        case Ended(refusal=None):
            return Stands.ADDED
        case Ended(heard=()):
            return Stands.REFUSED
        case Ended():
            return Stands.LEFT


def _about(part: Part | None, gone: list[Gone]) -> tuple[str, str]:
    if part is not None:
        return part.purpose, part.subject
    known = [(each.purpose, each.subject) for each in gone if each.purpose]
    return known[0] if known else ("", "")


def _people(member: Member) -> int | None:
    return None if isinstance(member, Joined | Ended) else member.place.members


def _reason(member: Member) -> str:
    return str(member.refusal or "") if isinstance(member, Ended) else ""


def _message(outgoing: Outgoing, gone: Gone) -> RoundMessage:
    return RoundMessage(
        step=gone.step,
        piece=gone.piece,
        pieces=gone.pieces,
        size_bytes=gone.size_bytes,
        sha256=gone.digest.hex(),
        made_at=outgoing.made_at,
        sent_at=outgoing.sent_at,
    )


def _when(told: Round) -> datetime:
    made = [message.made_at for message in told.messages]
    return told.ends_at or max(made, default=datetime.min.replace(tzinfo=UTC))
