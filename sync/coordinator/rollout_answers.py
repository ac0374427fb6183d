"""What the coordinator's page says of updates: what is offered, each rollout's rings, what runs.

Rules upheld here: counts only, never who; that a person has not answered yet is told of at least
five people together, and that somebody said no is never told apart from being away; a version that
fewer than five devices run is counted with others. How many boards failed is told exactly: it is
about a version, and a coordinator has to know it.

In the life of a bundle: its rollout, as people at the study see it. These models are the JSON of
`/api/updates`.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel, ConfigDict

from sync.coordinator.offered import offered
from sync.coordinator.rollout_book import RolloutBook
from sync.coordinator.rollout_desk import Publisher
from sync.coordinator.rollouts import Rollout, Stand, stand_of
from sync.updates.offers import Kind

LEAST_SHOWN: Final = 5
"""A cell that could single somebody out has at least so many people."""
MOST_ROLLOUTS: Final = 6
_APART: Final = (Stand.COMMITTED, Stand.FAILED, Stand.SILENT, Stand.UNDER_WAY, Stand.WENT_BACK)


@dataclass(frozen=True, slots=True)
class RolloutsHeld:
    """Where a study's rollouts are known from."""

    book: RolloutBook
    publisher: Publisher


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OfferAnswer(_Answer):
    """A bundle or release in the repository; `rolled_out`: whether that was ever begun."""

    kind: str
    name: str
    serial: int
    says: str
    rolled_out: bool


class RingAnswer(_Answer):
    """A ring by itself: `devices` that it adds to those before, and where they stand.

    `waiting` for their person's yes, None if they are few; `rest`: away, hindered, or not told.
    """

    per_mille: int
    open: bool
    devices: int
    committed: int
    failed: int
    silent: int
    under_way: int
    went_back: int
    waiting: int | None
    rest: int


class RolloutAnswer(_Answer):
    """A rollout: its state (`halted`: paused by itself), its rings, and why it does not go on."""

    kind: str
    name: str
    serial: int
    says: str
    state: str
    began_at: datetime
    opened_at: datetime
    tolerated: float
    enough: float
    soak_h: float
    rings: tuple[RingAnswer, ...]
    why: str


class VersionAnswer(_Answer):
    """How many devices run a version; `serial` None: all versions that few run, together.

    `devices` None: fewer than five. Serial 0 is what a device was shipped with.
    """

    kind: str
    name: str
    serial: int | None
    says: str
    devices: int | None


class UpdatesAnswer(_Answer):
    """`/api/updates`; `holds` is False where no study was founded."""

    holds: bool
    offered: tuple[OfferAnswer, ...]
    rollouts: tuple[RolloutAnswer, ...]
    versions: tuple[VersionAnswer, ...]


def updates_answer(held: RolloutsHeld | None, now: int) -> UpdatesAnswer:
    """What can be said of updates now.

    Raises:
        RolloutBookError: the book can't be read.
        PublishingError: the repository's files are not all there.
        MembersError: the members can't be read.
    """
    if held is None:
        return UpdatesAnswer(holds=False, offered=(), rollouts=(), versions=())
    everybody = tuple(held.publisher.members())
    rollouts = held.book.rollouts()
    begun = {(each.directive.kind, each.directive.name, each.directive.serial) for each in rollouts}
    offers = [offer for offer, _ in offered(held.publisher.repository)]
    says = {(offer.kind, offer.name, offer.serial): offer.says for offer in offers}
    latest = {(offer.kind, offer.name): offer for offer in reversed(offers)}.values()
    newest = sorted(rollouts, key=lambda each: each.began_at, reverse=True)[:MOST_ROLLOUTS]
    current = held.book.newest()
    return UpdatesAnswer(
        holds=True,
        offered=tuple(
            OfferAnswer(
                kind=offer.kind.value,
                name=offer.name,
                serial=offer.serial,
                says=offer.says,
                rolled_out=(offer.kind, offer.name, offer.serial) in begun,
            )
            for offer in reversed(latest)
        ),
        rollouts=tuple(
            _rollout(each, each in current, says, held.book, everybody, now) for each in newest
        ),
        versions=_versions(held.book, everybody, says),
    )


def _rollout(
    rollout: Rollout,
    is_current: bool,
    says: dict[tuple[Kind, str, int], str],
    book: RolloutBook,
    everybody: tuple[str, ...],
    now: int,
) -> RolloutAnswer:
    about = rollout.directive
    said = book.said(about.kind, about.name, about.serial)
    stands: list[Counter[Stand]] = [Counter() for _ in about.rings]
    for pseudonym in everybody:
        ring = about.ring_of(pseudonym)
        if ring is not None:
            stands[ring - 1][stand_of(said.get(pseudonym), rollout.rules, now)] += 1
    state = "halted" if rollout.halted else about.state.value
    return RolloutAnswer(
        kind=about.kind.value,
        name=about.name,
        serial=about.serial,
        says=says.get((about.kind, about.name, about.serial), ""),
        state=state if is_current else "replaced",
        began_at=_moment(rollout.began_at),
        opened_at=_moment(rollout.opened_at),
        tolerated=rollout.rules.tolerated,
        enough=rollout.rules.enough,
        soak_h=rollout.rules.soak_s / 3600,
        rings=tuple(
            _ring(share, number <= about.open, of)
            for number, (share, of) in enumerate(zip(about.rings, stands, strict=True), 1)
        ),
        why=rollout.why,
    )


def _ring(per_mille: int, is_open: bool, of: Counter[Stand]) -> RingAnswer:
    devices = sum(of.values())
    waiting = of[Stand.WAITING] if of[Stand.WAITING] >= LEAST_SHOWN else None
    return RingAnswer(
        per_mille=per_mille,
        open=is_open,
        devices=devices,
        committed=of[Stand.COMMITTED],
        failed=of[Stand.FAILED],
        silent=of[Stand.SILENT],
        under_way=of[Stand.UNDER_WAY],
        went_back=of[Stand.WENT_BACK],
        waiting=waiting,
        rest=devices - sum(of[stand] for stand in _APART) - (waiting or 0),
    )


def _versions(
    book: RolloutBook, everybody: tuple[str, ...], says: dict[tuple[Kind, str, int], str]
) -> tuple[VersionAnswer, ...]:
    members = frozenset(everybody)
    runs = Counter(
        (kind, name, said.runs)
        for (pseudonym, kind, name), said in book.last_words().items()
        if pseudonym in members
    )
    shown, few = [], Counter[tuple[Kind, str]]()
    for (kind, name, serial), devices in sorted(runs.items(), reverse=True):
        if devices < LEAST_SHOWN:
            few[kind, name] += devices
        else:
            text = says.get((kind, name, serial), "")
            shown.append(_version(kind, name, serial, text, devices))
    for (kind, name), devices in few.items():
        told = devices if devices >= LEAST_SHOWN else None
        shown.append(_version(kind, name, None, "", told))
    return tuple(sorted(shown, key=lambda each: (each.kind, each.name)))


def _version(
    kind: Kind, name: str, serial: int | None, says: str, devices: int | None
) -> VersionAnswer:
    return VersionAnswer(kind=kind.value, name=name, serial=serial, says=says, devices=devices)


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
