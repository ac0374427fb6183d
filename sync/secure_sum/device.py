"""A member's side of a secure sum: values in, values out; no clock, no network, no disk.

Rules upheld here: each state knows only what it still needs; a state goes forward only; what the
coordinator signed and can't be right ends the round for this member (`Ended`, with the reason),
what anybody could have forged is refused as `ProtocolError` and changes nothing; of each
neighbour at most one kind of share ever leaves, once, and only after as many neighbours as open a
secret have confirmed the very same list of survivors.

The law (a message in another state is a repetition, an equivocation, or out of turn):

| state | hears | becomes | says |
|---|---|---|---|
| `Joined` | ROSTER | `Shared` | SHARES |
| `Shared` | INBOX | `Ready` | nothing: it waits for the vector |
| `Ready` | (`masked`) | `Masked` | MASKED |
| `Masked` | SURVIVORS | `Confirmed` | CONFIRM |
| `Confirmed` | CONFIRMS | `Ended` | OPENING |

In the life of a report: the tally's vector, noised by `release`, is masked here.

Source: Bonawitz et al., CCS 2017, Figure 4; Bell et al., CCS 2020, Algorithm 2.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from edge_models.errors import ContractError
from sync.errors import OutOfTurn, ProtocolError, RoundRefused
from sync.identity import Acquaintances, Credential, Identity, Role
from sync.secure_sum import wire
from sync.secure_sum.channel import (
    CONFIRMATION_BYTES,
    Agreement,
    confirmation,
    confirms,
    derived,
    opened,
    public_half,
    sealed,
)
from sync.secure_sum.masks import Vector, mask
from sync.secure_sum.neighbours import members_needed, neighbourhood, neighbours_of, ring
from sync.secure_sum.shamir import SHARE_BYTES, shares_of
from sync.secure_sum.states import (
    Confirmed,
    Ended,
    Joined,
    Masked,
    Member,
    Neighbour,
    Place,
    Ready,
    Seat,
    Shared,
)
from sync.secure_sum.terms import LEAST_COHORT, MOST_MEMBERS, Terms
from sync.secure_sum.wire import Step

RandomBytes = Callable[[int], bytes]
"""`secrets.token_bytes`."""


Answer = tuple[Member, bytes | None]
"""The next state, and what to say. Keep the state before anything is sent."""

NO_SHARES: Final = b"\xff" * (2 * SHARE_BYTES)
"""Held instead of the shares that a neighbour had closed wrongly: numbers that no share has."""
_HEARS: Final = (Step.ROSTER, Step.INBOX, Step.SURVIVORS, Step.CONFIRMS)


def join(
    terms: Terms,
    identity: Identity,
    coordinator: Credential,
    *,
    random_bytes: RandomBytes,
    least_cohort: int = LEAST_COHORT,
) -> tuple[Joined, bytes]:
    """Take part in a round; the first message offers this member's keys.

    Compare the terms with the device's policy first; `parse_terms` has checked `coordinator`.

    Raises:
        RoundRefused: the terms allow sums over fewer than `least_cohort` people.
    """
    if terms.minimum < least_cohort:
        raise RoundRefused(
            f"A round would be opened over {terms.minimum} people; this device wants at least "
            f"{least_cohort}.",
            "Nothing was sent. Ask the study why its cohort is so small.",
        )
    channel_private, mask_private = random_bytes(wire.KEY_BYTES), random_bytes(wire.KEY_BYTES)
    advert = wire.make_advert(
        identity, terms.digest, public_half(channel_private), public_half(mask_private)
    ).body
    seat = Seat(terms, coordinator.signing_key, advert, channel_private, mask_private)
    return Joined(seat), wire.framed(seat.round_id, Step.ADVERT, advert)


def hear(
    member: Member,
    payload: bytes,
    identity: Identity,
    *,
    acquaintances: Acquaintances,
    now: int,
    random_bytes: RandomBytes,
) -> Answer:
    """What a member makes of a message from the coordinator.

    `acquaintances` checks neighbours' credentials and remembers them; `now` in seconds since 1970.
    Hearing the same message again changes nothing.

    Raises:
        ProtocolError: the bytes are no message of this round, or anybody could have made them.
        OutOfTurn: it is for a later state; keep it until then.
    """
    round_id, step, body = wire.split(payload)
    digest = hashlib.sha256(payload).digest()
    if round_id.hex() != _round_of(member) or step not in _HEARS:
        raise ProtocolError("A message is of another round, or not from the coordinator.")
    if digest in member.heard:
        return member, None
    try:
        match member, step:
            case Joined(), Step.ROSTER:
                after, said = _share(member, body, identity, acquaintances, now, random_bytes)
            case Shared(), Step.INBOX:
                after, said = _hold(member, body), None
            case Masked(), Step.SURVIVORS:
                after, said = _confirm(member, body, identity)
            case Confirmed(), Step.CONFIRMS:
                after, said = _open(member, body, identity)
            case _:
                return _in_another_state(member, step, body)
    except RoundRefused as refusal:
        after, said = _refused(member, refusal, identity)
    return replace(after, heard=(*member.heard, digest)), said


def masked(member: Ready, values: Vector, identity: Identity) -> tuple[Masked, bytes]:
    """Mask a vector that already holds its noise, uint32 (N,) mod 2^32; call it once.

    Raises:
        ContractError: the vector has another length or type.
    """
    seat, place = member.seat, member.place
    if values.shape != (seat.terms.length,) or values.dtype != "uint32":
        raise ContractError("A vector has the length of the terms, in uint32.")
    total = values + mask(place.own_seed, seat.terms.length)
    agreement = Agreement(seat.mask_private)
    for neighbour, held in zip(place.neighbours, member.held, strict=True):
        if held is None:
            continue
        shared = pair_mask(agreement, neighbour.mask_key, place.roster, seat.terms.length,
                           place.index, neighbour.index)  # fmt: skip
        if place.index < neighbour.index:
            total += shared
        else:
            total -= shared
    body = total.astype("<u4").tobytes()
    said = wire.signed(identity, seat.round_id, Step.MASKED, body)
    spent = replace(seat, mask_private=b"")  # its neighbours hold it from here on
    return Masked(spent, place, member.held, member.heard), said


def pair_mask(
    agreement: Agreement, mask_key: bytes, roster: bytes, length: int, one: int, other: int
) -> Vector:
    """The mask that two members share: the one of lower index adds it, the other takes it off."""
    low, high = sorted((one, other))
    return mask(derived(agreement.with_(mask_key), roster, "mask", low, high), length)


def _round_of(member: Member) -> str:
    return member.round if isinstance(member, Ended) else member.seat.terms.round


def _share(
    member: Joined,
    body: bytes,
    identity: Identity,
    acquaintances: Acquaintances,
    now: int,
    random_bytes: RandomBytes,
) -> Answer:
    seat = member.seat
    terms, terms_digest = seat.terms, seat.terms.digest
    roster, adverts = wire.parse_roster(body, terms_digest, seat.coordinator_key)
    members = len(roster.leaves)
    if hashlib.sha256(roster.seed).hexdigest() != terms.seed_commitment:
        raise _wrong("The coordinator changed the seed that it had committed to.")
    if not terms.minimum <= members <= MOST_MEMBERS:
        raise RoundRefused(
            f"A round of at least {terms.minimum} people was announced, and {members} take part.",
            "Nothing of yours was sent. There may be another round.",
        )
    if len(set(roster.leaves)) != members:
        raise _wrong("The coordinator lists a member twice.")
    own = hashlib.sha256(seat.advert).digest()
    if own not in roster.leaves:
        raise RoundRefused(
            "The round goes on without this device, or with another that has its identity.",
            "If you use one device only, tell the study: somebody may have copied it.",
        )
    index = roster.leaves.index(own)
    roster_digest = roster.digest(terms_digest)
    hood = neighbourhood(members)
    near = neighbours_of(index, ring(roster.seed, roster_digest, members), hood.degree)
    channel = Agreement(seat.channel_private)
    neighbours, names = [], {identity.credential.name}
    parts = wire.equal_parts(adverts, len(near), wire.ADVERT_BYTES)
    for place, part in zip(near, parts, strict=True):
        if hashlib.sha256(part).digest() != roster.leaves[place]:
            raise ProtocolError("A neighbour's keys are not those of the roster.")
        advert = wire.parse_advert(part)
        acquaintances.check(advert.credential, Role.DEVICE, now)
        advert.check(terms_digest)
        if advert.credential.name in names:
            raise _wrong("The coordinator lists a person twice.")
        names.add(advert.credential.name)
        neighbours.append(Neighbour(place, channel.with_(advert.channel_key), advert.mask_key))
    own_seed = random_bytes(wire.SEED_BYTES)
    shares = shares_of(
        (own_seed, seat.mask_private),
        [neighbour.index + 1 for neighbour in neighbours],
        hood.threshold,
        random_bytes,
    )
    ciphertexts = [
        sealed(
            derived(neighbour.channel, roster_digest, "share", index, neighbour.index),
            b"".join(share),
            roster_digest,
        )
        for neighbour, share in zip(neighbours, shares, strict=True)
    ]
    said = seed_commitment(own_seed) + b"".join(ciphertexts)
    sits = Place(index, members, roster_digest, own_seed, tuple(neighbours))
    after = Shared(replace(seat, channel_private=b""), sits, member.heard)
    return after, wire.signed(identity, seat.round_id, Step.SHARES, said)


def seed_commitment(own_seed: bytes) -> bytes:
    """Lets the coordinator notice false shares of a seed that it puts together; 32 bytes."""
    return hashlib.sha256(b"sottovoce/1/seed\0" + own_seed).digest()


def _hold(member: Shared, body: bytes) -> Ready:
    place = member.place
    parts = wire.flagged_parts(body, len(place.neighbours), wire.CIPHERTEXT_BYTES)
    threshold = neighbourhood(place.members).threshold
    if 1 + sum(part is not None for part in parts) < threshold:
        raise ProtocolError("Fewer neighbours have shared than open a secret.")
    held = tuple(
        None if part is None else _shares_in(part, neighbour, place)
        for neighbour, part in zip(place.neighbours, parts, strict=True)
    )
    if 1 + sum(part not in (None, NO_SHARES) for part in held) < threshold:
        raise ProtocolError("Too few shares can be read: altered, or of another roster.")
    return Ready(member.seat, place, held, member.heard)


def _shares_in(part: bytes, neighbour: Neighbour, place: Place) -> bytes:
    """Both shares in a ciphertext; one false neighbour must not keep all its others out."""
    key = derived(neighbour.channel, place.roster, "share", neighbour.index, place.index)
    try:
        return opened(key, part, place.roster)
    except ProtocolError:
        return NO_SHARES


def _confirm(member: Masked, body: bytes, identity: Identity) -> Answer:
    seat, place = member.seat, member.place
    survivors = wire.parse_survivors(body, place.roster, place.members, seat.coordinator_key)
    alive = wire.parse_bits(survivors, place.members)
    needed = members_needed(place.members, seat.terms.minimum)
    if sum(alive) < needed:
        raise RoundRefused(
            f"A sum over {sum(alive)} people would be opened; {needed} are needed.",
            "Your masked numbers say nothing by themselves and are never opened.",
        )
    if not alive[place.index]:
        raise RoundRefused(
            "The round goes on without this device: its numbers came too late.",
            "They say nothing by themselves and are never opened.",
        )
    surviving = [
        neighbour
        for neighbour, held in zip(place.neighbours, member.held, strict=True)
        if alive[neighbour.index] and _has_shared(held)
    ]
    if 1 + len(surviving) < neighbourhood(place.members).threshold:
        raise RoundRefused(
            "Too few of this device's neighbours in the round are left.",
            "Your masked numbers say nothing by themselves and are never opened.",
        )
    digest = wire.survivors_digest(place.roster, survivors)
    shown = [
        confirmation(
            derived(neighbour.channel, place.roster, "confirm", place.index, neighbour.index),
            digest,
        )
        for neighbour in surviving
    ]
    after = Confirmed(seat, place, member.held, survivors, member.heard)
    said = digest + b"".join(shown)
    return after, wire.signed(identity, seat.round_id, Step.CONFIRM, said)


def _has_shared(held: bytes | None) -> bool:
    if held is None:  # it can't have survived: nobody holds its shares
        raise _wrong("The coordinator lists as a survivor one that it had said was gone.")
    return True


def _open(member: Confirmed, body: bytes, identity: Identity) -> Answer:
    seat, place = member.seat, member.place
    alive = wire.parse_bits(member.survivors, place.members)
    digest = wire.survivors_digest(place.roster, member.survivors)
    shown = wire.flagged_parts(body, len(place.neighbours), CONFIRMATION_BYTES)
    confirmed = 1  # itself
    for neighbour, part in zip(place.neighbours, shown, strict=True):
        if part is None or not alive[neighbour.index]:
            continue
        key = derived(neighbour.channel, place.roster, "confirm", neighbour.index, place.index)
        confirmed += confirms(key, digest, part)  # of other survivors, or false: doesn't count
    if confirmed < neighbourhood(place.members).threshold:
        raise ProtocolError("Fewer neighbours have confirmed the survivors than open a secret.")
    said = place.own_seed + b"".join(
        held[:SHARE_BYTES] if alive[neighbour.index] else held[SHARE_BYTES:]
        for neighbour, held in zip(place.neighbours, member.held, strict=True)
        if held is not None
    )
    after = Ended(seat.terms.round, None, member.heard)
    return after, wire.signed(identity, seat.round_id, Step.OPENING, said)


def _in_another_state(member: Member, step: Step, body: bytes) -> Answer:
    """Other bytes for a step that was heard: two stories; for a later one: too early."""
    if isinstance(member, Ended):
        return member, None
    reached = {Joined: 0, Shared: 1, Ready: 2, Masked: 2, Confirmed: 3}[type(member)]
    if _HEARS.index(step) >= reached:
        raise OutOfTurn("A message of the round came before its turn.")
    seat = member.seat
    if step is Step.ROSTER and not isinstance(member, Joined):
        roster, _ = wire.parse_roster(body, seat.terms.digest, seat.coordinator_key)
        if roster.digest(seat.terms.digest) != member.place.roster:
            raise _wrong("The coordinator has signed two rosters for one round.")
    if step is Step.SURVIVORS and isinstance(member, Confirmed):
        place = member.place
        told = wire.parse_survivors(body, place.roster, place.members, seat.coordinator_key)
        if told != member.survivors:
            raise _wrong("The coordinator has signed two lists of survivors for one round.")
    raise ProtocolError("Somebody tells a second story of a step that is over.")


def _refused(member: Member, refusal: RoundRefused, identity: Identity) -> Answer:
    after = Ended(_round_of(member), refusal, member.heard)
    body = refusal.cause.encode()[: wire.LONGEST_REASON_BYTES]
    return after, wire.signed(identity, bytes.fromhex(after.round), Step.REFUSAL, body)


def _wrong(cause: str) -> RoundRefused:
    return RoundRefused(
        cause, "The round can't be trusted, and this device left it. Please tell the study."
    )
