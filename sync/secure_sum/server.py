"""The coordinator's side of a secure sum: values in, values out; no clock, no network, no disk.

Rules upheld here: a message counts once, the first of each member and step; a step is closed once
and what was too late stays out; a round is opened once, over at least the members that its terms
and its cohort ask for, or it fails and says why; every secret that is put together is checked
against what its owner had published before it is used.

A `Gathering` is made again after a restart by giving it the same terms and seed, and the same
messages and closings in the same order: all that follows is the same, signatures included.

In the life of a report: it arrives masked, and leaves as an addend of the sum.

Source: Bonawitz et al., CCS 2017, Figure 4; Bell et al., CCS 2020, Algorithm 2.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from edge_models.errors import ContractError
from sync.errors import ProtocolError
from sync.identity import Identity, Role
from sync.secure_sum import wire
from sync.secure_sum.channel import CONFIRMATION_BYTES, Agreement, public_half
from sync.secure_sum.device import pair_mask, seed_commitment
from sync.secure_sum.false_shares import Share, without_false
from sync.secure_sum.masks import Vector, mask
from sync.secure_sum.neighbours import (
    Neighbourhood,
    members_needed,
    neighbourhood,
    neighbours_of,
    ring,
)
from sync.secure_sum.shamir import SHARE_BYTES, numbers_of, secret_of
from sync.secure_sum.terms import MOST_MEMBERS, Terms
from sync.secure_sum.wire import Step

Letter = tuple[bytes, bytes]
"""A member's name (16 bytes), and the payload for it."""

_AWAITED = (Step.ADVERT, Step.SHARES, Step.MASKED, Step.CONFIRM, Step.OPENING)


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A round's end: the sum over `members` (names), uint32 (N,) mod 2^32, noise included.

    `joined` is how many were on the roster; a member's share of the noise was sized by it.
    """

    total: Vector = field(repr=False)
    members: tuple[bytes, ...]
    joined: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A round's other end: nothing was opened, and why."""

    why: str


class _Cohort:
    """What is fixed once the adverts are closed."""

    __slots__ = ("adverts", "digest", "hood", "names", "near", "place_of", "roster")

    def __init__(self, terms: Terms, seed: bytes, adverts: dict[bytes, wire.Advert]) -> None:
        self.names = tuple(sorted(adverts))
        self.adverts = tuple(adverts[name] for name in self.names)
        self.place_of = {name: place for place, name in enumerate(self.names)}
        leaves = tuple(hashlib.sha256(advert.body).digest() for advert in self.adverts)
        self.roster = wire.Roster(seed, leaves)
        self.digest = self.roster.digest(terms.digest)
        self.hood: Neighbourhood = neighbourhood(len(self.names))
        order = ring(seed, self.digest, len(self.names))
        self.near = tuple(
            neighbours_of(place, order, self.hood.degree) for place in range(len(self.names))
        )


class Gathering:
    """One round at the coordinator.

    `receive` takes what arrives, `close_step` ends the step at hand and gives what to send;
    `result` is there when the last step is closed. `authority` is the study's public key, `seed` 32
    random bytes whose SHA-256 the terms hold.

    Raises:
        ContractError: the seed is not the one of the terms.
    """

    def __init__(
        self, terms: Terms, coordinator: Identity, *, authority: bytes, seed: bytes
    ) -> None:
        if hashlib.sha256(seed).hexdigest() != terms.seed_commitment:
            raise ContractError("A round's seed is the one that its terms commit to.")
        self.terms = terms
        self._coordinator = coordinator
        self._authority = authority
        self._seed = seed
        self._round = bytes.fromhex(terms.round)
        self._open_step = 0
        self._adverts: dict[bytes, wire.Advert] = {}
        self._cohort_: _Cohort | None = None
        self._shares: dict[int, tuple[bytes, tuple[bytes, ...]]] = {}
        self._vectors: dict[int, Vector] = {}
        self._confirmed: dict[int, tuple[bytes, ...]] = {}
        self._openings: dict[int, tuple[bytes, tuple[bytes, ...]]] = {}
        self._survivors = b""
        self.refusals: dict[bytes, str] = {}
        self.result: Opened | Failed | None = None

    @property
    def awaited(self) -> Step | None:
        """What members are expected to send now; None when the round has ended."""
        return None if self.result is not None else _AWAITED[self._open_step]

    @property
    def step_number(self) -> int:
        """Which of the terms' five deadlines the step at hand has: 0 to 4."""
        return self._open_step

    @property
    def answered(self) -> int:
        """How many have, in this step."""
        return len(self._answers())

    @property
    def expected(self) -> int | None:
        """How many can; None while anybody may still join."""
        match self._open_step:
            case 0:
                return None
            case 1:
                return len(self._adverts)
            case 2:
                return len(self._shares)
            case 3:
                return len(self._vectors)
        return len(self._confirmed)

    @property
    def members(self) -> int:
        """How many joined, as far as known."""
        return len(self._adverts)

    def _answers(self) -> dict[bytes, wire.Advert] | dict[int, object]:
        answers: tuple[dict[bytes, wire.Advert] | dict[int, object], ...] = (
            self._adverts, self._shares, self._vectors, self._confirmed, self._openings,
        )  # type: ignore[assignment]  # fmt: skip
        return answers[self._open_step]

    @property
    def _cohort(self) -> _Cohort:
        if self._cohort_ is None:
            raise ContractError("A roster is made when the adverts are closed.")
        return self._cohort_

    def receive(self, name: bytes, payload: bytes, now: int) -> bool:
        """Take a message that came on the topic of `name` (16 bytes); whether it was news.

        The same bytes again are no news. Check that the topic is the name's own: the broker's
        access list sees to that.

        Raises:
            ProtocolError: it is no message of this round and step, or not this member's.
        """
        round_id, step, body = wire.split(payload)
        if round_id != self._round:
            raise ProtocolError("A message is of another round.")
        if step is Step.ADVERT:
            return self._take_advert(name, body, now)
        if self._cohort_ is None or name not in self._cohort.place_of:
            raise ProtocolError("A message is from somebody who is not on the roster.")
        place = self._cohort.place_of[name]
        body = wire.unsigned(payload, self._cohort.adverts[place].credential.signing_key)
        if step is Step.REFUSAL:
            words, is_first = _words(body), name not in self.refusals
            self.refusals.setdefault(name, words)
            return is_first
        if step is not self.awaited:
            raise ProtocolError("A message came too late, or before its turn.")
        if place in self._answers():
            return False  # a member's first word counts
        match step:
            case Step.SHARES:
                self._take_shares(place, body)
            case Step.MASKED:
                if place not in self._shares:
                    raise ProtocolError("A vector is from a member whose shares nobody holds.")
                self._vectors[place] = wire.parse_vector(body, self.terms.length)
            case Step.CONFIRM:
                self._take_confirmation(place, body)
            case Step.OPENING:
                self._take_opening(place, body)
            case _:
                raise ProtocolError("A message is one that only the coordinator sends.")
        return True

    def _take_advert(self, name: bytes, body: bytes, now: int) -> bool:
        advert = wire.parse_advert(body)
        known = self._adverts.get(name)
        if known is not None:
            if known.body != body:
                raise ProtocolError(
                    "Two devices take part with one identity; the first one stays.",
                    "Revoke it if the person uses one device only: it may have been copied.",
                )
            return False
        if self._open_step != 0:
            raise ProtocolError("A member joined too late.")
        if len(self._adverts) >= MOST_MEMBERS:
            raise ProtocolError("A round has no place left.")
        if advert.credential.name != name:
            raise ProtocolError("An advert is of somebody else than who sent it.")
        advert.credential.check(
            study=self.terms.study, authority=self._authority, role=Role.DEVICE, now=now
        )
        advert.check(self.terms.digest)
        self._adverts[name] = advert
        return True

    def _take_shares(self, place: int, body: bytes) -> None:
        commitment, rest = body[: wire.DIGEST_BYTES], body[wire.DIGEST_BYTES :]
        degree = self._cohort.hood.degree
        parts = wire.equal_parts(rest, degree, wire.CIPHERTEXT_BYTES)
        self._shares[place] = (commitment, parts)

    def _take_confirmation(self, place: int, body: bytes) -> None:
        if place not in self._vectors:
            raise ProtocolError("A confirmation is from a member that did not survive.")
        digest, rest = body[: wire.DIGEST_BYTES], body[wire.DIGEST_BYTES :]
        if digest != wire.survivors_digest(self._cohort.digest, self._survivors):
            raise ProtocolError("A member has confirmed other survivors.")
        surviving = [near for near in self._cohort.near[place] if near in self._vectors]
        self._confirmed[place] = wire.equal_parts(rest, len(surviving), CONFIRMATION_BYTES)

    def _take_opening(self, place: int, body: bytes) -> None:
        if place not in self._confirmed:
            raise ProtocolError("An opening is from a member that did not confirm.")
        own, rest = body[: wire.SEED_BYTES], body[wire.SEED_BYTES :]
        holding = [near for near in self._cohort.near[place] if near in self._shares]
        parts = wire.equal_parts(rest, len(holding), SHARE_BYTES)
        if seed_commitment(own) != self._shares[place][0]:
            raise ProtocolError("A member opens another seed than the one it had committed to.")
        self._openings[place] = (own, parts)

    def close_step(self) -> list[Letter]:
        """End the step at hand; what to send to whom, in the order of the roster."""
        if self.result is not None:
            return []
        letters = list(
            (self._rosters, self._inboxes, self._survivor_lists, self._confirmations, self._end)[
                self._open_step
            ]()
        )
        self._open_step += self._open_step < len(_AWAITED) - 1
        return letters

    def _too_few(self, found: int, what: str) -> bool:
        needed = self.terms.minimum
        if self._cohort_ is not None:
            needed = members_needed(len(self._cohort.names), needed)
        if found >= needed:
            return False
        self.result = Failed(f"Only {found} members {what}; {needed} are needed.")
        return True

    def _rosters(self) -> Iterator[Letter]:
        if self._too_few(len(self._adverts), "joined"):
            return
        self._cohort_ = cohort = _Cohort(self.terms, self._seed, self._adverts)
        whole = wire.roster_body(self._coordinator, self.terms.digest, cohort.roster, ())
        for place, name in enumerate(cohort.names):
            adverts = b"".join(cohort.adverts[near].body for near in cohort.near[place])
            yield name, wire.framed(self._round, Step.ROSTER, whole + adverts)

    def _inboxes(self) -> Iterator[Letter]:
        if self._too_few(len(self._shares), "shared their secrets"):
            return
        cohort = self._cohort
        slot = tuple({other: at for at, other in enumerate(near)} for near in cohort.near)
        for place in sorted(self._shares):
            near = cohort.near[place]
            shared = [other in self._shares for other in near]
            parts = [self._shares[other][1][slot[other][place]] for other in near
                     if other in self._shares]  # fmt: skip
            body = wire.bits_of(shared) + b"".join(parts)
            yield cohort.names[place], wire.framed(self._round, Step.INBOX, body)

    def _survivor_lists(self) -> Iterator[Letter]:
        if self._too_few(len(self._vectors), "sent their numbers"):
            return
        cohort = self._cohort
        self._survivors = wire.bits_of(
            [place in self._vectors for place in range(len(cohort.names))]
        )
        body = wire.survivors_body(self._coordinator, cohort.digest, self._survivors)
        message = wire.framed(self._round, Step.SURVIVORS, body)
        for place in sorted(self._vectors):
            yield cohort.names[place], message

    def _confirmations(self) -> Iterator[Letter]:
        cohort = self._cohort
        slot = tuple(
            {other: at for at, other in enumerate(o for o in near if o in self._vectors)}
            for near in cohort.near
        )
        for place in sorted(self._confirmed):
            near = cohort.near[place]
            flags = [other in self._confirmed for other in near]
            parts = [self._confirmed[other][slot[other][place]] for other in near
                     if other in self._confirmed]  # fmt: skip
            body = wire.bits_of(flags) + b"".join(parts)
            yield cohort.names[place], wire.framed(self._round, Step.CONFIRMS, body)

    def _end(self) -> Iterator[Letter]:
        try:
            self.result = self._opened()
        except ProtocolError as fault:
            self.result = Failed(fault.cause)
        yield from ()

    def _opened(self) -> Opened:
        cohort, length = self._cohort, self.terms.length
        total = np.zeros(length, dtype=np.uint32)
        for vector in self._vectors.values():
            total += vector
        held, doubts = self._held_shares(), Counter[int]()
        for place in self._vectors:
            total -= mask(self._seed_of(place, held, doubts), length)
        for place in self._shares.keys() - self._vectors.keys():
            agreement = Agreement(self._mask_key_of(place, held, doubts))
            for near in cohort.near[place]:
                if near not in self._vectors:
                    continue
                shared = pair_mask(
                    agreement, cohort.adverts[near].mask_key, cohort.digest, length, place, near
                )
                if near < place:  # the survivor added it
                    total -= shared
                else:
                    total += shared
        members = tuple(cohort.names[place] for place in sorted(self._vectors))
        return Opened(total, members, len(cohort.names))

    def _held_shares(self) -> dict[int, list[Share]]:
        """For each member, the (point, share) pairs that its neighbours have opened."""
        held: dict[int, list[Share]] = {place: [] for place in self._shares}
        for holder, (_, parts) in sorted(self._openings.items()):
            holding = (near for near in self._cohort.near[holder] if near in self._shares)
            for near, part in zip(holding, parts, strict=True):
                held[near].append((holder + 1, part))
        return held

    def _seed_of(self, place: int, held: dict[int, list[Share]], doubts: Counter[int]) -> bytes:
        if place in self._openings:
            return self._openings[place][0]
        for secret in self._candidates(held[place], doubts):
            if seed_commitment(secret) == self._shares[place][0]:
                return secret
        raise ProtocolError("The seed of a member that died can't be put together.")

    def _mask_key_of(self, place: int, held: dict[int, list[Share]], doubts: Counter[int]) -> bytes:
        for secret in self._candidates(held[place], doubts):
            if public_half(secret) == self._cohort.adverts[place].mask_key:
                return secret
        raise ProtocolError("The masks of a member that died can't be taken off.")

    def _candidates(self, shares: list[Share], doubts: Counter[int]) -> Iterator[bytes]:
        """The secret by the first shares, then by those that fit together.

        Whoever's share was left out before (`doubts`, by point) is asked last.
        """
        threshold = self._cohort.hood.threshold
        if len(shares) < threshold:
            return
        shares = sorted(shares, key=lambda share: doubts[share[0]])
        with suppress(ProtocolError):
            yield secret_of(shares[:threshold])
        legible = [share for share in shares if _can_be(share[1])]
        if threshold <= len(legible) < len(shares):
            doubts.update(_points(shares) - _points(legible))
            with suppress(ProtocolError):
                yield secret_of(legible[:threshold])
        fitting = without_false(legible, threshold)
        doubts.update(_points(legible) - _points(fitting))
        yield secret_of(fitting[:threshold])


def _can_be(share: bytes) -> bool:
    try:
        numbers_of(share)
    except ProtocolError:  # its holder could not read what the owner had sent
        return False
    return True


def _points(shares: list[Share]) -> set[int]:
    return {point for point, _ in shares}


def _words(body: bytes) -> str:
    if len(body) > wire.LONGEST_REASON_BYTES:
        raise ProtocolError("A refusal is told in few words.")
    return "".join(sign for sign in body.decode("utf-8", "replace") if sign.isprintable())
